"""How a rule or a policy compares words: without regard to case, globs over the whole value, RE2 in a title.

All of it takes time linear in the text. Patterns and texts may be hostile (every person with a tracker
account can write texts), so Python's own backtracking `re` never runs such a pattern.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import re2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# In characters, of an expression or of a value in a rule or policy.
MAX_LENGTH = 500
# In bytes. The first is ample for 500 characters, and limits hundreds of expressions; one set holds many.
_REGEX_MEMORY = 1 << 20
_SET_MEMORY = 64 << 20

RegexError = re2.error


def _options(memory: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = memory
    return options


def _encode(text: str) -> bytes:
    # A tracker can send half of a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", "replace")


def _fold_character(character: str) -> str:
    folded = character.casefold()
    if len(folded) == 1:
        return folded
    lower = character.lower()
    return lower if len(lower) == 1 else character


def _fold(value: str) -> str:
    return value.lower() if value.isascii() else "".join(map(_fold_character, value))


_cached_fold = lru_cache(maxsize=65_536)(_fold)


def fold(value: str) -> str:
    """`value` without regard to case. The length is kept, so that `?` matches one character as written."""
    return _cached_fold(value) if len(value) <= 256 else _fold(value)


def shown(values: Sequence[str]) -> str:
    """Values from a tracker in a sentence: at most five, each as one line of at most 60 characters."""
    lines = [" ".join(value.split()) for value in values[:5]]
    text = ", ".join(line if len(line) <= 60 else f"{line[:60]}…" for line in lines)
    return f"{text} and {len(values) - 5} more" if len(values) > 5 else text


class Glob:
    """`*` matches any text, `?` one character; no other character is special, and there is no escape."""

    __slots__ = ("matches", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        # Takes a value that the caller has passed through `fold`.
        self.matches = _matcher(fold(text))


def _matcher(glob: str) -> Callable[[str], bool]:
    core = glob.strip("*")
    if not is_glob(core):
        # Nearly all globs are of this kind, and plain string methods are ten times as fast as an expression.
        starts, ends = glob.startswith("*"), glob.endswith("*")
        if starts and ends:
            return lambda value: core in value
        if starts:
            return lambda value: value.endswith(core)
        if ends:
            return lambda value: value.startswith(core)
    if "*" not in glob:
        return _of_one_length(glob)
    parts = [
        ".*" if part.startswith("*") else "." if part == "?" else re2.escape(part)
        for part in re.findall(r"\*+|\?|[^*?]+", glob)
    ]
    found = re2.compile(_encode(rf"(?s)\A{''.join(parts)}\z"), _options(_REGEX_MEMORY)).search
    return lambda value: found(_encode(value)) is not None


def _of_one_length(glob: str) -> Callable[[str], bool]:
    """For a glob without `*`: each of its words has one place."""
    length = len(glob)
    words = [(part.start(), part.group()) for part in re.finditer(r"[^?]+", glob)]
    if len(words) == 1:
        ((at, word),) = words
        return lambda value: len(value) == length and value.startswith(word, at)
    return lambda value: len(value) == length and all(value.startswith(word, at) for at, word in words)


def is_glob(text: str) -> bool:
    return "*" in text or "?" in text


class Patterns:
    """A list of words and globs; a value matches when it matches one of them."""

    __slots__ = ("_words", "globs", "texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts: tuple[str, ...] = tuple(dict.fromkeys(texts))
        self._words = frozenset(fold(text) for text in self.texts if not is_glob(text))
        self.globs = tuple(Glob(text) for text in self.texts if is_glob(text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patterns) and self.texts == other.texts

    def __hash__(self) -> int:
        return hash(self.texts)

    def matches(self, value: str) -> bool:
        folded = fold(value)
        if folded in self._words:
            return True
        for glob in self.globs:  # noqa: SIM110  # a generator costs more than a test, for each value
            if glob.matches(folded):
                return True
        return False

    def fitting(self, value: str) -> str | None:
        """The pattern, as written, that `value` matches; None where no pattern does."""
        folded = fold(value)
        if folded in self._words:
            return next(text for text in self.texts if fold(text) == folded)
        return next((glob.text for glob in self.globs if glob.matches(folded)), None)

    def _asked(self) -> str:
        return f"one of {shown(self.texts)}" if len(self.texts) > 1 else shown(self.texts)

    def asked_of(self, noun: str) -> str:
        """The test in words: `label matches growth*`."""
        return f"{noun} {'matches' if self.globs else 'is'} {self._asked()}"

    def comparison(self, noun: str, nouns: str, values: Sequence[str]) -> str:
        """The result in words: `label growth-1 matches growth*`, `project is CORE, not SHOP`."""
        for value in values:
            pattern = self.fitting(value)
            if pattern is not None:
                glob = is_glob(pattern)
                return (
                    f"{noun} {shown([value])} matches {shown([pattern])}"
                    if glob
                    else f"{noun} is {shown([value])}"
                )
        if not values:
            return f"it has no {noun}"
        are = f"{noun} is" if len(values) == 1 else f"{nouns} are"
        return f"{are} {shown(values)}, not {self._asked()}"


class Search:
    """An RE2 expression, searched for anywhere in a text; case matters unless it contains `(?i)`.

    Raises `RegexError` for what RE2 does not accept: https://github.com/google/re2/wiki/Syntax.
    """

    __slots__ = ("_regex", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._regex = re2.compile(_encode(text), _options(_REGEX_MEMORY))

    def found_in(self, text: str) -> bool:
        return self._regex.search(_encode(text)) is not None


class SearchSet:
    """Which of many RE2 expressions are found in a text, in one pass over it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._everything = frozenset(range(len(texts)))
        self._set: Any = None
        candidate = re2.Set.SearchSet(_options(_SET_MEMORY))
        # This expression always matches. A set that runs out of memory gives an empty result; without this
        # expression `possible` would take that for the result that no expression matches.
        candidate.Add(b"")
        for text in texts:
            candidate.Add(_encode(text))
        try:
            candidate.Compile()
        except re2.error:
            return
        self._set = candidate

    def possible(self, text: str) -> frozenset[int]:
        """The positions of the expressions found; all positions where the set needs too much memory."""
        if self._set is None:
            return self._everything
        found = self._set.Match(_encode(text))
        if not found:
            return self._everything
        return frozenset(position - 1 for position in found if position)


def regex_message(error: Exception) -> str:
    """RE2's own words for what is wrong with an expression."""
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
