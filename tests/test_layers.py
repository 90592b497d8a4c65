"""One line of imports, checked: the contracts stand in pyproject.toml under `tool.importlinter`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp
import pytest
from importlinter import configuration
from importlinter.application.use_cases import lint_imports

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "mappings", "connectors", "migrations")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


@pytest.mark.parametrize("contract", [contract["id"] for contract in CONTRACTS])
def test_a_contract_on_imports_is_kept(
    contract: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    configuration.configure()  # not by its command, which turns off all loggers there are
    kept = lint_imports("pyproject.toml", (contract,), cache_dir=None, no_logo=True)
    assert kept, capsys.readouterr().out


def _below(graph: grimp.ImportGraph, package: str) -> set[str]:
    return {package, *graph.find_descendants(package)}


def test_of_the_connectors_the_mappings_import_the_contract_and_nothing_else(
    graph: grimp.ImportGraph,
) -> None:
    connectors = _below(graph, "connectors")
    imported = {
        name
        for module in _below(graph, "mappings")
        for name in graph.find_modules_directly_imported_by(module)
        if name in connectors
    }
    assert imported == {"connectors.base", "connectors.document", "connectors.rate_limits"}


def test_every_pure_module_of_the_contract_is_there_and_the_rest_of_the_mappings_stores() -> None:
    """A new module of the mappings has to be declared: pure, or one that talks to the database."""
    [pure] = [contract for contract in CONTRACTS if contract["id"] == "pure"]
    known = set(pure["source_modules"]) | {
        name for name in pure["forbidden_modules"] if name.startswith("mappings.")
    }
    there = set()
    for path in (ROOT / "mappings").rglob("*.py"):
        if path.stem != "__init__":
            parts = path.relative_to(ROOT).with_suffix("").parts
            package = ".".join(parts[:2])  # a package that is named whole covers its modules
            there.add(package if package in known else ".".join(parts))
    assert there == known


def _import_circles(graph: grimp.ImportGraph, package: str) -> list[set[str]]:
    """The children of a package that import each other in a circle, whatever module inside does it."""
    children = sorted(graph.find_children(package))
    inside = {child: _below(graph, child) for child in children}
    direct = {
        child: {
            other
            for other in children
            if other != child
            and any(
                graph.find_modules_directly_imported_by(module) & inside[other] for module in inside[child]
            )
        }
        for child in children
    }
    reached = {child: _reachable(direct, child) for child in children}
    return [
        {child, *(other for other in reached[child] if child in reached[other])}
        for child in children
        if child in reached[child]
    ]


def _reachable(direct: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = list(direct[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += direct[name]
    return found


def test_no_sub_packages_import_each_other_in_a_circle(graph: grimp.ImportGraph) -> None:
    packages = [name for root in PACKAGES for name in _below(graph, root) if graph.find_children(name)]
    assert {name: circles for name in packages if (circles := _import_circles(graph, name))} == {}


def test_a_circle_would_be_found() -> None:
    graph = grimp.ImportGraph()
    for name in ("a", "a.b", "a.b.one", "a.c", "a.c.two", "a.d"):
        graph.add_module(name)
    graph.add_import(importer="a.b.one", imported="a.c")
    graph.add_import(importer="a.c.two", imported="a.b")
    graph.add_import(importer="a.d", imported="a.b.one")
    assert _import_circles(graph, "a") == [{"a.b", "a.c"}, {"a.b", "a.c"}]
