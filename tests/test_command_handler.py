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
from sqlalchemy import select, text

from app import pipeline
from app.runtime import Runtime
from connectors.base import CommentRef, EpicRef
from connectors.comments import TicketComment
from mappings.commands.answers import USAGES
from mappings.commands.execute import CommandResult, execute_commands
from mappings.evaluation.load import load_records
from mappings.runs.queue import open_run
from mappings.tables import CommandCommentRow, EpicRow, SourceRow
from tests.support.clock import Clock
from tests.support.disputes import dispute
from tests.support.locks import holding
from tests.support.queries import all_of, command_comments, every_row, goals_version
from tests.support.ticket_text import text_lines
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either
from tests.support.world import World

MISSING = "Which key result does this epic serve?"
UNKNOWN = "There is no key result KR-99. /northing suggest shows which come nearest."
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
        """Give commands in a comment and let all that follows be done; whether they acted now."""
        result = await self.give(self.comment(*lines, id=id, **members))
        return result is not None and result.is_new

    async def give(self, comment: TicketComment) -> CommandResult | None:
        """As the inbox gives a comment."""
        run_id = None
        async with self.runtime.sessions.begin() as session:
            epic = (await session.scalars(select(EpicRow).where(EpicRow.key == self.key))).one()
            source = await session.get_one(SourceRow, epic.source_id)
            context, now = self.runtime.evaluation_context, await self.runtime.now(session)
            result = await execute_commands(session, source, epic, comment, context, now)
            if result is not None and result.evaluate:
                run_id = (await open_run(session, source.id, "evaluate", await self.runtime.now(session))).id
        self.clock.advance(seconds=1)
        if run_id is not None:
            await pipeline.execute_run(self.runtime, run_id)
            await self.drain()
        return result

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

    async def row(self) -> CommandCommentRow:
        """Of the last comment that was acted on."""
        async with self.runtime.sessions() as session:
            rows = select(CommandCommentRow).order_by(
                CommandCommentRow.at.desc(), CommandCommentRow.id.desc()
            )
            return (await session.scalars(rows.limit(1))).one()

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
    assert await command_comments(ticket.runtime) == [(["link KR-1"], None, "an-editor")]
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
    assert MISSING in ticket.words[9]
    assert [line.split(" ")[1] for line in ticket.words[1:9]] == list(USAGES)
    assert await ticket.tell("/northing snooze 3d", "/northing help")
    assert ticket.words[0].startswith("Snoozed until ")
    assert ticket.words[1] == HELP


@on_either("jira")
async def test_a_closed_goal_is_linked_and_said_not_to_count(world: World, ticket: Ticket) -> None:
    await world.goal("KR-2", "Old goal")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    assert await ticket.tell("/northing link KR-2")
    assert ticket.words[0] == "KR-2 is linked, but does not count: it is missed."
    assert ticket.words[1:3] == [
        "Which key result does this epic serve?",
        "The one it is linked to no longer counts:",
    ]
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
    await dispute(ticket.runtime, ticket.key, "It is an office move", clock())
    assert await ticket.tell("/northing snooze 3d")
    assert ticket.words == [
        "Disputed; waiting for a decision.",
        "There is nothing to snooze: the gap is disputed.",
    ]
    assert (await ticket.finding())["state"] == "disputed"
    assert await ticket.tell("/northing link KR-1")
    assert await ticket.tell("/northing snooze 3d")
    assert ticket.words == [
        "Aligned with KR-1 (Checkout conversion). Thank you.",
        "There is nothing to snooze here.",
    ]


@both
async def test_one_comment_may_do_some_and_be_answered_on_the_rest(ticket: Ticket) -> None:
    lines = "/northing link KR-1, KR-99", "/northing dance"
    assert await ticket.tell(*lines)
    assert ticket.words[:2] == ["Aligned with KR-1 (Checkout conversion). Thank you.", UNKNOWN]
    assert ticket.words[2] == "There is no command dance. /northing help lists what there is."
    assert len(ticket.words) == 3
    assert (await ticket.row()).outcome == "not_understood"


@on_either("jira")
async def test_keys_end_at_the_first_word_that_is_none(world: World, ticket: Ticket) -> None:
    await world.goal("KR-2", "Returns")
    assert await ticket.tell("/northing link KR-1 instead of KR-2")
    assert [link["key_result"] for link in (await ticket.epic())["links"]] == ["KR-1"]
    assert len(ticket.words) == 1
    assert await ticket.tell("/northing link KR-2 and snooze 14d")
    assert ticket.words[1].startswith("One command on a line")
    assert await ticket.tell("/northing link KR3")
    assert ticket.words[1] == "There is no key result KR3. Perhaps KR-1 or KR-2?"


@both
async def test_unlink_takes_back_what_people_linked_and_says_who_links_the_rest(
    world: World, ticket: Ticket, clock: Clock
) -> None:
    await world.goal("KR-2", "Returns")
    body = {"epic": {"source": ticket.driver.kind, "key": ticket.key}, "key_result": "KR-2"}
    await world.send("POST", "/links", body)
    await ticket.tell("/northing link KR-1")
    assert await ticket.tell("/northing unlink KR-1, KR-2 please")
    assert (await ticket.epic())["links"] == []
    assert (await ticket.row()).commands == ["unlink KR-1, KR-2"]
    entries = (await world.send("GET", "/audit-log?what=link"))["items"]
    assert [entry["action"] for entry in entries[:2]] == ["deleted"] * 2
    assert MISSING in ticket.words[0]
    clock.advance(minutes=1)
    ticket.driver.describe(ticket.key, "Key-Result: KR-1")
    await ticket.driver.sync()
    await ticket.tell("/northing link KR-1")
    assert await ticket.tell("/northing unlink KR-1")
    assert [link["origin"] for link in (await ticket.epic())["links"]] == ["ticket"]
    assert ticket.words[1].startswith("KR-1 stays linked: the ticket itself names it")
    assert (await ticket.row()).outcome == "not_understood"


@on_either("github")
async def test_move_links_one_and_no_other(world: World, ticket: Ticket) -> None:
    await world.goal("KR-2", "Returns")
    body = {"epic": {"source": ticket.driver.kind, "key": ticket.key}, "key_result": "KR-1"}
    await world.send("POST", "/links", {**body, "primary": True})
    assert await ticket.tell("/northing move KR-99", "/northing move KR-1, KR-2")
    assert [link["key_result"] for link in (await ticket.epic())["links"]] == ["KR-1"]
    assert await ticket.tell("/northing move to KR-2.")
    assert ticket.words == ["Aligned with KR-2 (Returns). Thank you."]
    (link,) = (await ticket.epic())["links"]
    assert (link["key_result"], link["origin"]) == ("KR-2", "command")


@both
async def test_waive_and_dispute(ticket: Ticket, clock: Clock) -> None:
    day = (clock.now + timedelta(days=28)).date()
    assert await ticket.tell("/northing waive for 4 weeks because @bob runs the office move")
    (words,) = ticket.words
    assert words.startswith(f"Waived until {day}: ")
    found = await ticket.finding()
    assert (found["state"], found["reason"]) == ("waived", "@bob runs the office move")
    assert await ticket.tell("/northing keep")
    assert ticket.words[-1].startswith("keep is for reviews, and none asks here")


@on_either("github")
async def test_dispute(ticket: Ticket) -> None:
    assert await ticket.tell("/northing dispute")
    assert ticket.words[0].startswith(
        "Why? Whoever maps goals here reads the reason: /northing dispute because"
    )
    assert await ticket.tell("/northing dispute because it is an initiative")
    assert ticket.words == ["Disputed; waiting for a decision."]
    found = await ticket.finding()
    assert (found["state"], found["reason"]) == ("disputed", "it is an initiative")
    assert await ticket.tell("/northing waive for 4 weeks because of law")
    assert ticket.words[1] == "There is nothing to waive: the gap is disputed."


@on_either("jira")
async def test_suggest(world: World, ticket: Ticket) -> None:
    await world.goal("KR-2", "Checkout in one step", visibility="confidential", public_label="Plan")
    assert await ticket.tell("/northing suggest")
    assert ticket.words[0] == "These key results come nearest. Only you can say whether one is meant:"
    assert ticket.words[1].startswith("/northing link KR-1 KR-1 (Checkout conversion): ")
    assert MISSING in ticket.words[2]
    await world.send("PATCH", "/objectives/O-1", {"visibility": "confidential", "public_label": "Plan"})
    await world.drain()
    assert "Checkout conversion" not in " ".join(ticket.words), "nor in the answer"
    assert await ticket.tell("/northing suggest")
    assert ticket.words[0].startswith("No key result comes near this epic.")


@on_either("jira")
async def test_no_answer_tells_of_a_goal_that_may_not_be_named(world: World, ticket: Ticket) -> None:
    await world.goal("TOP-11", "Takeover", visibility="confidential", public_label="Plan")
    for key in ("TOP-12", "TOP-77"):
        assert await ticket.tell(f"/northing link {key}")
        assert ticket.words[0] == UNKNOWN.replace("KR-99", key)
    for key in ("TOP-11", "TOP-77"):
        assert await ticket.tell(f"/northing unlink {key}")
        assert ticket.words[0] == f"This epic is not linked to {key}."


@on_either("github")
async def test_a_thousand_commands_are_ten_and_one_word_about_it(ticket: Ticket) -> None:
    assert await ticket.tell(*(f"/northing link KR-{n}" for n in range(90, 1090)))
    assert ticket.words[0] == UNKNOWN.replace("99", "90")
    assert await ticket.tell(*["/northing link KR-1"] * 1000)
    assert ticket.words[1].startswith("Only the first 10 commands of a comment are read")
    assert len(ticket.words) == 2
    assert not await ticket.tell(*["/northing link KR-1"] * 1000, id=(await ticket.row()).remote_id)


@on_either("jira")
async def test_of_a_comment_that_not_everybody_sees_nothing_is_repeated(world: World, ticket: Ticket) -> None:
    typed = (
        "/northing link ZQ7X-9",
        "/northing zq7x",
        "northing snooze 99d",
        "/northing waive 3w because zq7xy",
    )
    assert await ticket.tell(*typed, restricted=True, author="Secret Sam", author_id="77")
    assert ticket.words[0].startswith("Waived until ")
    assert (await ticket.finding())["reason"] == "a reason given in a comment that not everybody sees"
    assert await ticket.tell(
        "/northing link KR-1", "/northing snooze 3d", restricted=True, author="Secret Sam"
    )
    (link,) = (await ticket.epic())["links"]
    assert link["why"] == "linked by a comment"
    assert (await ticket.row()).commands[:1] == ["link"]
    rows = {table: " ".join(rows).lower() for table, rows in (await every_row(ticket.runtime)).items()}
    assert [table for table, row in rows.items() if "zq7x" in row] == []
    named = {table for table, row in rows.items() if "secret sam" in row}
    assert named == {"audit_log", "command_comments"}, "which no ticket and no viewer sees"
    assert "secret sam" not in " ".join(ticket.driver.comments(ticket.key)).lower()


@on_either("github")
async def test_what_is_nearly_a_command_is_answered(ticket: Ticket) -> None:
    assert await ticket.tell("Done. /northing link KR-1", id="77")
    assert ticket.words[0].endswith("As a line of its own, not as code, it works: /northing link KR-1.")
    assert (await ticket.epic())["links"] == []
    edits = ticket.edits
    assert not await ticket.tell("Done. /northing link KR-1", "Really", id="77")
    assert ticket.edits == edits


# --- who and how often ------------------------------------------------------------------------


@on_either("github")
async def test_without_the_right_nothing_is_done_and_each_is_told_once(ticket: Ticket) -> None:
    before = await goals_version(ticket.runtime)
    refused: dict[str, Any] = {"may_steer": False, "author_id": "7"}
    assert await ticket.tell("/northing link KR-1", "/northing help", id="1", **refused)
    assert ticket.words[0].startswith("A command here changed nothing: ")
    assert MISSING in ticket.words[1]
    edits = ticket.edits
    assert not await ticket.tell("/northing link KR-1", "/northing help", id="1", **refused)
    result = await ticket.give(ticket.comment("/northing snooze 3d", id="2", **refused, author="renamed"))
    assert result == CommandResult("not_allowed", evaluate=False, is_new=True, reaction_id=None)
    result = await ticket.give(ticket.comment("/northing snooze 3d", author="b", may_steer=False))
    assert result is not None
    assert not result.evaluate, "an answer that stands is nobody else's to take away"
    assert not await ticket.tell("northing link KR-1", author="c", may_steer=False), "nearly a command"
    assert ticket.edits == edits
    assert (await ticket.epic())["links"] == []
    assert (await ticket.finding())["state"] == "open"
    assert await goals_version(ticket.runtime) == before
    await ticket.tell("/northing snooze 3d")
    assert len(ticket.words) == 1
    await ticket.tell("/northing help", id="3", **refused)
    assert len(ticket.words) == 1


@on_either("github")
async def test_an_edited_comment_acts_again_where_its_commands_changed(ticket: Ticket, clock: Clock) -> None:
    assert await ticket.tell("/northing lnk KR-1", "/northing snooze 3d", id="77")
    assert (await ticket.epic())["links"] == []
    until = (await ticket.finding())["until"]
    clock.advance(days=1)
    assert not await ticket.tell("Sorry,", "/Northing  lnk kr-1", "/northing snooze 3D", id="77"), "the same"
    assert await ticket.tell("/northing link KR-98", "/northing snooze 3d", id="77")
    assert (await ticket.finding())["until"] == until, "what was done is not done again"
    assert (await ticket.row()).outcome == "not_understood"
    assert await ticket.tell("/northing link KR-98", "/northing link KR-1", id="77")
    assert len((await ticket.epic())["links"]) == 1
    assert UNKNOWN.replace("99", "98") in ticket.words, "what could not be done is said again"
    assert await ticket.tell("/northing link KR-1", id="77")
    assert ((await ticket.row()).outcome, len(ticket.words)) == ("done", 1)


@on_either("jira")
async def test_taking_a_command_out_of_a_comment_changes_nothing(ticket: Ticket) -> None:
    assert await ticket.tell("/northing snooze 3d", "/northing snooze 4d", id="77")
    assert await ticket.tell("/northing help", id="78")
    edits = ticket.edits
    assert not await ticket.tell("/northing snooze 4d", id="77")
    assert not await ticket.tell("/northing snooze 4d", id="77")
    assert HELP in ticket.words, "the answer to another comment"
    assert ticket.edits == edits
    assert await ticket.tell("/northing snooze 5d", id="77")


@on_either("jira")
async def test_a_refusal_in_silence_makes_no_edit_urgent(ticket: Ticket) -> None:
    await ticket.tell("/northing help")
    await ticket.give(ticket.comment("/northing snooze 3d", author="b", may_steer=False))
    async with ticket.runtime.sessions() as session:
        rows = await session.scalars(select(EpicRow).where(EpicRow.key == ticket.key))
        (records,) = await load_records(session, rows.all())
    assert not records.commanded


@on_either("jira")
async def test_who_was_refused_in_silence_is_told_later(ticket: Ticket) -> None:
    refused: dict[str, Any] = {"author": "b", "may_steer": False}
    await ticket.give(ticket.comment("/northing snooze 3d", restricted=True, **refused))
    assert not (await ticket.row()).is_told
    assert await ticket.tell("/northing snooze 3d", **refused)
    assert ticket.words[0].startswith("A command here changed nothing: ")
    again = await ticket.give(ticket.comment("/northing snooze 4d", **refused))
    assert again == CommandResult("not_allowed", evaluate=False, is_new=True, reaction_id=None)


@on_either("jira")
async def test_a_command_takes_the_source_before_its_epic(ticket: Ticket, database_url: str) -> None:
    """As whoever deletes the source does."""
    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM sources FOR UPDATE")
        command = asyncio.create_task(ticket.tell("/northing snooze 3d"))
        await holder.until_waiting(1)
        await holder.hold("SELECT 1 FROM epics FOR UPDATE")
        await holder.let_go()
        assert await command


@on_either("jira")
async def test_a_comment_of_before_there_were_digests_does_not_act_again(ticket: Ticket) -> None:
    await ticket.tell("/northing snooze 3d", id="77")
    async with ticket.runtime.sessions.begin() as session:
        await session.execute(text("UPDATE command_comments SET digest = NULL"))
    assert not await ticket.tell("/northing link KR-1", id="77")
    async with ticket.runtime.sessions.begin() as session:
        await session.execute(text("UPDATE command_comments SET commands = '{}'"))
    assert await ticket.tell("/northing link KR-1", id="77"), "it was a mistake, and may be corrected"


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
    assert not await ticket.tell("Northing says we need a KR", "I used /northing link KR-1 yesterday")
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
async def test_a_comment_is_made_for_an_answer_where_none_stands(
    world: World, driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    key = driver.add("Checkout in one step")
    await driver.connect(**SECRET)
    await world.send("PATCH", "/policy", {"grace": "P1D"})
    await driver.sync()
    ticket = Ticket(runtime, driver, key, world.drain, clock)
    assert await ticket.tell("/northing help")
    assert ticket.words[0] == HELP
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
async def test_commands_are_named_with_a_webhook_or_without_one_and_that_edits_nothing(
    world: World, driver: TrackerDriver, runtime: Runtime
) -> None:
    """Without one they are found by the next sync. No key is named where none is suggested."""
    commands = (
        "/northing link <key>",
        "/northing snooze 14d",
        "/northing waive until 2026-",
        "/northing dispute because …",
    )
    await world.goal("KR-1", "Checkout conversion")
    first = driver.add("First")
    await driver.connect()
    await driver.sync()
    before = (await driver.notice(first))["body"]
    await world.send("PATCH", f"/sources/{driver.kind}", SECRET)
    second = driver.add("Second")
    await driver.sync("full")
    for body in (before, (await driver.notice(second))["body"]):
        assert [command for command in commands if command not in body] == []
        assert "KR-1" not in body
    assert driver.tracker.log.count(driver.edits) == 0


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
