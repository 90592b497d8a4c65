"""The words of the answers to commands. Pure.

An answer is lines of text: `code` between backticks, "- " before the items of a list. It repeats at most a
short piece of what was typed, as code; of a comment that not everybody sees it repeats nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.goals.key_results import NO_LONGER_COUNTS, name_on_ticket
from mappings.notices.text import DISPUTE, HELP, KEY_TO_CHOOSE, LINK, SNOOZE, SUGGEST, WAIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mappings.suggestions.material import Suggestion

MOST_COMMANDS = 10
MOST_KEYS = 20
LONGEST_QUOTE = 64
_LONGEST_NAME = 120
_JOINERS = "\u200c\u200d"
_LONGEST_ANSWER = 1_500

# How each verb is written, with what it does. No key stands here that somebody might copy unread.
LINK_USAGE = LINK.format(key=KEY_TO_CHOOSE)
WAIVE_USAGE = WAIVE.format(day="<date>")
USAGES = {
    "link": (LINK_USAGE, "links this epic to that key result; several keys may follow"),
    "unlink": (f"/northing unlink {KEY_TO_CHOOSE}", "takes such a link back"),
    "move": (f"/northing move {KEY_TO_CHOOSE}", "links that key result and takes the other links back"),
    "suggest": (SUGGEST, "shows which key results come nearest"),
    "snooze": (
        SNOOZE,
        "keeps quiet for 14 days; also `2 weeks`, or `until` and a date, as `2026-12-31`",
    ),
    "waive": (WAIVE_USAGE, "if it needs no key result until then"),
    "dispute": (DISPUTE, "if this is a mistake; whoever maps goals here decides"),
    "help": (HELP, "shows this list"),
}

NOT_ALLOWED = (
    "A command here changed nothing: on this ticket, those who may edit it can give commands. "
    "They can be asked to repeat it."
)
ONE_A_LINE = "One command on a line: each begins a line of its own with `/northing`."
FIRST_TEN = f"Only the first {MOST_COMMANDS} commands of a comment are read; please write the others anew."
WHICH_KEY = f"Which key result? Write `{LINK_USAGE}`; `{SUGGEST}` shows which come nearest."
IN_COMMENTS = "A `Key-Result:` line counts in the description. In a comment, write {right}."
LINE_OF_ITS_OWN = (
    "A line of a comment is nearly a command. As a line of its own, not as code, it works: {right}."
)
HIDDEN_REASON = "a reason given in a comment that not everybody sees"


def quoted(word: str, most: int = LONGEST_QUOTE) -> str:
    """What a person typed, as code: one short line without any character that could end the code."""
    shown = " ".join("".join(char for char in word[:most] if char.isprintable() and char != "`").split())
    return f"`{shown or '?'}`"


def one_line(text: str) -> str:
    """`text` in one line of visible characters, with single blanks; the joiners of emoji and words stay."""
    return " ".join("".join(char if char.isprintable() or char in _JOINERS else " " for char in text).split())


def joined(items: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def usages_of(verbs: Iterable[str]) -> str:
    return joined([f"`{USAGES[verb][0]}`" for verb in verbs], "or")


def no_command_text(word: str | None, meant: str | None) -> str:
    """There is no command `word`; `meant` is the line that is probably meant, as code, None for none."""
    named = "There is no such command." if word is None else f"There is no command {quoted(word)}."
    return f"{named} Perhaps {meant}?" if meant else f"{named} `{HELP}` lists what there is."


def unknown_keys_text(keys: Sequence[str], fitting: Sequence[str]) -> str:
    """These key results do not exist, and which may be meant. Keys only: a title may be confidential."""
    shown = [quoted(key) for key in keys[:3]] + ([f"{len(keys) - 3} more"] if len(keys) > 3 else [])
    named = f"There is no key result {joined(shown, 'or')}." if keys else "There is no such key result."
    if fitting:
        return f"{named} Perhaps {joined([quoted(key) for key in fitting], 'or')}?"
    return f"{named} `{SUGGEST}` shows which come nearest."


def not_live_text(key: str | None, why: str | None) -> str:
    """`why` is None where the ticket may not show it, because it must not name the goal; `key` is None where
    the ticket must not repeat it."""
    named = "A key result" if key is None else quoted(key)
    return f"{named} is linked, but {NO_LONGER_COUNTS if why is None else f'does not count: {why}'}."


def not_linked_text(keys: Sequence[str]) -> str:
    """Of keys that no key result has it says the same."""
    named = joined([quoted(key) for key in keys[:3]], "or") if keys else "that key result"
    return f"This epic is not linked to {named}."


_WHERE_TO_CHANGE = {
    "rule": "a rule links it, which whoever maps goals here can change",
    "ticket": "the ticket itself names it, in its description, a label or a field; take it out there",
    "inherited": "the epic inherits it from its parent; change it there, or link this epic to another one",
}


def kept_link_text(key: str | None, origin: str) -> str:
    """A link that no command takes back, because a rule, the ticket or a parent makes it."""
    named = "A key result" if key is None else quoted(key)
    return f"{named} stays linked: {_WHERE_TO_CHANGE[origin]}."


def one_to_move_to_text(key: str | None) -> str:
    right = f"/northing move {key}" if key else USAGES["move"][0]
    return f"`move` takes one key result and takes the other links back: {quoted(right, 80)}."


def nothing_to_change_text(verb: str, state: str | None) -> str:
    """`state` is that of the epic's finding; None where no finding is open."""
    return (
        f"There is nothing to {verb}: the gap is {state}." if state else f"There is nothing to {verb} here."
    )


def no_review_text(word: str) -> str:
    ways = usages_of(("snooze", "waive", "dispute"))
    return f"`{word}` is for reviews, and none asks here, so nothing has changed. To answer this: {ways}."


def suggestions_text(suggestions: Sequence[Suggestion], public: bool) -> str:
    if not suggestions:
        return "No key result comes near this epic. Whoever keeps the goals here can say which one it serves."
    lines = (
        f"- `{LINK.format(key=one.key_result.key)}` {_plain(name_on_ticket(one.key_result, public))}"
        + (f": {_plain('; '.join(one.reasons))}" if one.reasons else "")
        for one in suggestions
    )
    return "\n".join(("These key results come nearest. Only you can say whether one is meant:", *lines))


def _plain(text: str) -> str:
    """Words of a goal or ticket: one short line that neither begins nor ends code."""
    line = one_line(text.replace("`", "'"))
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def help_text() -> str:
    usages = [f"- `{usage}` {does}" for usage, does in USAGES.values()]
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
