"""What a rule would do, before it is saved. Nothing is stored, and nothing locked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import RuntimeDep
from app.api.epic_models import EpicName
from app.api.paging import CursorParameter, Limit, list_query
from app.api.problems import error_responses
from app.api.rule_models import PreviewedEpic, PreviewedLink, PreviewIn, PreviewOut
from app.api.rules import patched, show_overlaps
from app.runtime import Runtime
from mappings.evaluation.context import EvaluationContext
from mappings.links.resolve import ResolvedLink
from mappings.previews import rule as preview
from mappings.previews.rule import Preview, Totals, preview_warnings
from mappings.previews.unknown_names import warn_of_rule
from mappings.rules.operations import DraftRule, draft_of, rule_in, values_of
from mappings.tables import SourceRow

router = APIRouter(prefix="/rules", tags=["rules"])

NAMELESS = "this rule"
# One snapshot, so that the pages of epics, their links and the goals fit together.
_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


@router.post("/preview", summary="Show what a rule would do if it were saved", responses=error_responses(409))
async def preview_rule(
    body: PreviewIn, runtime: RuntimeDep, limit: Limit = 50, cursor: CursorParameter = None
) -> PreviewOut:
    """Every epic that the rule matches, with its links now and then, and what would become of comments. It is
    evaluated as after a change of rules, and nothing is stored. `overlaps` and `warnings` come with the first
    page."""
    sent = body.model_dump(exclude_unset=True)
    digest = hashlib.sha256(json.dumps(sent, sort_keys=True).encode()).hexdigest()
    step = list_query(cursor, limit, rule=digest, counts=None)
    assert isinstance(step.after, int)  # the list is in the order of ids
    async with runtime.sessions() as session:
        await session.execute(_SNAPSHOT)
        draft = await _draft(session, sent)
        contexts = await _contexts(runtime, session)
        now = await runtime.now(session)
        found = await preview.preview_rule(session, draft, contexts, now, after=step.after, limit=limit)
        first: dict[str, Any] = {"overlaps": [], "warnings": []}
        if found.totals is None:
            counts = json.loads(step.filters["counts"])
        else:
            counts = _counts(found.totals)
            first = await _first_page(session, draft, found, now)
    filters = {**step.filters, "counts": json.dumps(counts, separators=(",", ":"))}
    following = None if found.next_after is None else step.cursors.encode(found.next_after, filters)
    items = [_shown(epic, {rule.id: rule.name for rule in found.rules}) for epic in found.items]
    return PreviewOut.model_validate(
        {**counts, **first, "items": items, "next": following, "would_post": counts["notices"]["posted"]}
    )


async def _draft(session: AsyncSession, sent: dict[str, Any]) -> DraftRule:
    patch = {name: value for name, value in sent.items() if name != "id"}
    if sent.get("id") is not None:
        stored = await rule_in(session, sent["id"], "id")
        values = patched(asdict(await values_of(session, stored)), patch)
        return await draft_of(session, values, stored)
    named = patch.get("name") is not None
    values = patched({}, patch if named else {**patch, "name": NAMELESS})
    return await draft_of(session, values, None, named=named)


async def _contexts(runtime: Runtime, session: AsyncSession) -> dict[int, EvaluationContext]:
    contexts: dict[int, EvaluationContext] = {}
    shared: EvaluationContext | None = None
    for source in (await session.scalars(select(SourceRow).order_by(SourceRow.id))).all():
        # Suggestions belong to texts, which nobody composes here; so no project's links are counted.
        shared = await runtime.evaluation_context(session, source, shared=shared)
        contexts[source.id] = shared
    return contexts


def _counts(totals: Totals) -> dict[str, Any]:
    return {
        "matches": totals.matches,
        "changes": totals.changed,
        "below": totals.below,
        "notices": asdict(totals.notices),
    }


async def _first_page(
    session: AsyncSession, draft: DraftRule, found: Preview, now: datetime
) -> dict[str, Any]:
    assert found.totals is not None
    warnings = [*preview_warnings(draft, found, now), *await warn_of_rule(session, draft.when)]
    return {
        "overlaps": show_overlaps(found.totals.overlaps.largest(found.rules)),
        "warnings": [asdict(warning) for warning in warnings],
    }


def _shown(epic: preview.PreviewedEpic, names: Mapping[int, str]) -> PreviewedEpic:
    return PreviewedEpic(
        epic=EpicName(source=epic.source, key=epic.key),
        now=[_link(link, names) for link in epic.now],
        then=[_link(link, names) for link in epic.then],
    )


def _link(link: ResolvedLink, names: Mapping[int, str]) -> PreviewedLink:
    name = None if link.rule_id is None else names.get(link.rule_id)
    members = {"key_result": link.key_result.key, "origin": link.origin, "live": link.live, "rule": name}
    return PreviewedLink.model_validate(members)
