"""Which lines of a comment are commands. Pure.

Any user of the tracker can write the text: a very long line is not read, and the work is linear in its
length.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from mappings.command_words import THANKS, VERBS
from mappings.commands.answers import FIRST_TEN, MOST_COMMANDS
from mappings.commands.grammar import ASCII, command_in, verb_and_arguments, without_words
from mappings.commands.model import Command, InvalidCommand
from mappings.commands.near import nearly, whole
from mappings.links.keys import visible

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from connectors.ticket_text import Line

LONGEST_LINE = 1_000
_SLASH = re.compile(r"/northing[.!?]*(?: |$)", ASCII)
_TOO_LONG = InvalidCommand(f"A command of more than {LONGEST_LINE:,} characters is not read; write several.")
_TOO_MANY = InvalidCommand(FIRST_TEN)


def parse_commands(lines: Iterable[Line], now: datetime, our_name: str | None = None) -> tuple[Command, ...]:
    """The commands in a comment's lines, in order, and what is nearly a command; where there are more than
    ten, the first ten and a word about it.

    A line is a command when it begins with `/northing`, in any case; `@northing` and the name of our own
    account (`our_name`), where a verb follows, stand for that. Code and the cells of tables hold none.
    """
    own = " ".join(visible(our_name or "").split()).lower().removesuffix("[bot]").lstrip("@").strip()
    addressed = _addressed(own)
    found: list[Command] = []
    commands: list[Command]
    for line in lines:
        text = _one_line(line.text)
        if text is None:
            commands = [_TOO_LONG] if not line.in_code and _SLASH.match(line.text[:40].lstrip()) else []
        else:
            in_prose = not line.in_code and line.kind != "cell"
            commands = _commands(text, addressed, now) if in_prose else []
            commands = commands or [*nearly(text, own, now, alone=not in_prose)]
        typed = f"{'`' if line.in_code else ''}{(text or line.text[:LONGEST_LINE]).lower()}"
        for command in commands:
            if len(found) == MOST_COMMANDS:
                return (*found, _TOO_MANY)
            found.append(replace(command, typed=typed))
    return tuple(found)


def _one_line(text: str) -> str | None:
    """The visible text with single blanks; None where it is too long to be read."""
    return " ".join(visible(text).split()) if len(text) <= LONGEST_LINE else None


def _addressed(own: str) -> re.Pattern[str]:
    """What stands at the start of a line that speaks to us: a mention, or the name of our own account."""
    names = f"@northing|@?{re.escape(own)}" if own else "@northing"
    return re.compile(rf"/?(?:{names})(?:\[bot\])?[,:;.!?]*(?: |$)", ASCII)


def _commands(text: str, addressed: re.Pattern[str], now: datetime) -> list[Command]:
    start = _SLASH.match(text)
    if start is not None:
        return command_in(text[start.end() :], now)
    start = addressed.match(text)
    if start is None:
        return []
    rest = without_words(text[start.end() :], THANKS)
    verb, arguments = verb_and_arguments(rest)
    if text[0] not in "@/":  # our account's name alone; a sentence may begin with it
        return command_in(rest, now) if whole(verb, arguments, now, strictly=False) else []
    if verb in VERBS or start.end() == len(text):
        return command_in(rest, now)
    return []  # words about us, or nearly a command
