"""What each module imports, read from its source: nothing is executed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("app", "mappings", "connectors")
ASSEMBLES = "app.server.application"


@dataclass(frozen=True, slots=True)
class Module:
    """`imported` are the modules named by its import statements, each once, `__future__` left out; `own`
    those of our packages that these lead to."""

    name: str
    lines: int
    imported: frozenset[str]
    own: frozenset[str]


def modules(root: Path = ROOT) -> list[Module]:
    """Every module of our packages, by name; a package's `__init__` is not counted."""
    paths = {path for package in PACKAGES for path in (root / package).rglob("*.py")}
    names = {_name(path, root) for path in paths}
    return sorted(
        (_module(path, root, names) for path in paths if path.stem != "__init__"),
        key=lambda module: module.name,
    )


def _name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module(path: Path, root: Path, names: set[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    imported: set[str] = set()
    own: set[str] = set()
    for module, name in _imports(ast.parse(text)):
        imported.add(module)
        full = module if name is None else f"{module}.{name}"
        own |= {full} & names or {module} & names
    return Module(_name(path, root), len(text.splitlines()), frozenset(imported), frozenset(own))


def _imports(tree: ast.Module) -> Iterator[tuple[str, str | None]]:
    """Each module imported, with the name that is taken from it; none of ours imports relatively."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__"):
            assert node.module is not None
            yield from ((node.module, alias.name) for alias in node.names)
