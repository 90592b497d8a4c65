"""What stands on a ticket: the order of the full text, the exact one-line texts, who is named where."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.document import Bullets, Document, Link, Paragraph, Text
from connectors.marker import Marker
from connectors.markup import to_adf, to_markdown, to_plain
from connectors.registry import KINDS
from mappings.checks.check import EpicFacts
from mappings.checks.registry import CHECKS
from mappings.commands.parse import InvalidCommand, help_text, parse_commands, quoted, unknown_keys_text
from mappings.commands.parse import joined_answer as answer_of
from mappings.goals.key_results import KeyResult, is_live
from mappings.links.resolve import Resolution, ResolvedLink
from mappings.notices.text import (
    NoticeText,
    aligned_text,
    disputed_text,
    snoozed_text,
    unchecked_text,
    waived_text,
    warning_text,
    with_answer,
)
from mappings.suggestions.material import Suggestion
from tests.support.adf import adf_problems
from tests.support.evaluations import NOW, an_epic, goal, links_to, on
from tests.support.rendered_text import HOSTILE, PARSER, REFERENCE, plain_runs
from tests.support.ticket_text import text_lines

PAGE = "https://northing.example/epics/acme-jira/SHOP-1"
FITTING = [Suggestion(goal(n), (f"shares “word{n}” with the title",)) for n in (1, 2, 3)]
INTERNAL = goal(4)
PUBLIC = goal(5, visibility="public")
SECRET = goal(6, visibility="confidential", public_label="Platform work")
UNLABELLED = goal(7, visibility="confidential")


def warn(check: str = "no-key-result", links: Iterable[ResolvedLink] = (), **members: Any) -> NoticeText:
    (words,) = (known.words for known in CHECKS if known.name == check)
    assert words is not None
    facts = EpicFacts(an_epic(), Resolution(tuple(links)))
    return warning_text(
        check,
        words(facts, members.get("public", False), NOW),
        **{
            "project": "SHOP",
            "unknown": (),
            "suggestions": FITTING,
            "example": "KR-1",
            "public": False,
            "read_at": datetime(2026, 11, 16, 12, 30, tzinfo=UTC),
            "page_url": PAGE,
            **members,
        },
    )


def lines(made: NoticeText) -> list[str]:
    return [line for line in to_plain(made.document).splitlines() if line]


def closed(*goals: KeyResult) -> list[ResolvedLink]:
    """Links to these goals; those that are live are closed first."""
    ended = (replace(one, state="achieved") if is_live(one, NOW) else one for one in goals)
    return list(links_to(*ended).links)


# --- the full text ----------------------------------------------------------------------------


def test_the_order_of_the_text() -> None:
    assert lines(warn()) == [
        "This epic is not linked to a key result.",
        "Without one, nobody can tell whether this work in SHOP helps the business grow, cuts cost, serves"
        " customers better or manages risk.",
        "Key results that may fit:",
        "- KR-1 (Title 1): shares “word1” with the title",
        "- KR-2 (Title 2): shares “word2” with the title",
        "- KR-3 (Title 3): shares “word3” with the title",
        "To fix it, do one of these; this comment then settles by itself:",
        "- add a line to the description: Key-Result: KR-1",
        "- add a label: kr:KR-1",
        "- if it should wait, or needs no key result, ask whoever maps goals here to snooze or waive it",
        f"Check no-key-result on data of 2026-11-16 12:30 UTC. Why? ({PAGE})",
    ]


def test_dead_links_are_named_with_what_ended_them() -> None:
    made = warn("closed-goal", closed(goal(8, state="missed"), goal(9, cycle_ends=on(15).date())))
    assert lines(made)[:4] == [
        "The key results this epic is linked to no longer count.",
        "- KR-8 (Title 8): it is missed",
        "- KR-9 (Title 9): its cycle ended on 2026-11-15",
        "Without one, nobody can tell whether this work in SHOP helps the business grow, cuts cost, serves"
        " customers better or manages risk.",
    ]
    assert lines(made)[-1].startswith("Check closed-goal on data of ")


def test_a_key_that_does_not_exist_is_named() -> None:
    message = lines(warn(unknown=("KR-98", "KR-99")))
    assert message[1:3] == [
        "The ticket names KR-98, which does not exist.",
        "The ticket names KR-99, which does not exist.",
    ]
    many = lines(warn(unknown=tuple(f"KR-{n}" for n in range(90, 110))))
    assert sum("does not exist" in line for line in many) == 3


def test_without_anything_that_fits_nothing_is_suggested() -> None:
    message = lines(warn(suggestions=[], example="KR-4"))
    assert message[2:4] == [
        "To fix it, do one of these; this comment then settles by itself:",
        "- add a line to the description: Key-Result: KR-4",
    ]


def test_without_any_live_goal_there_is_no_line_to_type() -> None:
    message = lines(warn(suggestions=[], example=None))
    assert message[2] == "No key result is open yet; whoever keeps the goals here has to add one."
    assert not any("Key-Result:" in line or "kr:" in line for line in message)


def test_without_a_page_there_is_no_link() -> None:
    made = warn(page_url=None)
    assert lines(made)[-1] == "Check no-key-result on data of 2026-11-16 12:30 UTC."
    assert not any(isinstance(run, Link) for block in made.document.blocks for run in _runs(block))


@pytest.mark.parametrize("check", ["no-key-result", "closed-goal"])
def test_commands_are_offered_where_comments_reach_us_and_nowhere_else(check: str) -> None:
    dead = closed(goal(8)) if check == "closed-goal" else []
    for example in ("KR-1", None):
        assert "/northing " not in to_plain(warn(check, dead, example=example).document)
    ways = lines(warn(check, dead, accepts_commands=True))
    assert ways[ways.index("To fix it, do one of these; this comment then settles by itself:") + 1 : -1] == [
        "- comment /northing link KR-1",
        "- add a line to the description: Key-Result: KR-1",
        "- add a label: kr:KR-1",
        "- if it should wait, comment /northing snooze 14d; more: /northing help",
        "- if it needs no key result, ask whoever maps goals here to waive it",
    ]
    without_goals = lines(warn(check, dead, suggestions=[], example=None, accepts_commands=True))
    assert without_goals[-2].endswith("has to add one. To wait for that, comment /northing snooze 14d")


def test_what_is_offered_works() -> None:
    runs = [run for block in warn(accepts_commands=True).document.blocks for run in _runs(block)]
    offered = [run.value for run in runs if isinstance(run, Text) and run.value.startswith("/northing")]
    assert not [
        command
        for command in parse_commands(text_lines(*offered), NOW)
        if isinstance(command, InvalidCommand)
    ]
    assert len(parse_commands(text_lines(*offered), NOW)) == len(offered) == 3


@pytest.mark.parametrize("words", [None, "`/northing help`", "- x\n/northing help"])
def test_our_own_words_hold_no_command(words: str | None) -> None:
    """Commands stand in code, and a comment's code is not read."""
    made = (
        warn(accepts_commands=True)
        if words is None
        else with_answer(warn(accepts_commands=True), help_text(), first=True)
    )
    for block in made.document.blocks:
        for item in [block.content] if isinstance(block, Paragraph) else block.items:
            prose = "".join(run.value for run in item if isinstance(run, Text) and not _is_code(run))
            assert parse_commands(text_lines(prose), NOW) == ()


def _is_code(run: Text | Link) -> bool:
    return isinstance(run, Text) and run.style == "code"


# --- answers to commands ----------------------------------------------------------------------


def test_an_answer_comes_before_a_full_text_and_after_one_line() -> None:
    answer = "There is no key result `KR-9`.\n- `a` one\n- two\nEnd."
    shown = ["There is no key result KR-9.", "- a one", "- two", "End."]
    assert lines(with_answer(warn(), answer, first=True)) == shown + lines(warn())
    snoozed = snoozed_text(YEAR_END)
    assert lines(with_answer(snoozed, answer, first=False)) == ["Snoozed until 2026-12-31.", *shown]
    assert with_answer(warn(), answer, first=True).mentioned_key_result_ids == warn().mentioned_key_result_ids


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_an_answer_says_hostile_words_back_as_words(words: str) -> None:
    answer = answer_of([unknown_keys_text([words, words], [words]), f"There is no command {quoted(words)}."])
    assert answer is not None
    document = with_answer(unchecked_text(), answer, first=False).document
    for run in plain_runs(PARSER.parse(to_markdown(document))):
        assert not REFERENCE.search(run), run
    assert adf_problems(to_adf(document)) == []
    assert {"mention", "inlineCard", "emoji", "hardBreak", "codeBlock"}.isdisjoint(_types(to_adf(document)))
    kinds = {child.type for token in PARSER.parse(to_markdown(document)) for child in token.children or ()}
    assert kinds <= {"text", "code_inline"}


def test_the_last_line_is_small_and_what_is_typed_is_code() -> None:
    blocks = warn().document.blocks
    assert [isinstance(block, Paragraph) and block.small for block in blocks] == [False] * (
        len(blocks) - 1
    ) + [True]
    typed = [
        run.value for block in blocks for run in _runs(block) if isinstance(run, Text) and run.style == "code"
    ]
    assert typed == ["Key-Result: KR-1", "kr:KR-1"]


def _runs(block: Paragraph | Bullets) -> list[Text | Link]:
    if isinstance(block, Paragraph):
        return list(block.content)
    return [run for item in block.items for run in item]


# --- the one-line texts -----------------------------------------------------------------------

YEAR_END = datetime(2027, 1, 1, tzinfo=UTC)  # the exclusive end of 2026-12-31
ONE_LINE: list[tuple[NoticeText, str]] = [
    (aligned_text(links_to(INTERNAL).links, False), "Aligned with KR-4 (Title 4). Thank you."),
    (
        aligned_text(links_to(INTERNAL, PUBLIC).links, False),
        "Aligned with KR-4 (Title 4) … and 1 more. Thank you.",
    ),
    (
        aligned_text(links_to(goal(8, state="missed"), PUBLIC, INTERNAL, SECRET).links, False),
        "Aligned with KR-5 (Title 5) … and 2 more. Thank you.",
    ),
    (waived_text(YEAR_END, "reason"), "Waived until 2026-12-31: reason."),
    (waived_text(YEAR_END, "reason."), "Waived until 2026-12-31: reason."),
    (waived_text(YEAR_END + timedelta(hours=12), "reason"), "Waived until 2027-01-01: reason."),
    (snoozed_text(YEAR_END), "Snoozed until 2026-12-31."),
    (disputed_text(), "Disputed; waiting for a decision."),
    (unchecked_text(), "No longer checked."),
]


@pytest.mark.parametrize(("made", "line"), ONE_LINE, ids=[line for _, line in ONE_LINE])
def test_one_line_texts(made: NoticeText, line: str) -> None:
    assert to_plain(made.document) == line
    assert len(made.document.blocks) == 1


# --- who may be named where -------------------------------------------------------------------

NAMES = [
    (PUBLIC, False, "KR-5 (Title 5)", (5,)),
    (PUBLIC, True, "KR-5 (Title 5)", (5,)),
    (INTERNAL, False, "KR-4 (Title 4)", (4,)),
    (INTERNAL, True, "KR-4", ()),
    (SECRET, False, "KR-6 (Platform work)", ()),
    (SECRET, True, "KR-6 (Platform work)", ()),
    (UNLABELLED, False, "KR-7", ()),
]


@pytest.mark.parametrize(("known", "public", "name", "mentioned_key_result_ids"), NAMES)
def test_a_goal_is_named_as_its_visibility_allows(
    known: KeyResult, public: bool, name: str, mentioned_key_result_ids: tuple[int, ...]
) -> None:
    aligned = aligned_text(links_to(known).links, public)
    assert to_plain(aligned.document) == f"Aligned with {name}. Thank you."
    suggested = warn(suggestions=[Suggestion(known, ("fits",))], public=public)
    assert f"- {name}: fits" in lines(suggested)
    dead = warn("closed-goal", closed(known), suggestions=[], public=public)
    why = "it is achieved" if mentioned_key_result_ids else "no longer counts"
    assert f"- {name}: {why}" in lines(dead)
    assert [made.mentioned_key_result_ids for made in (aligned, suggested, dead)] == [
        mentioned_key_result_ids
    ] * 3


# --- nobody is mentioned, nothing is referred to ----------------------------------------------


def _hostile(words: str) -> list[Document]:
    known = goal(1, title=words, visibility="public")
    secret = goal(2, visibility="confidential", public_label=words)
    return [
        warn(
            "closed-goal",
            closed(known, secret),
            project=words,
            unknown=(words,),
            suggestions=[Suggestion(known, (words,))],
        ).document,
        aligned_text(links_to(known).links, True).document,
        aligned_text(links_to(secret).links, True).document,
        waived_text(on(30), words).document,
    ]


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_stay_words_in_markdown(words: str) -> None:
    for document in _hostile(words):
        tokens = PARSER.parse(to_markdown(document))
        for run in plain_runs(tokens):
            assert not REFERENCE.search(run), run
        kinds = {child.type for token in tokens for child in token.children or ()}
        assert kinds <= {
            "text",
            "code_inline",
            "strong_open",
            "strong_close",
            "link_open",
            "link_close",
            "html_inline",
        }
        html = [
            child.content for token in tokens for child in token.children or () if child.type == "html_inline"
        ]
        assert html in ([], ["<sub>", "</sub>"])
        hrefs = [
            child.attrs["href"]
            for token in tokens
            for child in token.children or ()
            if child.type == "link_open"
        ]
        assert hrefs in ([], [PAGE])


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_stay_words_in_adf(words: str) -> None:
    for document in _hostile(words):
        made = to_adf(document)
        assert adf_problems(made) == []
        assert {"mention", "inlineCard", "emoji", "hardBreak", "codeBlock"}.isdisjoint(_types(made))
        assert [mark["attrs"]["href"] for mark in _marks(made) if mark["type"] == "link"] in ([], [PAGE])


def _nodes(node: Any) -> Iterable[Any]:
    yield node
    for child in node.get("content", ()):
        yield from _nodes(child)


def _types(document: Any) -> set[str]:
    return {node["type"] for node in _nodes(document)}


def _marks(document: Any) -> list[Any]:
    return [mark for node in _nodes(document) for mark in node.get("marks", ())]


def test_every_text_fits_the_schema_of_jira() -> None:
    for made in (warn(), warn("closed-goal", closed(INTERNAL)), *(made for made, _ in ONE_LINE)):
        assert adf_problems(to_adf(made.document)) == []


def test_the_longest_text_fits_both_trackers() -> None:
    long = goal(1, title="word " * 4000, visibility="public")
    made = warn(
        "closed-goal",
        closed(*(replace(long, id=n) for n in range(60))),
        suggestions=[Suggestion(long, ("x" * 9000,))],
    )
    assert len(to_markdown(made.document)) <= 65_000
    assert len(json.dumps(to_adf(made.document))) <= 32_767
    assert adf_problems(to_adf(made.document)) == []


def test_the_body_shown_is_what_stands_there() -> None:
    document, marker = warn().document, Marker("installation", 5)
    on_github = KINDS["github"].render(document, marker).splitlines()
    assert on_github[:3] == ["<!-- northing:notice -->", "<!-- northing:id installation/5 -->", ""]
    assert "\n".join(on_github[3:]) == to_markdown(document)
    assert KINDS["jira"].render(document, marker) == to_plain(document)
