"""Three checks made here, each a value given to the runtime: their findings in the database and by the API.

One is about epics, one about goals, one about sources; none of them is on a ticket.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from app import pipeline
from app.database import downgrade, migrate
from app.jobs.sweep import sweep
from app.runtime import Runtime
from connectors.comments import TicketComment
from mappings.checks.check import About, Check, EpicFacts, GoalFacts, ObjectiveFacts, SourceFacts
from mappings.checks.registry import CHECKS
from mappings.commands.execute import execute_commands
from mappings.evaluation.goals_and_sources import evaluate_goals_and_sources
from mappings.evaluation.operations import change_shown
from mappings.runs.reevaluation import open_evaluation
from mappings.tables import EpicRow, FindingRow, SourceRow
from tests.support.clock import Clock
from tests.support.queries import all_of, command_comments
from tests.support.ticket_text import text_lines
from tests.support.tracker_drivers import TrackerDriver, on_either
from tests.support.world import World

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
UNTIL = {"until": "2026-12-31", "reason": "Agreed"}
MISSING = "Which key result does this epic serve?"


def _no_area(facts: EpicFacts, now: datetime) -> str | None:
    return None if any(label.startswith("area:") for label in facts.epic.labels) else "It has no area."


def _no_owner(goal: GoalFacts, now: datetime) -> str | None:
    if isinstance(goal, ObjectiveFacts):
        return None if goal.owner else f"{goal.key} has no owner."
    return f"{goal.key} is not named yet." if goal.title == "To do" else None


def _unread(source: SourceFacts, now: datetime) -> str | None:
    read_at = source.health_checked_at
    return "It was not read for a day." if read_at and now - read_at > timedelta(days=1) else None


NO_AREA = Check(name="no-area", about="epic", find=_no_area)
NO_OWNER = Check(name="no-owner", about="goal", find=_no_owner, severity="info")
UNREAD = Check(name="unread", about="source", find=_unread, severity="error")


@pytest.fixture
def runtime(runtime: Runtime, clock: Clock) -> Runtime:
    clock.now = NOON
    return replace(runtime, checks=(*CHECKS, NO_AREA, NO_OWNER, UNREAD))


async def _findings(world: World, query: str) -> list[Any]:
    return list((await world.send("GET", f"/findings?{query}"))["items"])


def _z(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


# --- an epic ------------------------------------------------------------------------------------


async def _posted(driver: TrackerDriver) -> str:
    """A ticket with our warning, beside which the third check has found something."""
    key = driver.add()
    await driver.sync()
    assert MISSING in driver.comments(key)[0]
    return key


async def _third(driver: TrackerDriver, key: str) -> Any:
    (found,) = [one for one in (await driver.epic(key))["findings"] if one["check"] == "no-area"]
    return found


@on_either("jira")
async def test_a_posted_notice_resolves_while_it_is_open(driver: TrackerDriver, world: World) -> None:
    key = await _posted(driver)
    epic = {"source": driver.kind, "key": key}
    await world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    await world.drain()
    (comment,) = driver.comments(key)
    assert comment.startswith("Aligned with KR-1")
    shown = await driver.epic(key)
    assert (shown["alignment"], shown["notice"]["state"]) == ("aligned", "resolved")
    assert [(one["check"], one["state"]) for one in shown["findings"]] == [
        ("no-key-result", "resolved"),
        ("no-area", "open"),
    ]
    assert any(reason["name"] == "no-area" and "It has no area." in reason["says"] for reason in shown["why"])


@on_either("jira")
async def test_it_resolves_and_opens_again_and_writes_on_no_ticket(
    driver: TrackerDriver, clock: Clock
) -> None:
    key = await _posted(driver)
    first, written = await _third(driver, key), driver.comments(key)
    clock.advance(hours=1)
    driver.label(key, "area:shop")
    await driver.sync()
    assert (await _third(driver, key))["state"] == "resolved"
    clock.advance(hours=1)
    driver.label(key)
    await driver.sync()
    assert await _third(driver, key) == {**first, "opened_at": _z(clock())}
    assert driver.comments(key) == written
    log = driver.tracker.log
    assert (log.count(driver.creates), log.count(driver.edits)) == (1, 0)


@on_either("github")
async def test_what_people_do_to_it_changes_neither_alignment_nor_comment(
    driver: TrackerDriver, world: World
) -> None:
    key = await _posted(driver)
    before = await driver.epic(key)
    path = f"/findings/{(await _third(driver, key))['id']}"
    for verb, state in (("waive", "waived"), ("snooze", "snoozed"), ("reopen", "open")):
        changed = await world.send("POST", f"{path}/{verb}", None if verb == "reopen" else UNTIL)
        assert (changed["state"], changed["epic"]) == (state, {"source": driver.kind, "key": key})
        await world.drain()
        after = await driver.epic(key)
        assert (after["alignment"], after["notice"]) == ("unaligned", before["notice"])
    assert len(driver.comments(key)) == 1


@on_either("jira")
async def test_a_command_on_the_ticket_snoozes_what_the_ticket_shows(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    key = await _posted(driver)

    async def snooze(id: str) -> str | None:
        comment = TicketComment(
            id=id, lines=text_lines("/northing snooze 3d"), author="x", ours=False, may_steer=True
        )
        async with runtime.sessions.begin() as session:
            epic = await session.get_one(EpicRow, 1)
            source = await session.get_one(SourceRow, epic.source_id)
            loader, now = runtime.evaluation_context, await runtime.now(session)
            result = await execute_commands(session, source, epic, comment, loader, now, runtime.checks)
            assert result is not None
            assert result.evaluate
        return (await command_comments(runtime))[-1][1]

    assert await snooze("1") is None
    states = {one["check"]: one["state"] for one in (await driver.epic(key))["findings"]}
    assert states == {"no-key-result": "snoozed", "no-area": "open"}
    await world.send("POST", "/links", {"epic": {"source": driver.kind, "key": key}, "key_result": "KR-1"})
    await world.drain()
    assert await snooze("2") == "There is nothing to snooze here."
    answered = await driver.epic(key)
    assert {one["check"]: one["state"] for one in answered["findings"]}["no-area"] == "open"
    # Its waiver is not on the ticket, so the answer there stays.
    await world.send("POST", f"/findings/{(await _third(driver, key))['id']}/waive", UNTIL)
    answers = [answer for _, answer, _ in await command_comments(runtime)]
    assert answers == [None, "There is nothing to snooze here."]


# --- a goal -------------------------------------------------------------------------------------


async def _goals(world: World) -> None:
    """An objective without owner, and a key result of another one that is not named yet."""
    await world.send("POST", "/objectives", {"key": "O-1", "title": "Growth"})
    await world.goal("KR-9", "To do", owner="Ada")


async def test_findings_on_goals(world: World, runtime: Runtime, clock: Clock) -> None:
    await _goals(world)
    await sweep(runtime)
    objective, key_result = await _findings(world, "about=goal")
    assert objective == {
        "id": objective["id"],
        "check": "no-owner",
        "state": "open",
        "severity": "info",
        "epic": None,
        "goal": "O-1",
        "source": None,
        "detail": "O-1 has no owner.",
        "opened_at": _z(NOON),
        "resolved_at": None,
        "until": None,
        "reason": None,
        "by": None,
        "changed_at": None,
    }
    assert (key_result["goal"], key_result["detail"]) == ("KR-9", "KR-9 is not named yet.")

    clock.advance(hours=1)
    await sweep(runtime)
    assert await _findings(world, "about=goal") == [objective, key_result], "what stays keeps its opening"
    await world.send("PATCH", "/objectives/O-1", {"owner": "Grace"})
    await world.send("PATCH", "/key-results/KR-9", {"title": "Checkout conversion"})
    await sweep(runtime)
    resolved = await _findings(world, "about=goal")
    assert [(one["state"], one["resolved_at"]) for one in resolved] == [("resolved", _z(clock()))] * 2
    clock.advance(hours=1)
    await world.send("PATCH", "/objectives/O-1", {"owner": None})
    await sweep(runtime)
    (again,) = await _findings(world, "about=goal&state=open")
    assert again == {**objective, "opened_at": _z(clock())}


async def test_only_changes_are_written(world: World, runtime: Runtime, clock: Clock) -> None:
    await _goals(world)
    await sweep(runtime)
    before = await all_of(runtime, "SELECT id, xmin::text, xmax::text FROM findings ORDER BY id")
    clock.advance(days=1)
    await sweep(runtime)
    assert await all_of(runtime, "SELECT id, xmin::text, xmax::text FROM findings ORDER BY id") == before


async def test_callers_at_once_open_each_finding_once(world: World, runtime: Runtime) -> None:
    await _goals(world)

    async def evaluate() -> None:
        async with runtime.sessions.begin() as session:
            await evaluate_goals_and_sources(session, await runtime.now(session), runtime.checks)

    await asyncio.gather(*(evaluate() for _ in range(5)))
    assert [one["goal"] for one in await _findings(world, "about=goal")] == ["O-1", "KR-9"]


async def test_a_person_waives_snoozes_and_reopens(world: World, runtime: Runtime, clock: Clock) -> None:
    await _goals(world)
    await sweep(runtime)
    found = (await _findings(world, "about=goal"))[0]
    path = f"/findings/{found['id']}"
    waived = await world.send("POST", f"{path}/waive", UNTIL)
    answered = {"reason": "Agreed", "by": "admin token", "changed_at": _z(clock())}
    assert waived == {**found, "state": "waived", "until": "2027-01-01T00:00:00Z", **answered}
    await sweep(runtime)
    assert await _findings(world, "about=goal&state=waived") == [waived], "an evaluation keeps it"
    assert (await world.send("POST", f"{path}/snooze", UNTIL))["state"] == "snoozed"
    assert await world.send("POST", f"{path}/reopen") == found
    assert await world.send("GET", "/runs") == {"items": [], "next": None}, "there is no epic to evaluate"
    log = (await world.send("GET", "/audit-log?limit=3"))["items"]
    assert {(one["what"], one["key"]) for one in log} == {("finding", "O-1 no-owner")}

    await world.send("POST", f"{path}/snooze", {"until": "2026-11-20"})
    clock.now = datetime(2026, 11, 20, 23, 59, tzinfo=UTC)
    await sweep(runtime)
    assert [one["id"] for one in await _findings(world, "about=goal&state=snoozed")] == [found["id"]]
    clock.advance(minutes=1)
    await sweep(runtime)
    assert (await _findings(world, "about=goal"))[0] == found, "time ends it, and the opening stays"

    await world.send("PATCH", "/objectives/O-1", {"owner": "Grace"})
    await sweep(runtime)
    await world.send("POST", f"{path}/waive", UNTIL, expect=409)
    await world.send("DELETE", "/objectives/O-1")
    assert [one["goal"] for one in await _findings(world, "about=goal")] == ["KR-9"]
    await world.send("POST", f"{path}/waive", UNTIL, expect=404)


# --- a source -----------------------------------------------------------------------------------


async def test_a_finding_on_a_source(world: World, runtime: Runtime, clock: Clock) -> None:
    await world.connect_jira()
    await world.sync("jira")
    await sweep(runtime)
    assert await _findings(world, "about=source") == []
    clock.advance(days=2)
    await sweep(runtime)
    (found,) = await _findings(world, "about=source")
    assert (found["check"], found["source"], found["severity"]) == ("unread", "jira", "error")
    assert (found["epic"], found["goal"], found["opened_at"]) == (None, None, _z(clock()))
    assert await _findings(world, "source=JIRA") == [found]
    assert (await world.send("POST", f"/findings/{found['id']}/snooze", UNTIL))["state"] == "snoozed"
    await world.sync("jira")
    await sweep(runtime)
    assert [one["state"] for one in await _findings(world, "about=source")] == ["resolved"]
    clock.advance(days=2)
    await sweep(runtime)
    assert await _findings(world, "about=source") == [{**found, "opened_at": _z(clock())}]
    await world.send("DELETE", "/sources/jira")
    await world.drain()
    assert await _findings(world, "about=source") == []


# --- the policy and the registry ----------------------------------------------------------------


def _named_as_in_the_policy(about: str) -> Check[Any]:
    """A check that always finds a gap. The policy knows only the names of the checks of this version."""
    return Check(name="closed-goal", about=cast("About", about), find=lambda facts, now: "A gap.")


async def test_a_check_that_the_policy_turns_off_asks_no_goal(world: World, runtime: Runtime) -> None:
    await _goals(world)
    runtime = replace(runtime, checks=(_named_as_in_the_policy("goal"),))
    await sweep(runtime)
    assert [one["state"] for one in await _findings(world, "about=goal")] == ["open"] * 3
    await world.send("PATCH", "/policy", {"checks": {"closed-goal": {"on": False}}})
    await sweep(runtime)
    assert [one["state"] for one in await _findings(world, "about=goal")] == ["resolved"] * 3


async def test_a_scope_of_the_policy_counts_for_its_source_alone(world: World, runtime: Runtime) -> None:
    await world.connect_jira()
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    off = {"source": "jira", "checks": {"closed-goal": {"on": False}}}
    loud = {"source": "github", "checks": {"closed-goal": {"severity": "error"}}}
    await world.send("PATCH", "/policy", {"scopes": [off, loud]})
    await sweep(replace(runtime, checks=(_named_as_in_the_policy("source"),)))
    found = await _findings(world, "about=source")
    assert [(one["source"], one["severity"]) for one in found] == [("github", "error")]


async def test_findings_of_a_check_that_left_the_registry_resolve(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _goals(world)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    clock.advance(days=2)
    await sweep(runtime)
    assert [one["check"] for one in await _findings(world, "state=open")] == [
        "no-key-result",
        "no-area",
        "no-owner",
        "no-owner",
        "unread",
    ]
    # Another check about goals stays, which then asks nothing of sources.
    other = Check(name="no-driver", about="goal", find=lambda facts, now: None)
    await sweep(replace(runtime, checks=(*CHECKS, UNREAD, other)))
    assert [one["state"] for one in await _findings(world, "about=goal")] == ["resolved", "resolved"]
    assert [one["state"] for one in await _findings(world, "about=source")] == ["open"]
    runtime = replace(runtime, checks=CHECKS)
    await sweep(runtime)
    assert [one["state"] for one in await _findings(world, "about=source")] == ["resolved"]
    # That on the epic, at its next evaluation.
    assert [one["check"] for one in await _findings(world, "state=open")] == ["no-key-result", "no-area"]
    async with runtime.sessions.begin() as session:
        changed = await open_evaluation(session, await session.get_one(EpicRow, 1), clock())
    await pipeline.evaluate_now(runtime, changed.run_id, [1])
    assert [one["check"] for one in await _findings(world, "state=open")] == ["no-key-result"]


async def test_a_check_that_raises_keeps_no_dead_job(world: World, runtime: Runtime) -> None:
    await _goals(world)
    async with runtime.sessions.begin() as session:
        await session.execute(
            text(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status)"
                " VALUES ('default', 'execute_run', 'doing')"
            )
        )

    def fails(facts: GoalFacts, now: datetime) -> str | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sweep(replace(runtime, checks=(Check(name="fails", about="goal", find=fails),)))
    assert await all_of(runtime, "SELECT id FROM procrastinate_jobs WHERE status = 'doing'") == []


@pytest.mark.parametrize(
    ("states", "snoozed"),
    [
        (("open", "open"), "no-key-result"),
        (("snoozed", "open"), "no-area"),
        (("resolved", "open"), "no-area"),
        (("waived", "snoozed"), "no-key-result"),  # neither is open: the first of the registry
        (("disputed", "snoozed"), None),  # an editor decides that one
    ],
)
async def test_of_two_checks_on_tickets_a_command_snoozes_the_shown_finding(
    world: World, runtime: Runtime, states: tuple[str, str], snoozed: str | None
) -> None:
    area = replace(NO_AREA, channel="comment", words=CHECKS[0].words)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    until = NOON + timedelta(days=3)
    async with runtime.sessions.begin() as session:
        # Changed in turn, so that the first of the registry is the last in the table.
        for name, state in zip(("no-area", "no-key-result"), reversed(states), strict=True):
            changed = update(FindingRow).where(FindingRow.check == name).values(state=state)
            await session.execute(changed)
    async with runtime.sessions.begin() as session:
        before = await change_shown(session, 1, (*CHECKS, area), "snoozed", until, "Later", NOON)
    assert before == (states[0] if states[0] in ("waived", "disputed") else "open")
    found = await _findings(world, "state=snoozed")
    changed_now = [one["check"] for one in found if one["reason"] == "Later"]
    assert changed_now == ([snoozed] if snoozed else [])


# --- beside each other --------------------------------------------------------------------------


async def test_lists_hold_what_the_findings_are_about(world: World, runtime: Runtime, clock: Clock) -> None:
    await _goals(world)
    world.site.create("SHOP", "An epic", labels=["area:shop"])
    await world.connect_jira()
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("jira")
    await world.sync("github")
    clock.advance(days=2)
    await sweep(runtime)
    for query, things in (
        ("about=epic", ["SHOP-1"]),
        ("about=goal", ["O-1", "KR-9"]),
        ("about=source", ["jira", "github"]),
        ("", ["SHOP-1", "O-1", "KR-9", "jira", "github"]),
        ("source=jira", ["SHOP-1", "jira"]),
        ("source=jira&about=goal", []),
        ("check=no-key-result", ["SHOP-1"]),
    ):
        items = await _findings(world, query)
        assert [(one["epic"] or {}).get("key") or one["goal"] or one["source"] for one in items] == things
    page = await world.send("GET", "/findings?about=goal&limit=1")
    rest = await world.send("GET", f"/findings?cursor={page['next']}")
    assert [one["goal"] for one in page["items"] + rest["items"]] == ["O-1", "KR-9"]
    page = await world.send("GET", "/findings?source=jira&limit=1")
    rest = await world.send("GET", f"/findings?cursor={page['next']}")
    assert ([one["epic"] is None for one in page["items"] + rest["items"]], rest["next"]) == (
        [False, True],
        None,
    )
    assert "about" in await world.refused("GET", "/findings?about=person")
    epics = (await world.send("GET", "/epics"))["items"]
    assert [[one["check"] for one in epic["findings"]] for epic in epics] == [["no-key-result"]]
    assert (await world.send("GET", "/sources/jira"))["health"]["state"] == "ok"


async def test_the_registry_of_today_evaluates_no_goal_and_no_source(runtime: Runtime, world: World) -> None:
    await _goals(world)
    await sweep(replace(runtime, checks=CHECKS))
    assert await _findings(world, "") == []


@pytest.mark.parametrize(
    "things",
    [
        {},
        {"objective_id": 1, "key_result_id": 1},
        {"epic_id": 1, "source_id": 1},
    ],
)
async def test_a_finding_is_on_one_thing(world: World, runtime: Runtime, things: dict[str, int]) -> None:
    await _goals(world)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    finding = FindingRow(check="no-owner", state="open", severity="info", detail="", opened_at=NOON, **things)
    with pytest.raises(IntegrityError, match="ck_findings_one_thing"):
        async with runtime.sessions.begin() as session:
            session.add(finding)


async def test_a_check_has_one_finding_on_each_thing(world: World, database_url: str) -> None:
    await _goals(world)
    await world.connect_jira()
    for column in ("objective_id", "key_result_id", "source_id"):
        statement = (
            f'INSERT INTO findings ({column}, "check", state, severity, detail, opened_at)'
            " VALUES (1, 'no-owner', 'open', 'info', '', now())"
        )
        with psycopg.connect(database_url) as connection:
            connection.execute(statement)
        with (
            psycopg.connect(database_url) as connection,
            pytest.raises(psycopg.errors.UniqueViolation, match=f"uq_findings_{column}_check"),
        ):
            connection.execute(statement)


async def test_a_step_back_and_forth_keeps_the_findings_on_epics(
    world: World, runtime: Runtime, database_url: str
) -> None:
    await _goals(world)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    await sweep(runtime)
    on_epics = await _findings(world, "about=epic")
    await asyncio.to_thread(downgrade, database_url, "2026_11_28_0001")
    await asyncio.to_thread(migrate, database_url)
    assert await _findings(world, "") == on_epics != []
    await sweep(runtime)
    assert [one["goal"] for one in await _findings(world, "about=goal")] == ["O-1", "KR-9"]
