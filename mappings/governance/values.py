"""What governance is given, in plain values, and what these must be. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from mappings.values import line_error, one_of_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mappings.values import FieldErrors

CommitteeSide = Literal["business", "it", "partner"]
Stage = Literal["idea", "pilot", "scale", "done"]
DecisionKind = Literal["keep", "remap", "stop", "defer", "pilot", "scale"]
DECIDED: dict[str, str] = {
    "keep": "Kept",
    "remap": "Re-mapped",
    "stop": "Stopped",
    "defer": "Deferred",
    "pilot": "Made a pilot",
    "scale": "Scaled",
}
# Without them a review has nobody who answers for the goals, or nobody who answers for the work.
NEEDED_SIDES: tuple[CommitteeSide, ...] = ("business", "it")
PEOPLE_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class Person:
    """Who came to a review, or decided, as people know them, and from which side."""

    name: str
    side: CommitteeSide


def people_errors(field: str, people: Sequence[Person]) -> FieldErrors:
    """Of a list of people in this field of what was sent."""
    found: FieldErrors = []
    if len(people) > PEOPLE_AT_MOST:
        found.append((field, f"has {len(people)} people; at most {PEOPLE_AT_MOST} are taken"))
    met: set[str] = set()
    for number, person in enumerate(people):
        repeated = "is named twice" if person.name.casefold() in met else None
        met.add(person.name.casefold())
        found.append((f"{field}.{number}.name", line_error(person.name) or repeated))
        found.append((f"{field}.{number}.side", one_of_error(person.side, get_args(CommitteeSide))))
    return found


def people_as_json(people: Iterable[Person]) -> list[dict[str, Any]]:
    return [asdict(person) for person in people]


def people_from_json(stored: Iterable[dict[str, Any]]) -> list[Person]:
    return [Person(**person) for person in stored]


def missing_sides(people: Iterable[Person]) -> list[CommitteeSide]:
    """The needed sides that none of these people is from."""
    present = {person.side for person in people}
    return [side for side in NEEDED_SIDES if side not in present]


def columns_as_json(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """Columns of a row as JSON, moments in UTC: equal where the values are."""
    return {name: _as_json(getattr(row, name)) for name in names}


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
    return value.isoformat() if isinstance(value, date) else value


_DAYS = {"due"}
_MOMENTS = {"opened_at", "resolved_at", "until", "changed_at", "created_at", "entered_at", "pilot_began_at"}


def columns_from_json(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The values that `columns_as_json` made this of: of findings, links and stages."""
    values = dict(stored)
    for names, kind in ((_MOMENTS, datetime), (_DAYS, date)):
        for name in names & stored.keys():
            values[name] = None if stored[name] is None else kind.fromisoformat(stored[name])
    return values
