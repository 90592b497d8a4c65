"""Commands acted on: what they change, who may give them, once each, and the answer in our comment.

On both simulated trackers over HTTP; the comment itself is given as the connectors give it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select

from app import pipeline
from app.runtime import Runtime
from connectors.base import CommentRef, EpicRef
from connectors.comments import TicketComment
from mappings.commands.execute import execute_commands
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, SourceRow
from tests.support.clock import Clock
from tests.support.queries import all_of, command_comments, goals_version
from tests.support.ticket_text import text_lines
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either
from tests.support.world import World

MISSING = "This epic is not linked to a key result."
UNKNOWN = "There is no key result KR-99. Perhaps KR-1?"
HELP = "Start a line of a comment with one of these:"
SECRET = {"webhook_secret": "a-secret-of-some-length"}


@dataclass
class Ticket:
    """A ticket with our comment, and a person who comments there."""

    runtime: Runtime
    driver: TrackerDriver
    key: str
    drain: Callable[[], Awaitable[None]]
    clock: Clock
    ids: count[int] = field(default_factory=lambda: count(1))

    async def tell(self, *lines: str, id: str | None = None, **members: Any) -> bool:
        """Give commands in a comment, as the inbox does, and let all that follows be done."""
        comment = self.comment(*lines, id=id, **members)
        run_id = None
        async with self.runtime.sessions.begin() as session:
            epic = (await session.scalars(select(EpicRow).where(EpicRow.key == self.key))).one()
            source = await session.get_one(SourceRow, epic.source_id)
            context, now = self.runtime.evaluation_context, await self.runtime.now(session)
            if await execute_commands(session, source, epic, comment, context, now):
                run_id = (await open_run(session, source.id, "evaluate", await self.runtime.now(session))).id
        self.clock.advance(seconds=1)
        if run_id is not None:
            await pipeline.execute_run(self.runtime, run_id)
            await self.drain()
        return run_id is not None

    def comment(self, *lines: str, id: str | None = None, **members: Any) -> TicketComment:
        given: dict[str, Any] = {"author": "an-editor", "ours": False, "may_steer": True, **members}
        return TicketComment(id=id or f"c{next(self.ids)}", lines=text_lines(*lines), **given)

    @property
    def words(self) -> list[str]:
        """The lines of the one comment of ours, without list marks and code marks."""
        (text,) = self.driver.comments(self.key)
        lines = (
            line.strip().removeprefix("- ").replace("`", "").replace("\\", "") for line in text.splitlines()
        )
        return [line.replace("\u2060", "") for line in lines if line]

    @property
    def edits(self) -> int:
        return self.driver.tracker.log.count(self.driver.edits)

    async def epic(self) -> Any:
        return await self.driver.epic(self.key)

    async def finding(self) -> Any:
        (found,) = (await self.epic())["findings"]
        return found


@pytest.fixture
def driver(world: World, request: pytest.FixtureRequest) -> TrackerDriver:
    """Not connected yet."""
    return driver_of(world, request.param)


@pytest.fixture
async def ticket(world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock) -> Ticket:
    """A ticket with a warning of ours, and one live key result KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    key = driver.add("Checkout in one step")
    await driver.connect(**SECRET)
    await driver.sync()
    made = Ticket(runtime, driver, key, world.drain, clock)
    assert f"**{MISSING}**" in made.words or MISSING in made.words
    return made


# --- what they do -----------------------------------------------------------------------------


@both
async def test_link(world: World, ticket: Ticket) -> None:
    assert await ticket.tell("Thanks.", "/northing link kr-1")
    assert ticket.words == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    epic = await ticket.epic()
    (link,) = epic["links"]
    assert (link["key_result"], link["origin"]) == ("KR-1", "command")
    assert link["why"] == "linked by an-editor in a comment"
    assert (epic["alignment"], epic["notice"]["state"]) == ("aligned", "resolved")
    assert await command_comments(ticket.runtime) == [(["link kr-1"], None, "an-editor")]
    again = {"epic": {"source": ticket.driver.kind, "key": ticket.key}, "key_result": "KR-1"}
    assert (await world.send("POST", "/links", again, expect=200))["id"] == link["id"]


@on_either("jira")
async def test_a_link_by_hand_that_stands_is_fine(world: World, ticket: Ticket) -> None:
    body = {"epic": {"source": ticket.driver.kind, "key": ticket.key}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", body)
    await world.drain()
    edits = ticket.edits
    assert await ticket.tell("/northing link KR-1")
    assert [link["id"] for link in (await ticket.epic())["links"]] == [made["id"]]
    assert (ticket.words[0], ticket.edits) == ("Aligned with KR-1 (Checkout conversion). Thank you.", edits)


@on_either("github")
async def test_snooze_and_its_end(world: World, ticket: Ticket, clock: Clock) -> None:
    assert await ticket.tell("/northing snooze 14d")
    day = (clock.now + timedelta(days=14)).date()
    assert ticket.words == [f"Snoozed until {day}."]
    found = await ticket.finding()
    assert (found["state"], found["until"]) == ("snoozed", f"{day + timedelta(days=1)}T00:00:00Z")
    assert found["reason"] == "snoozed by an-editor in a comment"
    assert await ticket.tell("/northing snooze 1d"), "a snooze can be made shorter"
    day = (clock.now + timedelta(days=1)).date()
    assert ticket.words == [f"Snoozed until {day}."]
    clock.advance(days=2)
    await ticket.driver.sync()
    assert MISSING in ticket.words[0]


@both
async def test_help_stands_before_the_warning_and_after_one_line(ticket: Ticket) -> None:
    assert await ticket.tell("/northing help")
    assert ticket.words[0] == HELP
    assert MISSING in ticket.words[4]
    assert [line.split(" ")[:2] for line in ticket.words[1:4]] == [
        ["/northing", "link"],
        ["/northing", "snooze"],
        ["/northing", "help"],
    ]
    assert await ticket.tell("/northing snooze 3d", "/northing help")
    assert ticket.words[0].startswith("Snoozed until ")
    assert ticket.words[1] == HELP


@on_either("jira")
async def test_a_closed_goal_is_linked_and_said_not_to_count(world: World, ticket: Ticket) -> None:
    await world.goal("KR-2", "Old goal")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    assert await ticket.tell("/northing link KR-2")
    assert ticket.words[0] == "KR-2 is linked, but does not count: it is missed."
    assert "The key results this epic is linked to no longer count." in ticket.words[1]
    epic = await ticket.epic()
    assert ([link["live"] for link in epic["links"]], epic["alignment"]) == ([False], "unaligned")


@both
async def test_of_a_goal_that_may_not_be_named_an_answer_says_that_it_no_longer_counts(
    world: World, ticket: Ticket
) -> None:
    await world.goal("KR-2", "Takeover", visibility="confidential", public_label="Plan")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    assert await ticket.tell("/northing link KR-2")
    assert ticket.words[0] == "KR-2 is linked, but no longer counts."
    assert "KR-2 (Plan): no longer counts" in ticket.words
    before = ticket.words, ticket.edits
    await world.send("PATCH", "/objectives/O-2", {"state": "achieved"})
    await world.send("PATCH", "/key-results/KR-2", {"state": "active"})
    await world.drain()
    assert (ticket.words, ticket.edits) == before


@on_either("github")
async def test_an_answer_is_taken_back_where_its_goal_may_no_longer_be_named(
    world: World, ticket: Ticket
) -> None:
    await world.goal("KR-2", "Takeover", visibility="public")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    assert await ticket.tell("/northing link KR-1, KR-2")
    assert "KR-2 is linked, but does not count: it is missed." in ticket.words
    await world.send("PATCH", "/objectives/O-2", {"visibility": "confidential", "public_label": "Plan"})
    await world.drain()
    assert ticket.words == ["Aligned with KR-1 (Checkout conversion). Thank you."]


@on_either("jira")
async def test_nothing_to_snooze(world: World, ticket: Ticket, clock: Clock) -> None:
    until = (clock.now + timedelta(days=9)).date()
    path = f"/findings/{(await ticket.finding())['id']}/waive"
    await world.send("POST", path, {"reason": "Law", "until": until.isoformat()})
    assert await ticket.tell("/northing snooze 3d")
    assert ticket.words == [f"Waived until {until}: Law.", "There is nothing to snooze: the gap is waived."]
    assert (await ticket.finding())["state"] == "waived"
    assert await ticket.tell("/northing link KR-1")
    assert await ticket.tell("/northing snooze 3d")
    assert ticket.words == [
        "Aligned with KR-1 (Checkout conversion). Thank you.",
        "There is nothing to snooze here.",
    ]


@both
async def test_one_comment_may_do_some_and_be_answered_on_the_rest(ticket: Ticket) -> None:
    lines = "/northing link KR-1, KR-99", "/northing unlink KR-1", "/northing dance"
    assert await ticket.tell(*lines)
    assert ticket.words[:2] == ["Aligned with KR-1 (Checkout conversion). Thank you.", UNKNOWN]
    assert ticket.words[2].startswith("unlink is not in this build. There is /northing link KR-12, ")
    assert ticket.words[3].startswith("There is no command dance.")
    assert len(ticket.words) == 4


# --- who and how often ------------------------------------------------------------------------


@on_either("github")
async def test_without_the_right_nothing_is_done_and_nothing_said(ticket: Ticket) -> None:
    edits = ticket.edits
    assert not await ticket.tell("/northing link KR-1", "/northing help", may_steer=False)
    assert ticket.edits == edits
    assert HELP not in ticket.words
    assert (await ticket.epic())["links"] == []
    assert (await ticket.finding())["state"] == "open"
    assert await command_comments(ticket.runtime) == []


@on_either("github")
async def test_a_comment_of_mistakes_alone_may_be_corrected(ticket: Ticket) -> None:
    assert await ticket.tell("/northing lnk KR-1", id="77")
    assert (await ticket.epic())["links"] == []
    assert await ticket.tell("/northing link KR-1", id="77")
    assert len((await ticket.epic())["links"]) == 1
    assert not await ticket.tell("/northing snooze 3d", id="77")


@on_either("jira")
async def test_once_per_comment_whatever_the_deliveries(world: World, ticket: Ticket) -> None:
    assert await ticket.tell("/northing link KR-1", id="77")
    assert not await ticket.tell("/northing link KR-1", id="77")
    (link,) = (await ticket.epic())["links"]
    await world.send("DELETE", f"/links/{link['id']}")
    assert not await ticket.tell("/northing link KR-1", id="77"), "a replay does not undo what came after"
    assert (await ticket.epic())["links"] == []
    assert await ticket.tell("/northing link KR-1", id="78")


@on_either("jira")
async def test_of_many_at_once_one_acts(ticket: Ticket) -> None:
    reported = await asyncio.gather(*(ticket.tell("/northing link KR-1, KR-99", id="77") for _ in range(5)))
    assert sorted(reported) == [False] * 4 + [True]
    assert len(await command_comments(ticket.runtime)) == 1
    assert len((await ticket.epic())["links"]) == 1


@on_either("jira")
async def test_a_comment_without_commands_leaves_nothing(ticket: Ticket) -> None:
    before = await goals_version(ticket.runtime)
    assert not await ticket.tell("Please /northing link KR-1", "northing help")
    assert not await ticket.tell("/northing help", ours=True)
    assert await command_comments(ticket.runtime) == []
    assert await goals_version(ticket.runtime) == before


@on_either("github")
async def test_an_epic_in_no_list_is_left_alone(ticket: Ticket) -> None:
    ticket.driver.delete(ticket.key)
    await ticket.driver.sync("full")
    assert not await ticket.tell("/northing link KR-1")
    async with ticket.runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        merged_away = EpicRow(id=10**9)
        reported = ticket.comment("/northing link KR-1")
        context, now = ticket.runtime.evaluation_context, await ticket.runtime.now(session)
        assert not await execute_commands(session, source, merged_away, reported, context, now)
    assert await command_comments(ticket.runtime) == []


@on_either("github")
async def test_it_is_written_down_as_that_persons_doing(world: World, ticket: Ticket) -> None:
    await ticket.tell("/northing snooze 3d", "/northing link KR-1", author="an\u202e-editor\n")
    who = f"{ticket.driver.kind}: an-editor on {ticket.key}"
    for what, action in (("finding", "changed"), ("link", "created")):
        entries = (await world.send("GET", f"/audit-log?what={what}"))["items"]
        assert [(entry["action"], entry["who"]) for entry in entries] == [(action, who)]


# --- how long an answer stands ----------------------------------------------------------------


@on_either("jira")
async def test_an_answer_stands_until_the_next_command(ticket: Ticket) -> None:
    await ticket.tell("/northing link KR-99")
    assert ticket.words[0] == UNKNOWN
    edits = ticket.edits
    await ticket.driver.sync()
    await ticket.driver.sync("full")
    assert (ticket.words[0], ticket.edits) == (UNKNOWN, edits)
    await ticket.tell("/northing help")
    assert ticket.words[0] == HELP
    assert UNKNOWN not in ticket.words
    await ticket.tell("/northing snooze 3d")
    assert len(ticket.words) == 1, "its effect speaks for itself"
    assert [answer for _, answer, _ in await command_comments(ticket.runtime)] == [None] * 3


@on_either("github")
async def test_an_answer_stands_until_the_gap_is_closed_on_the_ticket(ticket: Ticket, clock: Clock) -> None:
    await ticket.tell("/northing link KR-99")
    clock.advance(minutes=1)
    ticket.driver.describe(ticket.key, "Key-Result: KR-1")
    await ticket.driver.sync()
    assert ticket.words == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert [answer for _, answer, _ in await command_comments(ticket.runtime)] == [None]


@on_either("github")
async def test_an_answer_beside_a_link_goes_when_the_gap_returns(world: World, ticket: Ticket) -> None:
    await ticket.tell("/northing link KR-1, KR-99")
    assert ticket.words[1] == UNKNOWN
    (link,) = (await ticket.epic())["links"]
    await world.send("DELETE", f"/links/{link['id']}")
    await world.drain()
    assert MISSING in ticket.words[0]
    assert UNKNOWN not in ticket.words


@on_either("github")
async def test_a_persons_word_by_the_api_ends_it(world: World, ticket: Ticket, clock: Clock) -> None:
    await ticket.tell("/northing help")
    until = (clock.now + timedelta(days=9)).date()
    found = await ticket.finding()
    await world.send("POST", f"/findings/{found['id']}/snooze", {"until": until.isoformat()})
    await world.drain()
    assert ticket.words == [f"Snoozed until {until}."]


# --- where there is no comment of ours --------------------------------------------------------


@on_either("jira")
async def test_nothing_is_answered_where_nothing_of_ours_stands(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    key = driver.add("Checkout in one step")
    await driver.connect(**SECRET)
    await world.send("PATCH", "/policy", {"grace": "P1D"})
    await driver.sync()
    ticket = Ticket(runtime, driver, key, world.drain, clock)
    assert await ticket.tell("/northing help")
    assert driver.comments(key) == []
    clock.advance(days=4)
    await driver.sync()
    assert MISSING in ticket.words[0], "and later nobody waits for it"


@on_either("jira")
async def test_in_shadow_a_command_works_and_nothing_is_written(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    key = driver.add("Checkout in one step")
    await driver.connect(mode="shadow", **SECRET)
    await driver.sync()
    ticket = Ticket(runtime, driver, key, world.drain, clock)
    assert await ticket.tell("/northing link KR-1", "/northing help")
    assert (driver.comments(key), (await ticket.epic())["alignment"]) == ([], "aligned")


@on_either("jira")
async def test_who_deleted_our_comment_gets_no_other(ticket: Ticket) -> None:
    ticket.driver.delete_comments(ticket.key)
    await ticket.tell("/northing help")
    await ticket.tell("/northing help")
    await ticket.driver.sync()
    assert ticket.driver.comments(ticket.key) == []
    assert (await ticket.epic())["notice"]["state"] == "withdrawn"


# --- what the notice names --------------------------------------------------------------------


@on_either("github")
async def test_commands_are_named_where_the_source_hears_and_that_edits_nothing(
    world: World, driver: TrackerDriver, runtime: Runtime
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    first = driver.add("First")
    await driver.connect()
    await driver.sync()
    assert "/northing " not in (await driver.notice(first))["body"]
    await world.send("PATCH", f"/sources/{driver.kind}", SECRET)
    second = driver.add("Second")
    await driver.sync("full")
    body = (await driver.notice(second))["body"]
    for command in ("/northing link KR-1", "/northing snooze 14d", "/northing help"):
        assert command in body
    assert driver.tracker.log.count(driver.edits) == 0
    assert "/northing " not in driver.comments(first)[0]


# --- who acted --------------------------------------------------------------------------------


@both
async def test_two_people_of_one_name_are_told_apart(
    world: World, ticket: Ticket, driver: TrackerDriver, runtime: Runtime
) -> None:
    await world.goal("KR-2", "Returns")
    for key, account in (("KR-1", "5b10a2-first"), ("KR-2", "5b10a2-second")):
        assert await ticket.tell(f"/northing link {key}", author="Kim Lee", author_id=account)
    entries = (await world.send("GET", "/audit-log?what=link"))["items"]
    who = f"{driver.kind}: Kim Lee on {ticket.key}"
    assert [(entry["who"], entry["who_id"], entry["key"].split(" ")[-1]) for entry in entries] == [
        (who, "5b10a2-second", "KR-2"),
        (who, "5b10a2-first", "KR-1"),
    ]
    (only,) = (await world.send("GET", "/audit-log?who_id=5b10a2-first"))["items"]
    assert only["key"].endswith("KR-1")
    ids = await all_of(runtime, "SELECT author_id FROM command_comments ORDER BY id")
    assert ids == [("5b10a2-first",), ("5b10a2-second",)]
    await world.send("PATCH", "/objectives/O-1", {"title": "By a token"})
    assert (await world.send("GET", "/audit-log"))["items"][0]["who_id"] is None


@both
async def test_the_account_of_a_real_command_is_written_down(
    world: World, ticket: Ticket, driver: TrackerDriver, runtime: Runtime
) -> None:
    """As the tracker names it, whichever way the comment was read."""
    id = driver.say(ticket.key, "/northing link KR-1")
    async with runtime.sessions() as session:
        source = (await session.scalars(select(SourceRow))).one()
    connector = await runtime.connect(source)
    epic = await ticket.epic()
    try:
        ticket_ref = EpicRef(epic["id"], epic["key"])
        comment = await connector.read_comment(CommentRef(ticket_ref, id))
        comment = comment and await connector.with_right(ticket_ref, comment)
    finally:
        await connector.aclose()
    assert comment is not None
    assert comment.author_id == driver.account_of_comment(ticket.key, id)
