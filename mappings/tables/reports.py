"""What reports freeze, so that the past is shown as it was."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity, one_of


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


class AllocationMonthRow(Base):
    """A month (UTC, `month` is its first day) whose allocation was frozen at `frozen_at`. `late`: that was
    more than a day after its end. `epics`: how many rows it has. Never written again."""

    __tablename__ = "allocation_months"

    month: Mapped[date] = mapped_column(primary_key=True)
    frozen_at: Mapped[datetime]
    late: Mapped[bool]
    epics: Mapped[int]


class AllocationRow(Base):
    """An epic in the frozen allocation of a month: open at its end, or finished within it.

    `allocation`: the class, `aligned`, `exempt` or `unaligned`. `driver`, `objective` and `key_result` are
    those of its primary live link, `origin` and `made_by` say which rule or person made it, `evidence` why it
    is in this class. `epic_id` refers to nothing: the row stays where the epic goes. Never written again.
    """

    __tablename__ = "allocation_rows"
    __table_args__ = (one_of("allocation", ("aligned", "exempt", "unaligned")),)

    month: Mapped[date] = mapped_column(
        ForeignKey("allocation_months.month", ondelete="CASCADE"), primary_key=True
    )
    epic_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source: Mapped[str]
    project: Mapped[str]
    key: Mapped[str]
    title: Mapped[str]
    url: Mapped[str]
    finished_at: Mapped[datetime | None]
    allocation: Mapped[str]
    driver: Mapped[str | None]
    objective: Mapped[str | None]
    key_result: Mapped[str | None]
    origin: Mapped[str | None]
    made_by: Mapped[str | None]
    evidence: Mapped[str]
    children: Mapped[int | None]
    points: Mapped[float | None]
