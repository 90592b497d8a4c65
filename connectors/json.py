"""JSON from trackers: a fast decoder for strict JSON, and a lenient one for the rest."""

from __future__ import annotations

import json
from typing import Any

import orjson


def parse_json(content: bytes) -> Any:
    """The decoded JSON. Raises `ValueError` if `content` is not JSON or is nested too deeply."""
    try:
        return orjson.loads(content)
    except ValueError:
        # orjson refuses half a surrogate pair. Trackers written in Java send one when they cut an emoji.
        try:
            return json.loads(content)
        except RecursionError:
            raise ValueError("nested too deeply") from None
