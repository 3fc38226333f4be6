"""What the device library costs in RAM: each module as .mpy, on the 32-bit build with a small heap.

    python -m tests.device.ram

For each module: heap bytes after `import` of it alone (what it imports is in the figure, but not umqtt.simple2, which
is the user's), and heap bytes that one object of it takes; both by gc.mem_alloc() after gc.collect(). `__init__` is the
package: the tracer and its port. File names are on the heap too, so everything is imported from the current folder.
MicroPython enlarges its pool of names in steps of about 1 kB: a module that comes just behind a step seems that dearer.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.device import interpreters, sizes

HEAP = "64k"
# How an object is made, where `t` is a tracer and `client` stands for the user's.
OBJECTS = {
    "__init__": "motetrace.Tracer()",
    "tracer": "m.Tracer('seqref')",
    "boot": "m.Asleep(bytearray(64))",
    "incoming": "m.Incoming(t)",
    "messages": "m.Stats(t)",
    "mqtt5": "m.UserProperty(client, t)",
    "payload": "m.Member(t)",
    "_port_other": "m.Pairs(bytearray(96), bytes(16), b'0123456789abcdef')",
    "sampling": "m.Sampling(t)",
    "simple2": "m.JsonMember(client, t)",
}
SCRIPT = """
import gc, sys, umqtt.simple2
class client: pass
before = 0
motetrace = m = t = made = kept = imported = None
gc.collect()
before = gc.mem_alloc()
try:
    import {name}
except ImportError as error:
    print("needs", error)
    raise SystemExit
gc.collect()
imported = gc.mem_alloc() - before
import motetrace
m = sys.modules["{name}"]
t = motetrace.Tracer()
made = lambda: {made}
gc.collect()
before = gc.mem_alloc()
kept = made()
gc.collect()
print(imported, gc.mem_alloc() - before if kept else 0)
"""


@dataclass(frozen=True, slots=True)
class Ram:
    """One module: heap bytes after its import and of one object; `needs` says what is missing here to import it."""

    module: str
    import_bytes: int
    object_bytes: int
    needs: str = ""


def compile_package(folder: Path) -> None:
    """Put the whole package as .mpy into `folder`, and umqtt.simple2."""
    for package in (sizes.PACKAGE, interpreters.parts.simple2() / "umqtt"):
        (folder / package.name).mkdir()
        for source in package.glob("*.py"):
            sizes.compile_mpy(source, folder / package.name / f"{source.stem}.mpy")


def measure_one(folder: Path, module: str) -> Ram:
    """Import one module of the package in `folder` in an interpreter of its own, and make one object of it."""
    name = "motetrace" if module == "__init__" else f"motetrace.{module}"
    script = SCRIPT.format(name=name, made=OBJECTS.get(module, "None"))
    done = subprocess.run(
        [*interpreters.command("micropython32"), "-X", f"heapsize={HEAP}", "-c", script],
        env={**os.environ, "MICROPYPATH": "."},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout.strip()
    if done.returncode or not said:
        raise RuntimeError(f"{module}: {said}\n{done.stderr}")
    if said.startswith("needs"):
        return Ram(module, 0, 0, said.split("'")[-2])
    imported, made = said.split()
    return Ram(module, int(imported), int(made))


def measure_together(folder: Path, modules: Iterable[str]) -> int:
    """Heap bytes after the import of all of these, beyond the tracer's, in an interpreter of its own."""
    imports = "".join(f"import motetrace.{module}\n" for module in modules)
    script = f"import gc, motetrace\ngc.collect()\nn = gc.mem_alloc()\n{imports}gc.collect()\nprint(gc.mem_alloc() - n)"
    command = [*interpreters.command("micropython32"), "-X", f"heapsize={HEAP}", "-c", script]
    environment = {**os.environ, "MICROPYPATH": "."}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


def measure(modules: list[str] | None = None) -> list[Ram]:
    """The figures of these modules; None: of the whole package."""
    with tempfile.TemporaryDirectory() as folder:
        compile_package(Path(folder))
        names = modules or sorted(source.stem for source in sizes.PACKAGE.glob("*.py"))
        return [measure_one(Path(folder), name) for name in names]


def table(figures: list[Ram]) -> str:
    """A Markdown table of them."""
    lines = ["| module | RAM after import | one object |", "|---|---|---|"]
    for ram in figures:
        after = f"(needs {ram.needs})" if ram.needs else str(ram.import_bytes)
        lines.append(f"| {ram.module} | {after} | {ram.object_bytes or ''} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    print(f"device library, RAM in bytes, MicroPython 32-bit, .mpy, heap {HEAP}")
    print(table(measure()))


if __name__ == "__main__":
    main()
