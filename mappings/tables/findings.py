"""Findings: what a check found on an epic, a goal or a source."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped

from mappings.tables.base import Base, belongs_to, identity, one_of


def _one_of_each_check(column: str) -> Index:
    """The finding of a check on the thing in `column`; most findings are on epics and stay out of it."""
    here = text(f"{column} IS NOT NULL")
    return Index(f"uq_findings_{column}_check", column, "check", unique=True, postgresql_where=here)


class FindingRow(Base):
    """A finding is on exactly one thing: an epic, an objective, a key result or a source.

    `until`, `reason`, `by` and `changed_at` belong to what a person made of it: a snooze, a waiver or a
    dispute. `by` and `changed_at` are None for one that an older version stored.
    """

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("epic_id", "check"),
        _one_of_each_check("objective_id"),
        _one_of_each_check("key_result_id"),
        _one_of_each_check("source_id"),
        Index("ix_findings_state_id", "state", "id"),
        Index(
            "ix_findings_check_epic_id",
            "check",
            "epic_id",
            postgresql_where=text("state <> 'resolved' AND epic_id IS NOT NULL"),
        ),
        one_of("state", ("open", "snoozed", "waived", "disputed", "resolved")),
        CheckConstraint(
            "num_nonnulls(epic_id, objective_id, key_result_id, source_id) = 1", name="one_thing"
        ),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int | None] = belongs_to("epics.id")
    objective_id: Mapped[int | None] = belongs_to("objectives.id")
    key_result_id: Mapped[int | None] = belongs_to("key_results.id")
    source_id: Mapped[int | None] = belongs_to("sources.id")
    check: Mapped[str]
    state: Mapped[str]
    severity: Mapped[str]
    detail: Mapped[str]
    opened_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    until: Mapped[datetime | None]
    reason: Mapped[str | None]
    by: Mapped[str | None]
    changed_at: Mapped[datetime | None]
