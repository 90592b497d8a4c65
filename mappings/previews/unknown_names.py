"""Whether any source has what rules and the policy name: a project, a label, a type, a person, a value.

Where a name has no match, it is probably mistyped, or made for another tracker. It is no error: the label may
come tomorrow. As long as a source was never read there is nothing to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import MISSING
from sqlalchemy import ColumnElement, String, and_, func, or_, select, type_coerce

from mappings.rules.condition import InvalidCondition, parse_condition
from mappings.rules.patterns import Glob, Patterns, fold, is_glob, shown
from mappings.rules.prefilter import LISTS, SINGLE, may_fit
from mappings.tables import EpicRow, SourceProjectRow, SourceRow
from mappings.values import FieldWarning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.policy.document import Exempt, Policy

MOST_WARNINGS = 50
MOST_VALUES = 20_000  # of one kind, that are compared with what is named
MOST_GLOBS = 200


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A word or glob that is compared with the values of epics. `field` is its place as the caller names it;
    `kind` as in a condition, for a custom field `field:` and its name. `whole`: a `*` in it is a `*`."""

    field: str
    kind: str
    text: str
    whole: bool = False

    @property
    def glob(self) -> bool:
        return not self.whole and is_glob(self.text)


async def warn_of_unknown(session: AsyncSession, named: Iterable[NamedValue]) -> list[FieldWarning]:
    """A warning for each of `named` that no source has; at most `MOST_WARNINGS`, and how many more there are.

    One statement for each kind of value that is named. Silent as long as a source has not been read.
    """
    by_kind: dict[str, list[NamedValue]] = {}
    for one in named:
        by_kind.setdefault(one.kind, []).append(one)
    sources = list(await session.scalars(select(SourceRow)))
    if not by_kind or not sources:
        return []
    found: list[FieldWarning] = []
    if (of_sources := by_kind.pop("source", None)) is not None:
        found += _warnings(of_sources, [source.name for source in sources])
    if by_kind and not await _any_unread(session):
        if (of_projects := by_kind.pop("project", None)) is not None:
            found += _warnings(of_projects, await _projects(session, sources))
        if by_kind and await session.scalar(select(EpicRow.id).where(EpicRow.removed_at.is_(None)).limit(1)):
            for kind, of_kind in by_kind.items():
                values = await _values_like(session, kind, [one.text for one in of_kind])
                found += [] if values is None else _warnings(of_kind, values)
    more = len(found) - MOST_WARNINGS
    return found if more <= 0 else [*found[:MOST_WARNINGS], FieldWarning("", f"{more} more are unknown")]


async def _any_unread(session: AsyncSession) -> bool:
    """Whether a source, or a project that can be read, was never read to its end."""
    unread = select(SourceRow.id).outerjoin(SourceProjectRow, SourceProjectRow.source_id == SourceRow.id)
    never = and_(
        ~SourceProjectRow.fully_synced, SourceProjectRow.cursor.is_(None), SourceProjectRow.problem.is_(None)
    )
    unread = unread.where(or_(SourceProjectRow.key.is_(None), never)).limit(1)
    return await session.scalar(unread) is not None


async def _projects(session: AsyncSession, sources: Sequence[SourceRow]) -> list[str]:
    former = [known["name"] for source in sources for known in source.named_projects.values()]
    return [*await session.scalars(select(SourceProjectRow.key)), *former]


async def _values_like(session: AsyncSession, kind: str, texts: Sequence[str]) -> list[str] | None:
    """Values of epics among which are all that one of these texts matches; None where there are too many to
    compare."""
    if sum(map(is_glob, texts)) > MOST_GLOBS:
        return None
    present: ColumnElement[bool] = EpicRow.removed_at.is_(None)
    if kind in LISTS:
        value: Any = func.unnest(LISTS[kind]).label("value")
    elif kind in SINGLE:
        value = SINGLE[kind].label("value")
    else:
        name = kind.removeprefix("field:")
        value = func.jsonb_array_elements_text(EpicRow.fields[name]).label("value")
        present = and_(present, func.jsonb_typeof(EpicRow.fields[name]) == "array")
    known = select(value).where(present).distinct().subquery()
    fits = may_fit(type_coerce(known.c.value, String()), Patterns(texts))
    values = list(await session.scalars(select(known.c.value).where(fits).limit(MOST_VALUES)))
    return values if len(values) < MOST_VALUES else None


def _warnings(named: Iterable[NamedValue], known: Collection[str]) -> list[FieldWarning]:
    values = {fold(value) for value in known}
    return [FieldWarning(one.field, _message(one)) for one in named if not _is_known(one, values)]


def _is_known(one: NamedValue, values: Collection[str]) -> bool:
    return any(map(Glob(one.text).matches, values)) if one.glob else fold(one.text) in values


def _message(one: NamedValue) -> str:
    what = one.kind.replace("field:", "field ", 1)
    text = repr(shown([one.text]))
    if one.kind == "source":
        return f"no source matches {text}" if one.glob else f"there is no source {text}"
    if one.kind == "project":
        known = f"whose key matches {text}" if one.glob else text
        return f"no source has a project {known}"
    whose = f"a {what} that matches {text}" if one.glob else f"the {what} {text}"
    return f"no epic of any source has {whose}"


# --- what rules and the policy name -----------------------------------------------------------


async def warn_of_rule(session: AsyncSession, when: Any) -> list[FieldWarning]:
    """A warning for each value in the condition that no source has; none for one that is refused."""
    try:
        parse_condition(when)
    except InvalidCondition:
        return []
    return await warn_of_unknown(session, _named(when, "when"))


async def warn_of_policy(session: AsyncSession, policy: Policy) -> list[FieldWarning]:
    """A warning for each name in the exemptions and scopes that no source has."""
    return await warn_of_unknown(session, _in_policy(policy))


def _in_policy(policy: Policy) -> Iterator[NamedValue]:
    yield from _exempt(policy.exempt, "exempt")
    for number, scope in enumerate(policy.scopes):
        here = f"scopes.{number}"
        # Unlike an exemption, a scope names one source and one project, without globs.
        for kind, name in (("source", scope.source), ("project", scope.project)):
            if name is not MISSING:
                yield NamedValue(f"{here}.{kind}", kind, name, whole=True)
        if scope.exempt is not MISSING:
            yield from _exempt(scope.exempt, f"{here}.exempt")


def _exempt(exempt: Exempt, here: str) -> Iterator[NamedValue]:
    for kind, texts in (("label", exempt.labels), ("type", exempt.types), ("project", exempt.projects)):
        for number, one in enumerate(texts):
            yield NamedValue(f"{here}.{kind}s.{number}", kind, one)


def _named(node: Any, path: str) -> Iterator[NamedValue]:
    """The values of a condition that `parse_condition` takes, each with its place."""
    ((key, inner),) = node.items()
    here = f"{path}.{key}"
    if key == "not":
        yield from _named(inner, here)
    elif key in ("all", "any"):
        for number, child in enumerate(inner):
            yield from _named(child, f"{here}[{number}]")
    elif key == "field":
        yield from _values(f"field:{inner['name']}", inner["is"], f"{here}.is")
    elif key != "title":
        yield from _values(key, inner, here)


def _values(kind: str, given: str | Sequence[str], path: str) -> Iterator[NamedValue]:
    if isinstance(given, str):
        yield NamedValue(path, kind, given)
        return
    for number, one in enumerate(given):
        yield NamedValue(f"{path}[{number}]", kind, one)
