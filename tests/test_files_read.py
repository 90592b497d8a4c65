"""Files as tables: CSV as people save it, workbooks, what is no table, and what is made to do harm. Pure."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from mappings.errors import Invalid
from mappings.files.harmless import as_written, harmless, starts_formula
from mappings.files.read import read_table
from mappings.files.table import FILE_AT_MOST, LINES_AT_MOST, BadCell, Cell, Table
from mappings.files.write import csv_rows
from tests.support.files import SHEET, a_workbook, sheet_xml, with_part

BOOK = a_workbook([["key", "title"], ["O-1", "x"]])


def _known(cells: Sequence[Cell]) -> int:
    return sum(cell in ("key", "title", "Größe") for cell in cells)


def _read(data: bytes | str, **options: Any) -> Table:
    return read_table(data.encode() if isinstance(data, str) else data, _known, **options)


def _cells(table: Table) -> list[tuple[int, list[Cell]]]:
    return [(row.number, list(row.cells)) for row in table.rows]


def _refused(data: bytes | str, **options: Any) -> str:
    with pytest.raises(Invalid) as refusal:
        _read(data, **options)
    return refusal.value.errors[0][1]


# --- CSV --------------------------------------------------------------------------------------

TEXT = "key,title,Größe\r\nO-1,Äpfel,1\r\n"


@pytest.mark.parametrize(
    ("data", "charset", "encoding"),
    [
        (TEXT.encode(), None, "utf-8"),
        (TEXT.encode("utf-8-sig"), None, "utf-8"),
        (TEXT.encode("utf-8-sig"), "iso-8859-1", "utf-8"),
        (TEXT.encode("utf-16"), None, "utf-16-le"),
        (b"\xfe\xff" + TEXT.encode("utf-16-be"), None, "utf-16-be"),
        (TEXT.encode("utf-16-le"), None, "utf-16-le"),
        (TEXT.encode("utf-16-be"), None, "utf-16-be"),
        (TEXT.encode("utf-16"), "utf-16", "utf-16-le"),
        (TEXT.encode("windows-1252"), None, "windows-1252"),
        (TEXT.encode("windows-1252"), "windows-1252", "windows-1252"),
        (TEXT.encode("iso-8859-15"), "ISO-8859-15", "iso-8859-15"),
    ],
)
def test_each_encoding_is_read(data: bytes, charset: str | None, encoding: str) -> None:
    table = _read(data, charset=charset)
    assert table.encoding == encoding
    assert _cells(table) == [(1, ["key", "title", "Größe"]), (2, ["O-1", "Äpfel", "1"])]


@pytest.mark.parametrize(
    ("data", "charset", "message"),
    [
        (b"key,title\nO-1,\xc3\x84pfel\nO-2,\xff\n", None, "is not UTF-8 in line 3; save it again as UTF-8"),
        (b"key,title\nO-1,\xff\n", "utf-8", "is not UTF-8 in line 2; save it again as UTF-8"),
        (b"key,title\nO-1,\x81\n", None, "is not windows-1252 in line 2; save it again as UTF-8"),
        (b"key,title\n", "rot13", "has the charset 'rot13', which is not known here"),
        (b"key\x00,title\nO-1,\xff\xfe\xff\n", None, "is neither CSV nor an XLSX workbook"),
        (b"key,title\nO-1,\"a\nO-2,b\n", None, "ends inside a quoted cell that starts in line 2"),
        (b'key,title\nO-1,"a"b\n', None, "has text after a closing quote, where `,` should stand, in line 2"),
        (b"key\n" + b"a," * 101 + b"b\n", None, "may have 100 columns at most, and line 2 has 102 cells"),
        (b"", None, "is empty"),
        (b"\xef\xbb\xbf \r\n\r\n", None, "is empty"),
        (b"%PDF-1.7 key,title", None, "is a PDF"),
        (b"<html><table>", None, "is a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1rest", None, "is a workbook of the old format (.xls)"),
        (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"),
            None,
            "is protected by a password; save it without one",
        ),
        (b"key\n" + b"a" * FILE_AT_MOST, None, "has more than 8 MB; split it"),
        (b"key\n" + b"a\n" * (LINES_AT_MOST + 1), None, "has more than 20,000 lines; split it"),
        (b"key\n" + b"a\n" * 100_000, None, "has more than 20,000 lines; split it"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told(data: bytes, charset: str | None, message: str) -> None:
    assert message in _refused(data, charset=charset)


def test_as_many_lines_as_may_be() -> None:
    assert len(_read(b"Objectives\n\nkey\n" + b"a\n" * LINES_AT_MOST).rows) == LINES_AT_MOST + 2


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_separator_is_the_one_with_which_the_names_are_found(separator: str) -> None:
    others = "".join({",", ";", "\t"} - {separator})
    table = _read(f'key{separator}title{separator}"a{others}b"\nO-1{separator}x{others}y,;\n')
    assert table.separator == separator
    assert table.decimal_comma == (separator == ";")
    assert table.rows[1].cells[0] == "O-1"


def test_a_named_separator_counts_and_its_line_does_not() -> None:
    table = _read("sep=;\r\nkey;title\r\nO-1;a,b\r\n")
    assert (table.separator, _cells(table)) == (";", [(1, ["key", "title"]), (2, ["O-1", "a,b"])])


def test_lines_are_numbered_as_a_spreadsheet_shows_them() -> None:
    table = _read('A title\n\nkey,title\nO-1,"two\nlines"\n,\nO-2,x\n')
    assert [row.number for row in table.rows] == [1, 3, 4, 6]


def test_a_cell_that_is_too_long_or_failed_is_wrong_by_itself() -> None:
    table = _read(f"key,title\nO-1,{'x' * 1_000_000}\nO-2,#N/A\nO-3,fine\n")
    long, failed, fine = (row.cells[1] for row in table.rows[1:])
    assert long == BadCell("has 1,000,000 characters; a cell may have 32,767")
    assert isinstance(failed, BadCell)
    assert fine == "fine"


# --- formulas ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", " =1", "'=1", "''=1"]
)
def test_a_text_like_a_formula_gets_an_apostrophe_that_is_taken_back(text: str) -> None:
    assert starts_formula(text)
    assert harmless(text) == f"'{text}"
    assert as_written(harmless(text)) == text


@pytest.mark.parametrize("text", ["", "'", "'tis", "a=1", "1-2", "KR-1"])
def test_another_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == as_written(text) == text


@settings(max_examples=25)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=4))
def test_what_goes_out_as_csv_comes_in_again(cells: list[str]) -> None:
    def text(cell: Cell) -> object:
        return "bad" if isinstance(cell, BadCell) else cell

    table = _read(csv_rows([["key", "title", "Größe"], ["O-1", *cells]]))
    if len(table.rows) > 1:
        assert [text(cell) for cell in table.rows[1].cells[1:]] == [
            "bad" if cell.strip().startswith("#") and text(table.rows[1].cells[at]) == "bad" else cell
            for at, cell in enumerate(cells, 1)
        ]


# --- workbooks --------------------------------------------------------------------------------


def _with_values(book: Any, sheet: Any) -> None:
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
    sheet.write_datetime("B2", datetime(2026, 12, 31), day)
    sheet.write_datetime("C2", datetime(2026, 12, 31, 13, 30), moment)
    sheet.write_boolean("D2", True)
    sheet.write_formula("E2", "=1+1", None, 2)
    sheet.write_formula("F2", "=NA()", None, "#N/A")
    sheet.write_string("G2", "a\r\nb\t_x000D_ é😀 ")
    sheet.write_string("H2", "=1+1")
    sheet.merge_range("A4:A5", "O-2")
    sheet.write_string("B5", "x")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN"])
def test_a_number_that_is_none_is_wrong_by_itself(number: str) -> None:
    cells = '<row r="1"><c r="A1" t="inlineStr"><is><t>title</t></is></c></row>'
    table = _read(with_part(BOOK, SHEET, sheet_xml(f'{cells}<row r="2"><c r="A2"><v>{number}</v></c></row>')))
    assert isinstance(table.rows[1].cells[0], BadCell)


@pytest.mark.parametrize("date_1904", [False, True])
def test_a_workbooks_values(date_1904: bool) -> None:
    table = _read(a_workbook([["key", "title"], [12]], change=_with_values, date_1904=date_1904))
    number, cells = _cells(table)[1]
    assert (number, cells[:5]) == (
        2,
        [12.0, date(2026, 12, 31), datetime(2026, 12, 31, 13, 30), True, 2.0],
    )
    assert isinstance(cells[5], BadCell)
    assert cells[6:] == ["a\r\nb\t_x000D_ é😀 ", "=1+1"]
    assert [(row.number, row.cells[:2]) for row in table.rows[2:]] == [(4, ["O-2", ""]), (5, ["O-2", "x"])]


def test_a_formula_that_was_never_computed_is_wrong_and_not_empty() -> None:
    header = '<row r="1"><c r="A1" t="inlineStr"><is><t>key</t></is></c></row>'
    cells = f'{header}<row r="2"><c r="A2"><v>1</v></c><c r="C2"><f>1+1</f></c></row>'
    table = _read(with_part(BOOK, SHEET, sheet_xml(f'{cells}<row r="4"><c r="A4"><f>1</f></c></row>')))
    assert [row.number for row in table.rows] == [1, 2, 4]
    assert isinstance(table.rows[1].cells[2], BadCell)
    assert isinstance(table.rows[2].cells[0], BadCell)


def _three_sheets(book: Any, first: Any) -> None:
    first.hide()
    book.add_worksheet("Empty").activate()
    book.add_worksheet("Other").write("A1", "other")
    book.add_worksheet("Key Results").write("A1", "named")


@pytest.mark.parametrize(
    ("options", "sheet"),
    [
        ({}, "Other"),
        ({"sheet_named": "keyresults"}, "Key Results"),
        ({"sheet_named": "objectives"}, "Other"),
        ({"sheet": "first"}, "First"),
    ],
)
def test_which_sheet_is_taken(options: dict[str, str], sheet: str) -> None:
    data = a_workbook([["first"]], sheet="First", change=_three_sheets)
    assert _read(data, **options).sheet == sheet


def test_a_sheet_that_is_not_there_is_told() -> None:
    data = a_workbook([["first"]], sheet="First", change=_three_sheets)
    assert _refused(data, sheet="Goals") == (
        "there is no sheet 'Goals'; there are First, Empty, Other, Key Results"
    )
    assert "is for a workbook" in _refused("key\n", sheet="Goals")


FAR = "has a value far from the others"
NOT_WHOLE = "is not a whole XLSX workbook"
LARGE = "unpacks to more than 64 MB"
STRINGS = "xl/sharedStrings.xml"


def _archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


def _announced(count: int) -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<sst xmlns="{space}" uniqueCount="{count}"><si><t>key</t></si></sst>'.encode()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BOOK[: len(BOOK) // 2], NOT_WHOLE),
        (lambda: b"PK\x03\x04 and no more", NOT_WHOLE),
        (lambda: _archive("hello.txt"), "is an archive, and no XLSX workbook"),
        (lambda: _archive("content.xml", "mimetype"), "another format (.ods)"),
        (lambda: _archive("xl/workbook.bin"), "another format (.xlsb)"),
        (lambda: _archive("word/document.xml"), "a text document"),
        (lambda: _archive(*(f"{number}.txt" for number in range(2_001))), "more than 2,000 parts"),
        (lambda: with_part(BOOK, SHEET, sheet_xml(" " * (50 * 1024 * 1024))), LARGE),
        (lambda: with_part(BOOK, STRINGS, b" " * (25 * 1024 * 1024)), LARGE),
        (lambda: with_part(BOOK, SHEET, sheet_xml("")), "has no visible sheet with cells"),
        (lambda: with_part(BOOK, SHEET, b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + sheet_xml("")), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, b"<worksheet>"), NOT_WHOLE),
        (lambda: with_part(BOOK, "xl/workbook.xml", b"<x/>"), "has no visible sheet with cells"),
        # What calamine would allocate gigabytes for.
        (lambda: with_part(BOOK, STRINGS, _announced(4_000_000_000)), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="1"><c r="A1"><v>1</v></c></row>'
            '<row r="1048576"><c r="XFD1048576"><v>2</v></c></row>')), FAR),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="5"><c r="a99999"><v>1</v></c></row>')), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="5"><c r="A6"><v>1</v></c></row>')), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="4294967295"><c><v>1</v></c></row>')), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
            '<row><c><v>1</v></c></row>')), FAR),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="9"><c r="A9"><v>1</v></c></row>'
            '<row><c><v>1</v></c></row>')), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="9"><c r="A9"><v>1</v></c><c><v>1</v></c></row>')),
         NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, b"\xff\xfe" + sheet_xml("").decode().encode("utf-16-le")), NOT_WHOLE),
        (lambda: with_part(BOOK, SHEET, sheet_xml('<row r="1"><c r="A1"><v>1</v></c></row>'
            '<row r="300000"><c r="A300000"><v>1</v></c></row>').replace(b"</worksheet>", b"<mergeCells>"
            + b'<mergeCell ref="A1:A300000"/>' * 6 + b"</mergeCells></worksheet>")), NOT_WHOLE),
        (lambda: a_workbook([["key"], *([n] for n in range(LINES_AT_MOST + 1))]), "more than 20,000 lines"),
    ],
)  # fmt: skip
def test_a_broken_or_hostile_workbook_is_refused(make: Callable[[], bytes], message: str) -> None:
    assert message in _refused(make())
