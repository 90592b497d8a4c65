"""Lines of tickets' texts."""

from __future__ import annotations

from connectors.ticket_text import Line


def text_lines(*texts: str) -> tuple[Line, ...]:
    """These lines of plain text."""
    return tuple(map(Line, texts))
