"""The texts of Northing's comments on tickets: the full text and the one-line texts. Pure.

Texts are `connectors.document.Document`s. The renderers escape them; this module names a goal only as its
visibility allows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from connectors.document import Block, Bullets, Document, Inline, Link, Paragraph, Text
from mappings.goals.key_results import KeyResult, may_name, name_on_ticket
from mappings.links.resolve import NAMES
from mappings.policy.durations import last_day

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mappings.checks.check import TicketWords
    from mappings.links.resolve import ResolvedLink, Unknown
    from mappings.suggestions.material import Suggestion

UNKNOWN_SHOWN = 3
SUGGESTIONS_SHOWN = 3
# The commands that are shown. `mappings.commands.parse` reads them.
LINK = "/northing link {key}"
SNOOZE = "/northing snooze 14d"
WAIVE = "/northing waive until {day} because …"
DISPUTE = "/northing dispute because …"
SUGGEST = "/northing suggest"
HELP = "/northing help"
KEY_TO_CHOOSE = "<key>"  # in lines to type, where no key is suggested
NONE_TO_CHOOSE = "There is none to choose from yet; whoever keeps the goals here can add one. Until then:"
_LONGEST_NAME = 120  # of a title and of reasons in a list: the text is read in ten seconds
_SHORTEST_WAIVER = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class NoticeText:
    """A text for a ticket; `mentioned_key_result_ids` are the key results of which it shows the title, or
    what only a ticket that may show the title may show."""

    document: Document
    mentioned_key_result_ids: tuple[int, ...] = ()


def _line(text: str) -> Document:
    return Document((Paragraph((Text(text),)),))


def _titled(goals: Sequence[KeyResult], public: bool) -> tuple[int, ...]:
    return tuple(goal.id for goal in goals if may_name(goal, public))


def aligned_text(links: Sequence[ResolvedLink], public: bool) -> NoticeText:
    """`Aligned with KR-12 (title). Thank you.`, naming the first live link and counting the others."""
    live = [link.key_result for link in links if link.live]
    more = f" … and {len(live) - 1} more" if len(live) > 1 else ""
    first = name_on_ticket(live[0], public).removeprefix(live[0].key)
    line = (Text("Aligned with "), Text(live[0].key, "key"), Text(f"{first}{more}. Thank you."))
    return NoticeText(Document((Paragraph(line),)), _titled(live[:1], public))


def waived_text(until: datetime | None, reason: str) -> NoticeText:
    """`until` None: a decision waived it, until it is undone."""
    day = "" if until is None else f" until {last_day(until)}"
    return NoticeText(_line(f"Waived{day}: {reason.rstrip('.')}."))


def snoozed_text(until: datetime) -> NoticeText:
    return NoticeText(_line(f"Snoozed until {last_day(until)}."))


def disputed_text() -> NoticeText:
    return NoticeText(_line("Disputed; waiting for a decision."))


def unchecked_text() -> NoticeText:
    return NoticeText(_line("No longer checked."))


def withdrawn_text() -> NoticeText:
    return NoticeText(_line("Withdrawn. Sorry for the noise."))


def _name(goal: KeyResult, public: bool, why: str) -> tuple[Inline, ...]:
    """A goal in a list: its key, its words as far as the ticket may show them, and why it is there."""
    words = name_on_ticket(goal, public).removeprefix(goal.key)
    if len(words) > _LONGEST_NAME:
        words = f"{words[:_LONGEST_NAME]}…)"
    return Text(goal.key, "key"), Text(f"{words}: {_cut(why, _LONGEST_NAME)}")


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _unknown(unknown: Sequence[Unknown], can_link: bool) -> list[Block]:
    """What the ticket gives as a key and is none: a key that no key result has, or words of another form."""
    lines = [_named(one) for one in unknown[:UNKNOWN_SHOWN]]
    if lines and can_link:
        which = "it" if len(unknown) == 1 else "one"
        lines[-1] += (Text(f" Correcting {which} is enough."),)
    return list(map(Paragraph, lines))


def _named(one: Unknown) -> tuple[Inline, ...]:
    return Text(NAMES), Text(one.key, "code"), Text(f"{one.wrong}.")


def _lines_to_type(key: str) -> Bullets:
    return Bullets(
        (
            (Text("comment "), Text(LINK.format(key=key), "code")),
            (
                *(
                    Text("add "),
                    Text(f"Key-Result: {key}", "code"),
                    Text(" to the description, or label "),
                ),
                Text(f"kr:{key}", "code"),
            ),
        )
    )


def _ways_to_link(
    how: str, suggestions: Sequence[Suggestion], public: bool, page_url: str | None
) -> list[Block]:
    """The lines to type and the key results they may name. A key that is not suggested is in none of them."""
    if suggestions:
        best = suggestions[0].key_result.key
        items = [_name(one.key_result, public, "; ".join(one.reasons)) for one in suggestions]
        fitting = Paragraph((Text("These may fit:"),))
        return [Paragraph((Text(how),)), _lines_to_type(best), fitting, Bullets(tuple(items))]
    choice: tuple[Inline, ...] = (Text(SUGGEST, "code"), Text(" lists what comes nearest. "))
    if page_url is not None:
        choice = (Text("Choose from "), Link("the key results", page_url), Text(". "))
    return [Paragraph((*choice, Text(how))), _lines_to_type(KEY_TO_CHOOSE)]


def _end_of_quarter(now: datetime) -> date:
    """The last day of this quarter, UTC; of the next one where this one is nearly over."""
    today = now.astimezone(UTC).date()
    month = today.month + 2 - (today.month - 1) % 3
    following = date(today.year + month // 12, month % 12 + 1, 1)
    end = following - timedelta(days=1)
    return end if end - today >= _SHORTEST_WAIVER else _end_of_quarter(now + _SHORTEST_WAIVER)


def waive_line(now: datetime) -> str:
    """The command that waives until a day that suits most, with the reason left to write."""
    return WAIVE.format(day=_end_of_quarter(now).isoformat())


def _ways_to_decline(now: datetime) -> Bullets:
    return Bullets(
        (
            (Text("not now: "), Text(SNOOZE, "code")),
            (Text("none needed: "), Text(waive_line(now), "code")),
            (Text("our mistake: "), Text(DISPUTE, "code")),
        )
    )


def warning_text(
    check: str,
    missing: TicketWords,
    *,
    unknown: Sequence[Unknown],
    suggestions: Sequence[Suggestion],
    can_link: bool,
    public: bool,
    now: datetime,
    read_at: datetime,
    page_url: str | None,
) -> NoticeText:
    """The full text: the question, what to type, what may fit, the other ways out, and how old the data is.

    `missing` are the words of the check. `unknown` is what the ticket gives as keys and no key result has.
    Of `suggestions`, best first, those of which we are confident are shown. `can_link`: there is a live key
    result to link to. `page_url` is the URL of the epic's page in Northing, None if a link to it would not
    work.
    """
    confident = [one for one in suggestions if one.confident][:SUGGESTIONS_SHOWN]
    blocks: list[Block] = [Paragraph((Text(missing.question, "strong"),))]
    if missing.statement is not None:
        blocks.append(Paragraph((Text(missing.statement),)))
    if missing.goals:
        blocks.append(Bullets(tuple(_name(goal, public, why) for goal, why in missing.goals)))
    can_link = can_link or bool(confident)
    blocks += _unknown(unknown, can_link)
    if can_link:
        blocks += _ways_to_link(missing.how, confident, public, page_url)
        blocks.append(Paragraph((Text("Otherwise:"),)))
    else:
        blocks.append(Paragraph((Text(NONE_TO_CHOOSE),)))
    footer: list[Inline] = [Text(f"Check {check} on data of {read_at:%Y-%m-%d %H:%M} UTC.")]
    if page_url is not None:
        footer += [Text(" "), Link("Why?", page_url)]
    blocks += [_ways_to_decline(now), Paragraph(tuple(footer), small=True)]
    shown = [*(one.key_result for one in confident), *(goal for goal, _ in missing.goals)]
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
