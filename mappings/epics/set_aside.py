"""Which epics a decision sets aside, asked of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, or_

from mappings.tables import EpicRow

if TYPE_CHECKING:
    from datetime import datetime


def is_set_aside(now: datetime) -> ColumnElement[bool]:
    """Whether a decision that holds at `now` sets the epic aside; one that is over stands on the row until
    the epic is evaluated."""
    no_end = or_(EpicRow.set_aside_until.is_(None), EpicRow.set_aside_until > now)
    return and_(EpicRow.set_aside.is_not(None), no_end)
