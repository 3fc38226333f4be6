"""Write docs/api.md, the reference of what applications import, from signatures and docstrings.

python .ci/api.py            write it anew
python .ci/api.py --check    say whether it is stale, and change nothing
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
HEAD = """# API

What applications import, with every public name. Made by `make docs` from the docstrings; change it there.
"""
HOST = ROOT / "host_shim" / "motetrace_host"
DEVICE = ROOT / "device_lib" / "motetrace"
# Heading, and the modules below it with what they are imported as.
PARTS = (
    ("Services: motetrace_host.stages", "motetrace_host.stages", sorted((HOST / "stages").glob("*.py"))),
    ("Functions: motetrace_host.functions", "motetrace_host.functions", sorted((HOST / "functions").glob("*.py"))),
    ("OpenTelemetry: motetrace_host.otel", "", sorted((HOST / "otel").glob("*.py"))),
    ("Devices: motetrace", "", sorted(DEVICE.glob("*.py"))),
)
OTEL = ("log_correlation", "paho_instrumentor", "propagator", "samplers", "user_properties")

Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def exported(package: Path) -> set[str]:
    """The names in the package's `__all__`."""
    for node in ast.parse((package / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def signature(node: Named) -> str:
    """`name(arguments) -> result`; of a class that of its constructor."""
    if isinstance(node, ast.ClassDef):
        made = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        return f"class {node.name}" + (f"({_arguments(made)})" if made else "")
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{'async ' * isinstance(node, ast.AsyncFunctionDef)}{node.name}({_arguments(node)}){result}"


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    text = ast.unparse(node.args)
    return text.removeprefix("self").removeprefix("cls").removeprefix(", ")


def entries(node: Named, within: str = "") -> Iterator[str]:
    """The entry of a function, or of a class and its public methods; nothing without a docstring."""
    words = ast.get_docstring(node)
    if not words:
        return
    mark = "property " if any(ast.unparse(one) == "property" for one in node.decorator_list) else ""
    shown = f"{within}{node.name}" if mark else f"{within}{signature(node)}"
    yield f"```text\n{mark}{shown}\n\n{words}\n```\n"
    if isinstance(node, ast.ClassDef):
        for one in node.body:
            setter = isinstance(one, Named) and any(
                ast.unparse(mark).endswith(".setter") for mark in one.decorator_list
            )
            if isinstance(one, Named) and not one.name.startswith("_") and not setter:
                yield from entries(one, f"{node.name}.")


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for heading, package, modules in PARTS:
        parts.append(f"## {heading}\n")
        wanted = exported(modules[0].parent) if package else None
        for path in modules:
            is_ours = (
                (path.parent == DEVICE and not path.stem.startswith("_")) or path.stem in OTEL or wanted is not None
            )
            if not is_ours:
                continue
            found = [
                entry
                for node in ast.parse(path.read_text(encoding="utf-8")).body
                if isinstance(node, Named) and not node.name.startswith("_")
                if wanted is None or node.name in wanted
                for entry in entries(node)
            ]
            if found:
                name = package or ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
                parts += [f"### from {name}, in {path.stem}.py\n" if package else f"### {name}\n", *found]
    return "\n".join(parts)


def main() -> None:
    """Write or check."""
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            sys.exit("docs/api.md is stale; renew it: make docs")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
