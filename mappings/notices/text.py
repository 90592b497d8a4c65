"""The texts of Northing's comments on tickets: the full text and the one-line texts. Pure.

Texts are `connectors.document.Document`s. The renderers escape them; this module names a goal only as its
visibility allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connectors.document import Block, Bullets, Document, Inline, Link, Paragraph, Text
from mappings.goals.key_results import KeyResult, may_name, name_on_ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mappings.checks.check import TicketWords
    from mappings.links.resolve import ResolvedLink
    from mappings.suggestions.material import Suggestion

UNKNOWN_SHOWN = 3
# The commands that work. `mappings.commands.parse` reads them.
LINK = "/northing link {key}"
SNOOZE = "/northing snooze 14d"
HELP = "/northing help"
KEY_TO_CHOOSE = "<key>"  # in lines to type, where no key may be shown


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A text for a ticket; `mentioned_key_result_ids` are the key results of which it shows the title, or
    what only a ticket that may show the title may show."""

    document: Document
    mentioned_key_result_ids: tuple[int, ...] = ()


def _line(text: str) -> Document:
    return Document((Paragraph((Text(text),)),))


def _day(moment: datetime) -> str:
    """The last day before an exclusive end: a waiver until 31 December ends at 1 January 00:00."""
    return (moment - timedelta(microseconds=1)).date().isoformat()


def _titled(goals: Sequence[KeyResult], public: bool) -> tuple[int, ...]:
    return tuple(goal.id for goal in goals if may_name(goal, public))


def aligned_text(links: Sequence[ResolvedLink], public: bool) -> NoticeText:
    """`Aligned with KR-12 (title). Thank you.`, naming the first live link and counting the others."""
    live = [link.key_result for link in links if link.live]
    more = f" … and {len(live) - 1} more" if len(live) > 1 else ""
    text = f"Aligned with {name_on_ticket(live[0], public)}{more}. Thank you."
    return NoticeText(_line(text), _titled(live[:1], public))


def waived_text(until: datetime, reason: str) -> NoticeText:
    return NoticeText(_line(f"Waived until {_day(until)}: {reason.rstrip('.')}."))


def snoozed_text(until: datetime) -> NoticeText:
    return NoticeText(_line(f"Snoozed until {_day(until)}."))


def disputed_text() -> NoticeText:
    return NoticeText(_line("Disputed; waiting for a decision."))


def unchecked_text() -> NoticeText:
    return NoticeText(_line("No longer checked."))


def withdrawn_text() -> NoticeText:
    return NoticeText(_line("Withdrawn. Sorry for the noise."))


def _unknown(keys: Sequence[str]) -> list[Block]:
    return [
        Paragraph((Text("The ticket names "), Text(key, "code"), Text(", which does not exist.")))
        for key in keys[:UNKNOWN_SHOWN]
    ]


def _suggestions(suggestions: Sequence[Suggestion], public: bool) -> list[Block]:
    if not suggestions:
        return []
    items: list[tuple[Inline, ...]] = [
        (Text(f"{name_on_ticket(item.key_result, public)}: {'; '.join(item.reasons)}"),)
        for item in suggestions
    ]
    return [Paragraph((Text("Key results that may fit:"),)), Bullets(tuple(items))]


def _ways_to_fix(example: str | None) -> list[Block]:
    """Only ways that work: links where a goal is live (`example`)."""
    snooze = Text(SNOOZE, "code")
    if example is None:
        none = [Text("No key result is open yet; whoever keeps the goals here has to add one.")]
        return [Paragraph((*none, Text(" To wait for that, comment "), snooze))]
    ways: list[tuple[Inline, ...]] = [
        (Text("comment "), Text(LINK.format(key=example), "code")),
        (Text("add a line to the description: "), Text(f"Key-Result: {example}", "code")),
        (Text("add a label: "), Text(f"kr:{example}", "code")),
        (Text("if it should wait, comment "), snooze, Text("; more: "), Text(HELP, "code")),
        (Text("if it needs no key result, ask whoever maps goals here to waive it"),),
    ]
    return [
        Paragraph((Text("To fix it, do one of these; this comment then settles by itself:"),)),
        Bullets(tuple(ways)),
    ]


def warning_text(
    check: str,
    missing: TicketWords,
    *,
    project: str,
    unknown: Sequence[str],
    suggestions: Sequence[Suggestion],
    example: str | None,
    public: bool,
    read_at: datetime,
    page_url: str | None,
) -> NoticeText:
    """The full text: what is missing, why it matters, what fits, how to fix it, and how old the data is.

    `missing` are the words of the check. `unknown` are keys on the ticket that no key result has. `example`
    is the key of a live key result to show in the lines to type, None if there is none. `page_url` is the URL
    of the epic's page in Northing, None if a link to it would not work.
    """
    why = (
        f"Without one, nobody can tell whether this work in {project} helps the business grow, "
        "cuts cost, serves customers better or manages risk."
    )
    footer: list[Inline] = [Text(f"Check {check} on data of {read_at:%Y-%m-%d %H:%M} UTC.")]
    if page_url is not None:
        footer += [Text(" "), Link("Why?", page_url)]
    blocks: list[Block] = [
        *missing.blocks,
        *_unknown(unknown),
        Paragraph((Text(why),)),
        *_suggestions(suggestions, public),
        *_ways_to_fix(example),
        Paragraph(tuple(footer), small=True),
    ]
    shown = [*(item.key_result for item in suggestions), *missing.goals]
    return NoticeText(Document(tuple(blocks)), _titled(shown, public))


def with_answer(
    notice: NoticeText, answer: str, key_result_ids: Sequence[int] = (), *, first: bool
) -> NoticeText:
    """The notice with the answer to a command, before its own words (`first`) or after them.

    `key_result_ids` are those of which the answer tells why they no longer count. `answer` is lines as
    `mappings.commands.parse` writes them: code between backticks, list items after "- ".
    """
    blocks: list[Block] = []
    for line in answer.split("\n"):
        if not line.startswith("- "):
            blocks.append(Paragraph(_words(line)))
        elif blocks and isinstance(before := blocks[-1], Bullets):
            blocks[-1] = Bullets((*before.items, _words(line[2:])))
        else:
            blocks.append(Bullets((_words(line[2:]),)))
    own = notice.document.blocks
    mentioned = tuple(dict.fromkeys((*notice.mentioned_key_result_ids, *key_result_ids)))
    document = Document((*blocks, *own) if first else (*own, *blocks))
    return replace(notice, document=document, mentioned_key_result_ids=mentioned)


def _words(line: str) -> tuple[Inline, ...]:
    parts = line.split("`")
    return tuple(Text(part, "code" if at % 2 else "plain") for at, part in enumerate(parts) if part)
