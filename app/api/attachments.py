"""A report as a file to keep."""

from __future__ import annotations

from collections.abc import AsyncIterable

from fastapi import Response
from fastapi.responses import StreamingResponse


def csv_attachment(rows: str | AsyncIterable[bytes], name: str) -> Response:
    """CSV, whole or in pieces, that browsers save as `name`.csv."""
    kind = Response if isinstance(rows, str) else StreamingResponse
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return kind(rows, media_type="text/csv; charset=utf-8", headers=headers)
