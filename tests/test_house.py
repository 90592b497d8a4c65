"""The house as docs/architecture.md shows it: its rooms, its ways, its words."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mappings.tables import Base
from tests.house.imports import Module, modules
from tests.house.tables import gates_table, transitions_table

ROOT = Path(__file__).parents[1]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CODE = ("app", "mappings", "connectors", "migrations")


def _section(title: str) -> str:
    _, _, rest = ARCHITECTURE.partition(f"\n## {title}\n")
    assert rest, title
    return rest.partition("\n## ")[0]


# --- rooms ------------------------------------------------------------------------------------


def _rooms_of_the_tree() -> dict[str, list[str]]:
    rooms: dict[str, list[str]] = {}
    for package in ("app", "mappings", "connectors"):
        for path in (ROOT / package).rglob("*.py"):
            if not path.stem.startswith("__"):
                rooms.setdefault(f"{path.relative_to(ROOT).parent.as_posix()}/", []).append(path.stem)
    return {room: sorted(names) for room, names in rooms.items()}


def test_the_table_of_rooms_is_the_tree() -> None:
    rows = re.findall(r"^\| `([\w/]+/)` \| (.*?) \|", _section("Rooms"), re.MULTILINE)
    table = {room: re.findall(r"`(\w+)`", names) for room, names in rows}
    assert table == _rooms_of_the_tree()


# --- tables printed from the code -------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("The notice's states", transitions_table()),
        ("What may hold a comment back", gates_table()),
    ],
)
def test_a_table_is_the_one_of_the_code(title: str, table: str) -> None:
    printed = [line for line in _section(title).splitlines() if line.startswith("|")]
    assert printed == table.splitlines(), f"print it anew:\n{table}"


# --- ways -------------------------------------------------------------------------------------

STEP = re.compile(r"`((?:app|mappings|connectors)/[\w/]+\.py)`\s+`(\w+)`")


@pytest.mark.parametrize("title", ["The way of one webhook to its comment", "The way of one sync"])
def test_each_step_of_a_way_is_in_the_code(title: str) -> None:
    steps = STEP.findall(_section(title))
    assert len(steps) > 10
    missing = [(path, name) for path, name in steps if name not in _defined(ROOT / path)]
    assert missing == []


def _defined(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, kinds)}


# --- words ------------------------------------------------------------------------------------

# Going wherever they stand in a name, a file's name or a document, with all they begin.
STEMS = ("judg", "rejudg", "unjudg", "ruling", "heed", "obey", "wish", "tallies", "verdict")
# Going as whole names. `case` and `observe` are Python's, SQLAlchemy's and Prometheus' own, so they stay.
GOING = """
    standard subject standing Standard Subject Standing Ruling wanted Wanted Wish told Told hear settling
    Settling said Said carry_out keep_run give_back may_be_repeated touching doubt take_over these_epics
    share_goals change_goals metered attend Door Part Side Place look_again_at judged_at gone_at gone_reason
    declared leaving_at read_to_end writes_stopped_at writes_stopped_why asked_at taking_back unanswered_at
    guard_why epic_keys run_projects tracker_readings
"""
NAMES = frozenset(GOING.split())
# One of both, or something like it: what has none of these has no going name.
GOING_WORD = re.compile(rf"(?i){'|'.join(STEMS)}|\b(?:{'|'.join(NAMES)})\b")
# Going from the tables alone: elsewhere they are ordinary words.
COLUMNS = {"runs": {"touch", "accepts", "asked_at"}, "notices": {"named"}}
# The tables that were renamed, in SQL and documents.
TABLES = re.compile(r"(?:FROM|INTO|UPDATE|JOIN|TABLE|`)\s*(?:tallies|ticks|epic_keys|run_projects)\b")
HERE = Path(__file__).name


def _words(name: str) -> list[str]:
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def _is_going(name: str) -> bool:
    return name in NAMES or any(word.startswith(STEMS) for word in _words(name))


def _sources(packages: Sequence[str] = (*CODE, "tests")) -> Iterator[Path]:
    for package in packages:
        yield from (path for path in (ROOT / package).rglob("*.py") if path.name != HERE)


def _tokens(
    packages: Sequence[str], only: re.Pattern[str] | None = None
) -> Iterator[tuple[Path, tokenize.TokenInfo]]:
    """Of every file of the packages, or of those `only` in which this is found."""
    for path in _sources(packages):
        text = path.read_text(encoding="utf-8")
        if only is None or only.search(text):
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                yield path.relative_to(ROOT), token


def test_no_identifier_is_one_that_goes() -> None:
    found = [
        f"{path}:{token.start[0]}: {token.string}"
        for path, token in _tokens((*CODE, "tests"), GOING_WORD)
        if token.type == tokenize.NAME and _is_going(token.string)
    ]
    assert found == []


def test_no_file_is_named_by_a_word_that_goes() -> None:
    assert [str(path.relative_to(ROOT)) for path in _sources() if _is_going(path.stem)] == []


DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_document_says_a_word_that_goes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    quoted = [word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"\w+", code)]
    prose = [word for word in re.findall(r"[A-Za-z]+", text) if word.lower().startswith(STEMS)]
    assert [word for word in quoted if _is_going(word)] + prose + TABLES.findall(text) == []


PAGES = [path for path in (ROOT / "app/web").rglob("*") if path.suffix in (".html", ".css", ".js")]


def test_no_text_in_the_code_says_a_word_that_goes() -> None:
    """Names, comments, docstrings, messages, SQL, pages and their styles."""
    assert PAGES
    found = []
    for path in (*_sources(), *PAGES):
        text = path.read_text(encoding="utf-8")
        words = (word for word in re.finditer(r"[A-Za-z]+", text) if word[0].lower().startswith(STEMS))
        for match in (*words, *TABLES.finditer(text)):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match[0]}")
    assert found == []


def test_the_renamed_columns_are_gone() -> None:
    there = {table: set(Base.metadata.tables[table].columns.keys()) for table in COLUMNS}
    assert [there[table] & gone for table, gone in COLUMNS.items()] == [set(), set()]


@pytest.mark.parametrize("name", ["judged_at", "open_judge_runs", "Standing", "wishes", "obey", "Rulings"])
def test_a_word_that_goes_would_be_found(name: str) -> None:
    assert _is_going(name)


@pytest.mark.parametrize("name", ["outstanding", "standard_error", "understanding", "Sidecar", "besides"])
def test_a_word_that_stays_is_left_alone(name: str) -> None:
    assert not _is_going(name)


# --- the measure ------------------------------------------------------------------------------


def test_what_a_module_imports_is_read_from_its_source(tmp_path: Path) -> None:
    (tmp_path / "app/inner").mkdir(parents=True)
    for package in ("mappings", "connectors"):
        (tmp_path / package).mkdir()
    (tmp_path / "app/inner/__init__.py").write_text("")
    (tmp_path / "app/inner/one.py").write_text("X = 1\n")
    (tmp_path / "app/two.py").write_text(
        "from __future__ import annotations\n\n"
        "import re\nfrom app.inner import one\nfrom app.inner.one import X\n"
    )
    assert modules(tmp_path) == [
        Module("app.inner.one", 1, frozenset(), frozenset()),
        Module("app.two", 5, frozenset({"re", "app.inner", "app.inner.one"}), frozenset({"app.inner.one"})),
    ]


# --- names in texts ---------------------------------------------------------------------------

TICKED = re.compile(r"`([A-Za-z_][\w.]*)(?:\(\))?`")


def _is_text(token: tokenize.TokenInfo) -> bool:
    is_docstring = token.type == tokenize.STRING and token.string.startswith('"""')
    return is_docstring or token.type == tokenize.COMMENT


def test_a_name_that_a_docstring_or_comment_quotes_is_in_the_code() -> None:
    """It may be an identifier, or a part of a string: a setting, a column, a member of a payload."""
    known, quoted = set(), []
    for path, token in _tokens(CODE):
        if _is_text(token):
            quoted += [(path, token.start[0], name) for name in TICKED.findall(token.string)]
        else:
            known |= {path.stem, *re.findall(r"[A-Za-z_]\w*", token.string)}
    assert len(quoted) > 500
    elsewhere = {part for *_, name in quoted for part in name.strip(".").split(".")} - known
    if elsewhere:
        for path, token in _tokens(("tests",), re.compile(rf"\b(?:{'|'.join(elsewhere)})\b")):
            if not _is_text(token):
                known |= {path.stem, *re.findall(r"[A-Za-z_]\w*", token.string)}
    missing = [
        f"{path}:{line}: {name}"
        for path, line, name in quoted
        if not known.issuperset(name.strip(".").split("."))
    ]
    assert missing == []
