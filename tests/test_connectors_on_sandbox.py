"""One conformance run for every connector: the contract of `connectors.base` over real HTTP.

Each exchange is held against the vendor's API description, both ways.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from connectors.base import (
    Comment,
    Connector,
    Epic,
    EpicRef,
    Gone,
    Missing,
    Page,
    Project,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.document import Document, Paragraph, Text
from connectors.marker import Marker
from connectors.registry import KINDS
from connectors.sandbox import faults
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker
from tests.support.ticket_text import text_lines
from tests.support.tracker_guard import Guard
from tests.support.vendor_api import openapi_for

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
MARKER = Marker("installation", 5)


def words(text: str) -> Document:
    return Document((Paragraph((Text(text), Text(" Key-Result: KR-1", "code"))),))


class World(Protocol):
    """A tracker, what people can do to it, and how requests to it are named."""

    tracker: Tracker
    base_url: str
    description: str
    comments: str  # a glob over the requests that create a comment
    listing: str  # … over those that list tickets

    def connect(self, **changes: Any) -> Connector: ...
    def epic(self, number: int) -> EpicRef: ...
    def retitle(self, ref: EpicRef, title: str) -> None: ...
    def unfit(self, ref: EpicRef) -> None: ...
    def move(self, ref: EpicRef, *, away: bool) -> None: ...
    def delete(self, ref: EpicRef) -> None: ...
    def write(self, ref: EpicRef, text: str) -> None: ...
    def writer(self, ref: EpicRef) -> str: ...
    def bodies(self, ref: EpicRef) -> list[str]: ...
    def delete_comment(self, comment: Comment) -> None: ...
    def forbid(self) -> None: ...
    def revoke(self) -> None: ...


class Clock:
    """A minute passes with every look."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


class JiraWorld:
    description = "jira-cloud-v3"
    comments = "POST *issue/*/comment"
    listing = "POST */search/jql"
    base_url = ""

    def __init__(self) -> None:
        self.site = JiraSite(Clock())
        self.tracker = JiraTracker(self.site)
        for key in ("SHOP", "CORE", "OTHER"):
            self.site.add_project(key, key)

    def connect(self, **changes: Any) -> Connector:
        token = changes.get("token", self.site.bot.token)
        kind = KINDS["jira"]
        return kind.connect(
            self.base_url,
            kind.credentials.model_validate(
                {"type": "api_token", "email": self.site.bot.email, "token": token}
            ),
            kind.scope.model_validate({"projects": ["SHOP", "CORE"]}),
            kind.epics.model_validate({}),
        )

    def epic(self, number: int) -> EpicRef:
        issue = self.site.create("SHOP", f"Epic {number}", description="Key-Result: KR-1")
        return EpicRef(issue.id, issue.key)

    def retitle(self, ref: EpicRef, title: str) -> None:
        self.site.edit(ref.remote_id, summary=title)

    def unfit(self, ref: EpicRef) -> None:
        self.site.edit(ref.remote_id, type=self.site.type_named("Story"))

    def move(self, ref: EpicRef, *, away: bool) -> None:
        self.site.move(ref.remote_id, "OTHER" if away else "CORE")

    def delete(self, ref: EpicRef) -> None:
        self.site.delete(ref.remote_id)

    def write(self, ref: EpicRef, text: str) -> None:
        self.site.comment(ref.remote_id, text, properties={"northing": {"id": str(MARKER)}} if text else {})

    def writer(self, ref: EpicRef) -> str:
        return self.site.issue(ref.remote_id).comments[0].author.account_id

    def bodies(self, ref: EpicRef) -> list[str]:
        return [str(comment.body) for comment in self.site.issue(ref.remote_id).comments]

    def delete_comment(self, comment: Comment) -> None:
        self.site.delete_comment(comment.id)

    def forbid(self) -> None:
        self.site.denied.add(("ADD_COMMENTS", "SHOP"))

    def revoke(self) -> None:
        self.site.revoke_credentials()


class GitHubWorld:
    description = "github"
    comments = "POST *issues/*/comments"
    listing = "GET *rep*/issues"
    base_url = ""

    def __init__(self) -> None:
        self.host = GitHubHost(Clock())
        self.tracker = GitHubTracker(self.host)
        for name in ("shop", "core", "other"):
            self.host.add_repository(f"Acme/{name}")

    def connect(self, **changes: Any) -> Connector:
        kind = KINDS["github"]
        return kind.connect(
            f"{self.base_url}/api/v3",
            kind.credentials.model_validate(
                {"type": "token", "token": changes.get("token", self.host.bot.token)}
            ),
            kind.scope.model_validate({"repositories": ["acme/shop", "acme/core"]}),
            kind.epics.model_validate({}),
        )

    def epic(self, number: int) -> EpicRef:
        issue = self.host.create("Acme/shop", f"Epic {number}", body="Key-Result: KR-1", labels=["Epic"])
        return EpicRef(str(issue.id), issue.key)

    def retitle(self, ref: EpicRef, title: str) -> None:
        self.host.edit(ref.key, title=title)

    def unfit(self, ref: EpicRef) -> None:
        self.host.edit(ref.key, labels=["bug"])

    def move(self, ref: EpicRef, *, away: bool) -> None:
        self.host.transfer(ref.key, "Acme/other" if away else "Acme/core")

    def delete(self, ref: EpicRef) -> None:
        self.host.delete(ref.key)

    def write(self, ref: EpicRef, text: str) -> None:
        marked = f"<!-- northing:notice -->\n<!-- northing:id {MARKER} -->\n\n{text}" if text else "words"
        self.host.comment(ref.key, marked)

    def writer(self, ref: EpicRef) -> str:
        return str(self.host.issue(ref.key).comments[0].author.id)

    def bodies(self, ref: EpicRef) -> list[str]:
        return [comment.body for comment in self.host.issue(ref.key).comments]

    def delete_comment(self, comment: Comment) -> None:
        self.host.delete_comment(int(comment.id))

    def forbid(self) -> None:
        self.host.read_only.add("Acme/shop")

    def revoke(self) -> None:
        self.host.revoke_credentials()


@pytest.fixture(params=[JiraWorld, GitHubWorld], ids=["jira", "github"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made: World = request.param()
    guard = Guard(openapi_for(made.description))
    async with serve(made.tracker, through=guard.around) as url:
        made.base_url = url
        yield made
    assert guard.exchanges
    # The bodies of faults are the tests' own, in nobody's description.
    assert [message for message in guard.found if not re.search(r" -> (429|503): ", message)] == []


Connect = Callable[..., Any]


@asynccontextmanager
async def connected(world: World, **changes: Any) -> AsyncIterator[Connector]:
    connector = world.connect(**changes)
    try:
        yield connector
    finally:
        await connector.aclose()


async def read(connector: Connector, since: datetime | None = None) -> list[Page]:
    (project, *_) = await connector.projects()
    return [page async for page in connector.changed_since(project, since)]


def titles(pages: list[Page]) -> list[str]:
    return [epic.title for page in pages for epic in page.epics]


# --- reading --------------------------------------------------------------------------------


async def test_who_we_are_and_what_there_is(world: World) -> None:
    async with connected(world) as connector:
        assert (await connector.account()).name == "northing-bot"
        projects = await connector.projects()
        assert [project.key.rpartition("/")[2].lower() for project in projects] == ["shop", "core"]
        assert not any(p.public or p.service_desk or p.problem for p in projects)
        assert connector.requests == world.tracker.log.count()
        assert connector.writes_one_at_a_time == isinstance(world, GitHubWorld)


async def test_every_epic_comes_once_oldest_change_first(world: World) -> None:
    refs = [world.epic(n) for n in range(250)]
    world.retitle(refs[3], "Epic 3 again")
    async with connected(world) as connector:
        pages = await read(connector)
        epics = [epic for page in pages for epic in page.epics]
        assert [epic.title for epic in epics] == [
            *(f"Epic {n}" for n in range(250) if n != 3), "Epic 3 again",
        ]  # fmt: skip
        assert {epic.ref for epic in epics} == set(refs)
        assert [len(page.epics) for page in pages] == [100, 100, 50]
        assert pages[-1].cursor == max(epic.updated_at for epic in epics)
        assert epics[0].text == text_lines("Key-Result: KR-1")
        assert epics[0].url.startswith(world.base_url)
        assert world.tracker.log.count(world.listing) == 3


async def test_short_pages_are_no_end(world: World) -> None:
    for n in range(7):
        world.epic(n)
    world.tracker.faults.add(world.listing, faults.page_size(0), skip=1)
    world.tracker.faults.add(world.listing, faults.page_size(2), times=None)
    async with connected(world) as connector:
        assert titles(await read(connector)) == [f"Epic {n}" for n in range(7)]


async def test_only_what_changed_since_with_an_overlap(world: World) -> None:
    refs = [world.epic(n) for n in range(30)]
    async with connected(world) as connector:
        cursor = (await read(connector))[-1].cursor
        world.retitle(refs[0], "changed")
        found = titles(await read(connector, cursor))
        assert found[-1] == "changed"
        assert 2 <= len(found) < 10


async def test_what_no_longer_fits_is_named_or_absent_but_no_epic(world: World) -> None:
    refs = [world.epic(n) for n in range(3)]
    world.unfit(refs[1])
    async with connected(world) as connector:
        pages = await read(connector)
        assert titles(pages) == ["Epic 0", "Epic 2"]
        # Jira searches by type, so that what is no epic is not in its answer.
        named = [] if isinstance(world, JiraWorld) else [Missing(refs[1], "not_an_epic")]
        assert [gone for page in pages for gone in page.missing] == named


async def test_a_limit_in_the_middle_leaves_the_pages_before_it(world: World) -> None:
    for n in range(150):
        world.epic(n)
    world.tracker.faults.add(world.listing, faults.answer(429, headers={"Retry-After": "33"}), skip=1)
    async with connected(world) as connector:
        (project, *_) = await connector.projects()
        pages = connector.changed_since(project, None)
        assert len((await anext(pages)).epics) == 100
        with pytest.raises(Unavailable) as caught:
            await anext(pages)
        assert caught.value.retry_after == 33


@pytest.mark.parametrize("fault", [faults.drop, faults.truncate, lambda: faults.answer(503, "down")])
async def test_a_broken_answer_is_unavailable(world: World, fault: Callable[[], faults.Action]) -> None:
    world.epic(1)
    world.tracker.faults.add(world.listing, fault())
    async with connected(world) as connector:
        with pytest.raises(Unavailable) as caught:
            await read(connector)
        assert not isinstance(caught.value, Unanswered)
        assert titles(await read(connector)) == ["Epic 1"]


async def test_dead_credentials_are_said_to_be_dead(world: World) -> None:
    ref = world.epic(1)
    async with connected(world) as connector:
        await connector.account()
        world.revoke()
        with pytest.raises(Unauthorized):
            await connector.account()
        with pytest.raises((Unauthorized, Gone, Rejected)):
            await connector.put_comment(ref, None, words("x"), MARKER)


async def test_a_wrong_token_is_nobody_and_never_shown(world: World) -> None:
    async with connected(world, token="wrong-t0ken") as connector:
        with pytest.raises(Unauthorized) as caught:
            await connector.account()
        assert "wrong-t0ken" not in f"{caught.value!r} {caught.value.what_to_do}"


async def test_a_project_out_of_sight_comes_with_its_problem(world: World) -> None:
    async with connected(world) as connector:
        if isinstance(world, JiraWorld):
            world.site.denied.add(("BROWSE_PROJECTS", "SHOP"))
        elif isinstance(world, GitHubWorld):
            world.host.hidden.add("Acme/shop")
        shop, core = await connector.projects()
        assert (bool(shop.problem), bool(core.problem)) == (True, False)


# --- the present state ----------------------------------------------------------------------


async def test_the_present_state_of_each(world: World) -> None:
    same, changed, unfit, moved, away, deleted = refs = [world.epic(n) for n in range(6)]
    if isinstance(world, JiraWorld):
        world.site.freeze_index()  # what follows is not in the search yet
    world.retitle(changed, "new title")
    world.unfit(unfit)
    world.move(moved, away=False)
    world.move(away, away=True)
    world.delete(deleted)
    async with connected(world) as connector:
        found = await connector.fetch(refs)
    assert isinstance(found[0], Epic)
    assert found[0].ref == same
    assert isinstance(found[1], Epic)
    assert found[1].title == "new title"
    assert isinstance(found[3], Epic)
    assert found[3].key.lower() in {"core-1", "acme/core#1"}
    # Jira keeps the id of what moves; GitHub makes a new one.
    assert (found[3].remote_id == moved.remote_id) == isinstance(world, JiraWorld)
    assert (found[3].remote_id != moved.remote_id) == connector.tickets_change_id
    reasons = [f.reason if isinstance(f, Missing) else "" for f in found]
    assert reasons == ["", "", "not_an_epic", "", "out_of_scope", "deleted"]
    assert [f.ref.remote_id for f in found if isinstance(f, Missing)] == [
        unfit.remote_id, away.remote_id, deleted.remote_id,
    ]  # fmt: skip


async def test_a_scope_with_a_condition_is_asked_past_the_index() -> None:
    world = JiraWorld()
    guard = Guard(openapi_for("jira-cloud-v3"))
    inside, outside = world.epic(1), world.epic(2)
    kind = KINDS["jira"]
    async with serve(world.tracker, through=guard.around) as url:
        world.site.freeze_index()
        world.site.edit(inside.remote_id, labels=["q4"])
        connector = kind.connect(
            url,
            kind.credentials.model_validate(
                {"type": "api_token", "email": world.site.bot.email, "token": world.site.bot.token}
            ),
            kind.scope.model_validate({"jql": "labels = q4 OR labels = q5"}),
            kind.epics.model_validate({"issue_types": ["epic"], "fields": ["customfield_10020"]}),
        )
        assert [project.key for project in await connector.projects()] == ["CORE", "OTHER", "SHOP"]
        found = await connector.fetch([inside, outside])
        assert [type(one).__name__ for one in found] == ["Epic", "Missing"]
        assert found[1] == Missing(outside, "out_of_scope")
        world.site.unfreeze_index()
        pages = [page async for page in connector.changed_since(Project("SHOP"), START)]
        assert titles(pages) == ["Epic 1"]
        await connector.aclose()
    assert guard.found == []


async def test_a_whole_organisation_and_a_repository_that_was_renamed() -> None:
    world = GitHubWorld()
    guard = Guard(openapi_for("github"))
    ref = world.epic(1)
    kind = KINDS["github"]
    async with serve(world.tracker, through=guard.around) as url:
        credentials = kind.credentials.model_validate({"type": "token", "token": world.host.bot.token})
        epics = kind.epics.model_validate(
            {"issue_types": ["Epic"], "with_sub_issues": True, "labels": ["epic"]}
        )
        whole = kind.connect(url, credentials, kind.scope.model_validate({"organizations": ["acme"]}), epics)
        assert [p.key for p in await whole.projects()] == ["Acme/core", "Acme/other", "Acme/shop"]
        await whole.aclose()
        world.host.rename_repository("Acme/shop", "store")
        scope = kind.scope.model_validate({"repositories": ["acme/shop"]})
        renamed = kind.connect(url, credentials, scope, epics)
        (project,) = await renamed.projects()
        assert project.key == "Acme/store"
        assert titles([page async for page in renamed.changed_since(project, None)]) == ["Epic 1"]
        (found,) = await renamed.fetch([ref])
        assert isinstance(found, Epic)
        assert found.ref == EpicRef(ref.remote_id, "Acme/store#1")
        await renamed.aclose()
    assert guard.found == []


# --- comments -------------------------------------------------------------------------------


async def test_a_comment_is_made_found_edited_and_missed(world: World) -> None:
    ref = world.epic(1)
    world.write(ref, "")
    async with connected(world) as connector:
        assert await connector.find_comments(ref, MARKER) == []
        made = await connector.put_comment(ref, None, words("first"), MARKER)
        assert made.ours
        assert made.url.startswith(world.base_url)
        assert await connector.find_comments(ref, MARKER) == [made]
        assert await connector.find_comments(ref, Marker("other", 5)) == []
        assert await connector.put_comment(ref, made.id, words("second"), MARKER) == made
        assert await connector.find_comments(ref, MARKER) == [made]
        assert [("first" in body, "second" in body) for body in world.bodies(ref)] == [
            (False, False), (False, True),
        ]  # fmt: skip
        double = await connector.put_comment(ref, None, words("twice"), MARKER)
        assert await connector.find_comments(ref, MARKER) == [made, double]
        await connector.delete_comment(ref, double.id)
        world.delete_comment(made)
        assert await connector.find_comments(ref, MARKER) == []
        with pytest.raises(Gone):
            await connector.put_comment(ref, made.id, words("third"), MARKER)
        with pytest.raises(Gone):
            await connector.delete_comment(ref, made.id)
        world.delete(ref)
        with pytest.raises(Gone):
            await connector.find_comments(ref, MARKER)
        with pytest.raises(Gone):
            await connector.put_comment(ref, None, words("fourth"), MARKER)


@pytest.mark.parametrize("fault", [faults.lose_answer, faults.truncate])
async def test_a_lost_answer_is_looked_for_and_found_once(
    world: World, fault: Callable[[], faults.Action]
) -> None:
    ref = world.epic(1)
    struck = world.tracker.faults.add(world.comments, fault())
    async with connected(world) as connector:
        with pytest.raises(Unanswered):
            await connector.put_comment(ref, None, words("once"), MARKER)
        (found,) = await connector.find_comments(ref, MARKER)
        assert found.ours
    assert struck.struck == 1
    assert len(world.bodies(ref)) == 1
    assert world.tracker.log.count(world.comments) == 1


async def test_a_request_lost_before_it_was_done_left_nothing(world: World) -> None:
    ref = world.epic(1)
    world.tracker.faults.add(world.comments, faults.drop())
    async with connected(world) as connector:
        with pytest.raises(Unanswered):
            await connector.put_comment(ref, None, words("once"), MARKER)
        assert await connector.find_comments(ref, MARKER) == []


async def test_our_comment_is_found_behind_many_pages(world: World) -> None:
    ref = world.epic(1)
    for _ in range(230):
        world.write(ref, "")
    async with connected(world) as connector:
        made = await connector.put_comment(ref, None, words("late"), MARKER)
        assert await connector.find_comments(ref, MARKER) == [made]


async def test_a_marker_in_a_strangers_hand_is_not_ours(world: World) -> None:
    ref = world.epic(1)
    world.write(ref, "copied")
    async with connected(world) as connector:
        assert await connector.find_comments(ref, MARKER) == []


async def test_a_former_accounts_comment_is_found_and_cannot_be_edited(world: World) -> None:
    ref = world.epic(1)
    world.write(ref, "written with another token")
    async with connected(world) as connector:
        marker = replace(MARKER, accounts=frozenset({world.writer(ref)}))
        (found,) = await connector.find_comments(ref, marker)
        assert not found.ours
        with pytest.raises(Rejected):
            await connector.put_comment(ref, found.id, words("mine"), marker)


async def test_a_right_that_is_missing_is_a_matter_for_a_person(world: World) -> None:
    ref = world.epic(1)
    world.forbid()
    async with connected(world) as connector:
        with pytest.raises(Rejected) as caught:
            await connector.put_comment(ref, None, words("x"), MARKER)
    assert not isinstance(caught.value, Unauthorized)
    assert caught.value.what_to_do


async def test_a_comment_on_a_ticket_that_moved(world: World) -> None:
    """Jira keeps the id, so the comment arrives; GitHub redirects, so the new key is read first."""
    ref = world.epic(1)
    world.move(ref, away=False)
    async with connected(world) as connector:
        if isinstance(world, JiraWorld):
            assert (await connector.put_comment(ref, None, words("x"), MARKER)).ours
            return
        with pytest.raises(Unavailable) as caught:
            await connector.put_comment(ref, None, words("x"), MARKER)
        assert not isinstance(caught.value, Unanswered)
        (now,) = await connector.fetch([ref])
        assert isinstance(now, Epic)
        made = await connector.put_comment(now.ref, None, words("x"), MARKER)
        assert await connector.find_comments(ref, MARKER) != []
        assert made.ours


async def test_hostile_words_arrive_as_the_vendor_wants_them(world: World) -> None:
    ref = world.epic(1)
    hostile = "@all #1 <script> \x00 \u202e https://x.example ```"
    async with connected(world) as connector:
        made = await connector.put_comment(ref, None, words(hostile), MARKER)
        assert await connector.find_comments(ref, MARKER) == [made]


async def test_nobody_listens(world: World, unused_tcp_port: int) -> None:
    ref = world.epic(1)
    async with connected(world) as connector:
        await connector.account()
    world.base_url = f"http://127.0.0.1:{unused_tcp_port}"
    async with connected(world) as connector:
        for call in (connector.account(), connector.put_comment(ref, None, words("x"), MARKER)):
            with pytest.raises(Unavailable) as caught:
                await call
            assert not isinstance(caught.value, Unanswered)
