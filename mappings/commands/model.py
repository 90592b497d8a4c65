"""What a line of a comment asks for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Command:
    """`typed`: its line, without regard to case and blanks; empty for what no line says."""

    typed: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class LinkCommand(Command):
    """`keys`: the words that may be keys, as typed, each once without regard to case, and each with the form
    of a key. The first that no key result has ends the keys; only the goals tell."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnlinkCommand(Command):
    """`keys` as in `LinkCommand`."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MoveCommand(Command):
    """`keys` as in `LinkCommand`; more than one key is a mistake."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnoozeCommand(Command):
    """`until` is exclusive, UTC: the end of the day that the command gives."""

    until: datetime


@dataclass(frozen=True, slots=True)
class WaiveCommand(Command):
    """`until` is exclusive, UTC. `reason` is one line of visible characters."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class DisputeCommand(Command):
    """`reason` is one line of visible characters."""

    reason: str


@dataclass(frozen=True, slots=True)
class SuggestCommand(Command):
    pass


@dataclass(frozen=True, slots=True)
class HelpCommand(Command):
    pass


@dataclass(frozen=True, slots=True)
class ReviewCommand(Command):
    """`keep` or `stop`, the answers to a review."""

    word: str


@dataclass(frozen=True, slots=True)
class InvalidCommand(Command):
    """What cannot be executed. `reply` is the answer, `discreet` the answer that repeats nothing typed; empty
    where `reply` repeats nothing. `near`: it is no command, though nearly."""

    reply: str
    discreet: str = ""
    near: bool = False
