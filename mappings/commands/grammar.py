"""What stands in a command after `/northing`: a verb, keys, times and reasons. Pure.

The work is linear in the length of the line, which is bounded.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import dropwhile, islice, takewhile
from typing import TYPE_CHECKING

from mappings.command_words import (
    ASKING,
    BECAUSE,
    BEFORE_KEYS,
    BEFORE_TIMES,
    MEANT,
    NUMBERS,
    THANKS,
    UNITS,
    VERBS,
)
from mappings.commands.answers import (
    MOST_KEYS,
    ONE_A_LINE,
    USAGES,
    WHICH_KEY,
    no_command_text,
    one_line,
    one_to_move_to_text,
    quoted,
)
from mappings.commands.model import (
    Command,
    DisputeCommand,
    HelpCommand,
    InvalidCommand,
    LinkCommand,
    MoveCommand,
    ReviewCommand,
    SnoozeCommand,
    SuggestCommand,
    UnlinkCommand,
    WaiveCommand,
)
from mappings.links.keys import key_words
from mappings.policy.durations import LONGEST_DAYS, parse_until
from mappings.values import line_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ASCII = re.ASCII | re.IGNORECASE
_VERB = re.compile(r"[\"'*_~`]*(?P<verb>[a-z]+)[\"'*_~`]*[:;,.=!?]* ?(?P<arguments>.*)", ASCII)
_BEFORE_KEY = re.compile(r"(?:kr|key[-_ ]?results?) ?[:=] ?", ASCII)
_TO_ANOTHER = re.compile(r"\S (?:to|->|-->|=>|→) ?(?P<other>\S+)", ASCII)
_DATE = r"(?P<date>\d{4}-\d{2}-\d{2})"
_SPAN = rf"(?P<number>\d{{1,6}}|{'|'.join(NUMBERS)})[ -]?(?P<unit>days?|weeks?|wks?|d|w)"
_TIME = re.compile(rf"(?:{_DATE}|{_SPAN})(?![\w-])", ASCII)
_TIME_AT_END = re.compile(
    rf"(?:^|[ ,;(-])(?:until|till|for|to|by):? (?P<time>{_TIME.pattern})[ .!)]*$", ASCII
)
_BETWEEN = " ,:;-–—"
_HOW_LONG = f"write `{USAGES['snooze'][0]}`, `2 weeks`, or a date such as `2026-12-31`"
_AROUND_WORD = " ,.:;!?()<>\"'`*_~"


def verb_and_arguments(text: str) -> tuple[str, str]:
    """The first word in lower case and what comes after it; the first is empty where there is no word."""
    match = _VERB.match(text)
    return (match["verb"].lower(), match["arguments"]) if match else ("", text)


def without_words(text: str, words: Collection[str]) -> str:
    """`text` without those words at its start."""
    while text:
        word, _, rest = text.partition(" ")
        if word.strip(_AROUND_WORD).lower() not in words:
            return text
        text = rest
    return text


def command_in(rest: str, now: datetime) -> list[Command]:
    """The command in what comes after `/northing`; none where that is only thanks."""
    if not rest.strip(_AROUND_WORD):
        return [HelpCommand()]
    rest = without_words(rest, THANKS)
    if not rest:
        return []
    verb, arguments = verb_and_arguments(rest)
    match verb:
        case "link" | "unlink" | "move":
            return _about_keys(verb, arguments)
        case "snooze":
            return [_snooze(arguments, now)]
        case "waive":
            return [_waive(arguments, now)]
        case "dispute":
            reason = _reason(arguments)
            return [DisputeCommand(reason) if isinstance(reason, str) else reason or _why("dispute")]
        case "suggest":
            return [SuggestCommand()]
        case "help":
            return [HelpCommand()]
        case "keep" | "stop":
            return [ReviewCommand(verb)]
    return [_no_command(rest, verb, arguments)]


def _no_command(rest: str, verb: str, arguments: str) -> Command:
    """The answer to a word that is no verb: what is probably meant."""
    meant = verb_meant(verb)
    if meant is None:
        asked = without_words(rest, ASKING)
        verb, arguments = verb_and_arguments(asked)
        meant = verb if verb in VERBS else None
        if meant is None and like_a_key(asked.partition(" ")[0]):
            meant, arguments = "link", asked
    right = None if meant is None else right_way(meant, arguments)
    usage = None if meant is None else right_way(meant, "")
    return InvalidCommand(no_command_text(rest.partition(" ")[0], right), no_command_text(None, usage))


def verb_meant(word: str) -> str | None:
    """The verb that is probably meant by a word that is none; `keep` and `stop` are not."""
    close = get_close_matches(word[:20], list(USAGES), n=1, cutoff=0.7)
    return MEANT.get(word) or (close[0] if close else None)


def right_way(verb: str, arguments: str) -> str:
    """How to write it, as code: with the keys or the time that were typed, where there are any."""
    if verb in ("link", "unlink", "move"):
        words = dropwhile(lambda word: not like_a_key(word), _key_words(arguments))
        keys = list(islice(takewhile(like_a_key, words), 3))  # "KR-1 instead of KR-2" names one
        if keys and (verb != "move" or len(keys) == 1):
            return quoted(f"/northing {verb} {', '.join(keys)}", 200)
    elif verb == "snooze":
        time = _TIME.match(without_words(arguments, BEFORE_TIMES))
        if time is not None:
            return quoted(f"/northing snooze {'until ' if time['date'] else ''}{time[0]}")
    return f"`{USAGES[verb][0]}`" if verb in USAGES else quoted(f"/northing {verb}")


# --- keys -----------------------------------------------------------------------------------------


def like_a_key(word: str) -> bool:
    """Whether a word that no key result has was probably meant as a key: letters and then a digit."""
    return len(word) >= 3 and word[0].isalpha() and any(char.isdigit() for char in word)


def _key_words(arguments: str) -> Iterable[str]:
    text = without_words(arguments, BEFORE_KEYS - {"kr"})
    start = _BEFORE_KEY.match(text)
    return key_words(text[start.end() :] if start else text)


def _about_keys(verb: str, arguments: str) -> list[Command]:
    arguments, again, _ = arguments.partition("/northing")
    more: list[Command] = [InvalidCommand(ONE_A_LINE)] if again else []
    keys: dict[str, str] = {}
    for word in _key_words(arguments):
        keys.setdefault(word.lower(), word)
        if len(keys) > MOST_KEYS:
            break
    if not keys:
        first = without_words(arguments, BEFORE_KEYS).partition(" ")[0]
        wrong = (
            f"{quoted(first)} is no key of a key result; write `{USAGES[verb][0]}`." if first else WHICH_KEY
        )
        return [InvalidCommand(wrong, WHICH_KEY), *more]
    words = tuple(keys.values())
    if verb == "link":
        return [LinkCommand(words), *more]
    if verb == "unlink":
        return [UnlinkCommand(words), *more]
    another = _TO_ANOTHER.search(without_words(arguments, BEFORE_KEYS))
    if another is None:
        return [MoveCommand(words), *more]
    other = next(iter(key_words(another["other"])), None)
    return [InvalidCommand(one_to_move_to_text(other), one_to_move_to_text(None)), *more]


# --- times and reasons ----------------------------------------------------------------------------


def _snooze(arguments: str, now: datetime) -> Command:
    text = without_words(without_words(arguments, THANKS), BEFORE_TIMES)
    if not text.strip(_AROUND_WORD):
        return InvalidCommand(f"How long? {_HOW_LONG.capitalize()}.")
    time = _TIME.match(text)
    after = "" if time is None else text[time.end() :].strip(_BETWEEN)
    if time is None or (_TIME.search(after) and after.partition(" ")[0].lower() not in BECAUSE):
        return InvalidCommand(f"{quoted(text)} is no span of time; {_HOW_LONG}.", _how_long_text("snooze"))
    until = _until(time, now)
    return SnoozeCommand(until) if isinstance(until, datetime) else _no_time("snooze", *until)


def after_time(arguments: str) -> str | None:
    """What comes after the time that the arguments begin with; None where they begin with none."""
    text = without_words(arguments, BEFORE_TIMES)
    time = _TIME.match(text)
    return None if time is None else text[time.end() :].strip(_BETWEEN)


def _how_long_text(verb: str) -> str:
    return f"Until when? Write `{USAGES[verb][0]}`."


def _until(time: re.Match[str], now: datetime) -> datetime | tuple[str, str]:
    """The exclusive end of what it says, UTC; else what was typed and what is wrong with it."""
    given = time["date"]
    if given is None:
        number = NUMBERS.get(time["number"].lower()) or int(time["number"])
        days = number * UNITS["weeks" if time["unit"][0] in "wW" else "days"]
        if not 1 <= days <= LONGEST_DAYS:
            return time[0], f"is not between 1 and {LONGEST_DAYS} days"
        given = now.astimezone(UTC).date() + timedelta(days=days)
    try:
        return parse_until(given, now)
    except ValueError as error:
        return time[0], str(error)


def _no_time(verb: str, typed: str, wrong: str) -> Command:
    return InvalidCommand(f"{quoted(typed)} {wrong}: `{USAGES[verb][0]}`.", _how_long_text(verb))


def _waive(arguments: str, now: datetime) -> Command:
    text = without_words(arguments, THANKS)
    time = _TIME.match(without_words(text, BEFORE_TIMES))
    if time is not None:
        because = without_words(text, BEFORE_TIMES)[time.end() :]
    else:
        end = _TIME_AT_END.search(text)
        if end is None:
            return InvalidCommand(
                f"Until when? Write `{USAGES['waive'][0]}`, with a date such as `2026-12-31`."
            )
        time, because = end, text[: end.start()]
    until = _until(time, now)
    if not isinstance(until, datetime):
        return _no_time("waive", *until)
    reason = _reason(because)
    return WaiveCommand(until, reason) if isinstance(reason, str) else reason or _why("waive")


def _why(verb: str) -> Command:
    return InvalidCommand(f"Why? Whoever maps goals here reads the reason: `{USAGES[verb][0]}`.")


def _reason(text: str) -> str | InvalidCommand | None:
    """The reason that the text gives, in one line; None where it gives none, as a usage copied unchanged."""
    text = text.strip(_BETWEEN)
    word, _, rest = text.partition(" ")
    if word.lower() in ("this", "it", "that") and rest.partition(" ")[0].lower() in BECAUSE:
        word, _, rest = rest.partition(" ")
        text = f"{word} {rest}"
    if word.strip(_AROUND_WORD).lower() in BECAUSE:
        text = rest.removeprefix("of ")
    reason = one_line(text).strip(_BETWEEN)
    if not any(map(str.isalnum, without_words(reason, THANKS))):
        return None
    wrong = line_error(reason)
    return reason if wrong is None else InvalidCommand(f"The reason {wrong}.")
