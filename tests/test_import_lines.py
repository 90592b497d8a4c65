"""Columns as people name them, and cells as values. Pure."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import pytest

from mappings.errors import Invalid
from mappings.files.table import BadCell, Cell
from mappings.imports.cells import CellError, number_of, value_of
from mappings.imports.columns import KEY_RESULTS, KINDS, LINKS, OBJECTIVES
from mappings.imports.read import Lines, ReadOptions, read_lines


def _lines(kind: str, file: str, **options: Any) -> Lines:
    return read_lines(KINDS[kind], file.encode(), ReadOptions(**options))


def _refused(kind: str, file: str, **options: Any) -> tuple[str, str]:
    with pytest.raises(Invalid) as refusal:
        _lines(kind, file, **options)
    return refusal.value.errors[0]


# --- columns ----------------------------------------------------------------------------------


def test_the_columns_are_those_of_the_contract() -> None:
    assert ",".join(OBJECTIVES.names) == (
        "key,title,description,driver,cycle,parent,owner,sponsor,weight,visibility,public_label,state"
    )
    assert ",".join(KEY_RESULTS.names) == (
        "key,objective,title,description,owner,category,unit,baseline,target,direction,due,state"
    )
    assert ",".join(LINKS.names) == "source,epic,key_result,weight,primary,origin"


@pytest.mark.parametrize(
    ("kind", "header", "columns"),
    [
        ("objectives", "KEY,Public Label, public_label2", None),
        ("objectives", "Key,TITLE,Public Label,  parent ", "key title public_label parent"),
        ("objectives", "key,public-label,Titel", "key public_label title"),
        ("objectives", "Objective,Owner", "title owner"),
        ("objectives", "Objective,Title", "key title"),
        ("key-results", "Key Result,Objective", "title objective"),
        ("key-results", "key_result,Objective,Title,Due Date", "key objective title due"),
        ("key-results", "Key,Key Result,Objective", "key title objective"),
        ("links", "Source,Key,KR", "source epic key_result"),
        ("links", "source,epic,Key Result,Primary,", "source epic key_result primary"),
    ],
)
def test_columns_as_people_name_them(kind: str, header: str, columns: str | None) -> None:
    maps = ("Titel:title",) if "Titel" in header else ()
    if columns is None:
        assert _refused(kind, f"{header}\n", maps=maps)[0] == "file"
    else:
        assert _lines(kind, f"{header}\n", maps=maps).columns == columns.split()


@pytest.mark.parametrize(
    ("kind", "file", "options", "field", "message"),
    [
        ("objectives", "key,title,colour\n", {}, "file", "has a column 'colour', which is not known here"),
        ("objectives", "key,title,colour\n", {}, "file", "`map=colour:state` takes it as one of these"),
        ("links", "Quelle,Epic,Key Result,Ort\n", {}, "file", "has columns 'Quelle', 'Ort', which are not"),
        ("links", "Quelle,Epic,Key Result\n", {}, "file", "`map=Quelle:source` takes it as one of these"),
        ("objectives", "key,title,TITLE\n", {}, "file", "has the column title twice: 'title' and 'TITLE'"),
        ("objectives", "key,title,name\n", {"maps": ["name:title"]}, "file", "has the column title twice"),
        ("objectives", "owner\n", {}, "file", "has no column title; objectives have the columns key, title"),
        ("key-results", "title\n", {}, "file", "has no column objective"),
        ("links", "source,key_result\n", {}, "file", "has no column epic"),
        ("links", "source,key,key_result,colour\n", {}, "file", "has a column 'colour'"),
        ("objectives", "title\n", {"maps": ["Titel:title"]}, "map", "the file has no column 'titel'"),
        ("objectives", "title\n", {"maps": ["title:colour"]}, "map", "must be `theirs:ours`"),
        ("objectives", "title\n", {"maps": ["title"]}, "map", "must be `theirs:ours`"),
        ("objectives", "title\n", {"maps": ["a:title"] * 51}, "map", "may stand 50 times at most"),
        ("objectives", "title,#N/A\n", {}, "file", "has no name in column 2 of its header: the cell is #N/A"),
        ("objectives", "title,\x1b[2J\n", {}, "file", "`map=\ufffd[2J:state` takes it as one of these"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_taken_is_told(
    kind: str, file: str, options: dict[str, Any], field: str, message: str
) -> None:
    found = _refused(kind, file, **options)
    assert found[0] == field
    assert message in found[1]


def test_a_long_name_of_a_column_is_shown_in_part() -> None:
    for header in (f"title,{'x' * 30_000}\n", f"{'x' * 30_000}\n", f"title,Title,{'x' * 30_000}\n"):
        assert len(_refused("objectives", header)[1]) < 500
        assert len(_refused("objectives", header, maps=["y:title"])[1]) < 500


def test_a_column_may_be_left_out_and_a_title_may_stand_above_the_header() -> None:
    file = _lines("objectives", "Our goals\n\nKey;Titel;Notiz\nO-1;x;y\n", maps=["titel:title", "Notiz:"])
    assert (file.header_line, file.columns) == (3, ["key", "title"])
    assert [(line.number, line.values) for line in file.lines] == [(4, {"key": "O-1", "title": "x"})]


def test_a_cell_below_no_column_name_is_wrong_unless_it_is_empty() -> None:
    file = _lines("objectives", "key,title,\nO-1,x,,,\nO-2,x,,y\nO-3,x,y\n")
    assert [bool(line.errors) for line in file.lines] == [False, True, True]


def test_a_header_alone_has_no_lines() -> None:
    assert _lines("links", "source,epic,key_result\n").lines == []


# --- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1250", 1250.0), ("1.250", 1.25), ("-1.5", -1.5), ("−1.5", -1.5), ("+2", 2.0), (" 3 ", 3.0),
        (".5", 0.5), ("1e3", 1000.0), ("1,250.5", 1250.5), ("1,250,000", 1.25e6),
        ("12 500", 12500.0),
        ("12\u202f500.5", 12500.5), ("1’250", 1250.0), ("1E-07", 1e-07),
    ],
)  # fmt: skip
def test_numbers_with_a_full_stop(text: str, number: float) -> None:
    assert number_of(text, decimal_comma=False) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,250", 1.25), ("1,5", 1.5), ("0.5", 0.5), ("1250.5", 1250.5), ("1.250,5", 1250.5),
        ("-1.250.000", -1.25e6),
        ("1 250,5", 1250.5), ("7", 7.0),
    ],
)  # fmt: skip
def test_numbers_with_a_decimal_comma(text: str, number: float) -> None:
    assert number_of(text, decimal_comma=True) == number


@pytest.mark.parametrize(
    ("text", "comma", "message"),
    [
        ("1,250", False, "is '1,250', which may be 1250 or 1.250; write it without the comma, or"),
        ("1.250", True, "is '1.250', which may be 1250 or 1.250; write it without the full stop"),
        ("1,5", False, "must be a number, and is '1,5'; `decimal=,` reads a comma as the decimal sign"),
        ("0,250", False, "`decimal=,` reads a comma"),
        ("1,25,000", False, "must be a number"),
        ("1,250,00.5", False, "must be a number"),
        ("5%", False, "must be a number, and is '5%'"),
        ("nan", False, "must be a number"),
        ("inf", True, "must be a number"),
        ("1.2.3", False, "must be a number"),
        ("1,2,3", True, "must be a number"),
        ("٣", False, "must be a number"),
        ("1_000", False, "must be a number"),
    ],
)  # fmt: skip
def test_what_is_no_number_or_may_be_two(text: str, comma: bool, message: str) -> None:
    with pytest.raises(CellError) as error:
        number_of(text, decimal_comma=comma)
    assert message in str(error.value)


def test_a_semicolon_file_has_decimal_commas_unless_it_is_told_otherwise() -> None:
    file = "key;weight\nO-1;1,5\n"
    assert _lines("objectives", file).lines[0].values["weight"] == 1.5
    assert _lines("objectives", file, decimal=".").lines[0].errors
    assert _lines("objectives", "key\tweight\nO-1\t1,5\n").lines[0].errors
    assert _lines("objectives", 'key,weight\nO-1,"1,5"\n', decimal=",").lines[0].values["weight"] == 1.5


# --- other cells ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("due", "2026-12-31", date(2026, 12, 31)),
        ("due", "2026/1/5", date(2026, 1, 5)),
        ("due", "31.12.2026", date(2026, 12, 31)),
        ("due", "2026-12-31 00:00:00", date(2026, 12, 31)),
        ("due", datetime(2026, 12, 31), date(2026, 12, 31)),
        ("due", date(2026, 12, 31), date(2026, 12, 31)),
        ("key", 12.0, "12"),
        ("title", 1.5, "1.5"),
        ("title", True, "true"),
        ("title", date(2026, 12, 31), "2026-12-31"),
        ("title", "  x ", "x"),
        ("description", " x ", " x "),
        ("state", "Active", "active"),
        ("target", 5, 5.0),
        ("due", "  ", None),
        ("title", None, None),
    ],
)
def test_a_cells_value(column: str, cell: Cell, value: object) -> None:
    assert value_of(KEY_RESULTS.by_name[column], cell, decimal_comma=False) == value


@pytest.mark.parametrize(
    ("word", "value"), [("TRUE", True), ("x", True), ("No", False), (1.0, True), (False, False)]
)
def test_yes_and_no(word: Cell, value: bool) -> None:
    assert value_of(LINKS.by_name["primary"], word, decimal_comma=False) is value


@pytest.mark.parametrize(
    ("column", "cell", "message"),
    [
        ("due", "12/31/2026", "must be a day such as 2026-12-31"),
        ("due", "2026-02-30", "is no day of the calendar"),
        ("due", "31.02.2026", "is no day of the calendar"),
        ("due", 46387.0, "is a number; format the cell as a date"),
        ("due", datetime(2026, 12, 31, 13), "must be a day, and is a time"),
        ("target", True, "must be a number"),
        ("target", date(2026, 12, 31), "is a date; format the cell as a number"),
        ("title", BadCell("says why"), "says why"),
    ],
)
def test_a_cell_that_cannot_be_taken(column: str, cell: Cell, message: str) -> None:
    with pytest.raises(CellError) as error:
        value_of(KEY_RESULTS.by_name[column], cell, decimal_comma=False)
    assert message in str(error.value)
