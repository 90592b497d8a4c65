"""A file's bytes as a table: what it is stands in its first bytes, not in its name or type. Pure."""

from __future__ import annotations

from mappings.errors import Invalid
from mappings.files.csv_file import read_csv
from mappings.files.table import FILE_AT_MOST, MB, CountColumns, Table
from mappings.files.workbook import read_workbook

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# A workbook with a password is a container whose directory names this stream.
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_OTHERS = {
    b"%PDF": "is a PDF; save the table as XLSX or CSV",
    b"<htm": "is a web page; save the table as XLSX or CSV",
    b"<!DO": "is a web page; save the table as XLSX or CSV",
    b"\x1f\x8b": "is compressed; send it unpacked",
    b"PAR1": "is a Parquet file; save the table as XLSX or CSV",
}


def read_table(
    data: bytes,
    known_columns: CountColumns,
    *,
    charset: str | None = None,
    sheet: str | None = None,
    sheet_named: str = "",
) -> Table:
    """The table that a CSV or XLSX file holds.

    `charset` is the encoding that the sender names, of a CSV file. `sheet` is the sheet of a workbook to
    take; None takes the one called `sheet_named`, else the first visible one that is not empty. Raises
    `Invalid` on `file`, or on `sheet`.
    """
    if not data.strip(b"\x00 \t\r\n\xef\xbb\xbf\xff\xfe"):
        raise Invalid("file", "is empty; it needs a line of column names, and lines below it")
    if len(data) > FILE_AT_MOST:
        raise Invalid("file", f"has more than {FILE_AT_MOST // MB} MB; split it")
    if data.startswith(_OLE):
        if _ENCRYPTED in data:
            raise Invalid("file", "is protected by a password; save it without one")
        raise Invalid("file", "is a workbook of the old format (.xls); save it as .xlsx or CSV")
    for start, message in _OTHERS.items():
        if data[: len(start)] == start:
            raise Invalid("file", message)
    if data.startswith(b"PK"):
        return read_workbook(data, known_columns, sheet=sheet, sheet_named=sheet_named)
    if sheet is not None:
        raise Invalid("sheet", "is for a workbook, and this file is not one")
    return read_csv(data, known_columns, charset=charset)
