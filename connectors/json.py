"""JSON as others write it, decoded fast where it is strict and patiently where it is not."""

from __future__ import annotations

import json
from typing import Any

import orjson


def parse_json(content: bytes) -> Any:
    """Raises `ValueError` for what is no JSON, or nested beyond reason."""
    try:
        return orjson.loads(content)
    except ValueError:
        # orjson refuses half a surrogate pair, which trackers written in Java cut out of emoji.
        try:
            return json.loads(content)
        except RecursionError:
            raise ValueError("nested too deeply") from None
