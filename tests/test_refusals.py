"""Other people's tickets: comments deleted, doubled, not ours to edit, and tickets closed to us."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline, writing
from app.inbox import take_deliveries
from app.jobs import sweep
from app.runtime import Runtime
from connectors.sandbox import faults
from mappings import claims
from mappings.cases import may_be_on_ticket
from mappings.pauses import REFUSED_REST
from mappings.tables import Notice
from tests.conftest import Clock
from tests.heard import deliveries, doors
from tests.sides import GitHubSide, JiraSide, Side, on_jira, side_of
from tests.synced import all_of, health, later
from tests.world import World

MISSING = "This epic is not linked to a key result."
ALIGNED = "Aligned with KR-1 (Checkout conversion). Thank you."
WITHDRAWN = "Withdrawn. Sorry for the noise."
DELETES = "DELETE *comment*"
OTHER_ID = "0b9f4a34-0000-4000-8000-000000000000/1"
FORBIDDEN = faults.answer(403, {"message": "Not you.", "errorMessages": ["Not you."]})


async def link(side: Side, key: str) -> None:
    epic = {"source": side.kind, "key": key}
    await side.world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    await side.world.drain()


async def state(side: Side, key: str) -> tuple[str, str | None, int]:
    """The notice's state and reason, and how many comments stand on the ticket."""
    notice = await side.notice(key)
    return notice["state"], notice["reason"], len(side.comments(key))


# --- somebody deletes our comment -------------------------------------------------------------------


@on_jira
async def test_a_new_opening_may_be_said_again_once_under_the_guard(side: Side, clock: Clock) -> None:
    world, key = side.world, side.add()
    await side.sync()
    side.delete_comments(key)
    clock.advance(hours=1)
    side.describe(key, "Key-Result: KR-99")
    await side.sync()
    assert await state(side, key) == ("withdrawn", "deleted_on_ticket", 0)
    held = {"notices": {"per_run": 0}}
    await world.send("PATCH", f"/sources/{side.kind}", held)
    for text in ("Key-Result: KR-1", "Words."):
        clock.advance(days=1)
        side.describe(key, text)
        await side.sync()
    assert await state(side, key) == ("held", "guard", 0)
    await world.send("POST", "/notices/approve", {"ids": [(await side.notice(key))["id"]]})
    await world.drain()
    assert await state(side, key) == ("posted", None, 1)
    side.delete_comments(key)
    for number in range(2):
        clock.advance(days=1)
        side.describe(key, f"Key-Result: KR-9{number}")
        await side.sync()
    assert await state(side, key) == ("withdrawn", "deleted_on_ticket", 0)
    assert side.tracker.log.count(side.creates) == 2


@dataclass
class DeletedAtOnce:
    """The tracker does the work; before its answer goes out a person deletes the comment, and we hear it."""

    side: Side
    key: str
    runtime: Runtime

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await faults.answer_of(app, scope, receive)
        self.side.delete_comments(self.key)
        await self.side.tracker.hook.idle()
        for (source_id,) in await all_of(self.runtime, "SELECT id FROM sources"):
            await take_deliveries(self.runtime, source_id)
        await send(start)
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def heard(side: Side, applications: list[FastAPI]) -> AsyncIterator[Side]:
    """The same, and the tracker tells of every change."""
    secret = {"webhook_secret": "a secret of the tracker's"}
    await side.world.send("PATCH", f"/sources/{side.kind}", secret)
    async with doors(applications[0], side.world):
        yield side


@pytest.mark.parametrize(("side", "when"), [("jira", "created"), ("github", "edited")], indirect=["side"])
async def test_deleted_before_we_know_that_it_stands_there(
    heard: Side, runtime: Runtime, clock: Clock, when: str
) -> None:
    side, key = heard, heard.add()
    if when == "edited":
        await side.sync()
        clock.advance(minutes=1)
    wanted = side.creates if when == "created" else side.edits
    strike = side.tracker.faults.add(wanted, DeletedAtOnce(side, key, runtime))
    await (side.sync() if when == "created" else link(side, key))
    assert strike.struck == 1
    for _ in range(2):  # our own echo, then what we were told while we wrote
        await side.tracker.hook.idle()
        await later(side.world, runtime, clock, seconds=3)
    assert await state(side, key) == ("withdrawn", "deleted_on_ticket", 0)
    assert {one["state"] for one in await deliveries(side.world, side.kind)} <= {"done", "ignored"}
    clock.advance(hours=1)
    side.describe(key, "Changed.")
    await side.sync("full")
    assert await state(side, key) == ("withdrawn", "deleted_on_ticket", 0)
    assert side.tracker.log.count(side.creates) == 1


def test_what_was_deleted_leaves_no_request_to_look_for(clock: Clock) -> None:
    """Whoever died editing it left a mark; a new comment would pass the guard by that."""
    notice = Notice(remote_id="1", state="posted", unanswered_at=clock(), claimed_by=None)
    claims.deleted_on_ticket(notice, clock())
    assert not may_be_on_ticket(notice)


# --- two comments of ours, and others that look like it ------------------------------------------------


def empty_list() -> faults.Action:
    """The tracker does not show the new comment yet."""
    return faults.rewrite(lambda body: [] if isinstance(body, list) else {**body, "comments": [], "total": 0})


def others_that_look_like_ours(side: Side, key: str) -> list[str]:
    """By our own account: another installation's notice, a person's copy and quotation of ours; their ids."""
    if isinstance(side, JiraSide):
        ours, theirs = side.site.issue(key).comments[0], {"northing": {"id": OTHER_ID}}
        made = [
            side.site.comment(key, "Theirs.", side.site.bot, theirs),
            side.site.comment(key, copy.deepcopy(ours.body), side.site.bot),
        ]
        return [one.id for one in made]
    assert isinstance(side, GitHubSide)
    body = side.host.issue(key).comments[0].body
    head = f"<!-- northing:notice -->\n<!-- northing:id {OTHER_ID} -->"
    quoted = "\n".join(f"> {line}" for line in body.splitlines())
    texts = [f"{head}\n\nTheirs.", f"See this:\n{body}", f"{quoted}\n\nIs that so?"]
    return [str(side.host.comment(key, text, side.host.bot).id) for text in texts]


@pytest.mark.parametrize(
    ("side", "allowed"),
    [("github", "deleting"), ("jira", "editing"), ("github", "neither")],
    indirect=["side"],
)
async def test_of_two_comments_of_ours_the_oldest_stays(
    side: Side, runtime: Runtime, clock: Clock, allowed: str
) -> None:
    """Two answers are lost, and in between the tracker does not show what the first one did."""
    world, key = side.world, side.add()
    side.tracker.faults.add(side.creates, faults.lose_answer(), times=2)
    side.tracker.faults.add(side.looks, empty_list(), times=2)
    await side.sync()
    (oldest,) = side.comment_ids(key)  # of which nobody knows yet
    others = others_that_look_like_ours(side, key)
    looked_like = side.comments(key)[1:]
    side.describe(key, "Key-Result: KR-99")
    await side.sync()  # so that the second says something else
    await later(world, runtime, clock, seconds=61)
    assert len(side.comments(key)) == 2 + len(others)
    if allowed != "deleting":
        side.tracker.faults.add(DELETES, FORBIDDEN, times=None)
    if allowed == "neither":
        side.tracker.faults.add(side.edits, FORBIDDEN, times=None)
    await later(world, runtime, clock, seconds=61)
    ids, texts = side.comment_ids(key), side.comments(key)
    assert ids[: 1 + len(others)] == [oldest, *others]
    assert texts[1 : 1 + len(others)] == looked_like
    left = texts[1 + len(others) :]
    if allowed == "neither":
        assert ["KR-99" in text for text in left] == [True]
    else:
        assert "KR-99" in texts[0]
        assert left == ([] if allowed == "deleting" else [WITHDRAWN])
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert notice["url"].endswith(oldest)
    side.tracker.faults.clear()
    await link(side, key)
    assert side.comments(key)[: 1 + len(others)] == [ALIGNED, *looked_like]
    assert side.tracker.log.count(side.creates) == 2


async def test_a_second_comment_goes_whenever_ours_is_edited(side: Side) -> None:
    """However it came to stand there: the one that we know stays."""
    key = side.add()
    await side.sync()
    (ours,) = side.comment_ids(key)
    if isinstance(side, JiraSide):
        first = side.site.issue(key).comments[0]
        side.site.comment(key, copy.deepcopy(first.body), side.site.bot, dict(first.properties))
    elif isinstance(side, GitHubSide):
        side.host.comment(key, side.host.issue(key).comments[0].body, side.host.bot)
    assert len(side.comments(key)) == 2
    await link(side, key)
    assert (side.comment_ids(key), side.comments(key)) == ([ours], [ALIGNED])


# --- a comment of ours that we may not edit ------------------------------------------------------------


def give_to(side: Side, key: str, name: str | None) -> None:
    """The source has other credentials since the comment was made, say; None: its own again."""
    if isinstance(side, JiraSide):
        account = side.site.bot if name is None else side.site.account(name)
        side.site.issue(key).comments[0].author = account
    elif isinstance(side, GitHubSide):
        side.host.issue(key).comments[0].author = side.host.bot if name is None else side.host.account(name)


@pytest.mark.parametrize(("side", "answer"), [("jira", "was lost"), ("github", "came")], indirect=["side"])
async def test_another_accounts_comment_is_never_joined_by_a_second(
    side: Side, runtime: Runtime, clock: Clock, answer: str
) -> None:
    world, key = side.world, side.add()
    if answer == "was lost":
        side.tracker.faults.add(side.creates, faults.lose_answer())
    await side.sync()
    give_to(side, key, "somebody-else")
    text = side.comments(key)
    side.describe(key, "Key-Result: KR-99")
    await side.sync()
    for number in range(2):
        await later(world, runtime, clock, minutes=61)
        notice = await side.notice(key)
        assert (notice["state"], notice["pending"]) == ("failed", False)
        assert notice["detail"]
        assert (notice["detail"].startswith(writing.FOREIGN)) == (answer == "was lost")
        side.describe(key, f"Key-Result: KR-{90 + number}")
        await side.sync("full" if number else "incremental")
    assert side.comments(key) == text
    give_to(side, key, None)
    await later(world, runtime, clock, minutes=61)
    assert "KR-91" in side.comments(key)[0]
    assert await state(side, key) == ("posted", None, 1)
    assert side.tracker.log.count(side.creates) == 1


async def test_a_token_without_the_scope_does_not_make_us_forget_our_comment(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """GitHub says of a comment that a classic token may not change what it says of one that is gone."""
    side = GitHubSide(world)
    world.host.repository("acme/shop").private = False
    await world.goal("KR-1", "Checkout conversion")
    await side.connect()
    key, other = side.add(), side.add()
    run = await side.sync()
    world.host.scopes["northing-bot"] = "read:user"
    new = side.add()
    await side.sync()
    notice = await side.notice(new)
    assert (notice["state"], "no comment written there" in notice["detail"]) == ("failed", True)
    await link(side, key)
    notice = await side.notice(key)
    assert (notice["state"], "does not let us change it" in notice["detail"]) == ("failed", True)
    await world.send("POST", f"/runs/{run['id']}/withdraw", {"delete": True})
    await world.drain()
    assert (await state(side, other))[::2] == ("failed", 1)
    world.host.scopes["northing-bot"] = "repo"
    await later(world, runtime, clock, minutes=61)
    assert side.comments(key) == side.comments(other) == [WITHDRAWN]  # deleting was refused
    assert await state(side, new) == ("posted", None, 1)
    assert side.tracker.log.count(side.creates) == 4


# --- tickets closed to us ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Closed:
    """`close` (or, with False, open again) a ticket to us; `says` stands in the notice's detail."""

    kind: str
    close: Callable[[Any, str, bool], None]
    says: str


def archive_repository(side: GitHubSide, key: str, closed: bool) -> None:
    side.host.repository("acme/shop").archived = closed


CLOSED = {
    "locked": Closed("github", lambda side, key, on: side.host.lock(key, locked=on), "issue is locked"),
    "archived repository": Closed("github", archive_repository, "Repository was archived"),
    "archived project": Closed(
        "jira",
        lambda side, _, on: side.site.archive("SHOP", archived=on),
        "do not have the permission to edit",
    ),
    "security level": Closed(
        "jira", lambda side, key, on: side.site.close_to_bot(key, closed=on), "may no longer see it"
    ),
}


@pytest.mark.parametrize("how", CLOSED)
async def test_a_closed_ticket_fails_and_says_why(
    world: World, runtime: Runtime, clock: Clock, how: str
) -> None:
    case, side = CLOSED[how], side_of(world, CLOSED[how].kind)
    await world.goal("KR-1", "Checkout conversion")
    await side.connect()
    key, new = side.add(), None
    await side.sync()
    if how != "security level":  # then the new one could not be read, and would be held as stale
        new = side.add()
        side.tracker.faults.add(side.reads, faults.first(lambda: case.close(side, new, True)))
        run = await side.sync()
        assert (run["writes"]["failed"], run["writes"]["pending"]) == (1, 0)
        notice = await side.notice(new)
        assert (notice["state"], notice["pending"], side.comments(new)) == ("failed", False, [])
    case.close(side, key, True)
    await link(side, key)
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"], case.says in notice["detail"]) == ("failed", False, True)
    assert MISSING in side.comments(key)[0]
    for each in filter(None, (key, new)):
        case.close(side, each, False)
    await later(world, runtime, clock, minutes=61)
    assert side.comments(key) == [ALIGNED]
    assert await state(side, key) == ("resolved", None, 1)
    assert side.tracker.log.count(side.creates) == (1 if new is None else 3)


# --- the same refusal on many tickets -----------------------------------------------------------------


def shut(side: Side, keys: list[str], shut: bool = True) -> None:
    """No new comment in the first project: Jira's permission, GitHub's locks."""
    if isinstance(side, JiraSide):
        (side.site.denied.add if shut else side.site.denied.discard)(("ADD_COMMENTS", "SHOP"))
    elif isinstance(side, GitHubSide):
        for key in keys:
            side.host.lock(key, locked=shut)


async def stops(runtime: Runtime) -> list[tuple[Any, ...]]:
    return await all_of(
        runtime,
        "SELECT key, writes_stopped_at, writes_stopped_why FROM source_projects"
        " WHERE writes_stopped_at IS NOT NULL",
    )


async def refused_in(side: Side, other: str) -> list[str]:
    """Seven tickets of a project in which all are refused, one of another; the seven."""
    if isinstance(side, JiraSide):
        side.site.add_project(other, "Other")
    elif isinstance(side, GitHubSide):
        side.host.add_repository(other)
        scope = {"scope": {"repositories": ["acme/shop", other]}}
        await side.world.send("PATCH", "/sources/github", scope)
    keys, elsewhere = [side.add() for _ in range(7)], side.add(project=other)
    shut(side, keys)
    run = await side.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"], run["writes"]["pending"]) == (5, 1, 2)
    assert len(side.comments(elsewhere)) == 1
    return keys


async def race(runtime: Runtime) -> None:
    """What waits behind the barrier is let go, and three workers write at once."""
    await sweep(runtime)
    for (run_id,) in await all_of(runtime, "SELECT id FROM runs WHERE state = 'queued'"):
        await pipeline.carry_out(runtime, run_id)
    ((source_id,),) = await all_of(runtime, "SELECT id FROM sources")
    await asyncio.gather(*(pipeline.write_tickets(runtime, source_id) for _ in range(3)))


@pytest.mark.parametrize(
    ("side", "lifted_by"), [("jira", "a change"), ("github", "a success")], indirect=["side"]
)
async def test_five_refusals_stop_the_project_and_no_other(
    side: Side, runtime: Runtime, clock: Clock, lifted_by: str
) -> None:
    world, other = side.world, {"jira": "OPS", "github": "acme/ops"}[side.kind]
    keys = await refused_in(side, other)
    ((project, since, why),) = await stops(runtime)
    assert (project, since) == ({"jira": "SHOP", "github": "acme/shop"}[side.kind], clock())
    assert why in {(await side.notice(key))["detail"] for key in keys}
    shown = await health(world, side.kind)
    assert (shown["state"], f"Nothing is written in {project}" in shown["message"]) == ("degraded", True)
    assert "PATCH" in shown["what_to_do"]

    before, creates = side.tracker.log.count(), side.tracker.log.count(side.creates)
    for _ in range(10):  # the refused are judged again after an hour, and wait with the others
        await later(world, runtime, clock, hours=2)
    assert side.tracker.log.count() == before
    new = side.add(project=other)
    await side.sync()
    assert (len(side.comments(new)), side.tracker.log.count(side.creates)) == (1, creates + 1)

    clock.now = since + REFUSED_REST
    await race(runtime)
    assert side.tracker.log.count(side.creates) == creates + 2
    assert [at for _, at, _ in await stops(runtime)] == [clock()]
    shut(side, keys, shut=False)
    for _ in range(3):
        await later(world, runtime, clock, hours=7)
    assert side.tracker.log.count(side.creates) == creates + 2
    if lifted_by == "a change":
        await world.send("PATCH", f"/sources/{side.kind}", {"schedule": {"full": None}})
        await later(world, runtime, clock, seconds=15)
    else:
        clock.advance(hours=3)
        await race(runtime)
    assert await stops(runtime) == []
    await later(world, runtime, clock, minutes=61)
    assert [len(side.comments(key)) for key in keys] == [1] * 7
    await side.sync()
    assert (await health(world, side.kind))["state"] == "ok"


async def test_a_stopped_project_takes_no_slots_of_the_day_from_others(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    side = JiraSide(world)
    world.site.add_project("OPS", "Operations")
    await side.connect(notices={"per_day": 6})
    locked = [side.add() for _ in range(8)]
    shut(side, locked)
    await side.sync()
    others = [side.add(project="OPS") for _ in range(3)]
    for _ in range(2):
        await side.sync()
        await later(world, runtime, clock, hours=12)
    assert [len(side.comments(key)) for key in others] == [1] * 3
    # Once it takes comments again they come by the day's measure.
    shut(side, locked, shut=False)
    for _ in range(4):
        await later(world, runtime, clock, hours=12)
    assert 0 < sum(len(side.comments(key)) for key in locked) <= 8


async def test_who_was_refused_does_not_keep_the_others_waiting_for_ever(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Five tickets stay locked. A day later one is tried that was not refused before; the others follow."""
    side = GitHubSide(world)
    await side.connect()
    locked = [side.add() for _ in range(5)]
    shut(side, locked)
    fine = [side.add() for _ in range(3)]
    await side.sync()
    assert len(await stops(runtime)) == 1
    await later(world, runtime, clock, hours=2)
    await later(world, runtime, clock, hours=22)
    assert [len(side.comments(key)) for key in fine] == [1, 1, 1]
    assert [len(side.comments(key)) for key in locked] == [0] * 5


@on_jira
async def test_the_same_refusal_in_five_projects_stops_nothing(
    side: JiraSide, runtime: Runtime, clock: Clock
) -> None:
    projects = ["SHOP", "CORE", "OPS", "PAY", "WEB"]
    for project in projects:
        if project != "SHOP":
            side.site.add_project(project, project)
        side.site.denied.add(("ADD_COMMENTS", project))
        side.add(project=project)
    run = await side.sync()
    assert (run["writes"]["failed"], await stops(runtime)) == (5, [])
    details = await all_of(runtime, "SELECT DISTINCT detail FROM notices WHERE state = 'failed'")
    assert len(details) == 1
    clock.advance(hours=1)
    await sweep(runtime)
    await side.world.drain()
    assert side.tracker.log.count(side.creates) == 10
