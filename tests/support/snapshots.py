"""Texts held against files in `tests/snapshots/`, which a person reads and reviews like any other text.

With `NORTHING_TEST_RENEW=1` they are written anew, and Git shows the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).parent.parent / "snapshots"
RENEW = "NORTHING_TEST_RENEW"


def assert_snapshot(name: str, text: str) -> None:
    """`text` is that of the file; the difference shows line by line. A missing file differs by all lines."""
    path = SNAPSHOTS / name
    if os.environ.get(RENEW):
        path.write_text(text, encoding="utf-8")
    shown = path.read_text(encoding="utf-8") if path.exists() else ""
    assert text.splitlines() == shown.splitlines(), f"{name} differs; {RENEW}=1 writes it anew"


def adf_by_lines(document: Any) -> str:
    """The document's JSON with a line for each block and each item of a list."""
    blocks = []
    for block in document["content"]:
        if block["type"] == "bulletList":
            items = ",\n".join(f"    {_json(item)}" for item in block["content"])
            blocks.append(f'  {{"type": "bulletList", "content": [\n{items}\n  ]}}')
        else:
            blocks.append(f"  {_json(block)}")
    body = ",\n".join(blocks)
    return f'{{"type": "doc", "version": {document["version"]}, "content": [\n{body}\n]}}\n'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
