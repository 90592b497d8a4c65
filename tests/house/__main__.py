"""Prints how much of the code a stranger has to read, beside the goals. It ends 0, whatever they are."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Collection
from statistics import median

from app import logs
from tests.bench.servers import Kind
from tests.house.imports import ASSEMBLES, Module, modules
from tests.house.way import webhook_to_comment

MOST_ON_THE_WAY, MOST_OUTSIDE = 20, 12
MEDIAN_IMPORTS, MOST_OWN = 6, 15
KINDS: tuple[Kind, ...] = ("jira", "github")


def main() -> None:
    logs.configure("console")
    logging.getLogger().setLevel(logging.ERROR)
    found = modules()
    out = [*_sizes(found), *_imports(found)]
    with asyncio.Runner() as runner:
        for kind in KINDS:
            out += ["", *_way(kind, runner.run(webhook_to_comment(kind)))]
    sys.stdout.write("\n".join(out) + "\n")


def _sizes(found: Collection[Module]) -> list[str]:
    packages = ("app", "mappings", "connectors")
    return [
        f"{package}: {len(inside)} modules, {sum(module.lines for module in inside):,} lines"
        for package in packages
        if (inside := [module for module in found if module.name.startswith(f"{package}.")])
    ]


def _imports(found: Collection[Module]) -> list[str]:
    middle = median(len(module.imported) for module in found)
    others = (module for module in found if module.name != ASSEMBLES)
    many = sorted(others, key=lambda module: -len(module.own))[:6]
    return [
        "",
        f"imports a module, all counted, median: {middle:g} (goal: at most {MEDIAN_IMPORTS})",
        f"imports of our own, {ASSEMBLES} left out, at most: {len(many[0].own)} (goal: {MOST_OWN})",
        *(f"  {module.name}: {len(module.own)}" for module in many),
    ]


def _way(kind: Kind, names: Collection[str]) -> list[str]:
    inside = ("mappings.evaluation.", f"connectors.{kind}.")
    outside = [name for name in names if not name.startswith(inside)]
    return [
        f"modules on the way of one webhook to its comment ({kind}): {len(names)} "
        f"(goal: at most {MOST_ON_THE_WAY})",
        f"  outside of mappings.evaluation and the connector: {len(outside)} (goal: at most {MOST_OUTSIDE})",
        *(f"  {name}" for name in names),
    ]


if __name__ == "__main__":
    main()
