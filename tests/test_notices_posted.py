"""A warning on the ticket: posted once, edited for facts alone, one line when the gap is closed."""

from __future__ import annotations

import pytest

from tests.sides import KINDS, Side, side_of
from tests.world import World

MISSING = "This epic is not linked to a key result."


@pytest.fixture(params=KINDS)
async def side(request: pytest.FixtureRequest, world: World) -> Side:
    """A live source of either kind, with one live key result, KR-1."""
    made = side_of(world, request.param)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect()
    return made


async def test_it_is_posted_once(side: Side) -> None:
    key = side.add("Checkout in one step")
    run = await side.sync()
    assert run["writes"] == {"pending": 0, "posted": 1, "edited": 0, "resolved": 0, "held": 0, "failed": 0}
    (text,) = side.comments(key)
    assert MISSING in text
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"], notice["run"]) == ("posted", False, run["id"])
    print(notice, text)
    side.tracker.log.clear()
    again = await side.sync("full")
    assert sum(again["writes"].values()) == 0
    assert side.tracker.log.count(side.creates) + side.tracker.log.count(side.edits) == 0
