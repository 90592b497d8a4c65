"""The words that commands are made of. A goal's key is none of them, so that each word of a command has one
meaning. All in lower case; a command is read without regard to case. Pure.
"""

from __future__ import annotations

VERBS = ("link", "unlink", "move", "snooze", "waive", "dispute", "suggest", "keep", "stop", "help")
# May stand between a verb and what it is given.
BEFORE_KEYS = frozenset(
    ("to", "from", "with", "the", "this", "it", "epic", "key", "result", "key-result", "key-results", "kr")
)
BEFORE_TIMES = frozenset(("for", "until", "till", "to", "it", "this", "epic", "the", "next"))
BECAUSE = frozenset(("because", "since", "as", "reason"))
THANKS = frozenset(("please", "pls", "thanks", "thank", "you", "thx", "cheers"))
# A line may begin with these before a command that is meant, without a stop between.
LEAD_IN = THANKS | {
    "agreed", "ah", "also", "and", "done", "fixed", "fyi", "good", "hello", "hey", "hi", "hm", "hmm", "let's",
    "lets", "linked", "no", "now", "oh", "ok", "okay", "right", "so", "sorry", "sure", "team", "then", "yep",
    "yes",
}  # fmt: skip
# To ask us for something in whole sentences.
ASKING = LEAD_IN | {"can", "could", "i", "just", "kindly", "need", "to", "want", "we", "will", "would"}
UNITS = {"day": 1, "days": 1, "week": 7, "weeks": 7}
NUMBERS = {
    "a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10,
}  # fmt: skip

# They join keys, times and reasons to other words: "KR-1 instead of KR-2", "KR-1 or KR-2", "by 2026-12-31".
_BETWEEN = ("as", "but", "by", "instead", "of", "or", "that", "then")
# `a` is none of them: it is read before a unit alone.
GRAMMAR_WORDS = (
    frozenset(("northing", "and", *VERBS, *UNITS, *_BETWEEN)) | BEFORE_KEYS | BEFORE_TIMES | BECAUSE | THANKS
) | frozenset(NUMBERS) - {"a"}

# What people type in place of a verb; the answer names the verb.
MEANT = {
    "add": "link", "align": "link", "assign": "link", "attach": "link", "connect": "link", "map": "link",
    "set": "link", "linked": "link", "links": "link",
    "delete": "unlink", "detach": "unlink", "disconnect": "unlink", "remove": "unlink", "unmap": "unlink",
    "change": "move", "relink": "move", "replace": "move", "switch": "move",
    "defer": "snooze", "delay": "snooze", "later": "snooze", "mute": "snooze", "pause": "snooze",
    "postpone": "snooze", "remind": "snooze", "silence": "snooze", "wait": "snooze",
    "exempt": "waive", "ignore": "waive", "skip": "waive",
    "disagree": "dispute", "object": "dispute", "wrong": "dispute",
    "find": "suggest", "list": "suggest", "propose": "suggest", "recommend": "suggest", "search": "suggest",
    "which": "suggest",
}  # fmt: skip
