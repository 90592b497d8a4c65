"""The forms of goals: from fields to what an operation takes, and what a form shows of what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import validated
from app.api.goal_models import AgreementIn, CheckInIn, CycleIn, KeyResultIn, ObjectiveIn
from app.api.problems import Problem
from app.web.forms import document_of, wrong_fields
from app.web.router import Form
from mappings.errors import Conflict, DomainError, NotFound, StaleVersion
from mappings.goals.examples import Example

Done = TypeVar("Done")

CYCLE = ("key", "title", "starts", "ends", "review")
OBJECTIVE = (
    "key",
    "title",
    "description",
    "driver",
    "cycle",
    "parent",
    "owner",
    "sponsor",
    "weight",
    "visibility",
    "public_label",
    "state",
)
KEY_RESULT = (
    "key",
    "title",
    "description",
    "owner",
    "category",
    "metric.unit",
    "metric.baseline",
    "metric.target",
    "metric.direction",
    "due",
    "state",
)
CHECK_IN = ("value", "confidence", "note", "at")
AGREEMENT = ("side", "name", "note")
NUMBERS = {"weight", "metric.baseline", "metric.target", "value", "confidence"}
_BOUNDS = {
    "Input should be greater than or equal to": "must be at least",
    "Input should be less than or equal to": "must be at most",
}
CHANGED_MEANWHILE = (
    "Somebody changed this while you had it open. What is stored now stands under each field that differs; "
    "save once more to keep yours."
)


@dataclass(frozen=True, slots=True)
class Filled:
    """A form as it is shown. `errors` by field, under the empty name those of the form as a whole; `stored`:
    what is stored now, by field, where it differs from what was typed."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    version: int | None = None
    status: int = 200

    @property
    def first(self) -> str | None:
        """The field that gets the focus: the first wrong one."""
        return next((name for name in self.errors if name), None)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why an operation was not done; nothing of it is stored."""

    errors: Mapping[str, str]
    status: int

    @property
    def is_stale(self) -> bool:
        return self.status == 412


async def attempt(session: AsyncSession, work: Awaitable[Done]) -> Done | Refused:
    """The operation's result, or why it was refused."""
    try:
        async with session.begin_nested():
            return await work
    except StaleVersion:
        return Refused({"": CHANGED_MEANWHILE}, 412)
    except NotFound:
        raise
    except (DomainError, Problem) as error:
        wrong = {name: in_words(text) for name, text in wrong_fields(error).items()}
        return Refused(wrong, 409 if isinstance(error, Conflict) else 422)


def in_words(message: str) -> str:
    """What a model says of a value, as a person reads it beside the field."""
    if "valid number" in message:
        return "must be a number, such as 2.4"
    if message == "Field required" or "at least 1 character" in message:
        return "must not be empty"
    for theirs, ours in _BOUNDS.items():
        message = message.replace(theirs, ours)
    return message


def typed(form: Form, names: tuple[str, ...]) -> dict[str, str]:
    """The fields of the form as they were typed; a browser ends lines with two signs."""
    return {name: form.get(name).replace("\r\n", "\n") for name in names}


def _document(values: Mapping[str, str]) -> dict[str, Any]:
    return document_of(values, numbers=NUMBERS)


def cycle_of(values: Mapping[str, str]) -> CycleIn:
    return validated(CycleIn, _document(values))


def objective_of(values: Mapping[str, str]) -> ObjectiveIn:
    return validated(ObjectiveIn, _document(values))


def key_result_of(values: Mapping[str, str]) -> KeyResultIn:
    return validated(KeyResultIn, _document(values))


def agreement_of(values: Mapping[str, str]) -> AgreementIn:
    return validated(AgreementIn, _document(values))


def check_in_of(values: Mapping[str, str], now: datetime) -> CheckInIn:
    """A day that is not today means its noon, UTC."""
    at = values.get("at", "")
    if at == now.date().isoformat():
        at = ""
    return validated(CheckInIn, _document({**values, "at": f"{at}T12:00:00Z" if at else ""}))


def version_of(form: Form) -> frozenset[int]:
    """The version that the form was made of."""
    version = form.id("version")
    return frozenset([] if version is None else [version])


def shown(document: Mapping[str, Any]) -> dict[str, str]:
    """Stored values as a form shows them."""
    found: dict[str, str] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": text for inner, text in shown(value).items()}
        else:
            found[name] = _text(value)
    return found


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def of_example(example: Example) -> dict[str, str]:
    metric = shown({"metric": asdict(example.metric)})
    return {"title": example.title, "category": example.category, "description": example.why, **metric}


def differing(values: Mapping[str, str], stored: Mapping[str, str]) -> dict[str, str]:
    """What is stored where something else was typed."""
    return {name: stored.get(name, "") for name in values if values[name] != stored.get(name, "")}
