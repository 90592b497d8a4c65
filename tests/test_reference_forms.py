"""The ways in which people name a key result on a ticket: what links, what is told, what is silent.

One table for both front ends: each case is written in Markdown and in ADF. docs/ticket.md shows it to people.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

import connectors.github.text as github_text
from connectors.github.text import lines_of as github_lines
from connectors.jira.text import lines_of as jira_lines
from connectors.ticket_text import Line, NamedField
from mappings.links.references import parse_references, stored_references
from mappings.links.resolve import GoalsAndRules, Resolution, resolve
from mappings.rules.index import RuleIndex
from tests.support.evaluations import NOW, an_epic, goal

GOALS = GoalsAndRules(
    {
        id: goal(id, key=key)
        for id, key in enumerate(("KR-12", "KR-13", "KR-14", "growth.2026_a", "Retention"), start=1)
    },
    RuleIndex(()),
)
PLACEHOLDER = "<!-- Key-Result: KR-12 -->"


def resolved(
    lines: tuple[Line, ...], labels: tuple[str, ...] = (), field: NamedField | None = None
) -> Resolution:
    stored = stored_references(parse_references(lines, labels, field))
    return resolve("jira", an_epic(), stored, (), GOALS, NOW)


def found_in(resolution: Resolution) -> tuple[list[str], list[str]]:
    """The keys that are linked, and what is told."""
    return [link.key_result.key for link in resolution.links], [one.key for one in resolution.unknown]


# --- ADF ----------------------------------------------------------------------------------------


def text(words: str, *marks: str, url: str | None = None) -> Any:
    found: list[Any] = [{"type": mark} for mark in marks]
    if url is not None:
        found.append({"type": "link", "attrs": {"href": url}})
    return {"type": "text", "text": words, **({"marks": found} if found else {})}


def node(kind: str, *content: Any, **attrs: Any) -> Any:
    made: dict[str, Any] = {"type": kind}
    if content:
        made["content"] = [text(one) if isinstance(one, str) else one for one in content]
    return made | ({"attrs": attrs} if attrs else {})


def p(*content: Any) -> Any:
    return node("paragraph", *content)


def h(words: str) -> Any:
    return node("heading", words, level=2)


def items(*lines: str) -> Any:
    return node("bulletList", *(node("listItem", p(line)) for line in lines))


def table(*rows: tuple[str, ...]) -> Any:
    return node("table", *(node("tableRow", *(node("tableCell", p(cell)) for cell in row)) for row in rows))


BREAK = {"type": "hardBreak"}
CARD = "https://northing.example/goals/KR-12"


class Form(NamedTuple):
    markdown: str
    adf: list[Any]
    links: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


# Lines that are the same in both.
LINES: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
    ("Key-Result: KR-12", ("KR-12",), ()),
    ("key-result:kr-12", ("KR-12",), ()),
    ("KEY RESULT: KR-12", ("KR-12",), ()),
    ("Key Results: KR-12, KR-13", ("KR-12", "KR-13"), ()),
    ("Key-Results: KR-12; KR-13", ("KR-12", "KR-13"), ()),
    ("KR: KR-12", ("KR-12",), ()),
    ("kr = KR-12", ("KR-12",), ()),
    ("KR=KR-12", ("KR-12",), ()),
    ("KR - KR-12", ("KR-12",), ()),
    ("KR – KR-12", ("KR-12",), ()),
    ("Key Result — KR-12", ("KR-12",), ()),
    ("Key-Result-KR-12", ("KR-12",), ()),
    ("Key Result => KR-12", ("KR-12",), ()),
    ("Key‑Result： KR‑12", ("KR-12",), ()),  # a hyphen and a colon of a text program
    ("ＫＲ：ＫＲ－１２", ("KR-12",), ()),
    ("Key-Result: KR-12 and KR-13", ("KR-12", "KR-13"), ()),
    ("Key-Result: KR-12 KR-13", ("KR-12", "KR-13"), ()),
    ('Key-Result: "KR-12", (KR-13), «KR-14»', ("KR-12", "KR-13", "KR-14"), ()),
    ("Key-Result: #KR-12", ("KR-12",), ()),
    ("Key-Result: KR-12.", ("KR-12",), ()),
    ("Key-Result: KR-12: grow in Korea", ("KR-12",), ()),
    ("Key-Result: KR-12 (grow in Korea), KR-13", ("KR-12",), ()),
    ("Key-Result: growth.2026_a", ("growth.2026_a",), ()),
    ("KR: retention", ("Retention",), ()),
    ("🎯 Key Result: KR-12", ("KR-12",), ()),
    ("Key-Result: \u200bKR-12\u200d", ("KR-12",), ()),
    ("KR ― KR-12", ("KR-12",), ()),
    ("Key-Result: 《KR-12》、〔KR-13〕, ｢KR-14｣", ("KR-12", "KR-13", "KR-14"), ()),
    ("Key-Result: ✅ KR-12", ("KR-12",), ()),
    ("Key-Result: → KR-12🙂, KR-13", ("KR-12", "KR-13"), ()),
    ("Key-Result: KR-12 → KR-13", ("KR-12",), ()),  # one becomes the other
    ("Key-Result: KR-12 - KR-13", ("KR-12",), ()),
    ("[ ] Key-Result: KR-12", ("KR-12",), ()),
    ("[x] KR: KR-12", ("KR-12",), ()),
    (":dart: Key-Result: KR-12", ("KR-12",), ()),
    # Told: it plainly tries, and names none.
    ("Key-Result: KR-99", (), ("KR-99",)),
    ("Key-Result: KR-12, KR-99, KR-13", ("KR-12",), ("KR-99",)),
    ("Key-Result: KR-98, KR-99", (), ("KR-98", "KR-99")),
    ("Key-Result: Korea expansion", (), ("Korea",)),
    ("key-result : wächst", (), ("wächst",)),
    (f"Key-Result: {CARD}", (), (CARD,)),
    (f"KR: {CARD}", (), (CARD,)),
    ("KR: KR-99", (), ("KR-99",)),
    ("Key Result - ABC-7", (), ("ABC-7",)),
    ("Key Result - KR-99 and more", (), ("KR-99",)),
    ("KR: growth.2027_a", (), ("growth.2027_a",)),
    ("KR: kr-99", (), ("kr-99",)),
    ("Key-Result: N/A", (), ("N/A",)),
    # Silent.
    ("KR: Korea", (), ()),
    ("KR: we grow by 12 percent", (), ()),
    ("KR: a plan, a goal - and KR-12", (), ()),
    ("KR-12 is the one", (), ()),
    ("KR 12: grow", (), ()),
    ("Key-Results-driven work", (), ()),
    ("Key Results are KR-12", (), ()),
    ("Key-Result KR-12", (), ()),
    ("The Key-Result: KR-12", (), ()),
    ("see Key Result: KR-12", (), ()),
    ("Korea: KR-12", (), ()),
    ("KRs: KR-12", (), ()),
    ("Krypton: KR-12", (), ()),
    ("Key figure: KR-12", (), ()),
    ("Key-Result:", (), ()),
    ("Key-Result: -", (), ()),
    ("Key-Result: ...", (), ()),
    ("KR: N/A", (), ()),
    ("KR: TBD", (), ()),
    ("KR: top-10 in Korea", (), ()),
    ("KR: UTF-8 everywhere", (), ()),
    ("KR: Top-10 in Korea", (), ()),
    ("Key Result: e-mail v1.2", (), ()),
    ("Key results - a summary of KR-12", (), ()),
    ("KR-driven: KR-12", (), ()),
    ("Our KR: KR-12", (), ()),
    ("OKR: KR-12", (), ()),
    ("Objective: KR-12", (), ()),
]

FORMS: dict[str, Form] = {
    "bold words": Form("**Key-Result**: KR-12", [p(text("Key-Result", "strong"), ": KR-12")], ("KR-12",)),
    "bold with the sign": Form("**KR:** KR-12", [p(text("KR:", "strong"), " KR-12")], ("KR-12",)),
    "all bold": Form("__Key-Result: KR-12__", [p(text("Key-Result: KR-12", "strong"))], ("KR-12",)),
    "in code": Form("`Key-Result: KR-12`", [p(text("Key-Result: KR-12", "code"))], ("KR-12",)),
    "the key in code": Form("Key-Result: `KR-12`", [p("Key-Result: ", text("KR-12", "code"))], ("KR-12",)),
    "a list item": Form("- one\n- Key-Result: KR-12", [items("one", "Key-Result: KR-12")], ("KR-12",)),
    "a task": Form(
        "- [x] KR: KR-12", [node("taskList", node("taskItem", "KR: KR-12", state="DONE"))], ("KR-12",)
    ),
    "the line below": Form("text\nKR: KR-12", [p("text", BREAK, "KR: KR-12")], ("KR-12",)),
    "a line in a text": Form("text  \nKR: KR-12", [p("text\nKR: KR-12")], ("KR-12",)),
    "a link": Form(
        f"Key-Result: [KR-12]({CARD})", [p("Key-Result: ", text("KR-12", url=CARD))], ("KR-12",)
    ),
    "a card": Form(
        f"Key-Result: <{CARD}>", [p("Key-Result: ", node("inlineCard", url=CARD))], (), (CARD,)
    ),
    "a heading line": Form("## Key-Result: KR-12", [h("Key-Result: KR-12")], ("KR-12",)),
    "a heading": Form("### Key Result\n\nKR-12", [h("Key Result"), p("KR-12")], ("KR-12",)),
    "a heading with its sign": Form("# KR:\nKR-12, KR-13", [h("KR:"), p("KR-12, KR-13")], ("KR-12", "KR-13")),
    "a heading over a list": Form(
        "## Key Results\n- KR-12\n- KR-13\n- and more\n- KR-14",
        [h("Key Results"), items("KR-12", "KR-13", "and more", "KR-14")],
        ("KR-12", "KR-13"),
    ),
    "a heading over an unknown key": Form("## KR\nKR-99", [h("KR"), p("KR-99")], (), ("KR-99",)),
    "a list with an unknown key": Form(
        "## KR\n- KR-12\n- KR-99", [h("KR"), items("KR-12", "KR-99")], ("KR-12",), ("KR-99",)
    ),
    "a table with its heads above": Form(
        "| Key Result | Owner |\n|---|---|\n| KR-12 | Ada |",
        [table(("Key Result", "Owner"), ("KR-12", "Ada"))],
        ("KR-12",),
    ),
    "a table with its heads beside": Form(
        "| | |\n|---|---|\n| Key Result | KR-12 |\n| Owner | Ada |",
        [table(("", ""), ("Key Result", "KR-12"), ("Owner", "Ada"))],
        ("KR-12",),
    ),
    "a table's cell alone": Form("| KR: KR-12 |\n|---|", [table(("KR: KR-12",))], ("KR-12",)),
    "a table with an unknown key": Form(
        "| Key Result | KR-99 |\n|---|---|", [table(("Key Result", "KR-99"))], (), ("KR-99",)
    ),
    "a table of prose": Form(
        "| Key Result | Owner |\n|---|---|\n| Grow | Ada |",
        [table(("Key Result", "Owner"), ("Grow", "Ada"))],
    ),
    "a status": Form(
        "Key-Result: KR-12", [p("Key-Result: ", node("status", text="KR-12", color="blue"))], ("KR-12",)
    ),
    "in a panel": Form(
        "> [!NOTE]\n\nKR: KR-12", [node("panel", p("KR: KR-12"), panelType="note")], ("KR-12",)
    ),
    "beside something struck out": Form(
        "Key-Result: ~~KR-13~~ KR-12", [p("Key-Result: ", text("KR-13", "strike"), " KR-12")], ("KR-12",)
    ),
    # Silent.
    "struck out": Form("~~Key-Result: KR-12~~", [p(text("Key-Result: KR-12", "strike"))]),
    "quoted": Form("> Key-Result: KR-12", [node("blockquote", p("Key-Result: KR-12"))]),
    "a code block": Form("```\nKey-Result: KR-12\n```", [node("codeBlock", "Key-Result: KR-12")]),
    "not filled in": Form(
        f"Key-Result: {PLACEHOLDER}", [p("Key-Result: ", node("placeholder", text="KR-12"))]
    ),
    "a form's section": Form(
        "### Key Result\n\n_No response_", [h("Key Result"), p(text("No response", "em"))]
    ),
    "a section with N/A": Form("### Key Result\n\nN/A", [h("Key Result"), p("N/A")]),
    "an empty section": Form("### Key Result\n\n### Next\n\nKR-12", [h("Key Result"), h("Next"), p("KR-12")]),
    "a heading over prose": Form(
        "## Key Results\nWe grow in Korea, as KR-12 says.",
        [h("Key Results"), p("We grow in Korea, as KR-12 says.")],
    ),
    "a heading over prose that begins like a key": Form(
        "## Key Results\nISO-27001 certification", [h("Key Results"), p("ISO-27001 certification")]
    ),
    "a heading of more words": Form(
        "## Key Results of 2026\nKR-12", [h("Key Results of 2026"), p("KR-12")]
    ),
    "a bold line alone": Form("**Key Result**\nKR-12", [p(text("Key Result", "strong")), p("KR-12")]),
    "a key alone": Form("KR-12", [p("KR-12")]),
}  # fmt: skip
EACH = FORMS | {line: Form(line, [p(line)], links, unknown) for line, links, unknown in LINES}


@pytest.mark.parametrize("name", EACH)
def test_a_form_gives_the_same_on_both_trackers(name: str) -> None:
    form = EACH[name]
    expected = [*form.links], [*form.unknown]
    assert found_in(resolved(github_lines(form.markdown))) == expected
    assert found_in(resolved(jira_lines({"type": "doc", "version": 1, "content": form.adf}))) == expected


@pytest.mark.parametrize("name", EACH)
def test_a_text_that_is_not_parsed_gives_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(github_text, "MOST_WORK", -1)
    form = EACH[name]
    assert found_in(resolved(github_lines(form.markdown))) == ([*form.links], [*form.unknown])


def test_the_table_has_more_than_a_person_thinks_of() -> None:
    assert sum(bool(form.links) for form in EACH.values()) >= 34
    assert sum(not form.links and not form.unknown for form in EACH.values()) >= 30


HTML = {
    "<img src='x.png'>\nKey-Result: KR-12": ("KR-12",),
    "<b>Key-Result</b>: KR-12": ("KR-12",),
    "<p>text<br>KR: KR-12</p>": ("KR-12",),
    "<details><summary>More</summary>\n\nKey-Result: KR-12\n\n</details>": ("KR-12",),
    "<details>\n<summary>Key-Result: KR-12</summary>\n</details>": ("KR-12",),
    "<div>Key-Result: KR-12</div>": ("KR-12",),
    "<h3>Key Result</h3>\n<p>KR-12</p>": ("KR-12",),
    "<table><tr><th>Key Result<th>Owner<tr><td>KR-12<td>Ada</table>": ("KR-12",),
    "<table>\n<tr><td>\n\nKey Result\n\n</td><td>\n\nKR-12\n\n</td></tr></table>": ("KR-12",),
    "<code>Key-Result: KR-12</code>": ("KR-12",),
    "Key-Result&colon; KR-12": ("KR-12",),
    "Key Result\n---\nKR-12": ("KR-12",),
    "Words\n\nKey Result\n===\n\nKR-12": ("KR-12",),
    "Key-Result: KR-12[^1]\n\n[^1]: a note": ("KR-12",),
    f"Key-Result: [KR-12][g], KR-13\n\n[g]: {CARD}": ("KR-12", "KR-13"),
    "Words\n---\nKR-12": (),
    "<blockquote>\n\nKey-Result: KR-13\n\n</blockquote>\n\nKR: KR-12": ("KR-12",),
    "<pre>\nKey-Result: KR-12\n</pre>": (),
    "<del>Key-Result: KR-12</del>": (),
    "<s>Key-Result: KR-12</s> <strike>KR: KR-13</strike>": (),
    "<!--\nKey-Result: KR-12\n-->": (),
    "text <!-- Key-Result: KR-12 -->": (),
    "<div title='Key-Result: KR-12'></div>": (),
    "![Key-Result: KR-12](x.png)": (),
    "    Key-Result: KR-12": (),
    "> - Key-Result: KR-12": (),
}


@pytest.mark.parametrize("markdown", HTML)
@pytest.mark.parametrize("parsed", [True, False])
def test_html_is_dropped_and_its_words_are_read(
    markdown: str, *, parsed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not parsed:
        monkeypatch.setattr(github_text, "MOST_WORK", -1)
    assert found_in(resolved(github_lines(markdown))) == ([*HTML[markdown]], [])


WIKI = {
    "Key-Result: KR-12": ("KR-12",), "*Key-Result:* KR-12": ("KR-12",), "h2. Key Result\nKR-12": ("KR-12",),
    "* one\n* KR: KR-12": ("KR-12",), "||Key Result||Owner||\n|KR-12|Ada|": ("KR-12",),
    "|Key Result|KR-12|": ("KR-12",), "{{Key-Result: KR-12}}": ("KR-12",),
    f"Key-Result: [KR-12|{CARD}]": ("KR-12",), "{color:red}KR: KR-12{color}": ("KR-12",),
    "text\\\\KR: KR-12": ("KR-12",), "-Key-Result: KR-12-": (), "bq. Key-Result: KR-12": (),
    "{code}\nKey-Result: KR-12\n{code}": (), "{quote}KR: KR-12{quote}": (),
}  # fmt: skip


@pytest.mark.parametrize("wiki", WIKI)
def test_wiki_markup(wiki: str) -> None:
    assert found_in(resolved(jira_lines(wiki))) == ([*WIKI[wiki]], [])


LABELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kr:KR-12": (("KR-12",), ()), "KR: kr-12": (("KR-12",), ()), "kr/KR-12": (("KR-12",), ()),
    "key-result:KR-12": (("KR-12",), ()), "Key Result: KR-12, KR-13": (("KR-12", "KR-13"), ()),
    "kr:KR-99": ((), ("KR-99",)), "kr:grow in Korea": ((), ("grow in Korea",)), "kr/?x y": ((), ("?x y",)),
    "kr:KR-12,KR-99": (("KR-12",), ("KR-99",)),
    "kr:": ((), ()), "kr": ((), ()), "kr-12": ((), ()), "xkr:KR-12": ((), ()), "korea:KR-12": ((), ()),
}  # fmt: skip


@pytest.mark.parametrize("label", LABELS)
def test_labels(label: str) -> None:
    links, unknown = LABELS[label]
    resolution = resolved((), ("infra", label))
    assert found_in(resolution) == ([*links], [*unknown])
    assert all(link.why == f"the ticket has the label `{label}`" for link in resolution.links)


VALUES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "KR-12": (("KR-12",), ()), "kr-12, KR-13": (("KR-12", "KR-13"), ()),
    "KR-12: grow in Korea": (("KR-12",), ()), "Key-Result: KR-12": (("KR-12",), ()),
    "KR-12\nKR-13": (("KR-12", "KR-13"), ()),
    "KR-99": ((), ("KR-99",)), "Grow in Korea": ((), ("Grow in Korea",)), CARD: ((), (CARD,)),
    "": ((), ()), " - ": ((), ()),
}  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_values_of_the_named_field(value: str) -> None:
    links, unknown = VALUES[value]
    resolution = resolved((), (), NamedField("Our goal", (value,)))
    assert found_in(resolution) == ([*links], [*unknown])
    assert [link.why for link in resolution.links] == [
        f"the ticket's field `Our goal` says {key}" for key in links
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("kr = KR-12", "the description says `kr = KR-12`"),
        ("a heading", "the description has KR-12 under the heading `Key Result`"),
        ("a table with its heads beside", "a table in the description has KR-12 beside `Key Result`"),
        ("a table with its heads above", "a table in the description has KR-12 below `Key Result`"),
    ],
)
def test_why_it_is_linked(name: str, why: str) -> None:
    assert resolved(github_lines(EACH[name].markdown)).links[0].why == why


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Key-Result: KR-99", "The ticket names KR-99, which does not exist"),
        (f"KR: {CARD}", f"The ticket names {CARD}, which is not the key of a key result"),
    ],
)
def test_what_is_told_of_it(name: str, says: str) -> None:
    assert [one.sentence for one in resolved(github_lines(EACH[name].markdown)).unknown] == [says]


# --- all descriptions -------------------------------------------------------------------------

TOO_MUCH = "![" * 8_000  # work to parse

_PROSE = [line for line, links, unknown in LINES if not (links or unknown or line.startswith("Key-Result:"))]
_PIECES = [
    "## Key Results", "### KR", "a", "\n\n", "We grow in Korea by 12 percent.", "> ", "- ", "N/A", "1. ",
    "_No response_", "KR: talks about the market", "Key Result – what we want", "KR = revenue of Korea", "`",
    "| Key Result | Owner |\n|---|---|\n| Grow | Ada |", "**", "~~", "<b>", "<table><tr><td>", "[x](y)",
]  # fmt: skip
_words = st.sampled_from([*_PROSE, *_PIECES])


@settings(deadline=None)
@given(st.lists(_words, max_size=25))
def test_prose_is_never_told(pieces: list[str]) -> None:
    markdown = "\n".join(piece for piece in pieces if "KR-12" not in piece and "http" not in piece)
    for lines in (github_lines(markdown), jira_lines(markdown), github_lines(f"{TOO_MUCH}\n\n{markdown}")):
        resolution = resolved(lines)
        assert found_in(resolution) == ([], [])


@settings(deadline=None)
@given(st.lists(_words | st.sampled_from([form.markdown for form in EACH.values()]) | st.text(), max_size=25))
def test_only_keys_that_stand_there_are_linked(pieces: list[str]) -> None:
    markdown = "\n".join(pieces)
    for lines in (github_lines(markdown), jira_lines(markdown)):
        shown = " ".join(line.text for line in lines).casefold().translate({0x2011: "-", 0xFF0D: "-"})
        for link in resolved(lines).links:
            assert link.key_result.key.casefold() in shown or "１" in shown


def test_all_of_a_long_description_is_read() -> None:
    filler = ["A line of a long description."] * 2_100
    markdown = "\n".join([*filler, "x " * 300 + "y", "Key-Result: KR-12"])
    assert len(markdown) < github_text.LONGEST
    assert found_in(resolved(github_lines(markdown))) == (["KR-12"], [])
    assert found_in(resolved(github_lines("A line.\n" * 25_000 + "\nKey-Result: KR-12"))) == (["KR-12"], [])
    adf = {
        "type": "doc",
        "version": 1,
        "content": [*map(p, filler), p("Key-Result: " + ", " * 5_000 + "KR-12")],
    }
    assert found_in(resolved(jira_lines(adf))) == (["KR-12"], [])
