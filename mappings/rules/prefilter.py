"""What the database can tell of a condition, so that not every epic is read to find those that it matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, String, and_, any_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from mappings.rules.condition import All, AnyOf, Condition, ValueTest
from mappings.rules.patterns import Patterns, fold, is_glob
from mappings.tables import EpicRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import InstrumentedAttribute

LISTS: dict[str, InstrumentedAttribute[list[str]]] = {
    "label": EpicRow.labels,
    "assignee": EpicRow.assignees,
    "component": EpicRow.components,
}
SINGLE: dict[str, Any] = {
    "project": EpicRow.project,
    "type": EpicRow.type,
    "milestone": EpicRow.milestone,
    "parent": EpicRow.parent_key,
}


def may_match(condition: Condition, sources: Sequence[SourceRow]) -> ColumnElement[bool] | None:
    """True for every epic of `sources` that the condition matches, and perhaps for others; None where the
    database cannot tell: of titles, which RE2 searches, of custom fields, and of what is ruled out."""
    if isinstance(condition, ValueTest):
        return _values(condition, sources)
    if not isinstance(condition, All | AnyOf):
        return None
    below = [may_match(child, sources) for child in condition.children]
    known = [one for one in below if one is not None]
    if isinstance(condition, All):
        return and_(*known) if known else None
    return or_(*known) if known and len(known) == len(below) else None


def _values(test: ValueTest, sources: Sequence[SourceRow]) -> ColumnElement[bool]:
    matches = test.patterns.matches
    if test.kind == "source":
        return among(EpicRow.source_id, [source.id for source in sources if matches(source.name)])
    if test.kind in LISTS:
        value = func.unnest(LISTS[test.kind]).column_valued("value")
        return select(value).where(may_fit(value, test.patterns)).exists()
    fits = may_fit(SINGLE[test.kind], test.patterns)
    if test.kind != "project":
        return fits
    named = [known for source in sources for known in source.named_projects.values()]
    renamed = [known["key"] for known in named if matches(known["name"])]
    return or_(fits, EpicRow.project.in_(renamed)) if renamed else fits


def may_fit(value: Any, patterns: Patterns) -> ColumnElement[bool]:
    """True for every value of the column that one of the patterns matches. Beyond ASCII, where the database
    may know another lower case than `fold`, it is always true."""
    folded = [fold(text) for text in patterns.texts]
    lower = func.lower(value.collate("C"), type_=String())
    words = [text for text in folded if not is_glob(text)]
    globs = [_like(text) for text in folded if is_glob(text)]
    parts: list[ColumnElement[bool]] = [value.regexp_match("[^ -~]")]
    if words:
        parts.append(lower == any_(literal(words, ARRAY(TEXT))))
    if globs:
        parts.append(lower.like(any_(literal(globs, ARRAY(TEXT)))))
    return or_(*parts)


def _like(glob: str) -> str:
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")
