"""What a run that could not read all tells to do fits what went wrong."""

from __future__ import annotations

import pytest

from connectors.sandbox import faults
from tests.support.tracker_drivers import GitHubDriver
from tests.support.world import World

ISSUES = "GET *acme/shop/issues"
UNSEEN = faults.answer(404, {"message": "Not Found"})
FORBIDDEN = faults.answer(403, {"message": "Resource not accessible by personal access token"})
CASES = [
    ("a proxy's page", ISSUES, faults.proxy_page(200), "could not be read", "base_url"),
    ("no list", ISSUES, faults.answer(200, {"issues": []}), "is no list", "proxy"),
    ("a page again", "GET *issues*", faults.repeat_token(), "already read", "proxy"),
    ("no permission", ISSUES, FORBIDDEN, "not accessible", "Issues read and write"),
    ("not to be seen", "GET */acme/shop", UNSEEN, "Not Found", "access"),
]


@pytest.mark.parametrize(
    ("route", "fault", "says", "to_do"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
async def test_the_way_out_fits_the_trouble(
    world: World, route: str, fault: faults.Action, says: str, to_do: str
) -> None:
    driver = GitHubDriver(world)
    await driver.connect("shadow", scope={"repositories": ["acme/shop"]})
    for number in range(101):  # two pages
        driver.add(f"Epic {number}")
    driver.tracker.faults.add(route, fault, times=None)
    run = await driver.sync("full")
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    assert says in run["error"]["message"]
    assert to_do in run["error"]["what_to_do"]
    assert ("Give the account access" in run["error"]["what_to_do"]) == (to_do == "access")
    assert (await world.health("github"))["what_to_do"] == run["error"]["what_to_do"]
