"""The demo's company in an installation that was empty: begun, remembered thing by thing, and removed again.

What made it calls the public API; this module keeps the row that names what was made, and takes exactly that
away again, in one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, select, text, update

from mappings.access.operations import create_token, delete_token
from mappings.demo_things import NAMES, names_of, remove_steering, what_refers
from mappings.errors import Conflict, NotFound
from mappings.goals.operations import delete_cycle, delete_key_result, delete_objective
from mappings.leases import LEASE, RELEASED, holds
from mappings.locks import lock_goals_exclusive, lock_notices_of_source, locked_source
from mappings.policy.operations import change_policy
from mappings.rules.operations import delete_rule
from mappings.sources.operations import disconnect_source
from mappings.tables import (
    AuditEntryRow,
    CoverageDayRow,
    CriterionRow,
    DemoCompanyRow,
    InstallationRow,
    TokenRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.policy.document import Policy

Json = dict[str, Any]

# How long loading may take; the token that it calls the API with ends then, whatever happens.
LOADING_AT_MOST = timedelta(minutes=10)
NOTHING_MADE: Json = {"things": [], "pending": None, "scopes": [], "criteria": []}
NOT_EMPTY = "It can be loaded only where nothing is yet: here is already {}."


class Kept(Conflict):
    """The company cannot be removed: `things` of a person refer to what would be removed."""

    def __init__(self, things: Sequence[str]) -> None:
        self.things = tuple(things)
        super().__init__(
            "Nothing was removed, because this of yours refers to the demo company: "
            + "; ".join(self.things)
            + "."
        )


@dataclass(frozen=True, slots=True)
class CompanyState:
    """`running`: a process runs its simulated trackers, or loads it. Where it is neither, that process has
    ended. `progress` of `of` steps are done."""

    state: str
    running: bool
    step: str
    progress: int
    of: int
    detail: str | None
    loaded_by: str

    @property
    def is_loaded(self) -> bool:
        return self.state == "loaded"

    @property
    def is_loading(self) -> bool:
        return self.state == "loading"


# --- loading ------------------------------------------------------------------------------------


async def company_row(session: AsyncSession, *, lock: bool = False) -> DemoCompanyRow | None:
    query = select(DemoCompanyRow).execution_options(populate_existing=True)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def company_state(session: AsyncSession, now: datetime, of: int) -> CompanyState | None:
    """None where the company is not there. `of`: how many steps loading has."""
    row = await company_row(session)
    if row is None:
        return None
    return CompanyState(
        row.state, holds(row, now), row.step, min(row.steps_done, of), of, row.detail, row.loaded_by
    )


async def why_not_empty(session: AsyncSession) -> str | None:
    """What is here already, in words; None where the company may be loaded."""
    words = {
        "cycle": "a cycle",
        "objective": "an objective",
        "rule": "a rule",
        "source": "a source",
        "criterion": "a criterion of priorities",
    }
    tables = {kind: column.class_ for kind, column in NAMES.items()} | {"criterion": CriterionRow}
    columns = [exists().select_from(tables[kind]).label(kind) for kind in words]
    found = (await session.execute(select(*columns))).one()._mapping
    there = [words[kind] for kind in words if found[kind]]
    return NOT_EMPTY.format(" and ".join(there)) if there else None


async def begin_loading(session: AsyncSession, claim: str, who: str, now: datetime) -> str:
    """Make the row, claimed by `claim`, and the token with which the company is made through the API.

    Raises `Conflict` where it is there already, or the installation is not empty.
    """
    await lock_goals_exclusive(session)
    row = await company_row(session, lock=True)
    if row is not None and row.state != "failed":
        raise Conflict(
            "The demo company is being loaded already." if row.state == "loading" else "It is loaded."
        )
    taken = await why_not_empty(session)
    if taken is not None:
        raise Conflict(taken)
    if row is not None:
        await session.delete(row)
        await session.flush()
    token, value = await create_token(
        session, f"demo company, loaded by {who}"[:100], "admin", now + LOADING_AT_MOST, now
    )
    session.add(
        DemoCompanyRow(
            id=1,
            state="loading",
            step="Starting its trackers",
            steps_done=0,
            made=dict(NOTHING_MADE),
            token_id=token.id,
            caller=f"token {token.id} ({token.name})",
            loaded_by=who,
            started_at=now,
            claimed_by=claim,
            claimed_until=now + LEASE,
        )
    )
    return value


async def _claimed(session: AsyncSession, claim: str) -> DemoCompanyRow:
    """The row, locked. Raises `NotFound` where it is gone or another process's."""
    row = await company_row(session, lock=True)
    if row is None or row.claimed_by != claim:
        raise NotFound("The demo company was removed meanwhile.")
    return row


async def note_step(session: AsyncSession, claim: str, step: str) -> None:
    """Raises `NotFound` where the company was removed meanwhile; so do the next functions."""
    row = await _claimed(session, claim)
    row.step, row.steps_done = step, row.steps_done + 1


async def note_pending(session: AsyncSession, claim: str, kind: str, name: str) -> None:
    """Before a thing is made, so that a process that is killed then leaves its name."""
    row = await _claimed(session, claim)
    row.made = {**row.made, "pending": [kind, name]}


async def note_made(session: AsyncSession, claim: str, kind: str, name: str) -> None:
    """After it is made: by its id, for a person may rename it."""
    row = await _claimed(session, claim)
    id = await _id_of(session, kind, name)
    row.made = {**row.made, "things": [*row.made["things"], [kind, id, name]], "pending": None}
    row.steps_done += 1


async def note_scopes(session: AsyncSession, claim: str, scopes: Sequence[Json]) -> None:
    """Before the policy is given these scopes."""
    row = await _claimed(session, claim)
    row.made = {**row.made, "scopes": list(scopes)}


async def note_criteria(session: AsyncSession, claim: str, keys: Sequence[str]) -> None:
    """Before the criteria of these keys are agreed on, where there are none."""
    row = await _claimed(session, claim)
    row.made = {**row.made, "criteria": list(keys)}


async def note_loaded(session: AsyncSession, claim: str) -> None:
    """Its token is not needed any more."""
    row = await _claimed(session, claim)
    await _delete_token(session, row)
    row.state, row.step = "loaded", ""


async def renew_claim(session: AsyncSession, claim: str, now: datetime) -> tuple[bool, str | None]:
    """Whether the company is still this process's, and who asks it to remove the company."""
    renewed = (
        update(DemoCompanyRow)
        .where(DemoCompanyRow.claimed_by == claim)
        .values(claimed_until=now + LEASE)
        .returning(DemoCompanyRow.remove_asked_by)
    )
    found = (await session.execute(renewed)).one_or_none()
    return (False, None) if found is None else (True, found[0])


async def release_claim(session: AsyncSession, claim: str) -> None:
    """The process stops: the trackers end with it, and its token is deleted."""
    row = await company_row(session, lock=True)
    if row is not None and row.claimed_by == claim:
        await _delete_token(session, row)
        row.claimed_by = row.claimed_until = None


async def note_failure(session: AsyncSession, claim: str, detail: str, now: datetime) -> None:
    """Loading failed: all that was made is removed, and the row says why. Raises `Kept`."""
    await lock_goals_exclusive(session)
    row = await _claimed(session, claim)
    await _remove_things(session, row, now)
    row.state, row.detail = "failed", detail
    row.made = dict(NOTHING_MADE)
    for name, value in RELEASED.items():
        setattr(row, name, value)


# --- removing -----------------------------------------------------------------------------------


async def remove_company(session: AsyncSession, who: str, now: datetime) -> bool:
    """Remove all that loading made, and nothing else: what hangs on its tickets and goals goes with these,
    as links, check-ins and waivers do. Nothing where the company is not there. False where a process loads
    it: that one is asked to stop and to remove it, as `who` wants.

    Raises `Kept` where a person's own thing refers to it; then nothing is removed.
    """
    await lock_goals_exclusive(session)
    row = await company_row(session, lock=True)
    if row is None:
        return True
    if row.state == "loading" and holds(row, now):
        row.remove_asked_by = who
        return False
    await _remove_things(session, row, now)
    await session.delete(row)
    return True


async def _remove_things(session: AsyncSession, row: DemoCompanyRow, now: datetime) -> None:
    """The caller has the goals locked, and then the row."""
    await _delete_token(session, row)
    ids = await _made_ids(session, row)
    kept = await what_refers(session, ids, row.made["scopes"])
    if kept:
        raise Kept(kept)
    # In the order of every change: notices, then sources.
    await lock_notices_of_source(session, *ids["source"])
    for id in sorted(ids["source"]):
        await session.execute(locked_source(id))
    await remove_steering(session, ids, row.made.get("criteria", ()))
    for name in await names_of(session, "source", ids["source"]):
        await disconnect_source(session, name, "leave", now)
    for id in ids["rule"]:
        await delete_rule(session, id, now)
    for key in await names_of(session, "key_result", ids["key_result"]):
        await delete_key_result(session, key, now)
    for key in await names_of(session, "objective", ids["objective"]):
        await delete_objective(session, key)
        await session.flush()
    for key in await names_of(session, "cycle", ids["cycle"]):
        await delete_cycle(session, key)
    await _put_policy_back(session, row.made["scopes"], now)
    # What the trend remembers of a source goes with it; what it remembers of the company alone, here.
    of_company = CoverageDayRow.source_id.is_(None) & (CoverageDayRow.sources <= len(ids["source"]))
    await session.execute(delete(CoverageDayRow).where(of_company, CoverageDayRow.at >= row.started_at))


async def _delete_token(session: AsyncSession, row: DemoCompanyRow) -> None:
    if row.token_id is not None and await session.get(TokenRow, row.token_id) is not None:
        await delete_token(session, row.token_id)
    row.token_id = None


async def _made_ids(session: AsyncSession, row: DemoCompanyRow) -> dict[str, list[int]]:
    """The ids of what was made and is still there, by kind, the latest first."""
    things = [(kind, id) for kind, id, _ in row.made["things"] if id is not None]
    if row.made["pending"] is not None:
        kind, name = row.made["pending"]
        made = exists().where(
            AuditEntryRow.who == row.caller,
            AuditEntryRow.action == "created",
            AuditEntryRow.what == kind,
            AuditEntryRow.key == name,
        )
        id = await _id_of(session, kind, name)
        # A person may have made one of that name since the process was killed.
        if id is not None and await session.scalar(select(made)):
            things.append((kind, id))
    found: dict[str, list[int]] = {}
    for kind, name in NAMES.items():
        column = name.class_.id
        asked = [id for of, id in things if of == kind]
        present = await session.scalars(select(column).where(column.in_(asked)).order_by(column.desc()))
        found[kind] = list(present)
    return found


async def _id_of(session: AsyncSession, kind: str, name: str) -> int | None:
    column = NAMES[kind]
    found: int | None = await session.scalar(
        select(column.class_.id).where(func.lower(column) == name.lower())
    )
    return found


async def _put_policy_back(session: AsyncSession, scopes: Sequence[Json], now: datetime) -> None:
    def change(policy: Policy) -> Policy:
        kept = [one for one in policy.scopes if one.model_dump(mode="json") not in scopes]
        return policy.model_copy(update={"scopes": kept})

    policy = (await session.scalars(select(InstallationRow.policy))).one()
    if any(scope in scopes for scope in policy.get("scopes", ())):
        await change_policy(session, change, now)


# --- who could not reach the trackers -------------------------------------------------------------

_WORKERS = text("SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > :since")


async def count_workers(session: AsyncSession, since: datetime) -> int:
    """Workers of any process, one for each of its queues, whose heartbeat came after `since`, by the clock of
    the job queue."""
    counted: int = await session.scalar(_WORKERS, {"since": since}) or 0
    return counted
