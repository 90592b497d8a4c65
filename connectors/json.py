"""JSON from trackers: bounded before it is decoded, decoded, and made fit to be stored and shown.

Every answer and every webhook passes through `parse_json`, so no member of them needs a care of its own.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from connectors.markup import storable

# A decoded value takes up to about 110 bytes beside its text, so these take about 110 MB at the most. A
# hundred issues with all their members are about 30,000 values.
MOST_VALUES = 1_000_000

# What is between two strings, and the string behind it, also one without an end. The quantifiers are
# possessive: nothing is tried twice.
_BETWEEN_STRINGS = re.compile(rb'([^"]*+)(?:"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\Z)', re.DOTALL)
# What may stand for a control character or half a surrogate pair, escaped or as it is.
_ODD = re.compile(rb"\\(?:u(?:00[01789]|[dD][89a-fA-F])|[bf])|\x7f|\xc2[\x80-\x9f]")
# One of these begins whatever it matches, and to look for a single byte takes no time.
_ODD_STARTS = (b"\\", b"\x7f", b"\xc2")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class OverLimit(ValueError):
    """JSON with more values, or nested deeper, than Northing decodes."""


def parse_json(content: bytes) -> Any:
    """The decoded JSON, with all strings and names of members fit to be stored and shown.

    Raises `OverLimit` before anything is decoded that would take much memory, and `ValueError` if `content`
    is not JSON.
    """
    if (encoding := json.detect_encoding(content)) != "utf-8":
        content = content.decode(encoding).encode("utf-8", "surrogatepass")
    if _may_be_over_limit(content) and _number_of_values(content) > MOST_VALUES:
        raise OverLimit(f"it has more than {MOST_VALUES} values")
    try:
        decoded = orjson.loads(content)
    except ValueError:
        # orjson refuses half a surrogate pair. Trackers written in Java send one when they cut an emoji.
        return _showable(_loads(content))
    return _showable(decoded) if _has_odd(content) else decoded


def _has_odd(content: bytes) -> bool:
    return any(start in content for start in _ODD_STARTS) and _ODD.search(content) is not None


def _loads(content: bytes) -> Any:
    try:
        return json.loads(content)
    except RecursionError:  # both decoders stop at about 1,000 levels
        raise OverLimit("it is nested too deeply") from None


def _may_be_over_limit(content: bytes) -> bool:
    return len(content) >= MOST_VALUES and sum(map(content.count, (b"[", b"{", b","))) >= MOST_VALUES


def _number_of_values(content: bytes) -> int:
    """At least the number of values in the JSON `content`, counted up to `MOST_VALUES`.

    Each value but the first follows a comma or an opening bracket outside strings (or a name, which does).
    """
    values = 1
    for found in _BETWEEN_STRINGS.finditer(content):
        values += sum(map(found[1].count, (b"[", b"{", b",")))
        if values > MOST_VALUES:
            break
    return values


def _showable(decoded: Any) -> Any:
    """`decoded` with each string and each name of a member cleaned, changed in place."""
    whole = [decoded]
    todo: list[Any] = [whole]
    while todo:
        place = todo.pop()
        if isinstance(place, dict):
            members = {_clean(name): _clean(value) for name, value in place.items()}
            place.clear()
            place |= members
            todo += (value for value in members.values() if isinstance(value, (dict, list)))
        else:
            place[:] = map(_clean, place)
            todo += (value for value in place if isinstance(value, (dict, list)))
    return whole[0]


def _clean(value: Any) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return storable(_CONTROL.sub("", value))
