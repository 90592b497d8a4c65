"""What PostgreSQL can store of a tracker's texts."""

from __future__ import annotations

from typing import Any


def without_nul(value: Any) -> Any:
    """A copy of `value` without what PostgreSQL's text type refuses: U+0000 and lone surrogates."""
    if isinstance(value, str):
        if value.isascii() and "\x00" not in value:
            return value
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {without_nul(name): without_nul(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nul(item) for item in value]
    return value
