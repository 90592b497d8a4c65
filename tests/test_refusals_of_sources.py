"""Limits and refusals that meet every ticket of a source: one ticket meets them, the others wait."""

from __future__ import annotations

from typing import Any

from app.runtime import Runtime
from connectors.sandbox import faults
from tests.support.clock import Clock, later
from tests.support.queries import projects
from tests.support.tracker_drivers import GitHubDriver, TrackerDriver, both
from tests.support.world import World

QUICKLY = {"message": "Validation Failed", "errors": ["was submitted too quickly after a previous comment"]}
LIMITS = {"github": faults.answer(422, QUICKLY), "jira": faults.answer(403, "<p>Rate limit exceeded</p>")}
ALLOW_LIST = (
    "Although you appear to have the correct authorization credentials, the `acme` organization has an IP"
    " allow"
    " list enabled, and your IP address is not permitted to access this resource."
)
BLOCKED = {
    "github": faults.answer(403, {"message": ALLOW_LIST}),
    "jira": faults.answer(
        403, {"errorMessages": ["The IP address has been rejected because it is not on the allowed list."]}
    ),
}


async def states(driver: TrackerDriver, keys: list[str]) -> set[tuple[str, str | None, int]]:
    notices = [(key, await driver.notice(key)) for key in keys]
    return {(notice["state"], notice["reason"], len(driver.comments(key))) for key, notice in notices}


@both
async def test_a_limit_in_other_words_is_met_once_and_waited_for(
    driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(4)]
    strike = driver.tracker.faults.add(driver.creates, LIMITS[driver.kind], times=None)
    run = await driver.sync()
    assert (strike.struck, run["writes"]["pending"], run["writes"]["failed"]) == (1, 4, 0)
    assert await states(driver, keys) == {("due", None, 0)}
    assert "limits our requests" in (await driver.notice(keys[1]))["detail"]
    await later(driver.world, runtime, clock, seconds=59)
    assert strike.struck == 1
    driver.tracker.faults.clear()
    await later(driver.world, runtime, clock, seconds=2)
    assert await states(driver, keys) == {("posted", None, 1)}


@both
async def test_a_refusal_of_the_account_is_met_once_and_said(
    driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(7)]
    strike = driver.tracker.faults.add(driver.creates, BLOCKED[driver.kind], times=None)
    run = await driver.sync()
    assert (strike.struck, run["writes"]["failed"], run["writes"]["pending"]) == (1, 1, 6)
    shown = await driver.world.health(driver.kind)
    assert shown["state"] == "failing"
    assert "Add the address at which this machine" in shown["what_to_do"]
    assert {row.writes_paused_at for row in (await projects(runtime)).values()} == {None}
    await later(driver.world, runtime, clock, minutes=59)
    assert strike.struck == 1
    driver.tracker.faults.clear()
    await later(driver.world, runtime, clock, minutes=2)
    assert await states(driver, keys) == {("posted", None, 1)}


async def test_a_repository_behind_single_sign_on_is_named_with_its_address(world: World) -> None:
    driver = GitHubDriver(world)
    await driver.connect(mode="shadow", scope={"repositories": ["acme/shop"]})
    address = f"https://{world.github_url.partition('://')[2]}/orgs/acme/sso?authorization_request=AZ"
    body = {"message": "Resource protected by organization SAML enforcement."}
    refused = faults.answer(403, body, {"X-GitHub-SSO": f"required; url={address}"})
    driver.tracker.faults.add("GET */repos/acme/shop", refused, times=None)
    run: Any = await driver.sync()
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    assert "SAML enforcement" in run["error"]["message"]
    for what_to_do in (run["error"]["what_to_do"], (await world.health("github"))["what_to_do"]):
        assert address in what_to_do
        assert "Issues" not in what_to_do


async def test_a_list_that_leaves_out_what_single_sign_on_protects_is_not_whole(world: World) -> None:
    """Else the epics of the repositories that are left out would count as gone."""
    driver = GitHubDriver(world)
    await driver.connect(mode="shadow", scope={"organizations": ["acme"]})
    driver.add()
    assert (await driver.sync("full"))["seen"] == 1
    partial = faults.answer(200, [], {"X-GitHub-SSO": "partial-results; organizations=21955855"})
    driver.tracker.faults.add("GET */orgs/acme/repos", partial, times=None)
    run: Any = await driver.sync("full")
    assert (run["state"], run["deleted"]) == ("partial", 0)
    assert "single sign-on" in run["error"]["message"] + run["error"]["what_to_do"]
    assert len((await world.send("GET", "/epics"))["items"]) == 1
