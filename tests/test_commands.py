"""Commands in comments: what is read as one, what nearly is, and what is answered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, strategies as st

from connectors.markup import clean, to_adf, to_markdown, to_plain
from connectors.ticket_text import Line
from mappings.command_words import GRAMMAR_WORDS, MEANT, VERBS
from mappings.commands.answers import (
    FIRST_TEN,
    MOST_COMMANDS,
    MOST_KEYS,
    USAGES,
    help_text,
    joined,
    joined_answer,
    kept_link_text,
    no_review_text,
    not_linked_text,
    not_live_text,
    nothing_to_change_text,
    quoted,
    suggestions_text,
    unknown_keys_text,
)
from mappings.commands.model import (
    Command,
    DisputeCommand,
    HelpCommand,
    InvalidCommand,
    LinkCommand,
    MoveCommand,
    ReviewCommand,
    SnoozeCommand,
    SuggestCommand,
    UnlinkCommand,
    WaiveCommand,
)
from mappings.commands.parse import parse_commands
from mappings.commands.spelling import near_keys
from mappings.links.keys import KEY
from mappings.notices.text import unchecked_text, with_answer
from mappings.suggestions.material import Suggestion
from tests.support.adf import adf_problems
from tests.support.evaluations import NOW, goal
from tests.support.rendered_text import HOSTILE, PARSER, REFERENCE, plain_runs
from tests.support.ticket_text import text_lines

CODE = re.compile(r"`([^`]*)`")


def read(line: str, **members: str) -> tuple[Command, ...]:
    return parse_commands(text_lines(line), NOW, **members)


def one(line: str) -> Command:
    (command,) = read(line)
    return command


def brief(command: Command) -> str:
    """A command in a few words; of a mistake `?`, of what is nearly one `~`, and the last line to type."""
    match command:
        case LinkCommand(keys) | UnlinkCommand(keys) | MoveCommand(keys):
            return f"{type(command).__name__.removesuffix('Command').lower()} {' '.join(keys)}"
        case SnoozeCommand(until):
            return f"snooze {until - timedelta(days=1):%Y-%m-%d}"
        case WaiveCommand(until, reason):
            return f"waive {until - timedelta(days=1):%Y-%m-%d}: {reason}"
        case DisputeCommand(reason):
            return f"dispute: {reason}"
        case ReviewCommand(word):
            return word
        case InvalidCommand(reply):
            return f"{'~' if command.near else '?'} {CODE.findall(reply)[-1]}"
    return type(command).__name__.removesuffix("Command").lower()


# --- what people type -------------------------------------------------------------------------

USAGE = {verb: usage for verb, (usage, _) in USAGES.items()}
COMMENTS: list[tuple[str, str]] = [
    ("/northing link KR-12", "link KR-12"),
    ("  /northing   link\tKR-12  ", "link KR-12"),
    ("\xa0/northing\xa0link\xa0KR-12", "link KR-12"),
    ("/Northing LINK kr-12", "link kr-12"),
    ("/northing link KR-12.", "link KR-12"),
    ("/northing link KR-1, KR-2,KR-3 KR-4", "link KR-1 KR-2 KR-3 KR-4"),
    ("/northing link KR-1, kr-1 , KR-1.", "link KR-1"),
    ("/northing link to KR-1", "link KR-1"),
    ("/northing link this epic to KR-1", "link KR-1"),
    ("/northing link KR-1 and KR-2 please", "link KR-1 KR-2 please"),
    ("/northing link KR-1, thanks!", "link KR-1 thanks"),
    ("/northing please link KR-1", "link KR-1"),
    ("/northing link KR-1 instead of KR-2", "link KR-1 instead of KR-2"),
    ("/northing link KR-1 and @bob", "link KR-1"),
    ('/northing link "KR-1" and `KR-2`', "link KR-1 KR-2"),
    ("/northing link #KR-1", "link KR-1"),
    ("/northing link <KR-1>", "link KR-1"),
    ("/northing link: KR-1", "link KR-1"),
    ("/northing link,KR-1", "link KR-1"),
    ("/northing link Key-Result: KR-1", "link KR-1"),
    ("／northing link KR\u20111", "link KR-1"),  # as an input method writes it
    ("\u200b/northing link KR-1", "link KR-1"),
    ("/northing `link KR-1`", "link KR-1"),
    ("/northing link", f"? {USAGE['suggest']}"),
    ("/northing link , ,", f"? {USAGE['link']}"),
    ("/northing link <key>", f"? {USAGE['suggest']}"),
    ("/northing link @bob", f"? {USAGE['link']}"),
    ("/northing unlink KR-1", "unlink KR-1"),
    ("/northing unlink from KR-1", "unlink KR-1"),
    ("/northing unlink", f"? {USAGE['suggest']}"),
    ("/northing move KR-2", "move KR-2"),
    ("/northing move to KR-2 please", "move KR-2 please"),
    ("/northing move KR-1 to KR-2", "? /northing move KR-2"),
    ("/northing move KR-1 -> KR-2", "? /northing move KR-2"),
    ("/northing snooze 1d", "snooze 2026-11-17"),
    ("/northing snooze 14d", "snooze 2026-11-30"),
    ("/northing SNOOZE 2W", "snooze 2026-11-30"),
    ("/northing snooze 2 weeks", "snooze 2026-11-30"),
    ("/northing snooze 10 days", "snooze 2026-11-26"),
    ("/northing snooze for a week", "snooze 2026-11-23"),
    ("/northing snooze for the next two weeks", "snooze 2026-11-30"),
    ("/northing snooze this for 14-days, thanks", "snooze 2026-11-30"),
    ("/northing snooze until 2026-12-31.", "snooze 2026-12-31"),
    ("/northing snooze 2026-12-31", "snooze 2026-12-31"),
    ("/northing snooze 2026-11-16", "snooze 2026-11-16"),
    ("/northing snooze 14d because we wait 3 weeks for planning", "snooze 2026-11-30"),
    ("/northing snooze 366d", "snooze 2027-11-17"),
    ("/northing snooze 52w", "snooze 2027-11-15"),
    ("/northing snooze 14d or 30d", "? 2026-12-31"),
    ("/northing waive until 2026-12-31 because it is legal work", "waive 2026-12-31: it is legal work"),
    ("/northing waive because it is legal work until 2026-12-31", "waive 2026-12-31: it is legal work"),
    ("/northing waive until 2026-12-31: keep the lights on", "waive 2026-12-31: keep the lights on"),
    ("/northing waive legal work, until 2026-12-31.", "waive 2026-12-31: legal work"),
    ("/northing waive for 4 weeks, because of the move", "waive 2026-12-14: the move"),
    ("/northing waive 4w because the law of 2027-01-01 asks", "waive 2026-12-14: the law of 2027-01-01 asks"),
    ("/northing waive until 2026-12-31", f"? {USAGE['waive']}"),
    ("/northing waive until 2026-12-31 because …", f"? {USAGE['waive']}"),
    ("/northing waive because it is legal work", "? 2026-12-31"),
    ("/northing waive", "? 2026-12-31"),
    ("/northing dispute because this is an initiative", "dispute: this is an initiative"),
    ("/northing dispute this because it has no end", "dispute: it has no end"),
    ("/northing dispute this is maintenance", "dispute: this is maintenance"),
    ("/northing dispute: not ours", "dispute: not ours"),
    ("/northing dispute", f"? {USAGE['dispute']}"),
    ("/northing dispute because …", f"? {USAGE['dispute']}"),
    ("/northing dispute, please", f"? {USAGE['dispute']}"),
    ("/northing suggest", "suggest"),
    ("/northing Suggest a key result", "suggest"),
    ("/northing keep", "keep"),
    ("/northing stop asking", "stop"),
    ("/northing help", "help"),
    ("/northing Help!", "help"),
    ("/northing help me please", "help"),
    ("/northing", "help"),
    ("/northing ", "help"),
    ("/northing?", "help"),
    ("/northing lnik KR-1", "? /northing link KR-1"),
    ("/northing connect KR-1", "? /northing link KR-1"),
    ("/northing remind in 2 weeks", f"? {USAGE['snooze']}"),
    ("/northing can you link this to KR-1?", "? /northing link KR-1"),
    ("/northing dance", f"? {USAGE['help']}"),
    ("@northing link KR-1", "link KR-1"),
    ("@Northing, please link KR-1", "link KR-1"),
    ("@northing help", "help"),
    ("@northing", "help"),
    # Nearly commands.
    ("@northing can you link this to KR-1?", "~ /northing link KR-1"),
    ("northing link KR-1", "~ /northing link KR-1"),
    ("Northing snooze 14d", "~ /northing snooze 14d"),
    ("northing snooze for 2 weeks, thanks", "~ /northing snooze 2 weeks"),
    ("northing lnik KR-1", "~ /northing link KR-1"),
    ("northing stop", "~ /northing stop"),
    ("northing help", "~ /northing help"),
    ("Northing, please link this to KR-1", "~ /northing link KR-1"),
    ("/northing: link KR-1", "~ /northing link KR-1"),
    ("/northing: help", "~ /northing help"),
    ("/ northing link KR-1", "~ /northing link KR-1"),
    ("//northing help", "~ /northing help"),
    ("\\northing link KR-1", "~ /northing link KR-1"),
    ("/northinglink KR-1", "~ /northing link KR-1"),
    ("/northing-help", "~ /northing help"),
    ("- /northing help", "~ /northing help"),
    ("Done. /northing link KR-1", "~ /northing link KR-1"),
    ("please /northing link KR-1", "~ /northing link KR-1"),
    ("Done. /northing link KR-1 instead of KR-2", "~ /northing link KR-1"),
    ("comment /northing link KR-1", "~ /northing link KR-1"),  # a line of our own comment
    ("- comment /northing link KR-1", "~ /northing link KR-1"),
    ("not now: /northing snooze 14d", "~ /northing snooze 14d"),
    ("This serves checkout: /northing link KR-1", "~ /northing link KR-1"),
    ("Hi @northing link KR-1", "~ /northing link KR-1"),
    ("Key-Result: KR-1", "~ /northing link KR-1"),
    ("key result = KR-1 (Checkout conversion)", "~ /northing link KR-1"),
    ("kr:KR-1", "~ /northing link KR-1"),
]


@pytest.mark.parametrize(("line", "result"), COMMENTS)
def test_what_people_type(line: str, result: str) -> None:
    assert brief(one(line)) == result


PROSE = [
    "",
    "Northing says we need a KR",
    "ask the northing team",
    "Who runs Northing here?",
    "northing is noisy today",
    "Northing keeps asking about this epic",
    "northing links KR-1",
    "Northing linked KR-1.",
    "As documented: /northing link KR-1",
    "We looked: /northing link KR-1 is wrong",
    "Do not /northing link KR-1",
    "I did /northing link KR-1, why is it not linked?",
    "Northing suggests KR-1, and I doubt it",
    "northing link does not work",
    "northing link KR-1 was the wrong one",
    "northing snooze 14d is too short",
    "Northing link between A and B is broken",
    "Northing help is on the intranet",
    "northing waive is not for us",
    "I used /northing link KR-1 yesterday and it worked",
    "You can type /northing snooze 14d",
    "Just comment /northing snooze 14d",
    "For example: /northing link KR-1",
    "Bob wrote: /northing link KR-1",
    "The /northing link command is handy",
    "How does /northing snooze 14d work?",
    "Should northing stop asking?",
    "Please ask northing to stop",
    "I would not snooze northing",
    "Thanks, northing",
    "/northing thanks!",
    "@northing thanks!",
    "@northing is great",
    "cc @northing-team",
    "/northing-app is a nice name",
    "See https://northing.example/northing link KR-1",
    "the path app/northing link KR-1",
    "We should link this to KR-1",
    "link KR-1",
    "snooze 14d",
    "/link KR-1",
    "/nothing link KR-1",
    "/northern link KR-1",
    "/nοrthing help",  # a Greek omicron
    "/northıng help",  # a dotless i
    "Sailing: easting 12, northing 4711",
    "northing 123456 easting 654321",
    "Key result: we need to ship by May",
    "Key result: KR-12 is at 40 %",
    "The key result of this epic is not clear",
    "KR-12 moved from 20 to 40",
]


@pytest.mark.parametrize("line", PROSE)
def test_what_only_speaks_about_us_is_met_with_silence(line: str) -> None:
    assert read(line) == ()


MISTAKES: list[tuple[str, str]] = [
    ("/northing link", "Which key result? Write `/northing link <key>`;"),
    ("/northing link @bob", "`@bob` is no key of a key result; write `/northing link <key>`."),
    ("/northing link https://x/KR-1", "`https://x/KR-1` is no key of a key result;"),
    ("/northing snooze", "How long? Write `/northing snooze 14d`"),
    ("/northing snooze until", "How long?"),
    ("/northing snooze 0d", "`0d` is not between 1 and 366 days: `/northing snooze 14d`."),
    ("/northing snooze 367d", "`367d` is not between 1 and 366 days"),
    ("/northing snooze 53w", "`53w` is not between 1 and 366 days"),
    ("/northing snooze 99999 weeks", "`99999 weeks` is not between 1 and 366 days"),
    ("/northing snooze 9999999d", "`9999999d` is no span of time; write `/northing snooze 14d`"),
    ("/northing snooze -3d", "`-3d` is no span of time"),
    ("/northing snooze ٣d", "`٣d` is no span of time"),
    ("/northing snooze 1 month", "`1 month` is no span of time"),
    ("/northing snooze soon", "`soon` is no span of time"),
    ("/northing snooze 2026-11-15", "`2026-11-15` is past; give a day or time to come"),
    ("/northing snooze 2027-11-18", "`2027-11-18` is more than 366 days ahead"),
    ("/northing snooze 2026-02-30", "`2026-02-30` must be a date such as 2026-12-31"),
    ("/northing waive until 2026-11-15 because", "`2026-11-15` is past;"),
    ("/northing waive until 2026-12-31 because " + "x" * 501, "The reason must have 500 characters at most."),
    ("/northing dispute " + "x " * 251, "The reason must have 500 characters at most."),
    ("/northing dance", "There is no command `dance`. `/northing help` lists what there is."),
    ("/northing KR-1", "There is no command `KR-1`. Perhaps `/northing link KR-1`?"),
    ("/northing lnik KR-1", "There is no command `lnik`. Perhaps `/northing link KR-1`?"),
    ("/northing `x`", "There is no command `x`."),
    ("/northing <!-- x", "There is no command `<!--`."),
    ("/northing " + "x" * 990, f"There is no command `{'x' * 64}`."),
    ("/northing " + "x" * 991, "A command of more than 1,000 characters is not read"),
    ("/northing link " + "KR-1," * 10**6, "A command of more than 1,000 characters is not read"),
]


@pytest.mark.parametrize(("line", "start"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_name_the_way_out(line: str, start: str) -> None:
    command = one(line)
    assert isinstance(command, InvalidCommand)
    assert not command.near
    assert command.reply.startswith(start)
    assert len(command.reply) < 300


@pytest.mark.parametrize(("line", "_"), [*MISTAKES, *COMMENTS], ids=range(len(MISTAKES) + len(COMMENTS)))
def test_an_answer_to_what_not_everybody_sees_repeats_nothing(line: str, _: str) -> None:
    (command,) = read(line.replace("KR-", "ZQ7X-").replace("dance", "zq7x").replace("lnik", "llink"))
    if isinstance(command, InvalidCommand):
        discreet = command.discreet or command.reply
        typed = set(re.findall(r"[\w-]+", line.lower())) - set(re.findall(r"\w+", " ".join(USAGE.values())))
        assert "zq7x" not in discreet.lower()
        assert "llink" not in discreet
        assert not {word for word in typed if word.isdigit() and len(word) > 4} & set(discreet.split())


def test_two_commands_on_a_line_are_one_and_a_word_about_the_other() -> None:
    link, other = read("/northing link KR-1 /northing snooze 14d")
    assert (brief(link), brief(other)) == ("link KR-1", "? /northing")


def test_keys_are_read_up_to_a_bound() -> None:
    command = one("/northing link " + " ".join(f"KR-{n}" for n in range(90)))
    assert isinstance(command, LinkCommand)
    assert len(command.keys) == MOST_KEYS + 1


# --- code, cells, our own name ----------------------------------------------------------------


@pytest.mark.parametrize("line", ["/northing link KR-1", "northing link KR-1", "Key-Result: KR-1"])
@pytest.mark.parametrize("members", [{"in_code": True}, {"kind": "cell"}], ids=["code", "cell"])
def test_code_and_cells_hold_no_command_and_are_answered(line: str, members: dict[str, bool]) -> None:
    (command,) = parse_commands([Line(line, **members)], NOW)  # type: ignore[arg-type]  # of either member
    assert brief(command) == "~ /northing link KR-1"


@pytest.mark.parametrize(
    "line", ["/northing link KR-1 is what you type", "/northing link <key>", "make /northing link KR-1"]
)
def test_code_that_explains_is_met_with_silence(line: str) -> None:
    assert parse_commands([Line(line, in_code=True)], NOW) == ()


def test_a_heading_may_be_a_command() -> None:
    assert parse_commands([Line("/northing help", "heading")], NOW) == (HelpCommand(),)


OWN = "OKR-bot[bot]"


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("@okr-bot link KR-1", "link KR-1"),
        ("okr-bot link KR-1", "link KR-1"),
        ("@okr-bot[bot] snooze 2 weeks", "snooze 2026-11-30"),
        ("@OKR-Bot, please link KR-1", "link KR-1"),
        ("@okr-bot", "help"),
        ("okr-bot help", "help"),
        ("/northing help", "help"),
        ("Hey @okr-bot link KR-1", "~ /northing link KR-1"),
        ("okr-bot is nice", None),
        ("okr-bot", None),
        ("okr-bot link is broken", None),
        ("okr-bots link KR-1", None),
        ("Thanks okr-bot", None),
    ],
)
def test_the_name_of_our_own_account(line: str, result: str | None) -> None:
    assert [brief(command) for command in read(line, our_name=OWN)] == ([] if result is None else [result])


def test_without_a_name_of_our_own_it_is_nobodys() -> None:
    assert read("@okr-bot link KR-1") == read("okr-bot link KR-1") == ()
    assert read("link KR-1", our_name="") == read("link KR-1", our_name="@[bot]") == ()


# --- several, and the words themselves --------------------------------------------------------


def test_several_in_order_and_at_most_ten() -> None:
    lines = ["Hello,", "/northing link KR-1", "", "/northing snooze 1d", "bye"]
    assert [brief(command) for command in parse_commands(text_lines(*lines), NOW)] == [
        "link KR-1",
        "snooze 2026-11-17",
    ]
    many = parse_commands(text_lines(*(f"/northing link KR-{n}" for n in range(1000))), NOW)
    first = tuple(LinkCommand((f"KR-{n}",)) for n in range(MOST_COMMANDS))
    assert many == (*first, InvalidCommand(FIRST_TEN))


def test_a_line_is_the_same_whatever_its_case_and_blanks() -> None:
    typed = {
        one(line).typed
        for line in ("/northing link  KR-1", "/Northing LINK kr-1 ", "\xa0/northing link KR-1")
    }
    assert typed == {"/northing link kr-1"}
    (in_code,) = parse_commands([Line("/northing link KR-1", in_code=True)], NOW)
    assert in_code.typed not in typed


def test_the_day_is_that_of_utc() -> None:
    late = NOW.replace(hour=23, minute=59).astimezone(tz=None)
    assert [brief(command) for command in parse_commands(text_lines("/northing snooze 1d"), late)] == [
        "snooze 2026-11-17"
    ]


def test_the_words_of_the_grammar_can_be_no_keys() -> None:
    assert set(VERBS) | {"northing", "to", "and", "until", "because", "please", "for"} <= GRAMMAR_WORDS
    assert all(word == word.lower() and KEY.fullmatch(word) for word in GRAMMAR_WORDS)
    assert {word for word in GRAMMAR_WORDS if len(word) == 1} == set()
    assert set(MEANT.values()) <= set(USAGES) <= set(VERBS)
    assert not MEANT.keys() & set(VERBS)


# --- hostile text -----------------------------------------------------------------------------

_words = st.text(max_size=60) | st.sampled_from(
    [
        *HOSTILE,
        *VERBS,
        "14d",
        "until 2026-12-31",
        "because",
        "KR-1",
        "to",
        "`",
        "- ",
        "\n",
        "northing",
        "/northing",
    ]
)
_lines = st.lists(
    st.lists(_words, max_size=6).map(" ".join)
    | _words.map(lambda words: f"/northing {words}")
    | st.tuples(st.sampled_from(VERBS), _words).map(lambda words: f"/northing {words[0]} {words[1]}"),
    max_size=14,
)


def answers_to(commands: Iterable[Command]) -> str | None:
    """The worst that could be answered: nothing that was asked for exists."""
    parts: list[str] = []
    for command in commands:
        match command:
            case InvalidCommand(reply, discreet):
                parts += [reply, discreet or reply]
            case LinkCommand(keys) | MoveCommand(keys):
                parts += [
                    unknown_keys_text(keys, keys[:3]),
                    *(not_live_text(key, "it is missed") for key in keys),
                ]
            case UnlinkCommand(keys):
                parts += [not_linked_text(keys), *(kept_link_text(key, "rule") for key in keys)]
            case SnoozeCommand() | WaiveCommand() | DisputeCommand():
                parts.append(nothing_to_change_text("snooze", "waived"))
            case ReviewCommand(word):
                parts.append(no_review_text(word))
            case SuggestCommand():
                parts.append(suggestions_text([], public=True))
            case HelpCommand():
                parts.append(help_text())
    return joined_answer(parts)


@given(_lines)
@example(["/northing snooze 0\r`\r0"])  # without its backtick it has two blanks side by side
def test_whatever_is_typed_is_read_and_answered_in_a_few_harmless_words(lines: list[str]) -> None:
    commands = parse_commands(text_lines(*lines), NOW)
    assert len(commands) <= MOST_COMMANDS + 1
    for command in commands:
        if isinstance(command, SnoozeCommand | WaiveCommand):
            assert NOW < command.until <= NOW + timedelta(days=367)
        if isinstance(command, WaiveCommand | DisputeCommand):
            assert clean(command.reason) == command.reason
            assert 1 <= len(command.reason) <= 500
    text = answers_to(commands)
    if text is None:
        assert commands == ()
        return
    assert len(text) < 3000
    check_harmless(text)


def check_harmless(text: str) -> None:
    """In our comment the answer mentions and refers to nothing, and holds no command."""
    assert [clean(line) for line in text.split("\n")] == text.split("\n")
    document = with_answer(unchecked_text(), text, first=False).document
    tokens = PARSER.parse(to_markdown(document))
    assert not [run for run in plain_runs(tokens) if REFERENCE.search(run)]
    assert {child.type for token in tokens for child in token.children or ()} <= {"text", "code_inline"}
    assert adf_problems(to_adf(document)) == []
    prose = [line for line in to_plain(document).splitlines() if not line.startswith("- ")]
    assert [command for command in parse_commands(text_lines(*prose), NOW) if command.typed[:1] == "/"] == []


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
    assert unknown_keys_text(["KR-9"], []) == (
        "There is no key result `KR-9`. `/northing suggest` shows which come nearest."
    )
    assert unknown_keys_text(["KR-8", "KR-9"], ["KR-1", "KR-2"]) == (
        "There is no key result `KR-8` or `KR-9`. Perhaps `KR-1` or `KR-2`?"
    )
    assert unknown_keys_text([f"KR-{n}" for n in range(5)], ["KR-7"]) == (
        "There is no key result `KR-0`, `KR-1`, `KR-2` or 2 more. Perhaps `KR-7`?"
    )
    assert not_live_text("KR-1", "it is missed") == "`KR-1` is linked, but does not count: it is missed."
    assert not_live_text("KR-1", None) == "`KR-1` is linked, but no longer counts."
    assert not_live_text(None, None) == "A key result is linked, but no longer counts."
    assert not_linked_text(["KR-1"]) == "This epic is not linked to `KR-1`."
    assert kept_link_text("KR-1", "ticket").startswith("`KR-1` stays linked: the ticket itself names it")
    assert kept_link_text("KR-1", "rule").startswith("`KR-1` stays linked: a rule links it")
    assert kept_link_text(None, "inherited").startswith("A key result stays linked: the epic inherits it")
    assert nothing_to_change_text("snooze", None) == "There is nothing to snooze here."
    assert nothing_to_change_text("waive", "disputed") == "There is nothing to waive: the gap is disputed."
    assert [joined(items) for items in ([], ["a"], ["a", "b"])] == ["", "a", "a and b"]
    assert joined(["a", "b", "c"]) == "a, b and c"
    assert CODE.findall(no_review_text("keep")) == [
        "keep",
        USAGE["snooze"],
        USAGE["waive"],
        USAGE["dispute"],
    ]


def test_help_lists_what_works_and_nothing_else() -> None:
    shown = [line.split("`")[1] for line in help_text().splitlines()[1:]]
    assert shown == list(USAGE.values())
    filled = [
        line.replace("<key>", "KR-1").replace("<date>", "2026-12-31").replace("…", "of law") for line in shown
    ]
    assert [brief(command) for command in parse_commands(text_lines(*filled), NOW)] == [
        "link KR-1",
        "unlink KR-1",
        "move KR-1",
        "suggest",
        "snooze 2026-11-30",
        "waive 2026-12-31: law",
        "dispute: law",
        "help",
    ]


@pytest.mark.parametrize("title", ["Checkout `x`", "- a\n- b", "x" * 60_000, *HOSTILE])
def test_suggestions_in_an_answer_are_harmless_lines(title: str) -> None:
    shown = [
        Suggestion(
            replace(goal(n), key=f"KR-{n}", title=title, visibility="public"), (title, "b"), 0.1, False
        )
        for n in range(3)
    ]
    text = suggestions_text(shown, public=False)
    assert len(text.splitlines()) == 4
    assert [CODE.findall(line) for line in text.splitlines()[1:]] == [
        [f"/northing link KR-{n}"] for n in range(3)
    ]
    assert len(text) < 1_000
    check_harmless(text)


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


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("KR12", ["KR-12"]),
        ("kr_12", ["KR-12"]),
        ("KR-012", ["KR-12"]),
        ("KR-13", ["KR-12", "KR-3"]),
        ("KR-21", ["KR-12"]),
        ("RK-3", ["KR-3"]),
        ("KR-", []),
        ("KR-99", []),
        ("GROWTH-2026", ["GROWTH-2025"]),
        ("", []),
    ],
)
def test_keys_that_may_be_meant(typed: str, near: list[str]) -> None:
    assert near_keys(typed, ["KR-12", "KR-3", "GROWTH-2025"]) == near


def test_all_kinds_of_commands_are_told_apart() -> None:
    names = {type(command).__name__ for line, _ in COMMENTS for command in read(line)}
    assert names == {kind.__name__ for kind in Command.__subclasses__()}
