"""The notices: what would be said, may it go, and the disputes to decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CURSOR_AT_MOST, CursorParameter, Cursors, list_query, page_of
from app.api.problems import Problem
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, id_in, needs
from app.web.ticket import notice_on_ticket
from app.web.undo import finding_steps
from mappings.errors import Invalid
from mappings.evaluation.many import ChangedFindings, change_findings
from mappings.evaluation.operations import UPHELD, AskedState, dismissal
from mappings.lists import notices as lists
from mappings.notices import operations
from mappings.notices.burst_guard import limit_in_words
from mappings.tables import EpicRow, FindingRow, NoticeRow, SourceRow

router = APIRouter()

Tab = Literal["held", "disputed", "shadow", "due", "posted", "resolved", "withdrawn", "failed"]
TABS: tuple[Tab, ...] = ("held", "disputed", "shadow", "due", "posted", "resolved", "withdrawn", "failed")
# The tab that opens by itself is the first of these that has something to do or to read.
OPENING: tuple[Tab, ...] = ("held", "disputed", "failed", "shadow", "posted")
APPROVABLE = ("guard", "cap")
ROWS = 50
OF_GROUP = 20  # rows of each group where all that is held is shown
Reason = Literal["guard", "cap", "grace", "quiet_hours", "stale", "disputed"]
_ID = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list: a notice, and of a dispute the finding."""

    notice: NoticeRow | None
    epic: EpicRow
    source: str
    finding: FindingRow | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A group of rows: `group` as `mappings.lists.notices` has it, None for a list without groups. `limit`:
    what held the run. `more`: the address of all of it, where only the first are shown."""

    group: lists.HeldGroup | None
    rows: Sequence[Row]
    limit: str | None = None
    more: str | None = None


@dataclass(frozen=True, slots=True)
class PageAddress:
    """What the page's address asks for. `tab`: None where it leaves that to the page."""

    tab: Tab | None
    source: str | None
    project: str | None
    reason: str | None = None
    run: int | None = None
    notice: int | None = None
    finding: int | None = None
    cursor: str | None = None

    def address(self, **changes: Any) -> str:
        """The page with other values."""
        values = {
            "state": self.tab,
            "source": self.source,
            "project": self.project,
            "reason": self.reason,
            "run": self.run,
            "cursor": self.cursor,
            "notice": self.notice,
            "finding": self.finding,
        }
        kept = {name: value for name, value in (values | changes).items() if value is not None}
        return f"/notices?{urlencode(kept)}" if kept else "/notices"


async def _page_address(
    state: Tab | None = None,
    source: Annotated[str | None, Query(max_length=64)] = None,
    project: Annotated[str | None, Query(max_length=200)] = None,
    reason: Reason | None = None,
    run: _ID = None,
    notice: _ID = None,
    finding: _ID = None,
    cursor: Annotated[str | None, Query(max_length=CURSOR_AT_MOST)] = None,
) -> PageAddress:
    return PageAddress(state, source or None, project or None, reason, run, notice, finding, cursor)


AddressDep = Annotated[PageAddress, Depends(_page_address)]


@router.get("/notices", dependencies=[needs("GET /notices")])
async def show_notices(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    asked: AddressDep,
    cursor: CursorParameter = None,
) -> HTMLResponse:
    return await _page(request, runtime, session, asked, cursor)


@router.post("/notices", dependencies=[needs("POST /notices/approve")], response_model=None)
async def change_notices(
    request: Request,
    runtime: RuntimeDep,
    form: FormDep,
    caller: CallerDep,
    asked: AddressDep,
    cursor: CursorParameter = None,
) -> HTMLResponse | RedirectResponse:
    """`do`: approve or withdraw the notices `notice`, or `approve-run` or `withdraw-run` the run `run`, or
    uphold or dismiss the disputed finding `finding`."""
    act, _, of_run = form.get("do").partition(" ")
    if act in ("uphold", "dismiss"):
        return await _decide(request, runtime, form, caller, asked, cursor)
    if act in ("approve-run", "withdraw-run"):
        text, acted = await _change_run(runtime, caller, act, _number(of_run)), [asked.notice or 0]
    elif act in ("approve", "withdraw"):
        acted = [_number(text) for text in form.all("notice")]
        text = await _change_some(runtime, caller, act, acted)
    else:
        raise Problem(422, "This form asks for nothing that this page can do: reload it.")
    async with runtime.transaction() as session:
        to = await _onwards(session, asked, acted)
        return await done(request, session, text, to=to)


def _number(text: str) -> int:
    if (id := id_in(text)) is None:
        raise Problem(422, "This form names no notice or run: reload the page.")
    return id


# --- what a person does -----------------------------------------------------------------------


async def _change_some(runtime: Runtime, caller: Caller, act: str, ids: Sequence[int]) -> str:
    """What was done, in words."""
    if not ids:
        return "Nothing was selected."
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        if act == "approve":
            approval = await operations.approve_notices(session, now, ids=ids)
            made, skipped = approval.approved, approval.skipped
        else:
            withdrawn = await operations.withdraw_notices(session, ids, now)
            made, skipped = [*withdrawn.unsent, *withdrawn.queued], withdrawn.skipped
        named = await _named(session, made)
    word = "Approved" if act == "approve" else "Withdrew"
    texts = (
        [f"{word} {named}."] if made else [f"Nothing was {'approved' if act == 'approve' else 'withdrawn'}."]
    )
    if made and act == "approve":
        which = "The ticket" if len(made) == 1 else "Each ticket"
        texts.append(f"{which} is read again before its comment is written.")
    if skipped:
        texts.append(f"{len(skipped)} left as {'it is' if len(skipped) == 1 else 'they are'}:")
        texts += sorted(set(skipped.values()))[:3]
    return " ".join(texts)


async def _named(session: AsyncSession, ids: Sequence[int]) -> str:
    if len(ids) != 1:
        return f"{len(ids):,} notices"
    key = select(EpicRow.key).join(NoticeRow, NoticeRow.epic_id == EpicRow.id).where(NoticeRow.id == ids[0])
    return f"the notice on {await session.scalar(key)}"


async def _change_run(runtime: Runtime, caller: Caller, act: str, run_id: int) -> str:
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        if act == "approve-run":
            approval = await operations.approve_notices(session, now, run_id=run_id)
            count = len(approval.approved)
            left = f" {len(approval.skipped):,} left as they are." if approval.skipped else ""
            return (
                f"Approved {count:,} {'notice' if count == 1 else 'notices'} of run {run_id}."
                f" Each ticket is read again before its comment is written.{left}"
            )
        withdrawal, source = await operations.withdraw_run(session, run_id, "edit", now)
        return f"Withdrew run {run_id} of {source}; run {withdrawal.id} edits what it had written."


async def _decide(
    request: Request,
    runtime: Runtime,
    form: Form,
    caller: Caller,
    asked: PageAddress,
    cursor: Cursors | None,
) -> HTMLResponse | RedirectResponse:
    """Uphold or dismiss a dispute."""
    finding_id = _number(form.get("finding"))
    try:
        async with runtime.transaction(caller.who) as session:
            now = await runtime.now(session)
            asks = UPHELD if form.get("do") == "uphold" else dismissal(_reason(form), now)
            found = await change_findings(session, [finding_id], asks, now)
    except Invalid as error:
        async with runtime.transaction() as session:
            wrong = {"errors": wrong_fields(error), "typed": form.values()}
            return await _page(request, runtime, session, asked, cursor, wrong, status=422)
    await pipeline.evaluate_at_once(runtime, found.runs)
    async with runtime.transaction() as session:
        text = await _decided(session, finding_id, found, asks)
        return await done(
            request,
            session,
            text,
            to=asked.address(notice=None, finding=None),
            undo=finding_steps(found.changes),
        )


def _reason(form: Form) -> str:
    reason = form.get("reason")
    if not reason:
        raise Invalid("reason", "say in a few words why; the ticket shows it")
    return reason


async def _decided(session: AsyncSession, finding_id: int, found: ChangedFindings, asks: AskedState) -> str:
    if not found.changes:
        return found.left[finding_id]
    key = await session.scalar(
        select(EpicRow.key)
        .join(FindingRow, FindingRow.epic_id == EpicRow.id)
        .where(FindingRow.id == finding_id)
    )
    if asks.state == "open":
        return f"Upheld: the finding on {key} stands, and its notice comes back."
    return f"Dismissed: {key} is waived for 366 days, and its ticket says why."


async def _onwards(session: AsyncSession, asked: PageAddress, acted: Sequence[int]) -> str:
    """The same list with the next notice chosen: of the same run, as long as its guard holds one."""
    if asked.tab not in (None, "held"):
        return asked.address(notice=None)
    listed = [NoticeRow.state == "held", *await lists.conditions(session, asked.source, asked.project)]
    of_run = select(NoticeRow.run_id).where(NoticeRow.id.in_(acted)).limit(1).scalar_subquery()
    same_run = NoticeRow.reason == "guard", NoticeRow.run_id == of_run
    for which in (same_run, _narrowing(asked)):
        following = await lists.following_id(session, acted, *listed, *which)
        if following is not None:
            return asked.address(notice=following)
    return replace(asked, reason=None, run=None, cursor=None, notice=None).address()


# --- what the page shows ----------------------------------------------------------------------


async def _page(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    asked: PageAddress,
    cursor: Cursors | None,
    form: Mapping[str, Any] | None = None,
    status: int = 200,
) -> HTMLResponse:
    """`form`: what was typed into one that was refused, and what is wrong."""
    listed = await lists.conditions(session, asked.source, asked.project)
    counts = await lists.count_by_state(session, listed)
    disputes = await lists.count_disputes(session, listed)
    of_tabs = {tab: sum(count for (state, _), count in counts.items() if state == tab) for tab in TABS}
    of_tabs["disputed"] = disputes
    asked = replace(asked, tab=asked.tab or next((tab for tab in OPENING if of_tabs[tab]), "held"))
    groups, following = await _groups(session, asked, listed, counts, cursor)
    rows = [row for shown in groups for row in shown.rows]
    values = {
        "asked": asked,
        "tabs": [(tab, of_tabs[tab], _of_tab(asked, tab)) for tab in TABS],
        "groups": groups,
        "approvable": any(shown.group and shown.group.reason in APPROVABLE for shown in groups),
        "following": None
        if following is None
        else asked.address(cursor=following, notice=None, finding=None),
        "projects": (
            await lists.count_by_project(session, "shadow", listed) if asked.tab == "shadow" and rows else []
        ),
        "now": await runtime.now(session),
        "errors": {},
        "typed": {},
        **await _chosen(runtime, session, asked, listed, rows),
        **(form or {}),
    }
    return await page(request, session, "notices.html", values, status)


def _of_tab(asked: PageAddress, tab: Tab) -> str:
    return PageAddress(tab, asked.source, asked.project).address()


async def _groups(
    session: AsyncSession,
    asked: PageAddress,
    listed: Sequence[ColumnElement[bool]],
    counts: Counter[tuple[str, str | None]],
    cursor: Cursors | None,
) -> tuple[list[Shown], str | None]:
    """The rows, and the cursor of the next page."""
    if asked.tab != "held":
        rows, following = await _rows(session, asked, listed, cursor)
        return [Shown(None, rows)] if rows else [], following
    groups = await lists.held_groups(session, listed, counts)
    if asked.reason is not None or asked.run is not None:
        groups = [
            group
            for group in groups
            if asked.reason in (None, group.reason) and asked.run in (None, group.run)
        ]
    if len(groups) == 1:
        narrow = replace(asked, reason=groups[0].reason, run=groups[0].run)
        rows, following = await _rows(session, narrow, listed, cursor)
        return [_shown(groups[0], rows)], following
    found = []
    for group in groups:
        narrow = replace(asked, reason=group.reason, run=group.run)
        query = _query(narrow, listed).order_by(NoticeRow.id).limit(OF_GROUP)
        rows = [Row(*row) for row in await session.execute(query)]
        more = narrow.address(notice=None) if group.count > len(rows) else None
        found.append(_shown(group, rows, more))
    return found, None


def _shown(group: lists.HeldGroup, rows: Sequence[Row], more: str | None = None) -> Shown:
    return Shown(group, rows, None if group.detail is None else limit_in_words(group.detail), more)


def _query(asked: PageAddress, listed: Sequence[ColumnElement[bool]]) -> Any:
    return (
        select(NoticeRow, EpicRow, SourceRow.name)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(NoticeRow.state == asked.tab, *listed, *_narrowing(asked))
    )


def _narrowing(asked: PageAddress) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.reason is not None:
        found.append(NoticeRow.reason == asked.reason)
    if asked.run is not None:
        found.append(NoticeRow.run_id == asked.run)
    return found


async def _rows(
    session: AsyncSession, asked: PageAddress, listed: Sequence[ColumnElement[bool]], cursor: Cursors | None
) -> tuple[list[Row], str | None]:
    """One page of a list: what is held or disputed oldest first, all else newest first."""
    filters: dict[str, str | int | None] = {
        "state": asked.tab,
        "source": asked.source,
        "project": asked.project,
        "reason": asked.reason,
        "run": asked.run,
    }
    step = list_query(cursor, ROWS, **filters)
    if asked.tab != "disputed":
        newest_first = asked.tab != "held"
        found, following = await page_of(
            session, _query(asked, listed), NoticeRow.id, step, newest_first=newest_first
        )
        return [Row(*row) for row in found], following
    query: Any = (
        select(FindingRow, EpicRow, SourceRow.name, NoticeRow)
        .join(EpicRow, EpicRow.id == FindingRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(lists.DISPUTED, *listed)
    )
    found, following = await page_of(session, query, FindingRow.id, step)
    return [Row(notice, epic, source, finding) for finding, epic, source, notice in found], following


async def _chosen(
    runtime: Runtime,
    session: AsyncSession,
    asked: PageAddress,
    listed: Sequence[ColumnElement[bool]],
    rows: Sequence[Row],
) -> dict[str, Any]:
    """What stands beside the list: the notice that the address names, else the first of the list."""
    notice_id, finding = asked.notice, None
    if asked.finding is not None:
        finding = await session.get(FindingRow, asked.finding)
    elif notice_id is None and rows:
        finding = rows[0].finding
        notice_id = None if rows[0].notice is None else rows[0].notice.id
    if finding is not None and notice_id is None:
        notice_id = await session.scalar(select(NoticeRow.id).where(NoticeRow.epic_id == finding.epic_id))
    ticket = None if notice_id is None else await notice_on_ticket(runtime, session, notice_id)
    if finding is None and ticket is not None:
        of_epic = FindingRow.epic_id == ticket.epic.id, lists.DISPUTED
        finding = await session.scalar(select(FindingRow).where(*of_epic).limit(1))
    chosen: dict[str, Any] = {
        "ticket": ticket,
        "finding": finding if finding is not None and finding.state == "disputed" else None,
        "gone": ticket is None and asked.notice is not None,
    }
    if ticket is not None and ticket.notice.state == "held":
        same = [NoticeRow.state == "held", NoticeRow.reason == ticket.notice.reason, *listed]
        if ticket.notice.reason == "guard":
            same.append(NoticeRow.run_id == ticket.notice.run_id)
        chosen["place"] = await lists.place_of(session, ticket.notice.id, *same)
    return chosen
