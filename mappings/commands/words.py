"""The words that commands are made of. A goal's key is none of them, so that each word of a command has one
meaning. Pure."""

from __future__ import annotations

VERBS = ("link", "unlink", "move", "snooze", "waive", "dispute", "suggest", "keep", "stop", "help")
BEFORE_KEYS = frozenset(("to", "from", "with", "the", "this", "epic", "it", "key", "result", "kr"))
BEFORE_TIMES = frozenset(("for", "until", "till", "to", "by"))
BEFORE_REASONS = frozenset(("because", "since", "reason", "as"))
THANKS = frozenset(("please", "pls", "thanks", "thank", "thx", "cheers"))
DAYS = frozenset(("d", "day", "days"))
WEEKS = frozenset(("w", "week", "weeks"))
JOINING = frozenset(("and", "or", "a", "an", "one", "you"))

# In lower case; a command is read without regard to case.
GRAMMAR_WORDS = frozenset(
    ("northing", *VERBS, *BEFORE_KEYS, *BEFORE_TIMES, *BEFORE_REASONS, *THANKS, *DAYS, *WEEKS, *JOINING)
)
