"""A comment that a person wrote on a ticket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TicketComment:
    """A comment as it is on its ticket now.

    `lines` are its lines of text outside code, quotes and HTML. `ours`: it has a notice's marker, or a
    program wrote it. `author` is a name, which others may have too; `author_id` is the tracker's id of the
    account, None where it does not say. `may_steer`: the tracker says that its author may edit the ticket.
    """

    id: str
    author: str
    lines: tuple[str, ...]
    ours: bool
    may_steer: bool
    author_id: str | None = None
