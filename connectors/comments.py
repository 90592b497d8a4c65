"""Comments that people wrote on tickets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.ticket_text import Line

CommandOutcome = Literal["done", "not_understood", "not_allowed"]


@dataclass(frozen=True, slots=True)
class TicketComment:
    """A comment as it is on its ticket now.

    `ours`: it has a notice's marker, or a program wrote it. `author` is a name, which others may have too;
    `author_id` is the tracker's id of the account, None where it does not say. `may_steer`: the tracker says
    that its author may steer the work on the ticket. `restricted`: not everybody who sees the ticket sees the
    comment. `our_name`: the name of Northing's own account, where that is an app or a bot. `created_at`: when
    it was written, UTC; None where the tracker does not say it.
    """

    id: str
    author: str
    lines: tuple[Line, ...]
    ours: bool
    may_steer: bool
    author_id: str | None = None
    restricted: bool = False
    our_name: str | None = None
    created_at: datetime | None = None
