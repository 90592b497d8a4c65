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
    assert imported == {
        f"connectors.{name}"
        for name in ("answers", "base", "comments", "document", "marker", "rate_limits", "ticket_text")
    }


def test_every_pure_module_of_the_contract_is_there_and_the_rest_of_the_mappings_stores(
    graph: grimp.ImportGraph,
) -> None:
    """A new module of the mappings has to be declared pure, or it reads or writes rows."""
    [pure] = [contract for contract in CONTRACTS if contract["id"] == "pure"]
    named = {name for package in pure["source_modules"] for name in _below(graph, package)}
    modules = _below(graph, "mappings")
    external = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    storing = {name for name in modules if external.chain_exists(name, "sqlalchemy")}
    packages = {name for name in modules if graph.find_children(name)}
    assert modules - storing - packages == named - packages
