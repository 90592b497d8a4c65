"""Findings: what a check found on an epic."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    Index,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped

from mappings.tables.base import Base, belongs_to, identity, one_of


class FindingRow(Base):
    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("epic_id", "check"),
        Index("ix_findings_state_id", "state", "id"),
        one_of("state", ("open", "snoozed", "waived", "disputed", "resolved")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    check: Mapped[str]
    state: Mapped[str]
    severity: Mapped[str]
    detail: Mapped[str]
    opened_at: Mapped[datetime]
    until: Mapped[datetime | None]
    reason: Mapped[str | None]
