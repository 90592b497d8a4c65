"""Epics as last read, and the keys they had before."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity


class EpicRow(Base):
    """An epic as last read. `evaluate_at` in the past means that it is due for evaluation."""

    __tablename__ = "epics"
    __table_args__ = (
        UniqueConstraint("tracker", "remote_id"),
        Index("ix_epics_removed_at", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
        Index("ix_epics_source_id_key", "source_id", text("lower(key)")),
        Index("ix_epics_source_id_project", "source_id", "project", "id"),
        Index("ix_epics_references", text("northing_lower(ticket_references)"), postgresql_using="gin"),
        Index(
            "ix_epics_alignment_id",
            "alignment",
            "id",
            postgresql_include=["source_id"],  # so that epics are counted by index-only scans
            postgresql_where=text("removed_at IS NULL"),
        ),
        # Epics by their parent.
        Index(
            "ix_epics_parent_remote_id",
            "parent_remote_id",
            postgresql_where=text("parent_remote_id IS NOT NULL"),
        ),
        Index(
            "ix_epics_parent_key",
            text("lower(parent_key)"),
            postgresql_where=text("parent_key IS NOT NULL"),
        ),
        Index(
            "ix_epics_evaluate_at",
            "source_id",
            "evaluate_at",
            postgresql_where=text("evaluate_at IS NOT NULL"),
        ),
    )

    id: Mapped[int] = identity()
    source_id: Mapped[int] = belongs_to("sources.id")
    tracker: Mapped[str]
    remote_id: Mapped[str]
    key: Mapped[str]
    project: Mapped[str]
    title: Mapped[str]
    url: Mapped[str]
    type: Mapped[str]
    status: Mapped[str]
    status_category: Mapped[str]
    labels: Mapped[list[str]]
    assignees: Mapped[list[str]]
    components: Mapped[list[str]]
    milestone: Mapped[str | None]
    parent_key: Mapped[str | None]
    parent_remote_id: Mapped[str | None]  # these three as in `connectors.base.Parent`, null for empty
    parent_title: Mapped[str | None]
    parent_url: Mapped[str | None]
    children: Mapped[int | None]  # how many tickets have it as their parent, null where that is not known
    children_done: Mapped[int | None]
    ticket_references: Mapped[list[str]]  # the key results that the ticket names, "line:KR-1" or "label:KR-1"
    fields: Mapped[dict[str, Any]]
    tracker_created_at: Mapped[datetime]
    tracker_updated_at: Mapped[datetime]
    content_hash: Mapped[bytes]
    read_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    removal_reason: Mapped[str | None]
    alignment: Mapped[str | None]
    evaluated_at: Mapped[datetime | None]
    # The goals' version (`mappings.locks`) that it was evaluated with; null where its ticket changed since.
    evaluated_version: Mapped[int | None] = mapped_column(BigInteger)
    evaluate_at: Mapped[datetime | None]


class EpicKeyHistoryRow(Base):
    """Former keys of an epic, in lower case, so that a lookup by one of them still finds the epic."""

    __tablename__ = "epic_key_history"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    epic_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("epics.id", ondelete="CASCADE"), index=True)


class FormerTicketRow(Base):
    """An id that a ticket had before it was transferred. Our comment there may carry the digest of that id.
    Kept when a source is deleted, for the comments stay."""

    __tablename__ = "former_tickets"

    tracker: Mapped[str] = mapped_column(primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)
    former_id: Mapped[str] = mapped_column(primary_key=True)
