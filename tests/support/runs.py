"""Runs as the API shows them."""

from __future__ import annotations

from typing import Any

COUNTS = ("seen", "created", "updated", "deleted", "skipped")


def counts(run: Any) -> tuple[int, ...]:
    """Seen, created, updated, deleted, skipped."""
    return tuple(run[name] for name in COUNTS)
