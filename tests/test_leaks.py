"""What a reader of a ticket can learn: nothing of goals that must not be named there, nor that there are any.

Two worlds that differ in such goals alone are looked at in every way that such a reader has: the texts of all
kinds, the page behind "Why?" with all its pages and searches, and the answers to commands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from app.web.templating import templates
from connectors.comments import TicketComment
from connectors.markup import to_adf, to_markdown, to_plain
from mappings.checks.registry import CHECKS
from mappings.commands.execute import execute_commands
from mappings.evaluation.context import EvaluationContext
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import load_records
from mappings.evaluation.model import CurrentNotice, EvaluationInput, FindingState
from mappings.tables import (
    CommandCommentRow,
    CycleRow,
    EpicRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    NoticeRow,
    ObjectiveRow,
    RuleRow,
    SourceProjectRow,
    SourceRow,
)
from mappings.why.page import why_page
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_source
from tests.support.evaluations import decision_on, found
from tests.support.ticket_text import text_lines
from tests.support.tracker_drivers import TrackerDriver, both
from tests.support.world import ADMIN_TOKEN, World

pytestmark = pytest.mark.database

# The epic's title has some of these, so that each goal fits it more or less.
TEMPTING = ("checkout", "latency", "mobile", "payments")
SECRETS = ("amberfox", "brightowl", "coldheron", "dimotter", "evenlynx", "faintmole")
TITLE = "Faster checkout and payments for mobile"
CYCLES = {"none": None, "present": 30, "over": -30}
NAMED = "KR-900"  # of a hidden goal that the ticket names
TYPED = (
    "link KR-777",
    "link KR-80",
    "link KR-81, KR-8",
    "link checkout payments",
    "move KR-777",
    "unlink KR-777",
    "suggest",
    "dispute",
    "help",
    "lnk KR-80",
)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`served_by`: how many other epics of the project are linked to it."""

    words: tuple[str, ...]
    visibility: str = "confidential"
    label: str | None = None
    state: str = "active"
    objective_state: str = "active"
    cycle: str = "none"
    served_by: int = 0
    by_rule: bool = False


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A ticket and what stands beside it. `named`: how the ticket comes to a goal that may not be named."""

    public: bool
    shown: tuple[Goal, ...]
    named: str | None
    unknown: bool
    finding: FindingState


def _goals(visibilities: list[str], words: tuple[str, ...]) -> st.SearchStrategy[Goal]:
    return st.builds(
        Goal,
        words=st.permutations(words).map(lambda some: tuple(some[:2])),
        visibility=st.sampled_from(visibilities),
        label=st.sampled_from([None, "Plan for mobile payments"]),
        state=st.sampled_from(["active", "draft", "missed", "archived"]),
        objective_state=st.sampled_from(["active", "achieved"]),
        cycle=st.sampled_from(sorted(CYCLES)),
        served_by=st.integers(0, 3),
        by_rule=st.booleans(),
    )


@st.composite
def _worlds(draw: st.DrawFn) -> tuple[Ticket, list[Goal], list[Goal], tuple[Goal, Goal]]:
    public = draw(st.booleans())
    place = Ticket(
        public=public,
        shown=tuple(
            draw(st.lists(_goals(["public"] if public else ["public", "internal"], TEMPTING), max_size=3))
        ),
        named=draw(st.sampled_from([None, "manual", "rule", "inherited"])),
        unknown=draw(st.booleans()),
        finding=draw(st.sampled_from(get_args(FindingState))),
    )
    hidden = _goals(["confidential", "internal"] if public else ["confidential"], (*TEMPTING, *SECRETS))
    first, second = draw(st.lists(hidden, max_size=4)), draw(st.lists(hidden, max_size=4))
    words = [draw(st.permutations(SECRETS)) for _ in range(2)]
    # The one that is named has the same label and counts alike, in both.
    label, live = draw(st.sampled_from([None, "Plan A"])), draw(st.booleans())
    fates = ["active", "draft"] if live else ["missed", "archived", "achieved"]
    one, other = (
        Goal(words=tuple(some[:2]), label=label, state=draw(st.sampled_from(fates))) for some in words
    )
    return place, first, second, (one, other)


# A version of its own, so that nothing that was remembered of other goals is used.
# Every ticket is asked at once, so that the page has its list.
_OTHER_GOALS = text(
    "UPDATE installation SET goals_version = goals_version + :by,"
    """ policy = '{"grace": "PT0S", "since": null}'"""
)


# --- a world ----------------------------------------------------------------------------------


async def _add(session: AsyncSession, key: str, goal: Goal, now: datetime, epics: list[EpicRow]) -> int:
    span = CYCLES[goal.cycle]
    ends: date | None = None if span is None else now.date() + timedelta(days=span)
    cycle = None
    if ends is not None:
        cycle = CycleRow(key=f"C-{key}", title=key, starts=ends - timedelta(60), ends=ends, review="monthly")
        session.add(cycle)
        await session.flush()
    objective = ObjectiveRow(
        key=f"O-{key}",
        title=f"Objective of {' '.join(goal.words)}",
        description=" ".join(goal.words),
        cycle_id=None if cycle is None else cycle.id,
        visibility=goal.visibility,
        public_label=goal.label,
        state=goal.objective_state,
    )
    session.add(objective)
    await session.flush()
    row = KeyResultRow(
        key=key,
        objective_id=objective.id,
        title=" ".join(goal.words),
        description=f"{TITLE} {' '.join(goal.words)}",
        state=goal.state,
    )
    session.add(row)
    await session.flush()
    for epic in epics[: goal.served_by]:
        link = LinkRow(epic_id=epic.id, key_result_id=row.id, origin="manual", why=" ".join(goal.words))
        session.add(link)
    if goal.by_rule:
        when = {"label": f"not-here-{goal.words[0]}"}
        session.add(
            RuleRow(name=f"{key} {goal.words[0]}", when=when, key_result_id=row.id, priority=1, enabled=True)
        )
    await session.flush()
    return row.id


async def _name(session: AsyncSession, how: str, key_result: int, epic: EpicRow, above: EpicRow) -> None:
    if how == "rule":
        when = {"title": "Faster checkout"}
        session.add(
            RuleRow(name="Amberfox rule", when=when, key_result_id=key_result, priority=2, enabled=True)
        )
    else:
        at = above if how == "inherited" else epic
        session.add(LinkRow(epic_id=at.id, key_result_id=key_result, origin="manual", why="by amberfox"))
    await session.flush()


async def _build(
    session: AsyncSession, place: Ticket, hidden: list[Goal], named: Goal, now: datetime
) -> tuple[SourceRow, EpicRow]:
    source = await add_source(session)
    for project, public in (("SHOP", place.public), ("VAULT", False)):
        session.add(SourceProjectRow(source_id=source.id, key=project, public=public, fully_synced=True))
    above = await add_epic(session, source, "VAULT-1", title="Dimotter vault")
    others = [await add_epic(session, source, f"SHOP-{number}", title=TITLE) for number in range(2, 5)]
    epic = await add_epic(
        session,
        source,
        "SHOP-1",
        title=TITLE,
        labels=["mobile"],
        read_at=now,
        tracker_created_at=now - timedelta(days=90),
        parent_key=above.key if place.named == "inherited" else None,
        parent_remote_id=above.remote_id if place.named == "inherited" else None,
        ticket_references=["label:KR-555"] if place.unknown else [],
        evaluated_at=now,
    )
    for number, goal in enumerate(place.shown):
        await _add(session, f"KR-{number + 1}", goal, now, others)
    for number, goal in enumerate(hidden):
        await _add(session, f"KR-80{number + 1}", goal, now, others)
    if place.named is not None:
        await _name(session, place.named, await _add(session, NAMED, named, now, []), epic, above)
    notice: dict[str, Any] = {"state": "posted", "facts_hash": "x", "posted_hash": "x", "remote_id": "1"}
    if "body" in NoticeRow.__table__.columns:
        notice["body"] = ""
    session.add(NoticeRow(epic_id=epic.id, **notice))
    until = now + timedelta(days=9) if place.finding in ("snoozed", "waived") else None
    session.add(
        FindingRow(
            epic_id=epic.id,
            check="no-key-result",
            state=place.finding,
            severity="warning",
            detail="",
            opened_at=now - timedelta(60),
            until=until,
            reason="Agreed",
        )
    )
    await session.flush()
    return source, epic


# --- what its readers see ---------------------------------------------------------------------


async def _texts(
    session: AsyncSession, context: EvaluationContext, epic: EpicRow, place: Ticket, now: datetime
) -> list[str]:
    (records,) = await load_records(session, [epic])
    (evaluation,) = await evaluate_records(session, [records], context, now)
    evaluated: EvaluationInput = evaluation.evaluated
    suggestions = await context.suggest(session, epic, now)
    seen = [f"{one.key_result.key} {one.reasons} {one.confident}" for one in suggestions]
    until = now + timedelta(days=9) if place.finding in ("snoozed", "waived") else None
    for check in CHECKS:
        if check.channel != "comment":
            continue
        finding = found(
            check.name, place.finding, until=until, reason="Agreed", opened_at=now - timedelta(60)
        )
        for notice in (None, CurrentNotice("posted", now, True, "x")):
            decision = decision_on(
                evaluated, finding, notice=notice, goals=context.goals.key_results.values(), now=now
            )
            # Nor does it show by when the ticket is looked at again, or whether anything is written.
            seen.append(f"{check.name} {decision.alignment} {decision.keep_notice}")
            if decision.notice is None:
                continue
            for shown in ((), [one for one in suggestions if one.confident], suggestions):
                document = decision.notice.compose(shown).document
                seen += [to_plain(document), to_markdown(document), json.dumps(to_adf(document))]
            seen.append(decision.notice.facts_hash if place.named is None else "")
    return seen


async def _pages(
    session: AsyncSession, context: EvaluationContext, epic: EpicRow, now: datetime
) -> list[str]:
    template = templates.get_template("why.html")
    seen = []
    for words, number in (("", 1), ("", 2), ("KR-80", 1), (SECRETS[0], 1), ("mobile", 1)):
        page = await why_page(session, context, epic, now, words=words, page=number)
        html = template.render(page=page, base="")
        seen.append(html.replace(f'value="{words}"', ""))  # what was typed there comes back
    return seen


async def _answers(
    runtime: Runtime, session: AsyncSession, source: SourceRow, epic: EpicRow, now: datetime
) -> list[str]:
    seen = []
    for number, typed in enumerate(TYPED):
        lines = text_lines(f"/northing {typed}")
        comment = TicketComment(str(number), "Ann", lines, ours=False, may_steer=True, author_id="ann")
        await execute_commands(session, source, epic, comment, runtime.evaluation_context, now, CHECKS)
        rows = select(CommandCommentRow.answer).where(CommandCommentRow.remote_id == str(number))
        seen.append(f"{typed}: {(await session.scalars(rows)).one_or_none()}")
    return seen


async def _seen(runtime: Runtime, place: Ticket, hidden: list[Goal], named: Goal) -> list[str]:
    async with runtime.sessions() as session:
        now = await runtime.now(session)
        source, epic = await _build(session, place, hidden, named, now)
        await session.execute(_OTHER_GOALS, {"by": epic.id})
        context = await runtime.evaluation_context(session, source)
        seen = await _texts(session, context, epic, place, now)
        seen += await _pages(session, context, epic, now)
        seen += await _answers(runtime, session, source, epic, now)
        await session.rollback()
    return seen


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(worlds=_worlds())
async def test_two_worlds_that_differ_in_hidden_goals_look_alike(
    runtime: Runtime, worlds: tuple[Ticket, list[Goal], list[Goal], tuple[Goal, Goal]]
) -> None:
    place, first, second, (one, other) = worlds
    seen = await _seen(runtime, place, first, one)
    assert seen == await _seen(runtime, place, second, other)
    everything = "\n".join(seen).lower()
    for typed in TYPED:  # what was typed there comes back
        everything = everything.replace(typed.lower(), "")
    hidden = [
        word for word in (*SECRETS, "vault", "kr-801", "kr-802", "kr-803", "kr-804") if word in everything
    ]
    assert hidden == []


# --- from the ticket to the page and back -----------------------------------------------------

WIN = "Win the amberfox tender"


@both
async def test_a_ticket_and_its_page_say_the_same_little(
    world: World, runtime: Runtime, clock: Clock, driver: TrackerDriver
) -> None:
    """Also where the project becomes public afterwards."""
    await world.goal("KR-2", "Checkout amberfox merger", visibility="confidential", public_label="Plan A")
    await world.goal("KR-3", WIN, visibility="internal")
    named = driver.add("Faster checkout for the tender", description="Key-Result: KR-2")
    asked = driver.add("Faster checkout for the tender")
    await driver.sync()
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    await driver.sync()
    del world.api.headers["Authorization"]

    async def page(key: str) -> str:
        async with runtime.sessions() as session:
            row = (await session.scalars(select(EpicRow).where(EpicRow.key == key))).one()
            url = runtime.page_urls(await session.get_one(SourceRow, row.source_id))(row)
        assert url is not None
        answer = await world.api.get(url.removeprefix(runtime.settings.links_base))
        assert answer.status_code == 200
        return str(answer.text)

    first = [await page(named), await page(asked)]
    for text_ in (*first, *driver.comments(named), *driver.comments(asked)):
        assert ("merger" in text_, "missed" in text_) == (False, False)
    assert ("KR-2" in first[0], "KR-2" in first[1]) == (True, False)
    assert all(WIN in one for one in first)
    if driver.kind == "jira":
        world.site.publish("SHOP", public=True)
    else:
        world.host.repository("acme/shop").private = False
    world.api.headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    clock.advance(minutes=1)
    await driver.sync()
    del world.api.headers["Authorization"]
    after = [await page(named), await page(asked), *driver.comments(named), *driver.comments(asked)]
    assert [one for one in after if "amberfox" in one or "KR-3" in one] == []
