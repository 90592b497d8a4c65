"""Epics as last read, and the keys they had before."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Computed,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity


def _of_lists(indexes: dict[str, tuple[Any, ...]]) -> list[Index]:
    """Indexes that lists of epics are read by; removed epics are in no list."""
    listed = text("removed_at IS NULL")
    return [Index(name, *columns, postgresql_where=listed) for name, columns in indexes.items()]


class EpicRow(Base):
    """An epic as last read. `evaluate_at` in the past means that it is due for evaluation."""

    __tablename__ = "epics"
    __table_args__ = (
        UniqueConstraint("tracker", "remote_id"),
        Index("ix_epics_removed_at", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
        Index("ix_epics_source_id_key", "source_id", text("lower(key)")),
        Index("ix_epics_source_id_project", "source_id", "project", "id"),
        *_of_lists(
            {
                "ix_epics_source_id_id": ("source_id", "id"),
                "ix_epics_project_id": (text("lower(project)"), "id"),
                "ix_epics_created_id": ("tracker_created_at", "id"),
                "ix_epics_updated_id": ("tracker_updated_at", "id"),
                "ix_epics_title_id": (text("lower(left(title, 100))"), "id"),
            }
        ),
        Index(
            "ix_epics_open_created_id",
            "tracker_created_at",
            "id",
            postgresql_include=["alignment"],  # so that open epics are counted by index-only scans
            postgresql_where=text("removed_at IS NULL AND status_category <> 'done'"),
        ),
        Index(
            "ix_epics_search",
            "id",
            postgresql_include=["search_text"],  # so that a search reads nothing else
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index(
            "ix_epics_labels_assignees",
            text("northing_lower(labels)"),
            text("northing_lower(assignees)"),
            postgresql_using="gin",
        ),
        Index("ix_epics_references", text("northing_lower(ticket_references)"), postgresql_using="gin"),
        Index(
            "ix_epics_alignment_id",
            "alignment",
            "id",
            # So that epics are counted by index-only scans, coverage's too.
            postgresql_include=["source_id", "project", "status_category"],
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
            "id",
            postgresql_where=text("parent_key IS NOT NULL"),
        ),
        Index(
            "ix_epics_comments_changed_at",
            "source_id",
            "comments_changed_at",
            postgresql_where=text("comments_changed_at IS NOT NULL"),
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
    children_at: Mapped[datetime | None]  # when the tracker was asked for these two
    # The first lines of its description as a reader sees them, to suggest key results; null for none.
    description: Mapped[str | None] = mapped_column(deferred=True)
    ticket_references: Mapped[list[str]]  # what may name key results: `mappings.links.references`
    fields: Mapped[dict[str, Any]]
    # From the fields that the source names: its first and its last planned day, inclusive, and story points.
    starts_on: Mapped[date | None]
    due_on: Mapped[date | None]
    points: Mapped[float | None]
    tracker_created_at: Mapped[datetime]
    tracker_updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]  # when it was done, None while it is not and where that is not shown
    # Its ticket changed then, so that a sync is to look at its comments; and those of until when it has read.
    comments_changed_at: Mapped[datetime | None]
    comments_read_at: Mapped[datetime | None]
    content_hash: Mapped[bytes]
    read_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
    removal_reason: Mapped[str | None]
    alignment: Mapped[str | None]
    evaluated_at: Mapped[datetime | None]
    # The goals' version (`mappings.locks`) that it was evaluated with; null where its ticket changed since.
    evaluated_version: Mapped[int | None] = mapped_column(BigInteger)
    evaluate_at: Mapped[datetime | None]
    # A decision that stands: `stop` or `defer`, its id, and until when (exclusive), None for no end.
    set_aside: Mapped[str | None]
    set_aside_until: Mapped[datetime | None]
    set_aside_decision_id: Mapped[int | None] = mapped_column(BigInteger)
    # What lists are searched by, in lower case; an entry of an index cannot be longer than 2.7 kB.
    search_text: Mapped[str] = mapped_column(
        Computed("lower(left(title, 450) || chr(10) || left(key, 150))"), deferred=True
    )


class EpicKeyHistoryRow(Base):
    """Former keys of an epic, in lower case, so that a lookup by one of them still finds the epic."""

    __tablename__ = "epic_key_history"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    epic_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("epics.id", ondelete="CASCADE"), index=True)


class ChildrenDueRow(Base):
    """An epic whose children are to be counted again; the one that waits longest is the first. `marks`
    grows each time that they may have changed."""

    __tablename__ = "children_due"
    __table_args__ = (
        UniqueConstraint("epic_id"),
        Index("ix_children_due_source_id_id", "source_id", "id"),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    source_id: Mapped[int] = belongs_to("sources.id")
    marks: Mapped[int] = mapped_column(server_default="1")


class OutsideParentRow(Base):
    """A parent that its children name by key alone and that is no epic of a source: what the tracker said of
    it at `read_at`, null where it has not been asked yet. `key` is in lower case."""

    __tablename__ = "outside_parents"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    remote_id: Mapped[str | None]
    title: Mapped[str | None]
    url: Mapped[str | None]
    read_at: Mapped[datetime | None]


class FormerTicketRow(Base):
    """An id that a ticket had before it was transferred. Our comment there may carry the digest of that id.
    Kept when a source is deleted, for the comments stay."""

    __tablename__ = "former_tickets"

    tracker: Mapped[str] = mapped_column(primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)
    former_id: Mapped[str] = mapped_column(primary_key=True)
