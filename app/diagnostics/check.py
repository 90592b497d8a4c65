"""What each login may do, what it lacks and does not need, and whether webhooks arrive: of stored sources
for `northing check` and the API, and of a source that is not stored yet.

It reads the database, asks the trackers and our own webhook endpoint, and writes nothing. Servers may run
meanwhile.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import func, select, text

from app.database import newest_revision
from app.diagnostics.render import Checked
from app.diagnostics.webhook_probe import WebhookHistory, webhook_facts
from app.secrets import FORGET, SIGNING, CannotDecrypt, SecretCipher, binding_of
from app.source_drafts import SourceDraft, connect_draft
from connectors.clock import utc_now
from connectors.diagnostics import WRONG, Fact
from connectors.inspector import WRITING
from mappings.errors import Invalid
from mappings.lookups import source_at, source_for_command
from mappings.policy.names import NamedProjects, key_of
from mappings.sources.health import renamed_projects
from mappings.sources.machine_clocks import TOLERANCE
from mappings.sources.refused_signatures import load_refused_signatures
from mappings.tables import DeliveryRow, EpicRow, InstallationRow, NoticeWriteRow, SourceProjectRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from connectors.base import Connector

# The most that a check takes where somebody waits for an HTTP answer.
SECONDS_FOR_ANSWER = 30
SHORTEST_SECRET = 8
SEND_AGAIN = (
    "Send them again with PATCH /api/v1/sources/{name}, or add the key used before to NORTHING_SECRET_KEY."
)


@dataclass(frozen=True)
class _Known:
    """A source, and what our own rows say about it."""

    source: SourceRow
    webhooks: WebhookHistory
    written_at: datetime | None
    stopped: list[SourceProjectRow]


async def check_northing(session: AsyncSession, runtime: Runtime, now: datetime) -> Checked:
    """The facts about Northing itself."""
    signing = await _about_signing_key(session, runtime.cipher)
    return Checked("northing", None, (*await _about_database(session, now), *signing, *_about_proxy(runtime)))


async def check_sources(runtime: Runtime, name: str | None, now: datetime) -> list[Checked]:
    """The facts about each source, or the named one, all at the same time. Raises `NotFound`."""
    async with runtime.sessions() as session:
        await session.execute(text("SET TRANSACTION READ ONLY"))
        known = [await _load_known(session, source, now) for source in await _sources(session, name)]
    return list(await asyncio.gather(*(_check_source(runtime, one, now) for one in known)))


async def check_source(runtime: Runtime, name: str) -> tuple[Fact, ...]:
    """The facts about one source, within about `SECONDS_FOR_ANSWER`. Raises `NotFound`."""
    async with runtime.sessions() as session:
        now = await runtime.now(session)
        known = await _load_known(session, await source_at(session, name), now)
    return (await _check_source(runtime, known, now, SECONDS_FOR_ANSWER)).facts


async def check_draft(
    runtime: Runtime, draft: SourceDraft, seconds: float = SECONDS_FOR_ANSWER
) -> tuple[Fact, ...]:
    """The facts about a source as it would be, within `seconds`; nothing is stored."""
    found = await _about_tracker(await connect_draft(runtime, draft), seconds)
    secrets = _secrets(draft.plain_credentials)
    shown = (fact for one in found for fact in _in_mode(one, draft.notices, draft.named))
    return tuple(_without(secrets, fact) for fact in shown)


def refuse_wrong(facts: Iterable[Fact]) -> None:
    """Raises `Invalid`, which names the member of the source that each wrong fact is about."""
    errors = [(fact.field or "base_url", _in_words(fact)) for fact in facts if fact.level in WRONG]
    if errors:
        raise Invalid(*errors[0], more=errors[1:])


def _in_words(fact: Fact) -> str:
    """What is wrong, with the projects and the right that it is about, and what to do."""
    where = f" ({', '.join(fact.projects)})" if fact.projects else ""
    what = f"{fact.what}{where}: " if where or fact.what != fact.field else ""
    return f"{what}{fact.why} {fact.what_to_do}".rstrip()


# --- from our own rows --------------------------------------------------------------------------


async def _about_database(session: AsyncSession, now: datetime) -> tuple[Fact, ...]:
    version = await session.scalar(text("SHOW server_version"))
    about = Fact("ok", "database", f"PostgreSQL {version}, schema {newest_revision()}.")
    return about, _clocks("The database", "this machine", (now - utc_now()).total_seconds())


async def _about_signing_key(session: AsyncSession, cipher: SecretCipher) -> tuple[Fact, ...]:
    sealed = await session.scalar(select(InstallationRow.signing_key))
    error = None if sealed is None else cipher.why_not(sealed, SIGNING)
    if error is None:
        return ()
    todo = f"Add the key used before to {cipher.named}. If it is lost, {FORGET}."
    return (Fact("missing", "signing key", "No key of this process opens the signing key.", todo),)


def _about_proxy(runtime: Runtime) -> Iterator[Fact]:
    if (wrong := runtime.network.wrong_proxy) is not None:
        yield Fact("missing", "proxy", str(wrong), wrong.what_to_do)


async def _sources(session: AsyncSession, name: str | None) -> list[SourceRow]:
    if name is None:
        return list(await session.scalars(select(SourceRow).order_by(func.lower(SourceRow.name))))
    return [await source_for_command(session, name)]


async def _load_known(session: AsyncSession, source: SourceRow, now: datetime) -> _Known:
    of_source = DeliveryRow.source_id == source.id
    last = select(DeliveryRow.received_at).where(of_source).order_by(DeliveryRow.id.desc()).limit(1)
    written = (
        select(NoticeWriteRow.at)
        .join(EpicRow, EpicRow.id == NoticeWriteRow.epic_id)
        .where(EpicRow.source_id == source.id, NoticeWriteRow.kind != "failed")
        .order_by(NoticeWriteRow.id.desc())
        .limit(1)
    )
    refused = await load_refused_signatures(session, source.id, now)
    stopped = select(SourceProjectRow).where(
        SourceProjectRow.source_id == source.id, SourceProjectRow.writes_paused_at.is_not(None)
    )
    return _Known(
        source,
        WebhookHistory(await session.scalar(last), source.signature_refused_at, refused),
        await session.scalar(written),
        list(await session.scalars(stopped.order_by(SourceProjectRow.key))),
    )


def _about_writing(known: _Known, refused_by_tracker: Collection[str]) -> Iterator[Fact]:
    """Facts about writes; projects in `refused_by_tracker` are left out, as the tracker's facts name them."""
    if known.written_at is not None:
        yield Fact(
            "ok", "last write", f"A ticket was last written to at {known.written_at:%Y-%m-%d %H:%M} UTC."
        )
    for project in known.stopped:
        if project.key in refused_by_tracker:
            continue
        reason = project.writes_paused_reason or "the tracker refused it again and again."
        why = f"Northing stopped writing there: {reason}"
        todo = "Grant the right, or remove the project from the scope; see the source's health."
        yield Fact("missing", WRITING, why, todo, (project.key,), writing=True)


def _about_names(source: SourceRow) -> Iterator[Fact]:
    """Names in the settings that no project has, or not any more, as the last listing showed."""
    for name in source.unknown_names.get("notices.projects", ()):
        if name in (source.notices.get("projects") or ()):
            todo = "Correct it by PATCH of the source; no comment is written for this name."
            yield Fact("warning", "notices.projects", f"The source reads no project {name}.", todo)
    for one in renamed_projects(source.scope, source.notices, source.named_projects):
        why = f"Project {one.name} is now {one.key}; Northing follows it."
        yield Fact("warning", "renamed", why, f"Change {one.name} to {one.key} in {', '.join(one.places)}.")


# --- from the tracker and the webhook endpoint -----------------------------------------------------


async def _check_source(
    runtime: Runtime, known: _Known, now: datetime, seconds: float | None = None
) -> Checked:
    source = known.source
    facts: list[Fact] = []
    secrets: list[str] = []
    try:
        secrets += _secrets(runtime.cipher.decrypt(source.credentials, binding_of(source, "credentials")))
        facts += await _about_tracker(await runtime.connect(source), seconds)
    except CannotDecrypt as error:
        facts.append(Fact("missing", "credentials", error.message, error.what_to_do))
    except ValidationError:
        why = "The stored credentials, scope or epics do not fit this version."
        facts.append(Fact("missing", "credentials", why, SEND_AGAIN.format(name=source.name)))
    refused_by_tracker = {key for fact in facts if fact.what == WRITING for key in fact.projects}
    facts += _about_writing(known, refused_by_tracker)
    facts += _about_names(source)
    facts += await webhook_facts(runtime, source, known.webhooks, now)
    shown = (fact for one in facts for fact in _in_mode(one, source.notices, source.named_projects))
    return Checked(source.name, source.base_url, tuple(_without(secrets, fact) for fact in shown))


async def _about_tracker(connector: Connector, seconds: float | None) -> list[Fact]:
    try:
        found = await connector.inspect(seconds)
    finally:
        await connector.aclose()
    return [*found.facts, _clocks("The tracker", "the database", found.clock_ahead)]


def _clocks(whose: str, other: str, ahead: float | None) -> Fact:
    """By how many seconds the clock of the first is ahead of the other's; None where it did not say."""
    if ahead is None:
        return Fact("unknown", "clock", f"{whose} did not send its time.")
    if abs(ahead) <= TOLERANCE.total_seconds():
        return Fact("ok", "clock", f"{whose} and {other} agree on the time.")
    minutes, seconds = divmod(round(abs(ahead)), 60)
    where = "ahead of" if ahead > 0 else "behind"
    why = f"{whose}'s clock is {minutes} min {seconds} s {where} that of {other}."
    todo = "Find out which clock is wrong; set this machine's and the database's by NTP."
    return Fact("warning", "clock", why, todo)


def _in_mode(fact: Fact, notices: Mapping[str, Any], named: NamedProjects) -> Iterator[Fact]:
    """The fact by mode: what is needed for writing alone is missing only where comments are written."""
    if not fact.writing or fact.level != "missing":
        yield fact
        return
    live, only = notices.get("mode") == "live", notices.get("projects")
    chosen = {key_of(named, name).casefold() for name in only or ()}
    needed = tuple(key for key in fact.projects if live and (only is None or key.casefold() in chosen))
    if needed:
        yield replace(fact, projects=needed)
    if not_written := tuple(key for key in fact.projects if key not in needed):
        why = f"{fact.why} Nothing is written there until notices.mode is live for it."
        yield replace(fact, level="warning", why=why, projects=not_written)


def _secrets(credentials: Any) -> list[str]:
    """Those long enough to be a secret; masking a short word would mask half of the output."""
    held = credentials if isinstance(credentials, dict) else {}
    values = (value for name, value in held.items() if name not in {"type", "email"})
    return [value for value in values if isinstance(value, str) and len(value) >= SHORTEST_SECRET]


def _without(secrets: list[str], fact: Fact) -> Fact:
    """The fact with secrets masked: a tracker may repeat in its answer what Northing sent."""
    for secret in secrets:
        fact = replace(
            fact, why=fact.why.replace(secret, "…"), what_to_do=fact.what_to_do.replace(secret, "…")
        )
    return fact
