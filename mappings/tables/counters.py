"""Counters of what was done, and what each tracker last said of its rate limit."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to


class CounterRow(Base):
    """A counter that only rises, shared by all processes.

    `seconds` is how long all counted events took together. `buckets` holds how many of them fell between one
    bound of `mappings.counters.BUCKET_BOUNDS` and the next; it is not cumulative.
    """

    __tablename__ = "counters"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    what: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float] = mapped_column(server_default=text("0"))
    buckets: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()), server_default="{}")


class RateLimitRow(Base):
    """What a tracker last said of its limit, and how far its clock is ahead of ours (`clock_ahead`, s)."""

    __tablename__ = "rate_limits"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    budget_limit: Mapped[int | None]
    budget_remaining: Mapped[int | None]
    budget_resets_at: Mapped[datetime | None]
    budget_at: Mapped[datetime | None]
    clock_ahead: Mapped[float | None]
    clock_at: Mapped[datetime | None]


class MachineClockRow(Base):
    """A machine whose clock was, at `at`, `ahead` seconds ahead of the database's (see
    `mappings.sources.machine_clocks`)."""

    __tablename__ = "machine_clocks"

    host: Mapped[str] = mapped_column(primary_key=True)
    ahead: Mapped[float]
    at: Mapped[datetime]
