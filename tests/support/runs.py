"""Runs as the API shows them."""

from __future__ import annotations

from typing import Any

from tests.support.lists import listed
from tests.support.world import World

COUNTS = ("seen", "created", "updated", "deleted", "skipped")


def counts(run: Any) -> tuple[int, ...]:
    """Seen, created, updated, deleted, skipped."""
    return tuple(run[name] for name in COUNTS)


async def all_runs(world: World) -> list[tuple[int, str, str]]:
    """Id, mode and state of each run, oldest first."""
    return [(run["id"], run["mode"], run["state"]) for run in reversed(await listed(world, "/runs"))]


async def modes_and_states(world: World) -> list[tuple[str, str]]:
    """Of all runs, oldest first."""
    return [(mode, state) for _, mode, state in await all_runs(world)]
