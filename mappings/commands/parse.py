"""Commands that people write in comments on tickets, and the words of the answers. Pure.

Any user of the tracker can write the text: a very long line is not read, and an answer repeats at most a
short piece of what was typed, as code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mappings.goals.key_results import NO_LONGER_COUNTS
from mappings.links.keys import KEY
from mappings.notices.text import HELP, LINK, SNOOZE
from mappings.policy.durations import LONGEST_DAYS, parse_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connectors.ticket_text import Line

MOST_COMMANDS = 10
MOST_KEYS = 20
_LONGEST_LINE = 1_000
_LONGEST_QUOTE = 64
_LONGEST_ANSWER = 1_500
_START = re.compile(r"(?ai:/northing)(?:\s+|$)")
_BETWEEN = re.compile(r"[,\s]+")
_SPAN = re.compile(r"(?P<number>\d{1,4})(?P<unit>[dw])", re.IGNORECASE | re.ASCII)
_TRAILING = ".;:!?"
_NOT_IN_THIS_BUILD = ("unlink", "waive", "dispute", "suggest")

# Each command with what it does. The notice shows the first with a key that fits the ticket.
_USAGES = (
    (LINK.format(key="KR-12"), "links this epic to that key result; several keys may stand there"),
    (SNOOZE, "keeps this comment silent for 14 days; `2w` or a date such as `2026-12-31` will do too"),
    (HELP, "shows this list"),
)


@dataclass(frozen=True, slots=True)
class LinkCommand:
    """`keys` as typed, each once without regard to case, and each with the form of a key."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnoozeCommand:
    """`until` is exclusive, UTC: the end of the day that the command gives."""

    until: datetime


@dataclass(frozen=True, slots=True)
class HelpCommand:
    pass


@dataclass(frozen=True, slots=True)
class InvalidCommand:
    """A command that cannot be executed; `reply` is the answer."""

    reply: str


ValidCommand = LinkCommand | SnoozeCommand | HelpCommand
Command = ValidCommand | InvalidCommand
_TOO_LONG = InvalidCommand(f"A command of more than {_LONGEST_LINE:,} characters is not read; write several.")


def parse_commands(lines: Iterable[Line], now: datetime) -> tuple[Command, ...]:
    """The commands in a comment's lines outside code, quotes and HTML, in order, at most ten.

    A line is a command when it begins with `/northing`, in any case; blanks may come before it.
    """
    found: list[Command] = []
    for line in lines:
        text = line.text.strip()
        start = _START.match(text)
        if start is not None:
            found.append(_command(text[start.end() :], now) if len(text) <= _LONGEST_LINE else _TOO_LONG)
            if len(found) == MOST_COMMANDS:
                break
    return tuple(found)


def _command(rest: str, now: datetime) -> Command:
    name, *words = rest.split() or ["help"]
    match name.lower().rstrip(_TRAILING):
        case "link":
            return _link(rest[len(name) :])
        case "snooze":
            return _snooze(words, now)
        case "help":
            return HelpCommand()
        case later if later in _NOT_IN_THIS_BUILD:
            return InvalidCommand(f"`{later}` is not in this build. {_known_commands()}")
    return InvalidCommand(f"There is no command {quoted(name)}. {_known_commands()}")


def _known_commands() -> str:
    return f"There is {joined([f'`{usage}`' for usage, _ in _USAGES])}."


def _link(rest: str) -> Command:
    keys: dict[str, str] = {}
    for word in _BETWEEN.split(rest):
        key = word.rstrip(_TRAILING)
        if key and not KEY.fullmatch(key):
            return InvalidCommand(
                f"{quoted(word)} is no key of a key result; write `{LINK.format(key='KR-12')}`."
            )
        if key:
            keys.setdefault(key.lower(), key)
    if not keys:
        return InvalidCommand(f"Which key result? Write `{LINK.format(key='KR-12')}`.")
    if len(keys) > MOST_KEYS:
        return InvalidCommand(f"At most {MOST_KEYS} key results can be linked at once.")
    return LinkCommand(tuple(keys.values()))


def _snooze(words: Sequence[str], now: datetime) -> Command:
    how = f"write `{SNOOZE}`, `2w` for weeks, or a date such as `2026-12-31`"
    if words and words[0].lower() in ("for", "until"):
        words = words[1:]
    if len(words) != 1:
        return InvalidCommand(f"How long? {how.capitalize()}.")
    word, today = words[0], now.astimezone(UTC).date()
    span = _SPAN.fullmatch(word)
    if span is not None:
        days = int(span["number"]) * (7 if span["unit"] in "wW" else 1)
        if not 1 <= days <= LONGEST_DAYS:
            return InvalidCommand(f"A snooze lasts 1 to {LONGEST_DAYS} days; {how}.")
        return SnoozeCommand(parse_until(today + timedelta(days=days), now))
    try:
        if len(word) == len("2026-12-31"):
            return SnoozeCommand(parse_until(word, now))
    except ValueError as error:
        return InvalidCommand(f"{quoted(word)} {error}.")
    return InvalidCommand(f"{quoted(word)} is no span of time; {how}.")


# --- answers: lines of text, `code` between backticks, "- " before the items of a list ---------------


def quoted(word: str) -> str:
    """What a person typed, as code: one short line without any character that could end the code."""
    shown = "".join(char for char in word[:_LONGEST_QUOTE] if char.isprintable() and char != "`").strip()
    return f"`{shown or '?'}`"


def joined(items: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def unknown_keys_text(keys: Sequence[str], fitting: Sequence[str]) -> str:
    """These key results do not exist, and which may be meant. Keys only: a title may be confidential."""
    shown = [quoted(key) for key in keys[:3]] + ([f"{len(keys) - 3} more"] if len(keys) > 3 else [])
    meant = f" Perhaps {' or '.join(quoted(key) for key in fitting)}?" if fitting else ""
    return f"There is no key result {joined(shown)}.{meant}"


def not_live_text(key: str, why: str | None) -> str:
    """`why` is None where the ticket may not show it, because it must not name the goal."""
    return f"{quoted(key)} is linked, but {NO_LONGER_COUNTS if why is None else f'does not count: {why}'}."


def nothing_to_snooze_text(state: str | None) -> str:
    """`state` is that of the epic's finding; None where no finding is open."""
    return f"There is nothing to snooze: the gap is {state}." if state else "There is nothing to snooze here."


def help_text() -> str:
    usages = [f"- `{usage}` {does}" for usage, does in _USAGES]
    return "\n".join(("Start a line of a comment with one of these:", *usages))


def joined_answer(parts: Iterable[str]) -> str | None:
    """One answer of all parts, each once, cut between two parts if long; None where there are no parts."""
    whole, length = list[str](), 0
    for part in dict.fromkeys(parts):
        length += len(part)
        if whole and length > _LONGEST_ANSWER:
            break
        whole.append(part)
    return "\n".join(whole) or None


def command_text(command: ValidCommand) -> str:
    """The command in words, as its comment's row stores it."""
    match command:
        case LinkCommand(keys):
            return f"link {', '.join(keys)}"
        case SnoozeCommand(until):
            return f"snooze until {until:%Y-%m-%d %H:%M} UTC"
        case HelpCommand():
            return "help"
