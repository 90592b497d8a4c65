"""Lines that are nearly commands, and were probably meant as such; the answer shows the right way. Pure.

Words that only speak about Northing must be met with silence. So a line without our sign, or with words
before it, counts only where a whole command follows and nothing tells that it is an example or a report.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from mappings.command_words import ASKING, BECAUSE, BEFORE_KEYS, LEAD_IN, THANKS, VERBS
from mappings.commands.answers import IN_COMMENTS, LINE_OF_ITS_OWN
from mappings.commands.grammar import (
    ASCII,
    after_time,
    command_in,
    like_a_key,
    right_way,
    verb_and_arguments,
    verb_meant,
    without_words,
)
from mappings.commands.model import InvalidCommand
from mappings.links.keys import key_words

if TYPE_CHECKING:
    from datetime import datetime

_MOST_LOOKED_AT = 5  # places in a line where our name stands
_KEY_LINE = re.compile(r"(?:[-*•] )?(?:key[ _-]?results?|kr) ?[:=] ?(?P<keys>\S.*)", ASCII)
_NAME = r"(?P<sign>[/\\@!#.]*) ?(?:northing{own})(?:\[bot\])?"
_LIST_MARK = re.compile(r"(?:[-*+•]|\d{1,2}[.)])", ASCII)
_LONGEST_LEAD_IN = 4  # words
# These before a command tell that it is quoted, explained or reported.
_ABOUT = frozenset(
    (
        "about", "answer", "command", "commands", "comment", "commented", "comments", "described", "doc",
        "docs", "documentation", "documented", "e.g", "eg", "example", "examples", "instance", "post",
        "posted", "ran", "reply", "run", "said", "say", "says", "see", "sent", "syntax", "text", "tried",
        "try", "type", "typed", "typing", "use", "used", "uses", "using", "via", "with", "write", "writes",
        "writing", "wrote",
    )
)  # fmt: skip
# After the keys they tell of what happened.
_REPORTS = frozenset(
    ("already", "are", "did", "does", "doesn't", "didn't", "had", "has", "is", "was", "were", "yesterday")
)
_STOP = ".!?:;,)]-–—…"


def nearly(text: str, own: str, now: datetime, *, alone: bool) -> list[InvalidCommand]:
    """The answer to a line that is no command, empty where it is not nearly one either.

    `text` is visible, in one line, with single blanks. `own`: the name of our account in lower case, or none.
    `alone`: the line is code or a table's cell, so nothing else may stand in it.
    """
    key_line = _KEY_LINE.fullmatch(text)
    if key_line is not None:
        return [_answer(IN_COMMENTS, "link", key_line["keys"])] if _only_keys(key_line["keys"]) else []
    lower = text.lower()
    if "northing" not in lower and (not own or own not in lower):
        return []
    name = re.compile(_NAME.format(own=f"|{re.escape(own)}" if own else ""), ASCII)
    for at, match in enumerate(name.finditer(text)):
        before = text[: match.start()]
        if at == _MOST_LOOKED_AT:
            break
        if before and (before[-1].isalnum() or before[-1] in "/.-_"):
            continue  # a part of a word, a path or an address
        found = _after_name(text[match.end() :], before.strip(), match["sign"], now, alone=alone)
        if found is not None:
            return [_answer(LINE_OF_ITS_OWN, *found)]
    return []


def _answer(words: str, verb: str, arguments: str) -> InvalidCommand:
    right, usage = right_way(verb, arguments), right_way(verb, "")
    return InvalidCommand(words.format(right=right), words.format(right=usage), near=True)


def _after_name(rest: str, before: str, sign: str, now: datetime, *, alone: bool) -> tuple[str, str] | None:
    """The verb and the arguments that are probably meant by what comes after our name."""
    at_start = not before or _LIST_MARK.fullmatch(before) is not None
    slash = "/" in sign or "\\" in sign
    if rest[:1].isalnum() and not slash:
        return None  # another word than our name
    rest = rest.lstrip(" :;,.!/=>–—-")
    if not rest:
        return ("help", "") if slash and at_start else None
    asked = without_words(rest, ASKING) if at_start or sign else rest
    verb, arguments = verb_and_arguments(asked)
    if at_start and not alone:
        if slash and asked == rest and verb in VERBS:
            return verb, arguments
        if slash and asked == rest and (meant := verb_meant(verb)) is not None:
            return meant, arguments
        return whole(verb, arguments, now, strictly=not sign)
    if not at_start and (alone or not _leads_in(before)):
        return None
    return whole(verb, arguments, now, strictly=alone or not slash)


def _leads_in(before: str) -> bool:
    """Whether a command may follow these words and be meant."""
    # A line of our own comment, copied whole.
    if before.strip("`*_ ").lower() in ("comment", "- comment"):
        return True
    words = [word.strip("()[]\"'“”,.:;!?-–—…").lower() for word in before.split()]
    if _ABOUT.intersection(words[-_LONGEST_LEAD_IN:]):
        return False
    if before[-1] in _STOP or not before[-1].isascii():
        return True
    raw = before.split()
    return len(raw) <= _LONGEST_LEAD_IN and all(
        word in LEAD_IN or typed.startswith("@") for word, typed in zip(words, raw, strict=True)
    )


def whole(verb: str, arguments: str, now: datetime, *, strictly: bool) -> tuple[str, str] | None:
    """The verb and its arguments, where they are a command; `strictly`: with nothing else in the line."""
    if verb not in VERBS:
        meant = verb_meant(verb) if strictly and verb not in ("", "linked", "links") else None
        if meant in ("link", "unlink", "move") and _only_keys(arguments):
            return meant, arguments
        return None
    if verb in ("link", "unlink", "move"):
        keys = without_words(arguments, BEFORE_KEYS)
        typed = [word.strip(".,:;!?").lower() for word in keys.split()]
        fits = _only_keys(keys if strictly else " ".join(islice(key_words(keys), 1)))
        fits = fits and not _REPORTS.intersection(typed[1:3])
    elif verb == "snooze":
        after = after_time(arguments)
        because = after is not None and after.partition(" ")[0].lower() in BECAUSE
        fits = after is not None and (not strictly or because or not without_words(after, THANKS))
    elif verb in ("waive", "dispute"):
        words = {word.strip(".,:;!?").lower() for word in arguments.split()[:8]}
        command = command_in(f"{verb} {arguments}", now)[0]
        ended = verb != "dispute" and not isinstance(command, InvalidCommand)
        fits = ended or bool(words & BECAUSE - {"as", "since"})
    else:
        fits = not without_words(arguments, THANKS)
    return (verb, arguments) if fits else None


def _only_keys(text: str) -> bool:
    """Whether the text is keys and nothing else but thanks, or words in brackets after them."""
    found = 0
    for word in text.replace(",", " ").replace(";", " ").split():
        typed = word.strip("\"'`*_~.!?#<>[]")
        if found and word.startswith("("):
            break
        if like_a_key(typed) or (len(typed) > 2 and typed.isupper()):
            found += 1
        elif typed.lower() != "and" and not (found and typed.lower() in THANKS):
            return False
    return found > 0
