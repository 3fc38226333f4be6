"""Writes package.json and device_lib/package-<name>.json, for `mpremote mip install`: each lists all that it needs.

    python boards/packages.py            write them anew
    python boards/packages.py --check    say which are stale, and change nothing

They stand above the files they list because mip joins their folder and a file's path with "/" and resolves no "..".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "host_shim"))

from motetrace_host.board import modules  # noqa: E402

LIBRARY = ROOT / "device_lib" / modules.PACKAGE
# A client's package has what a first program with it uses: the adapter, the birth message, the answer to a command.
WITH_EVERY_CLIENT = ("messages", "incoming")
CLIENTS = ("simple2", "mqtt5", "mqtt_as", "robust", "robust2", "simple")
ALONE = ("messages", "sampling", "boot")  # what can be wanted without a client of ours
RENEW = "python boards/packages.py"


def sources() -> dict[str, str]:
    """Module name to source."""
    return {path.stem: path.read_text(encoding="utf-8") for path in LIBRARY.glob("*.py")}


def packages() -> dict[str, str]:
    """Path from the root to content, as they should be."""
    library = sources()
    made = {"package.json": _package(modules.core(library), "device_lib/")}
    for client in CLIENTS:
        names = modules.closure(library, (client, *WITH_EVERY_CLIENT))
        made[f"device_lib/package-{client}.json"] = _package(names, "")
    for name in ALONE:
        made[f"device_lib/package-{name}.json"] = _package(modules.closure(library, (name,)), "")
    return made


def stale() -> list[str]:
    """Paths of those that are not as they should be, or not there, or there and should not be."""
    wanted = packages()
    found = (*ROOT.glob("package*.json"), *(ROOT / "device_lib").glob("package*.json"))
    there = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def _package(names: list[str], folder: str) -> str:
    files = (f"{modules.PACKAGE}/{name}.py" for name in names)
    lines = ",\n    ".join(json.dumps([file, f"{folder}{file}"]) for file in files)
    return f'{{\n  "version": "{_version()}",\n  "deps": [],\n  "urls": [\n    {lines}\n  ]\n}}\n'


def _version() -> str:
    for line in (LIBRARY / "__init__.py").read_text(encoding="utf-8").splitlines():
        if line.startswith("__version__"):
            return line.split('"')[1]
    raise ValueError(f"{LIBRARY / '__init__.py'} has no __version__")


def main(arguments: list[str]) -> int:
    """Write or check; 1 when --check finds one stale."""
    old = stale()
    if "--check" in arguments:
        for name in old:
            print(f"{name} is stale; renew it: {RENEW}")
        return int(bool(old))
    wanted = packages()
    for name in old:
        if name in wanted:
            (ROOT / name).write_text(wanted[name], encoding="utf-8")
            print(f"wrote {name}")
        else:
            print(f"{name} is of no client that is listed here; remove it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
