"""What reports freeze, so that the past is shown as it was."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped

from mappings.tables.base import Base, belongs_to, identity


class CoverageDayRow(Base):
    """The coverage of one day (UTC), as it was at the moment `at`, of all sources, of one source, or of one
    of its projects: `source_id` and `project` are null for all. Never written again.

    The numbers are those of `mappings.reports.counts.Counts`. `sources`: how many they are of. `stale`: the
    last reading of at least one of these had failed. A source's rows go with it; those of all sources stay.
    """

    __tablename__ = "coverage_days"
    __table_args__ = (
        Index(
            "uq_coverage_days_day",
            "day",
            "source_id",
            "project",
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("source_id IS NOT NULL OR project IS NULL", name="project_of_source"),
    )

    id: Mapped[int] = identity()
    day: Mapped[date]
    at: Mapped[datetime]
    source_id: Mapped[int | None] = belongs_to("sources.id")
    project: Mapped[str | None]
    sources: Mapped[int]
    stale: Mapped[bool]
    aligned: Mapped[int]
    unaligned: Mapped[int]
    exempt: Mapped[int]
    waived: Mapped[int]
    steered_epics: Mapped[int]
    not_evaluated: Mapped[int]
    done: Mapped[int]
