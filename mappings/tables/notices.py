"""Notices, and every write to a tracker."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    UniqueConstraint,
    and_,
    false,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, Claimed, belongs_to, identity, one_of, stamped


class NoticeRow(Claimed, Base):
    """The one comment an epic may have.

    `state` is the notice's state on the ticket. `due_at` set means that a write is queued that leads to
    `target`. `remote_id` set means that our comment is on the ticket; `posted_body` is its text,
    `posted_document` what that was made from (None for one that an older version wrote), `posted_hash` the
    hash of the facts behind it, `mentioned_key_result_ids` the key results whose titles it shows.
    `write_unconfirmed_at`: a write was sent and its answer never came, so the writer looks at the ticket
    before the next write. `guard`: the burst guard's result, null before its check; `guard_reason`:
    why it held the comment. `withdraw_action`: a person withdrew the comment, or the run that made it, so
    that it is to be edited to one line or deleted. `attempts`: how many writers have claimed it in a row and
    never ended their claim. `answers`: the queued write answers a person who gave a command on the ticket.
    What is not on the ticket yet has no stored text: it is composed where it is asked for.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("epic_id"),
        Index("ix_notices_state_id", "state", "id", postgresql_include=["reason", "epic_id"]),
        Index("ix_notices_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_notices_run_id", "run_id"),
        Index("ix_notices_mentioned", "mentioned_key_result_ids", postgresql_using="gin"),
        Index("ix_notices_guard", "run_id", postgresql_where=text("reason = 'guard'")),
        # For the queries before each write and after the evaluation of each run; each holds few rows.
        Index(
            "ix_notices_claimed_until", "claimed_until", postgresql_where=text("claimed_until IS NOT NULL")
        ),
        Index("ix_notices_ready", "run_id", postgresql_where=text("target IS NOT NULL AND due_at IS NULL")),
        Index("ix_notices_remote_id", "remote_id", postgresql_where=text("remote_id IS NOT NULL")),
        one_of("state", ("shadow", "held", "due", "posted", "resolved", "withdrawn", "failed")),
        one_of("guard", ("held", "passed", "approved")),
        one_of("withdraw_action", ("edit", "delete")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    state: Mapped[str]
    target: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    facts_hash: Mapped[str]
    posted_hash: Mapped[str | None]
    posted_body: Mapped[str | None]
    posted_document: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    mentioned_key_result_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()), server_default="{}")
    remote_id: Mapped[str | None]
    url: Mapped[str | None]
    run_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="SET NULL"))
    guard: Mapped[str | None]
    guard_reason: Mapped[str | None]
    withdraw_action: Mapped[str | None]
    answers: Mapped[bool] = mapped_column(server_default=false())
    due_at: Mapped[datetime | None]
    write_unconfirmed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = stamped()
    updated_at: Mapped[datetime] = stamped()

    @property
    def comment_id_unknown(self) -> bool:
        """Our comment is on the ticket, or may be, under an id that is not stored."""
        return self.write_unconfirmed_at is not None and self.remote_id is None


ON_TICKET = NoticeRow.remote_id.is_not(None)
# A request of ours is in progress, or its answer never came.
MAYBE_SENT = or_(NoticeRow.write_unconfirmed_at.is_not(None), NoticeRow.claimed_by.is_not(None))
# A comment that is not made yet, and no request for it is in progress or unconfirmed.
UNSENT = and_(
    NoticeRow.remote_id.is_(None), NoticeRow.write_unconfirmed_at.is_(None), NoticeRow.claimed_by.is_(None)
)
# Queued as the first comment on its ticket, where UNSENT too: a warning, or the answer to a command.
NEW_COMMENT = NoticeRow.target.in_(("posted", "resolved"))
# Evaluated, and not released yet.
NOT_RELEASED = and_(NoticeRow.target.is_not(None), NoticeRow.due_at.is_(None))


class NoticeWriteRow(Base):
    """One write to a tracker, with the run that it belongs to; it stays when the notice is deleted.
    `answers` as in `NoticeRow`."""

    __tablename__ = "notice_writes"
    __table_args__ = (
        Index("ix_notice_writes_run_id", "run_id"),
        Index("ix_notice_writes_epic_id", "epic_id"),
        Index("ix_notice_writes_posted_at", "at", postgresql_where=text("kind = 'posted'")),
        Index(
            "ix_notice_writes_edited_at",
            "at",
            postgresql_where=text("kind IN ('edited', 'resolved', 'withdrawn')"),
        ),
        one_of("kind", ("posted", "edited", "resolved", "failed", "withdrawn")),
    )

    id: Mapped[int] = identity()
    run_id: Mapped[int] = belongs_to("runs.id")
    epic_id: Mapped[int] = belongs_to("epics.id")
    kind: Mapped[str]
    answers: Mapped[bool] = mapped_column(server_default=false())
    remote_id: Mapped[str | None]
    at: Mapped[datetime] = stamped()
