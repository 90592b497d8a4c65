"""Which epics are initiatives: those that another listed epic has as its parent, and those of a type or with
a label that the policy names. Removed epics are none, and pass nothing on.

A parent is found as `mappings.parents` finds it. An epic that is its own parent is none by that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import MISSING
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    any_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from mappings.parents import with_children
from mappings.rules.patterns import fold, is_glob
from mappings.tables import EpicRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.policy.document import Initiatives, Policy, Scope

# All children once, by what they name, since reading all epics is what costs; then parents by their id in
# the tracker, and what is named by key alone, or by an id that no epic has. No two of the later parts are
# joined to each other: PostgreSQL knows nothing of their sizes, and would do it row by row. `first` and
# `last`: an epic that alone names one, which is itself, is its own parent.
_PARENTS = text("""
    WITH children AS (
        SELECT tracker, parent_remote_id, lower(parent_key) AS key, min(id) AS first, max(id) AS last
        FROM epics WHERE parent_key IS NOT NULL AND removed_at IS NULL
        GROUP BY tracker, parent_remote_id, lower(parent_key)
    ), by_id AS MATERIALIZED (
        SELECT children.tracker, children.key, first, last, parent.id, parent.removed_at
        FROM children LEFT JOIN epics AS parent
            ON parent.tracker = children.tracker AND parent.remote_id = children.parent_remote_id
    ), left_over AS MATERIALIZED (
        SELECT tracker, key, min(first) AS first, max(last) AS last
        FROM by_id WHERE id IS NULL GROUP BY tracker, key
    ), named AS (
        SELECT left_over.*, epics.id, epics.removed_at, false AS formerly
        FROM left_over JOIN sources ON sources.tracker = left_over.tracker
        JOIN epics ON epics.source_id = sources.id AND lower(epics.key) = left_over.key
        UNION ALL
        SELECT left_over.*, epics.id, epics.removed_at, true
        FROM left_over JOIN sources ON sources.tracker = left_over.tracker
        JOIN epic_key_history AS former ON former.source_id = sources.id AND former.key = left_over.key
        JOIN epics ON epics.id = former.epic_id
    ), by_key AS (
        SELECT DISTINCT ON (tracker, key) id, first, last, removed_at FROM named
        ORDER BY tracker, key, formerly, removed_at IS NOT NULL, id
    )
    SELECT id FROM by_id WHERE id IS NOT NULL AND removed_at IS NULL AND (first <> id OR last <> id)
    UNION
    SELECT id FROM by_key WHERE removed_at IS NULL AND (first <> id OR last <> id)
""")


def initiative_ids(policy: Policy) -> Select[Any]:
    """The ids of all initiatives, in a column `id`: one statement, whatever their number."""
    parents: Any = _PARENTS.columns(id=BigInteger).subquery("parents")
    named = _is_named(policy)
    if named is None:
        return select(parents.c.id)
    both = union(select(parents.c.id), select(EpicRow.id).where(EpicRow.removed_at.is_(None), named))
    return select(both.subquery("initiatives").c.id)


async def initiatives_among(session: AsyncSession, policy: Policy, ids: Collection[int]) -> set[int]:
    """Those of these epics that are initiatives, by a look into an index for each."""
    found = await with_children(session, ids)
    if ids and (named := _is_named(policy)) is not None:
        of_type = select(EpicRow.id).where(among(EpicRow.id, ids), EpicRow.removed_at.is_(None), named)
        found.update(await session.scalars(of_type))
    return found


# --- by type or label ---------------------------------------------------------------------------


def _is_named(policy: Policy) -> ColumnElement[bool] | None:
    """Whether the policy names an epic's type or one of its labels; None where it names none at all."""
    top, scopes = policy.initiatives, list(policy.scopes)
    while scopes and _of_scope(scopes[-1], top) == top:
        scopes.pop()  # without it the same is found
    if not scopes:
        return _fits_one(top)
    of_scopes = [(_fits_scope(scope), _or_false(_of_scope(scope, top))) for scope in scopes]
    return case(*of_scopes, else_=_or_false(top))


def _of_scope(scope: Scope, top: Initiatives) -> Initiatives:
    return top if scope.initiatives is MISSING else scope.initiatives


def _or_false(names: Initiatives) -> ColumnElement[bool]:
    fits = _fits_one(names)
    return false() if fits is None else fits


def _fits_scope(scope: Scope) -> ColumnElement[bool]:
    """The same as `Scope.fits`: a project is also meant by the name that it had when it was first read."""
    found: list[ColumnElement[bool]] = []
    if scope.source is not MISSING:
        of_name = select(SourceRow.id).where(func.lower(SourceRow.name) == fold(scope.source))
        found.append(EpicRow.source_id.in_(of_name))
    if scope.project is not MISSING:
        name, project = fold(scope.project), func.lower(EpicRow.project)
        key = func.lower(SourceRow.named_projects[name]["key"].astext)
        former = select(SourceRow.id, key).where(SourceRow.named_projects.has_key(name))
        found.append(or_(project == name, tuple_(EpicRow.source_id, project).in_(former)))
    return and_(true(), *found)


def _fits_one(names: Initiatives) -> ColumnElement[bool] | None:
    """Words by their index, globs by each value."""
    labels, types = _sorted(names.labels), _sorted(names.types)
    found: list[ColumnElement[bool]] = []
    if words := labels.words:
        folded = func.northing_lower(EpicRow.labels, type_=ARRAY(Text))
        found.append(folded.overlap(literal(words, ARRAY(Text))))
    if labels.globs:
        label = func.unnest(EpicRow.labels).table_valued("label").render_derived()
        like = func.lower(label.c.label).like(any_(literal(labels.globs, ARRAY(Text))))
        found.append(exists(select(label.c.label).where(like)))
    kind = func.lower(EpicRow.type)
    if words := types.words:
        found.append(kind == any_(literal(words, ARRAY(Text))))
    if types.globs:
        found.append(kind.like(any_(literal(types.globs, ARRAY(Text)))))
    return or_(*found) if found else None


@dataclass(frozen=True, slots=True)
class _Sorted:
    """In lower case; `globs` as patterns of LIKE."""

    words: list[str]
    globs: list[str]


def _sorted(texts: Sequence[str]) -> _Sorted:
    return _Sorted(
        [fold(text) for text in texts if not is_glob(text)],
        [_like(fold(text)) for text in texts if is_glob(text)],
    )


def _like(glob: str) -> str:
    for special in ("\\", "%", "_"):
        glob = glob.replace(special, f"\\{special}")
    return glob.replace("*", "%").replace("?", "_")
