"""The forms of reviews: who comes, a list for each side; and a decision, with what is wrong by its fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, get_args

from app.api.problems import Problem
from app.web.forms import wrong_fields
from app.web.goal_forms import Filled
from app.web.router import Form
from mappings.errors import DomainError, Invalid, StaleVersion
from mappings.governance.values import CommitteeSide, DecisionKind, Person

SIDES: tuple[CommitteeSide, ...] = get_args(CommitteeSide)
KINDS: tuple[DecisionKind, ...] = get_args(DecisionKind)
# The fields of a decision beside its reason, by the kinds that take them; to stop without a day is for good.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "remap": ("key_result",),
    "stop": ("by",),
    "defer": ("by",),
    "pilot": ("measure", "by"),
}
DECISION = ("decision", "key_result", "measure", "by", "reason")
STALE = "Somebody changed this while you had it open; what is stored now stands under each list that differs."
_PERSON = re.compile(r"attendees\.(\d+)\.\w+")
_CALL = re.compile(r" ?\((?:GET|POST|PATCH|PUT|DELETE) /api/v1/\S+?\)")


def names_by_side(people: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """As the form shows them: one name on each line."""
    listed = list(people)
    return {side: "\n".join(one["name"] for one in listed if one["side"] == side) for side in SIDES}


def typed_people(form: Form) -> tuple[list[Person], dict[str, str]]:
    """The people that were typed, and the fields as they were."""
    values: dict[str, str] = {side: form.get(side).replace("\r\n", "\n") for side in SIDES}
    people = [
        Person(name.strip(), side) for side in SIDES for name in values[side].split("\n") if name.strip()
    ]
    return people, values


def typed_day(form: Form, field: str, *, needed: bool = True) -> date | None:
    """Raises `Invalid`."""
    text = form.get(field)
    if not text and not needed:
        return None
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise Invalid(field, "must be a day such as 2026-11-27")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(field, "is no day of the calendar") from None


def decision_id(form: Form) -> int:
    """Of the decision that is to be taken back. Raises `Invalid`."""
    if (id := form.id("decision_id")) is None:
        raise Invalid("", "This form names no decision: reload the page.")
    return id


def refused(error: DomainError | Problem, values: Mapping[str, str], people: Sequence[Person] = ()) -> Filled:
    """The form again, with what is wrong. An error in a list of people stands at the side of that person."""
    if isinstance(error, StaleVersion):
        return Filled(values, {"": STALE}, status=412)
    errors: dict[str, str] = {}
    for field, message in wrong_fields(error).items():
        found = _PERSON.fullmatch(field)
        if found is not None and int(found[1]) < len(people):
            person = people[int(found[1])]
            errors.setdefault(person.side, f"{person.name[:80]} {for_page(message)}")
        else:
            known = field if field in values else field.partition(".")[0]
            errors["" if field == "attendees" else known] = for_page(message)
    return Filled(values, errors, status=422 if isinstance(error, Invalid) else 409)


def for_page(message: str) -> str:
    """Without the call of the API that would do what it asks for."""
    return _CALL.sub("", message)
