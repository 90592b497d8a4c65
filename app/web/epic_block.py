"""A block of an epic's page: what a module of one noun gives to `app.web.epic_steering`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.epic_changes import Changed
from app.web.router import Form
from mappings.goals.key_results import KeyResult
from mappings.tables import EpicRow, SourceRow


@dataclass(frozen=True, slots=True)
class PageOfEpic:
    """What the page has read already. `key_results`: all, by id."""

    session: AsyncSession
    runtime: Runtime
    caller: Caller
    source: SourceRow
    row: EpicRow
    key_results: Mapping[int, KeyResult]


@dataclass(frozen=True, slots=True)
class ChangeOfEpic:
    """A form of a block that was sent. `act`: the value of its button `do`; `form` has its fields. A change
    opens `runtime.transaction(caller.who)` itself, and evaluates what it affects before it returns."""

    runtime: Runtime
    caller: Caller
    source: str
    key: str
    act: str
    form: Form


@dataclass(frozen=True, slots=True)
class Block:
    """The block of one noun. The template `epic_steering_<noun>.html` shows what `load` returns, which it
    finds as `block`; where its form was refused, `errors` and `typed` are of that form, else both are empty.

    `acts`: the values that its buttons `do` have, each with the operation of the API that does the same, and
    whose role it needs. `change` does one of them; it raises `Invalid` or `Conflict`, and then the page is
    shown again with what was typed.
    """

    noun: str
    load: Callable[[PageOfEpic], Awaitable[Any]]
    acts: Mapping[str, str] = field(default_factory=dict)
    change: Callable[[ChangeOfEpic], Awaitable[Changed]] | None = None
