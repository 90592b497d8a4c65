"""What stands on a ticket: the order of the full text, the exact one-line texts, who is named where."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.document import Document, Link, Paragraph, Text
from connectors.marker import Marker
from connectors.markup import ADF_LIMIT, MARKDOWN_LIMIT, to_adf, to_markdown, to_plain
from connectors.registry import KINDS
from mappings.commands.answers import help_text, joined_answer as answer_of, quoted, unknown_keys_text
from mappings.commands.model import InvalidCommand
from mappings.commands.parse import parse_commands
from mappings.goals.key_results import KeyResult
from mappings.links.keys import KEY
from mappings.notices.text import (
    NoticeText,
    aligned_text,
    disputed_text,
    snoozed_text,
    unchecked_text,
    waived_text,
    with_answer,
)
from mappings.suggestions.material import Suggestion
from tests.support.adf import adf_problems
from tests.support.evaluations import NOW, goal, links_to, on, unknown_keys
from tests.support.notice_texts import FITTING, PAGE, closed, lines, pieces_of, typed, warn
from tests.support.rendered_text import HOSTILE, JOINER, PARSER, REFERENCE, plain_runs
from tests.support.ticket_text import text_lines

INTERNAL = goal(4)
PUBLIC = goal(5, visibility="public")
SECRET = goal(6, visibility="confidential", public_label="Platform work")
UNLABELLED = goal(7, visibility="confidential")
UNSURE = [replace(one, confident=False) for one in FITTING]
QUESTION = "Which key result does this epic serve?"
CHECKED = [("no-key-result", []), ("closed-goal", closed(goal(8)))]
WAYS_OUT = [
    "- not now: /northing snooze 14d",
    "- none needed: /northing waive until 2026-12-31 because …",
    "- our mistake: /northing dispute because …",
]
LAST = f"Check no-key-result on data of 2026-11-16 12:30 UTC. Why? ({PAGE})"


# --- the full text ----------------------------------------------------------------------------


def test_the_order_of_the_text() -> None:
    assert lines(warn()) == [
        QUESTION,
        "Answer it with any of these:",
        "- comment /northing link KR-1",
        "- add Key-Result: KR-1 to the description, or label kr:KR-1",
        "These may fit:",
        "- KR-1 (Title 1): shares “word1” with the title",
        "- KR-2 (Title 2): shares “word2” with the title",
        "- KR-3 (Title 3): shares “word3” with the title",
        "Otherwise:",
        *WAYS_OUT,
        LAST,
    ]


def test_it_takes_ten_seconds_to_read() -> None:
    """At a reading speed of 240 words a minute that would be 40; but the lists are looked at, not read."""
    for check, dead in CHECKED:
        words = [
            word for word in " ".join(lines(warn(check, dead))).split() if word not in ("-", f"({PAGE})")
        ]
        assert len(words) <= 100
    assert len([word for word in " ".join(lines(warn())).split() if word not in ("-", f"({PAGE})")]) <= 90


def test_dead_links_are_named_with_what_ended_them() -> None:
    made = warn("closed-goal", closed(goal(8, state="missed"), goal(9, cycle_ends=on(15).date())))
    assert lines(made)[:6] == [
        QUESTION,
        "Those it is linked to no longer count:",
        "- KR-8 (Title 8): it is missed",
        "- KR-9 (Title 9): its cycle ended on 2026-11-15",
        "Link one that counts:",
        "- comment /northing link KR-1",
    ]
    assert lines(made)[-1].startswith("Check closed-goal on data of ")
    assert lines(warn("closed-goal", closed(goal(8))))[1] == "The one it is linked to no longer counts:"


def test_a_key_that_does_not_exist_is_named() -> None:
    message = lines(warn(unknown=unknown_keys("KR-98", "KR-99")))
    assert message[1:3] == [
        "The ticket names KR-98, which does not exist.",
        "The ticket names KR-99, which does not exist. Correcting one is enough.",
    ]
    many = lines(warn(unknown=unknown_keys(*(f"KR-{n}" for n in range(90, 110)))))
    assert sum("does not exist" in line for line in many) == 3
    alone = "The ticket names KR-99, which does not exist."
    assert lines(warn(unknown=unknown_keys("KR-99")))[1] == f"{alone} Correcting it is enough."
    assert lines(warn(unknown=unknown_keys("KR-99"), suggestions=[], can_link=False))[1] == alone


def test_words_that_are_no_key_are_said_back() -> None:
    made = warn(unknown=unknown_keys("the checkout one", "x" * 80))
    assert lines(made)[1:3] == [
        "The ticket names the checkout one, which is not the key of a key result.",
        f"The ticket names {'x' * 80}, which is not the key of a key result. Correcting one is enough.",
    ]
    assert "the checkout one" in typed(made)


@pytest.mark.parametrize(("check", "dead"), CHECKED, ids=[check for check, _ in CHECKED])
@pytest.mark.parametrize("suggestions", [[], UNSURE], ids=["none fits", "of none are we confident"])
def test_where_nothing_fits_no_key_is_in_a_line_to_type(
    check: str, dead: list[Any], suggestions: list[Suggestion]
) -> None:
    for page_url in (PAGE, None):
        made = warn(check, dead, suggestions=suggestions, page_url=page_url)
        assert [words for words in typed(made) if words != "/northing suggest"] == [
            "/northing link <key>",
            "Key-Result: <key>",
            "kr:<key>",
            *(way.split(": ")[1] for way in WAYS_OUT),
        ]
        for one in suggestions:
            assert one.key_result.key not in to_plain(made.document)
        assert made.mentioned_key_result_ids == ((8,) if dead else ())
        (where,) = (line for line in lines(made) if "Choose" in line or "/northing suggest" in line)
        how = "Link one that counts:" if dead else "Answer it with any of these:"
        assert where == (
            f"/northing suggest lists what comes nearest. {how}"
            if page_url is None
            else f"Choose from the key results ({PAGE}). {how}"
        )


def test_only_what_we_are_confident_of_is_shown_and_three_at_most() -> None:
    fourth = Suggestion(goal(9), ("fits",))
    made = warn(suggestions=[replace(FITTING[0], confident=False), *FITTING[1:], fourth, fourth])
    assert lines(made)[2] == "- comment /northing link KR-2"
    assert [line for line in lines(made) if line.startswith("- KR-")] == [
        "- KR-2 (Title 2): shares “word2” with the title",
        "- KR-3 (Title 3): shares “word3” with the title",
        "- KR-9 (Title 9): fits",
    ]
    assert made.mentioned_key_result_ids == (2, 3, 9)


@pytest.mark.parametrize(("check", "dead"), CHECKED, ids=[check for check, _ in CHECKED])
def test_without_any_live_goal_there_is_nothing_to_link(check: str, dead: list[Any]) -> None:
    made = warn(check, dead, suggestions=UNSURE, can_link=False)
    assert lines(made)[-5:-1] == [
        "There is none to choose from yet; whoever keeps the goals here can add one. Until then:",
        *WAYS_OUT,
    ]
    assert typed(made) == [way.split(": ")[1] for way in WAYS_OUT]


def test_without_a_page_there_is_no_link() -> None:
    made = warn(page_url=None)
    assert lines(made)[-1] == "Check no-key-result on data of 2026-11-16 12:30 UTC."
    assert not any(isinstance(piece, Link) for block in made.document.blocks for piece in pieces_of(block))


@pytest.mark.parametrize(
    ("now", "day"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-03-31"),
        (datetime(2026, 3, 17, 23, tzinfo=UTC), "2026-03-31"),
        (datetime(2026, 3, 18, tzinfo=UTC), "2026-06-30"),
        (datetime(2026, 9, 30, tzinfo=UTC), "2026-12-31"),
        (datetime(2026, 12, 17, tzinfo=UTC), "2026-12-31"),
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2027-03-31"),
        (datetime(2024, 2, 29, 12, tzinfo=UTC), "2024-03-31"),
    ],
)
def test_a_waiver_is_offered_to_the_end_of_the_quarter(now: datetime, day: str) -> None:
    assert f"/northing waive until {day} because …" in typed(warn(now=now))


def test_what_is_offered_works() -> None:
    filled = {"<key>": "KR-1", "…": "it keeps the lights on"}
    for made in (warn(), warn(suggestions=[]), warn(suggestions=[], page_url=None)):
        offered = [words for words in typed(made) if words.startswith("/northing")]
        assert len(offered) == 4 + ("/northing suggest" in offered)
        for words in offered:
            for gap, filling in filled.items():
                words = words.replace(gap, filling)
            (command,) = parse_commands(text_lines(words), NOW)
            # Some are another room's work and answered so until they are there.
            assert not isinstance(command, InvalidCommand) or "is not in this build" in command.reply


@pytest.mark.parametrize("words", [None, "`/northing help`", "- x\n/northing help"])
def test_our_own_words_hold_no_command(words: str | None) -> None:
    """Commands stand in code, and a comment's code is not read."""
    made = warn() if words is None else with_answer(warn(), help_text(), first=True)
    for block in made.document.blocks:
        for item in [block.content] if isinstance(block, Paragraph) else block.items:
            prose = "".join(run.value for run in item if isinstance(run, Text) and not _is_code(run))
            assert parse_commands(text_lines(prose), NOW) == ()


def _is_code(run: Text | Link) -> bool:
    return isinstance(run, Text) and run.style == "code"


@pytest.mark.parametrize(
    "key", ["KR-12", "20261201", "deadbeef", "GH-12", "KR_1", "a.b", "1.", "x--y__z", "0" * 64]
)
def test_a_key_is_copied_as_it_is(key: str) -> None:
    """Wherever it stands: no invisible character is in it, nor a backslash."""
    named, fitting = goal(1, key=key), [Suggestion(goal(2, key=key), ("fits",))]
    for made in (
        warn(suggestions=fitting),
        warn("closed-goal", closed(named), suggestions=[], unknown=unknown_keys(key)),
        aligned_text(links_to(named).links, False),
        aligned_text(links_to(named).links, True),
        aligned_text(links_to(named, goal(3)).links, True),
    ):
        shown = to_markdown(made.document)
        assert JOINER not in shown
        assert to_plain(made.document).count(key) == len(re.findall(re.escape(key), shown))
        for run in plain_runs(PARSER.parse(shown)):
            assert not REFERENCE.search(run), run


def test_no_text_of_ours_holds_an_invisible_character() -> None:
    for check, dead in CHECKED:
        for suggestions, page_url in product([FITTING, []], [PAGE, None]):
            made = warn(
                check, dead, suggestions=suggestions, page_url=page_url, unknown=unknown_keys("KR-99")
            )
            for shown in (to_markdown(made.document), json.dumps(to_adf(made.document), ensure_ascii=False)):
                assert all(char.isprintable() or char == "\n" for char in shown)


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
    assert typed(warn()) == [
        "/northing link KR-1",
        "Key-Result: KR-1",
        "kr:KR-1",
        *(way.split(": ")[1] for way in WAYS_OUT),
    ]


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
            unknown=unknown_keys(words),
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
    assert len(to_markdown(made.document)) <= MARKDOWN_LIMIT
    assert len(json.dumps(to_adf(made.document))) <= ADF_LIMIT
    assert adf_problems(to_adf(made.document)) == []


words = st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE), st.sampled_from(["\u202e", "@", "x" * 900]))


@given(
    title=words,
    label=words,
    reason=words,
    unknown=st.lists(words, max_size=5),
    key=st.from_regex(KEY, fullmatch=True),
)
def test_whatever_people_wrote_the_text_is_whole(
    title: str, label: str, reason: str, unknown: list[str], key: str
) -> None:
    """Nobody is mentioned, nothing referred to, and all lines to type are there, on both trackers."""
    named = goal(1, key=key, title=title, visibility="public")
    secret = goal(2, visibility="confidential", public_label=label)
    suggestions = [Suggestion(named, (reason, reason))]
    made = warn("closed-goal", closed(named, secret), suggestions=suggestions, unknown=unknown_keys(*unknown))
    markdown, adf = to_markdown(made.document), to_adf(made.document)
    tokens = PARSER.parse(markdown)
    for run in plain_runs(tokens):
        assert not REFERENCE.search(run), run
    codes = [one.content for token in tokens for one in token.children or () if one.type == "code_inline"]
    for line in (f"/northing link {key}", f"Key-Result: {key}", *(way.split(": ")[1] for way in WAYS_OUT)):
        assert line in codes
    assert {"mention", "inlineCard", "emoji", "hardBreak", "codeBlock"}.isdisjoint(_types(adf))
    assert (len(markdown) <= MARKDOWN_LIMIT, len(json.dumps(adf)) <= ADF_LIMIT) == (True, True)
    assert adf_problems(adf) == []
    assert len(to_plain(made.document)) < 5_000


def test_the_body_shown_is_what_stands_there() -> None:
    document, marker = warn().document, Marker("installation", 5)
    on_github = KINDS["github"].render(document, marker).splitlines()
    assert on_github[:3] == ["<!-- northing:notice -->", "<!-- northing:id installation/5 -->", ""]
    assert "\n".join(on_github[3:]) == to_markdown(document)
    assert KINDS["jira"].render(document, marker) == to_plain(document)
