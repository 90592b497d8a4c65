"""Many Jira projects: searched together when little has changed, read side by side at first."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from sqlalchemy import select, update

from app.runtime import Runtime
from app.sync.progress import to_its_end
from app.sync.projects import MOST_REFUSED
from connectors.base import Epic, Project, Start
from connectors.jira import search
from connectors.sandbox.faults import answer, rewrite
from connectors.sandbox.jira.jql import parse
from connectors.sandbox.jira.records import Issue
from connectors.sandbox.jira.site import JiraSite
from connectors.side_by_side import side_by_side
from mappings.sources.projects import SETTLED_AFTER
from mappings.tables import SourceProjectRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.runs import counts
from tests.support.tracker_requests import Pause, listings, searches
from tests.support.world import OFF, World

MANY = 200
QUIET = 5  # requests


def _projects(world: World, number: int) -> list[str]:
    """So many projects with an epic each, the newest a day old."""
    keys = [f"P{index}" for index in range(number)]
    for index, key in enumerate(keys):
        world.site.add_project(key, f"Project {index}")
        age = timedelta(days=1, hours=7 * index % 97)
        world.site.create(key, f"Epic of {key}", created=world.site.clock() - age)
    return keys


async def _connected(
    world: World, clock: Clock, number: int, scope: dict[str, Any] | None = None
) -> list[str]:
    """The keys of so many projects, which are named in the scope, if it is not given, and read."""
    keys = _projects(world, number)
    clock.advance(minutes=1)
    await world.connect_jira(notices=OFF, scope={"projects": keys} if scope is None else scope)
    clock.advance(minutes=1)
    run = await world.sync("jira")
    assert (run["state"], run["created"]) == ("succeeded", number)
    clock.advance(minutes=15)
    world.jira.log.clear()
    return keys


def _problems(run: Any) -> str:
    return str((run["error"] or {}).get("message", ""))


# --- a quiet sync ---------------------------------------------------------------------------------


@pytest.mark.database
async def test_a_quiet_sync_of_many_projects_costs_five_requests(world: World, clock: Clock) -> None:
    keys = await _connected(world, clock, MANY)

    run = await world.sync("jira")

    lines = [entry.line for entry in world.jira.log.matching("*")]
    assert (run["state"], run["error"], len(lines) <= QUIET) == ("succeeded", None, True), lines
    assert run["requests"] == len(lines)
    # The newest project alone is searched with the overlap: its ticket shows that the login is valid.
    assert counts(run) == (1, 0, 0, 0, 0)

    clock.advance(minutes=15)
    for key in (keys[3], keys[150]):
        world.site.edit(f"{key}-1", summary="Changed")
    world.site.create(keys[7], "New")
    world.jira.log.clear()
    run = await world.sync("jira")
    assert (run["state"], run["updated"], run["created"]) == ("succeeded", 2, 1)
    assert len(searches(world.jira)) == 1
    clock.advance(minutes=15)
    world.jira.log.clear()
    quiet = await world.sync("jira")
    assert (counts(quiet)[1:], world.jira.log.count() <= QUIET) == ((0, 0, 0, 0), True)


@pytest.mark.database
async def test_projects_without_an_epic_cost_no_request_of_their_own(world: World, clock: Clock) -> None:
    """Most sites have many; and the first epic of one is found as any other is."""
    for key in ("NONE1", "NONE2", "NONE3"):
        world.site.add_project(key, key)
    await _connected(world, clock, 3)
    await world.send("PATCH", "/sources/jira", {"scope": {"projects": None}})
    clock.advance(minutes=1)
    await world.sync("jira", "full")
    clock.advance(minutes=15)
    world.jira.log.clear()

    run = await world.sync("jira")
    lines = [entry.line for entry in world.jira.log.matching("*")]
    assert (run["state"], len(searches(world.jira)), len(lines) <= QUIET) == ("succeeded", 1, True), lines

    # Older than what the other projects have: it was moved there, or the account may see it at last.
    world.site.create("NONE2", "First", created=clock.now - timedelta(days=30))
    run = await world.sync("jira")
    assert (run["created"], (await world.epic("jira", "NONE2-1"))["title"]) == (1, "First")
    world.jira.log.clear()
    await world.sync("jira")
    assert len(searches(world.jira)) == 1


@pytest.mark.database
async def test_projects_read_side_by_side_share_one_question_about_types(world: World) -> None:
    """The answer is held until all that can be asked beside it is asked."""
    _projects(world, 6)
    await world.connect_jira(notices=OFF)
    held = Pause()
    world.jira.faults.add("GET */issuetype", held)
    syncing = asyncio.create_task(world.sync("jira"))
    await held.reached.wait()
    for _ in range(200):
        await asyncio.sleep(0)
    assert world.jira.log.count("GET */issuetype") == 1
    held.go_on.set()
    run = await syncing
    assert (run["created"], world.jira.log.count("GET */issuetype")) == (6, 1)


@pytest.mark.database
async def test_a_site_where_all_is_public_costs_few_requests_too(world: World, clock: Clock) -> None:
    for key in _projects(world, 90):
        world.site.publish(key)
    await world.connect_jira(notices=OFF)
    clock.advance(minutes=1)
    await world.sync("jira", "full")
    clock.advance(minutes=15)
    world.jira.log.clear()
    await world.sync("jira")
    assert world.jira.log.count("GET */project/search") == 1


@pytest.mark.database
async def test_a_project_that_is_gone_does_not_have_each_sync_list_all(world: World, clock: Clock) -> None:
    """Its epics stay until a full run; and what a webhook brings of another has the list asked anew."""
    _projects(world, 3)
    await world.connect_jira(notices=OFF)
    clock.advance(minutes=1)
    await world.sync("jira", "full")
    world.site.delete_project("P1")
    clock.advance(minutes=1)
    assert (await world.sync("jira"))["state"] == "succeeded"
    assert "P1-1" in await world.keys("jira")

    def lists() -> int:
        asked = world.jira.log.count("GET */project/search")
        world.jira.log.clear()
        return asked

    for _ in range(2):
        lists()
        clock.advance(minutes=1)
        await world.sync("jira")
        assert lists() == 1  # without a login: who may read the projects


@pytest.mark.database
async def test_the_list_is_asked_anew_after_an_hour_and_after_a_change(world: World, clock: Clock) -> None:
    await _connected(world, clock, 3)

    def lists() -> int:
        """Requests; one of them asks without a login who may read the projects."""
        asked = world.jira.log.count("GET */project/search")
        world.jira.log.clear()
        return asked

    await world.sync("jira")
    assert lists() == 1
    clock.advance(minutes=50)
    await world.sync("jira")
    assert lists() == 2
    clock.advance(minutes=1)
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "shadow"}})
    world.jira.log.clear()
    await world.sync("jira")
    assert lists() == 2
    clock.advance(minutes=1)
    await world.sync("jira", "full")
    assert lists() == 2


@pytest.mark.database
async def test_a_project_that_becomes_public_is_noticed_by_each_sync(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Else a comment might name there what is not for everybody."""
    await _connected(world, clock, 3)
    world.site.publish("P1")
    await world.sync("jira")
    async with runtime.sessions() as session:
        stored = await session.execute(select(SourceProjectRow.key, SourceProjectRow.public))
        assert {key: public for key, public in stored} == {"P0": False, "P1": True, "P2": False}


@pytest.mark.database
@pytest.mark.parametrize("number", [3, 60])
async def test_a_renamed_project_that_becomes_public_is_noticed_too(
    world: World, runtime: Runtime, clock: Clock, number: int
) -> None:
    """Though the list that is remembered has its former key."""
    await _connected(world, clock, number)
    world.site.rename_project("P1", "NEW")
    world.site.publish("NEW")
    await world.sync("jira")
    assert await all_of(runtime, "SELECT key FROM source_projects WHERE public") == [("P1",)]


@pytest.mark.database
async def test_an_epic_of_a_project_that_no_list_has_is_not_lost(world: World, clock: Clock) -> None:
    """The tracker shows it under another key: the project was renamed within the hour."""
    await _connected(world, clock, 3)
    world.site.rename_project("P1", "NEW")
    world.site.edit("NEW-1", summary="Changed")
    run = await world.sync("jira")
    assert (run["state"], (await world.epic("jira", "NEW-1"))["title"]) == ("succeeded", "Changed")


@pytest.mark.database
async def test_a_list_of_another_login_is_not_remembered(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """The login was changed by a person while the list came: the new one may see other projects."""
    _projects(world, 2)
    await world.connect_jira(notices=OFF)
    held = Pause()
    world.jira.faults.add("GET */project/search", held)
    syncing = asyncio.create_task(world.sync("jira"))
    await held.reached.wait()
    clock.advance(seconds=-1)  # the change is dated before the list was asked for
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(version=SourceRow.version + 1, updated_at=clock.now))
    clock.advance(seconds=1)
    held.go_on.set()
    assert (await syncing)["state"] == "succeeded"
    world.site.add_project("NEW", "New")
    world.site.create("NEW", "Of the new one")
    assert (await world.sync("jira"))["created"] == 1


@pytest.mark.database
@pytest.mark.parametrize("is_named", [True, False])
async def test_a_new_project_under_the_key_of_a_renamed_one_is_another(
    world: World, runtime: Runtime, clock: Clock, is_named: bool
) -> None:
    """Though both happen within the hour. By the key the scope means the one that it knows."""
    await _connected(world, clock, 3, scope=None if is_named else {})
    world.site.rename_project("P1", "OLD")
    world.site.add_project("P1", "Another project")
    world.site.create("P1", "Of the new project")
    for _ in range(2):
        assert (await world.sync("jira"))["state"] == "succeeded"
        clock.advance(hours=1)
    epics = await all_of(runtime, "SELECT key, project, title FROM epics ORDER BY key")
    new = () if is_named else (("P1-1", "P1", "Of the new project"),)
    assert epics == [
        ("OLD-1", "OLD", "Epic of P1"),
        ("P0-1", "P0", "Epic of P0"),
        *new,
        ("P2-1", "P2", "Epic of P2"),
    ]


# --- what is settled --------------------------------------------------------------------------------


@pytest.mark.database
async def test_a_clock_of_ours_that_is_ahead_settles_no_project(world: World, clock: Clock) -> None:
    """By it each change would be hours old at once, and one that the index shows late would be left out."""
    world.site.now = lambda: clock() - timedelta(hours=3)
    for key, age in (("A", timedelta(minutes=2)), ("B", timedelta(minutes=1))):
        world.site.add_project(key, key)
        world.site.create(key, "Shown at once", created=world.site.clock() - age)
    await world.connect_jira(notices=OFF)
    await world.sync("jira")
    late = world.site.clock() - timedelta(minutes=2, seconds=20)
    world.site.create("A", "Shown late", created=late)
    assert (await world.sync("jira"))["created"] == 1


@pytest.mark.database
async def test_a_ticket_that_could_not_be_read_is_asked_for_again(world: World, clock: Clock) -> None:
    """Though its project is still: the row was wrong, and not the ticket."""
    _projects(world, 3)
    await world.connect_jira(notices=OFF)

    def broken(body: Any) -> Any:
        for issue in body["issues"]:
            if issue["key"] == "P1-1":
                issue["fields"]["status"] = "no status"
        return body

    world.jira.faults.add("POST */search/jql", rewrite(broken), times=None)
    run = await world.sync("jira")
    assert (run["state"], run["created"]) == ("partial", 2)
    world.jira.faults.clear()
    clock.advance(minutes=15)
    run = await world.sync("jira")
    assert (run["state"], run["created"]) == ("succeeded", 1)


@pytest.mark.database
@pytest.mark.parametrize("public", [(), ("P0",)])
async def test_what_everybody_may_read_does_not_show_that_the_login_is_valid(
    world: World, clock: Clock, public: tuple[str, ...]
) -> None:
    """It expired during the run: Jira shows the tickets of public projects, and no others."""
    keys = _projects(world, 3)
    world.site.edit("P0-1", summary="The newest")
    for key in public:
        world.site.publish(key)
    await world.connect_jira(notices=OFF, scope={"projects": keys})
    await world.sync("jira")
    clock.advance(minutes=15)

    def seen_without_login(body: Any) -> Any:
        shown = [issue for issue in body["issues"] if issue["key"].partition("-")[0] in public]
        return body | {"issues": shown}

    world.jira.faults.add("POST */search/jql", rewrite(seen_without_login))
    no_login = answer(401, {"errorMessages": ["Client must be authenticated."]})
    world.jira.faults.add("GET */myself", no_login, skip=1)
    run = await world.sync("jira")
    assert (run["state"], run["error"]["code"]) == ("failed", "unauthorized")


# --- trouble ----------------------------------------------------------------------------------------


@pytest.mark.database
@pytest.mark.parametrize("names_it", [True, False])
async def test_one_of_many_is_gone_and_the_others_are_read(
    world: World, clock: Clock, names_it: bool
) -> None:
    """As Jira says which it is, and by halves where it does not."""
    keys = await _connected(world, clock, 50)
    for key in keys[:3]:
        world.site.edit(f"{key}-1", summary="Changed")
    gone = keys[20]
    if names_it:
        world.site.delete_project(gone)
        most = 2
    else:
        world.jira.faults.add("POST */search/jql", _refusing_project(gone), times=None)
        most = 2 + 2 * 6
    run = await world.sync("jira")
    assert (run["state"], run["updated"]) == ("partial", 3)
    assert _problems(run).startswith(f"Not everything was read. {gone}: ")
    assert len(searches(world.jira)) <= most
    assert world.jira.log.count() <= most + 14
    clock.advance(minutes=15)
    world.jira.faults.clear()
    world.site.edit(f"{keys[4]}-1", summary="Changed later")
    assert (await world.sync("jira"))["updated"] == 1


def _refusing(is_refused: Callable[[bytes], bool]) -> Any:
    """A fault that refuses the searches with such a body, in words that say nothing."""
    refused = answer(400, {"errorMessages": ["No."], "errors": {}})

    async def act(app: Any, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()

        async def again() -> Any:
            return message

        if is_refused(message["body"]):
            await refused(app, scope, again, send)
        else:
            await app(scope, again, send)

    return act


def _refusing_project(key: str) -> Any:
    named = f'"{key}"'.encode().replace(b'"', b'\\"')
    return _refusing(lambda body: named in body)


@pytest.mark.database
async def test_what_is_refused_whatever_its_projects_is_not_divided_for_ever(
    world: World, clock: Clock
) -> None:
    keys = await _connected(world, clock, 50)
    refused = answer(400, {"errorMessages": ["No."], "errors": {}})
    world.jira.faults.add("POST */search/jql", refused, times=None)
    run = await world.sync("jira")
    assert (run["state"], run["seen"]) == ("partial", 0)
    assert len(searches(world.jira)) <= 2 * MOST_REFUSED + 4 < len(keys)


@pytest.mark.database
async def test_a_tracker_that_takes_small_searches_alone_has_all_its_projects_read(
    world: World, clock: Clock
) -> None:
    """Jira names no bound of a search, nor of the words in which it would refuse one."""
    keys = await _connected(world, clock, 50)
    world.jira.faults.add("POST */search/jql", _refusing_more_than(2), times=None)
    for key in keys:
        world.site.edit(f"{key}-1", summary="Changed")
    run = await world.sync("jira")
    assert (run["state"], run["error"], run["updated"]) == ("succeeded", None, 50)


def _refusing_more_than(most: int) -> Any:
    """Searches with more clauses for times than these."""
    return _refusing(lambda body: body.count(b"updated >=") > most)


@pytest.mark.database
async def test_an_interrupted_search_goes_on_from_each_projects_cursor(world: World, clock: Clock) -> None:
    keys = await _connected(world, clock, 12)
    clock.advance(hours=3)
    for key in keys:
        clock.advance(minutes=1)
        world.site.edit(f"{key}-1", summary=f"Changed {key}")
    world.site.page_cap = 4
    unavailable = answer(503, {}, {"Retry-After": "60"})
    world.jira.faults.add("POST */search/jql", unavailable, skip=2)
    waiting = await world.sync("jira")
    assert (waiting["state"], waiting["updated"]) == ("waiting", 8)
    clock.advance(minutes=2)
    world.site.edit("P0-1", summary="Changed again")
    await world.drain()
    clock.advance(minutes=2)
    await world.sync("jira")
    titles = {key: (await world.epic("jira", f"{key}-1"))["title"] for key in keys}
    assert titles == {key: f"Changed {key}" for key in keys} | {"P0": "Changed again"}


@pytest.mark.database
async def test_an_answer_that_stays_unreadable_keeps_no_other_project_back(
    world: World, clock: Clock
) -> None:
    keys = await _connected(world, clock, 4)
    clock.advance(minutes=5)
    for key in keys:
        world.site.edit(f"{key}-1", summary="Changed")
    no_answer = rewrite(lambda body: ["no search answer"])
    world.jira.faults.add("POST */search/jql", no_answer, times=4)  # the search and three attempts
    run = await world.sync("jira")
    assert (run["state"], run["updated"]) == ("succeeded", 4)


# --- side by side -----------------------------------------------------------------------------------


@pytest.mark.database
@pytest.mark.parametrize("kind", ["jira", "github"])
async def test_a_first_sync_reads_several_projects_side_by_side(world: World, kind: str) -> None:
    """The answer for one is held: the others are read meanwhile."""
    tracker = world.jira if kind == "jira" else world.github
    held = Pause()
    if kind == "jira":
        _projects(world, 6)
        await world.connect_jira("source", notices=OFF)
        tracker.faults.add("POST */search/jql", held)
    else:
        for number in range(6):
            world.host.add_repository(f"acme/r{number}")
            world.host.create(f"acme/r{number}", "Epic", labels=["epic"])
        await world.connect_github("source", notices=OFF, scope={"organizations": ["acme"]})
        tracker.faults.add("GET */issues", held)
    syncing = asyncio.create_task(world.sync("source"))
    await held.reached.wait()
    while not syncing.done() and len(await world.keys("source")) < 5:
        await asyncio.sleep(0)
    assert not syncing.done()
    held.go_on.set()
    run = await syncing
    assert (run["state"], run["created"]) == ("succeeded", 6)
    asked = searches(tracker) if kind == "jira" else listings(tracker)
    assert run["requests"] == tracker.log.count() > len(asked) >= 6


@pytest.mark.database
async def test_what_all_searches_need_is_asked_for_once(world: World, runtime: Runtime) -> None:
    keys = _projects(world, 4)
    await world.connect_jira(notices=OFF, epics={"points_field": "Story point estimate"})
    async with runtime.sessions() as session:
        (source,) = await session.scalars(select(SourceRow))
    async with aclosing(await runtime.connect(source)) as connector:

        async def read(key: str) -> list[Epic]:
            return [epic async for page in connector.changed_since(Project(key), None) for epic in page.epics]

        found = await asyncio.gather(*(read(key) for key in keys))
    assert [epic.key for epics in found for epic in epics] == [f"{key}-1" for key in keys]
    assert [world.jira.log.count(f"GET */{asked}") for asked in ("issuetype", "field")] == [1, 1]


@pytest.mark.database
async def test_trouble_of_one_ends_those_beside_it_and_all_go_on(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = _projects(world, 8)
    await world.connect_jira(notices=OFF)
    world.jira.faults.add("POST */search/jql", answer(429, {}, {"Retry-After": "30"}), skip=3)
    no_answer = rewrite(lambda body: ["no search answer"])
    world.jira.faults.add("POST */search/jql", no_answer, skip=5)
    run = await world.sync("jira")
    assert run["state"] == "waiting"
    await later(world, runtime, clock, seconds=40)
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["created"]) == ("succeeded", 8)
    assert sorted(await world.keys()) == [f"{key}-1" for key in keys]
    assert run["requests"] == world.jira.log.count()


async def test_the_first_error_ends_the_others_and_is_raised() -> None:
    ended: list[int] = []
    stored = asyncio.Event()

    async def store(number: int) -> None:
        await stored.wait()
        ended.append(number)

    async def work(number: int) -> None:
        if number == 2:
            stored.set()
            raise ValueError(str(number))
        await to_its_end(store(number))
        await asyncio.Event().wait()

    with pytest.raises(ValueError, match="2"):
        await side_by_side(work, range(9), 3)
    assert ended == [0, 1]  # what was being stored was stored; nothing else was begun


async def test_no_more_than_a_few_at_once_and_each_once() -> None:
    now, most, seen = 0, 0, list[int]()

    async def work(number: int) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        seen.append(number)
        now -= 1

    await side_by_side(work, range(20), 4)
    assert (most, sorted(seen)) == (4, [*range(20)])


# --- the searches -------------------------------------------------------------------------------------


def test_a_search_has_a_bounded_number_of_projects_and_a_bounded_length(clock: Clock) -> None:
    def sizes(number: int, letters: int) -> list[int]:
        keys = [f"K{index:0{letters}}" for index in range(number)]
        groups = search.groups_of([Start(Project(key), clock.now) for key in keys])
        assert [start.project.key for group in groups for start in group] == keys
        spread = [
            [Start(one.project, clock.now - timedelta(minutes=i)) for i, one in enumerate(group)]
            for group in groups
        ]
        most = max(len(search.shared_jql(group, ["1"], None)) for group in spread)
        assert most < search.LONGEST_JQL + 200
        return [len(group) for group in groups]

    assert sizes(200, 9) == [200]
    assert sizes(401, 3) == [200, 200, 1]
    assert len(sizes(200, 250)) > 2


def test_projects_with_the_same_start_share_a_clause(clock: Clock) -> None:
    old, new = clock.now - timedelta(days=2), clock.now
    starts = [Start(Project("A"), old, True), Start(Project("B"), old, True), Start(Project("C"), new, True)]
    jql = search.shared_jql(starts, ["1", "2"], "labels = x OR labels = y")
    assert re.sub(r"\d{13}", "T", jql) == (
        '((project in ("A", "B") AND updated >= T) OR (project in ("C") AND updated >= T))'
        " AND issuetype in (1, 2) AND (labels = x OR labels = y) ORDER BY updated ASC, key ASC"
    )


def test_a_project_without_a_ticket_is_searched_from_its_beginning(clock: Clock) -> None:
    starts = [Start(Project("A"), None), Start(Project("B"), clock.now, True), Start(Project("C"), None)]
    jql = search.shared_jql(starts, ["1"], None)
    overlapping = int((clock.now - search.OVERLAP).timestamp() * 1000)
    assert jql == (
        f'((project in ("A", "C")) OR (project in ("B") AND updated >= {overlapping}))'
        " AND issuetype in (1) ORDER BY updated ASC, key ASC"
    )
    alone = search.shared_jql(starts[:1], ["1"], None)
    assert alone == '((project in ("A"))) AND issuetype in (1) ORDER BY updated ASC, key ASC'


KEYS = ("A", "B", "C")
LAG = 4  # minutes, at most, until the index shows a change


@dataclass
class _Reader:
    """The rules of the cursors, as `mappings.sources.projects` keeps them, over searches of a simulated site
    whose index lags behind."""

    site: JiraSite
    cursors: dict[str, datetime] = field(default_factory=dict)
    settled: dict[str, datetime] = field(default_factory=dict)
    seen: dict[str, datetime] = field(default_factory=dict)
    shown: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)

    def change(self, issue: Issue, now: datetime, lag: int) -> None:
        issue.updated = now
        self.shown.setdefault(issue.key, []).append((now + timedelta(minutes=lag), now))

    def _index(self, now: datetime) -> list[Issue]:
        found = []
        for issue in self.site.issues.values():
            moments = [updated for at, updated in self.shown[issue.key] if at <= now]
            if moments:
                found.append(copy.copy(issue))
                found[-1].updated = max(moments)
        return found

    def read(self, now: datetime, page_size: int, most_pages: int | None) -> None:
        """Some or all pages of one search. All of an interrupted one is stored but its end."""
        starts = [
            Start(Project(key), self.cursors[key], self.settled.get(key) == self.cursors[key]) for key in KEYS
        ]
        query = parse(search.shared_jql(starts, ["10000"], None), self.site, "UTC")
        rows = query.rows(self._index(now))
        pages = [rows[at : at + page_size] for at in range(0, len(rows), page_size)]
        for page in pages[:most_pages]:
            for issue in page:
                self.seen[issue.key] = max(issue.updated, self.seen.get(issue.key, issue.updated))
                key = issue.project.key
                self.cursors[key] = max(self.cursors[key], issue.updated)
        if most_pages is None or most_pages >= len(pages):
            done = {key: at for key, at in self.cursors.items() if at <= now - SETTLED_AFTER}
            self.settled |= done


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.integers(0, 8), st.integers(0, LAG)),
        st.tuples(st.just("read"), st.integers(1, 4), st.none() | st.integers(0, 3)),
        st.tuples(st.just("wait"), st.sampled_from((0.0004, 0.4, 1, 90, 200)), st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_change_is_left_out_wherever_reading_is_interrupted(steps: list[Any]) -> None:
    clock = Clock(datetime(2026, 3, 2, 9, tzinfo=UTC))
    site = JiraSite(clock)
    reader = _Reader(site)
    for key in KEYS:
        site.add_project(key, key)
        reader.cursors[key] = clock.now
    issues = [site.create(KEYS[number % 3], f"Epic {number}") for number in range(9)]
    for issue in issues:
        reader.change(issue, clock.now, 0)
    for kind, first, second in steps:
        if kind == "change":
            reader.change(issues[first], clock.now, second)
        elif kind == "read":
            reader.read(clock.now, first, second)
        else:
            clock.advance(minutes=first)
    clock.advance(minutes=LAG)
    reader.read(clock.now, 2, None)
    assert reader.seen == {issue.key: issue.updated for issue in issues}
    clock.advance(hours=2)
    reader.read(clock.now, 2, None)
    before: Mapping[str, datetime] = dict(reader.cursors)
    reader.read(clock.now, 100, None)
    assert (reader.cursors, reader.settled) == (before, before)
