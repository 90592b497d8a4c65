"""Notices through the API: listed by what they are and whose."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.support.clock import Clock
from tests.support.world import World


async def test_lists_hold_what_fits_all_filters(world: World, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    clock.advance(minutes=1)
    world.host.create("acme/shop", "Another", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]}, notices={"mode": "live"})
    await world.sync("github")
    for query, keys in (
        ("", ["SHOP-1", "acme/shop#1"]),
        ("state=shadow", ["SHOP-1"]),
        ("state=held", ["acme/shop#1"]),
        ("source=GITHUB", ["acme/shop#1"]),
        ("source=GITHUB&state=shadow", []),
        ("state=posted", []),
    ):
        page = await world.send("GET", f"/notices?{query}")
        assert [one["epic"]["key"] for one in page["items"]] == keys, query
    (held,) = (await world.send("GET", "/notices?state=held"))["items"]
    assert (held["reason"], held["pending"], held["url"]) == ("grace", False, None)
    assert held["detail"] == "Grace ends at 2026-11-23 12:01 UTC."
    assert held == (await world.epic("github", "acme/shop#1"))["notice"]
    first = await world.send("GET", "/notices?limit=1")
    rest = await world.send("GET", f"/notices?limit=1&cursor={first['next']}")
    assert [one["epic"]["key"] for one in first["items"] + rest["items"]] == ["SHOP-1", "acme/shop#1"]
    assert rest["next"] is None
