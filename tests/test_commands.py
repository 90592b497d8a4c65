"""Commands in comments: what is read as one, and what is answered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.markup import to_adf, to_markdown, to_plain
from mappings.commands.parse import (
    MOST_COMMANDS,
    Command,
    HelpCommand,
    InvalidCommand,
    LinkCommand,
    SnoozeCommand,
    command_text,
    help_text,
    joined,
    joined_answer,
    not_live_text,
    nothing_to_snooze_text,
    parse_commands,
    quoted,
    unknown_keys_text,
)
from mappings.notices.text import unchecked_text, with_answer
from tests.support.adf import adf_problems
from tests.support.evaluations import NOW, on
from tests.support.rendered_text import HOSTILE, PARSER, REFERENCE, plain_runs
from tests.support.ticket_text import text_lines


def one(line: str) -> Command:
    (command,) = parse_commands(text_lines(line), NOW)
    return command


# --- what is a command ------------------------------------------------------------------------

LINES: list[tuple[str, Command]] = [
    ("/northing link KR-12", LinkCommand(("KR-12",))),
    ("  /northing   link\tKR-12  ", LinkCommand(("KR-12",))),
    ("\xa0/northing\xa0link\xa0KR-12", LinkCommand(("KR-12",))),
    ("/Northing LINK kr-12", LinkCommand(("kr-12",))),
    ("/northing link KR-1, KR-2,KR-3 KR-4", LinkCommand(("KR-1", "KR-2", "KR-3", "KR-4"))),
    ("/northing link KR-1, kr-1 , KR-1.", LinkCommand(("KR-1",))),
    (
        "/northing link " + " ".join(f"KR-{n}" for n in range(20)),
        LinkCommand(tuple(f"KR-{n}" for n in range(20))),
    ),
    ("/northing help", HelpCommand()),
    ("/northing Help!", HelpCommand()),
    ("/northing help me please", HelpCommand()),
    ("/northing", HelpCommand()),
    ("/northing ", HelpCommand()),
    ("/northing snooze 1d", SnoozeCommand(on(18))),
    ("/northing snooze 14d", SnoozeCommand(on(1, month=12))),
    ("/northing SNOOZE 2W", SnoozeCommand(on(1, month=12))),
    ("/northing snooze for 14d", SnoozeCommand(on(1, month=12))),
    ("/northing snooze until 2026-12-31", SnoozeCommand(datetime(2027, 1, 1, tzinfo=NOW.tzinfo))),
    ("/northing snooze 2026-12-31", SnoozeCommand(datetime(2027, 1, 1, tzinfo=NOW.tzinfo))),
    ("/northing snooze 2026-11-16", SnoozeCommand(on(17))),
    ("/northing snooze 366d", SnoozeCommand(datetime(2027, 11, 18, tzinfo=NOW.tzinfo))),
    ("/northing snooze 52w", SnoozeCommand(datetime(2027, 11, 16, tzinfo=NOW.tzinfo))),
]


@pytest.mark.parametrize(("line", "command"), LINES)
def test_commands(line: str, command: Command) -> None:
    assert one(line) == command


MISTAKES: list[tuple[str, str]] = [
    ("/northing link", "Which key result? Write `/northing link KR-12`."),
    ("/northing link , ,", "Which key result?"),
    ("/northing link KR-1 and @bob", "`@bob` is no key of a key result; write `/northing link KR-12`."),
    ("/northing link " + " ".join(f"KR-{n}" for n in range(21)), "At most 20 key results"),
    ("/northing link,KR-1", "There is no command `link,KR-1`. There is `/northing link KR-12`"),
    ("/northing snooze", "How long? Write `/northing snooze 14d`"),
    ("/northing snooze until", "How long?"),
    ("/northing snooze 14 days", "How long?"),
    ("/northing snooze 0d", "A snooze lasts 1 to 366 days; write `/northing snooze 14d`"),
    ("/northing snooze 367d", "A snooze lasts 1 to 366 days"),
    ("/northing snooze 53w", "A snooze lasts 1 to 366 days"),
    ("/northing snooze 9999w", "A snooze lasts 1 to 366 days"),
    ("/northing snooze 99999d", "`99999d` is no span of time; write `/northing snooze 14d`"),
    ("/northing snooze -3d", "`-3d` is no span of time"),
    ("/northing snooze ٣d", "`٣d` is no span of time"),
    ("/northing snooze soon", "`soon` is no span of time"),
    ("/northing snooze 2026-11-15", "`2026-11-15` is past; give a day or time to come."),
    ("/northing snooze 2027-11-18", "`2027-11-18` is more than 366 days ahead"),
    ("/northing snooze 2026-02-30", "`2026-02-30` must be a date such as 2026-12-31"),
    ("/northing unlink KR-1", "`unlink` is not in this build. There is `/northing link KR-12`, "),
    ("/northing waive until 2026-12-31 because", "`waive` is not in this build."),
    ("/northing dispute because", "`dispute` is not in this build."),
    ("/northing Suggest", "`suggest` is not in this build."),
    (
        "/northing dance",
        "There is no command `dance`. There is `/northing link KR-12`, `/northing snooze 14d`",
    ),
    ("/northing `x`", "There is no command `x`."),
    ("/northing \u202e", "There is no command `?`."),
    ("/northing <!-- x", "There is no command `<!--`."),
    ("/northing " + "x" * 990, f"There is no command `{'x' * 64}`."),
    ("/northing " + "x" * 991, "A command of more than 1,000 characters is not read"),
    ("/northing link " + "KR-1," * 10**6, "A command of more than 1,000 characters is not read"),
]


@pytest.mark.parametrize(("line", "start"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_name_the_way_out(line: str, start: str) -> None:
    command = one(line)
    assert isinstance(command, InvalidCommand)
    assert command.reply.startswith(start)
    assert len(command.reply) < 300


NOT_COMMANDS = [
    "",
    "northing help",
    "please /northing help",
    "/northinghelp",
    "/northing-help",
    "/northing: help",
    "//northing help",
    "/ northing help",
    "/nοrthing help",  # a Greek omicron
    "/northıng help",  # a dotless i
    "- /northing help",
    "> /northing help",
    "`/northing help`",
    "\u200b/northing help",
]


@pytest.mark.parametrize("line", NOT_COMMANDS)
def test_what_is_no_command(line: str) -> None:
    assert parse_commands(text_lines(line), NOW) == ()


def test_several_in_order_and_at_most_ten() -> None:
    lines = ["Hello,", "/northing link KR-1", "", "/northing snooze 1d", "bye"]
    assert parse_commands(text_lines(*lines), NOW) == (LinkCommand(("KR-1",)), SnoozeCommand(on(18)))
    many = parse_commands(text_lines(*(f"/northing link KR-{n}" for n in range(1000))), NOW)
    assert many == tuple(LinkCommand((f"KR-{n}",)) for n in range(MOST_COMMANDS))


def test_the_day_is_that_of_utc() -> None:
    late = NOW.replace(hour=23, minute=59).astimezone(tz=None)
    assert parse_commands(text_lines("/northing snooze 1d"), late) == (SnoozeCommand(on(18)),)


# --- hostile text -----------------------------------------------------------------------------

_words = st.text(max_size=60) | st.sampled_from([*HOSTILE, "link", "snooze", "14d", "KR-1", "`", "- ", "\n"])
_lines = st.lists(
    st.lists(_words, max_size=6).map(" ".join) | _words.map(lambda words: f"/northing {words}"), max_size=14
)


def answers_to(commands: Iterable[Command]) -> str | None:
    """The worst that could be answered: nothing that was asked for exists."""
    parts: list[str] = []
    for command in commands:
        match command:
            case InvalidCommand(reply):
                parts.append(reply)
            case LinkCommand(keys):
                parts += [
                    unknown_keys_text(keys, keys[:3]),
                    *(not_live_text(key, "it is missed") for key in keys),
                ]
            case SnoozeCommand():
                parts.append(nothing_to_snooze_text("waived"))
            case HelpCommand():
                parts.append(help_text())
    return joined_answer(parts)


@given(_lines)
def test_whatever_is_typed_is_read_and_answered_in_a_few_harmless_words(lines: list[str]) -> None:
    commands = parse_commands(text_lines(*lines), NOW)
    assert len(commands) <= MOST_COMMANDS
    for command in commands:
        if isinstance(command, SnoozeCommand):
            assert NOW < command.until <= NOW + timedelta(days=367)
        if not isinstance(command, InvalidCommand):
            kept = command_text(command)
            assert kept.isprintable(), "fit to be stored"
            assert len(kept) < 1600
    text = answers_to(commands)
    if text is None:
        assert commands == ()
        return
    assert len(text) < 2500
    assert text.replace("\n", "").isprintable()
    document = with_answer(unchecked_text(), text, first=False).document
    tokens = PARSER.parse(to_markdown(document))
    assert not [run for run in plain_runs(tokens) if REFERENCE.search(run)]
    assert {child.type for token in tokens for child in token.children or ()} <= {"text", "code_inline"}
    assert adf_problems(to_adf(document)) == []
    prose = [line for line in to_plain(document).splitlines() if not line.startswith("- ")]
    assert parse_commands(text_lines(*prose), NOW) == ()


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_said_back_stays_one_piece_of_code(words: str) -> None:
    shown = quoted(words)
    assert shown[0] == shown[-1] == "`"
    assert shown.count("`") == 2
    assert shown.isprintable()
    assert 3 <= len(shown) <= 66


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("KR-1", "`KR-1`"),
        ("", "`?`"),
        ("```", "`?`"),
        (" a b ", "`a b`"),
        ("a`b\nc\u200b", "`abc`"),
        ("x" * 64, f"`{'x' * 64}`"),
        ("x" * 65, f"`{'x' * 64}`"),
        ("`" * 64 + "x", "`?`"),
    ],
)
def test_what_is_said_back_is_short_and_printable(word: str, code: str) -> None:
    assert quoted(word) == code


# --- answers ----------------------------------------------------------------------------------


def test_answers() -> None:
    assert unknown_keys_text(["KR-9"], []) == "There is no key result `KR-9`."
    assert unknown_keys_text(["KR-8", "KR-9"], ["KR-1", "KR-2"]) == (
        "There is no key result `KR-8` and `KR-9`. Perhaps `KR-1` or `KR-2`?"
    )
    assert unknown_keys_text([f"KR-{n}" for n in range(5)], []) == (
        "There is no key result `KR-0`, `KR-1`, `KR-2` and 2 more."
    )
    assert not_live_text("KR-1", "it is missed") == "`KR-1` is linked, but does not count: it is missed."
    assert not_live_text("KR-1", None) == "`KR-1` is linked, but no longer counts."
    assert nothing_to_snooze_text(None) == "There is nothing to snooze here."
    assert nothing_to_snooze_text("waived") == "There is nothing to snooze: the gap is waived."
    assert [joined(items) for items in ([], ["a"], ["a", "b"])] == ["", "a", "a and b"]
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert unknown_keys_text(["KR-1", "KR-2", "KR-3"], ["KR-4"]) == (
        "There is no key result `KR-1`, `KR-2` and `KR-3`. Perhaps `KR-4`?"
    )
    assert unknown_keys_text([f"KR-{n}" for n in range(4)], []) == (
        "There is no key result `KR-0`, `KR-1`, `KR-2` and 1 more."
    )


def test_help_lists_what_works_and_nothing_else() -> None:
    shown = [line.split("`")[1] for line in help_text().splitlines()[1:]]
    assert shown == ["/northing link KR-12", "/northing snooze 14d", "/northing help"]
    assert not [
        command for command in parse_commands(text_lines(*shown), NOW) if isinstance(command, InvalidCommand)
    ]


def test_one_answer_says_each_thing_once_and_is_not_long() -> None:
    assert joined_answer([]) is None
    assert joined_answer(["a.", "b.", "a."]) == "a.\nb."
    assert joined_answer(["x" * 5000]) == "x" * 5000, "a part is whole or not there"
    for length, parts in ((500, 2), (501, 1)):
        answer_text = joined_answer(["a" * 1000, "b" * length, "c"])
        assert answer_text is not None
        assert len(answer_text.split("\n")) == parts, "the parts have 1,500 characters, and no more"
    assert joined_answer([f"{n} {'x' * 500}" for n in range(10)]) == "\n".join(
        f"{n} {'x' * 500}" for n in (0, 1)
    )


def test_what_is_kept_for_the_record() -> None:
    assert command_text(LinkCommand(("KR-12",))) == "link KR-12"
    assert command_text(SnoozeCommand(on(18))) == "snooze until 2026-11-18 00:00 UTC"
    assert command_text(HelpCommand()) == "help"
