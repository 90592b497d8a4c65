"""What judging leaves: links, findings, notices, and every write to a tracker."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    UniqueConstraint,
    and_,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import (
    Base,
    belongs_to,
    identity,
    one_of,
    stamped,
)


class Link(Base):
    __tablename__ = "links"
    __table_args__ = (
        UniqueConstraint("epic_id", "key_result_id", "origin"),
        Index(
            "uq_links_primary", "epic_id", unique=True, postgresql_where=text("is_primary")
        ),  # one link an epic may be marked primary
        one_of("origin", ("manual", "rule", "ticket", "command", "inherited")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    key_result_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("key_results.id"), index=True)
    origin: Mapped[str]
    weight: Mapped[float] = mapped_column(server_default="1")
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    rule_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("rules.id", ondelete="SET NULL"), index=True
    )
    why: Mapped[str]
    created_at: Mapped[datetime] = stamped()


class Finding(Base):
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


class Notice(Base):
    """The one comment an epic may have.

    `state` says what is on the ticket; `due_at` set means that a write is queued which leads to
    `target`. `remote_id` is the truth about our comment; `posted_body` is its text, `posted_hash` the
    hash of the facts it stands on, `named` the key results whose titles stand in it. `unanswered_at`:
    a write was sent whose answer never came, so the ticket must be looked at before the next one.
    `guard`: what the guard said of it, null before it was asked, and `guard_why` it held it. `taking_back`:
    a person withdraws the run that made the comment, which is to be edited to one line or deleted.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("epic_id"),
        Index("ix_notices_state_id", "state", "id", postgresql_include=["reason", "epic_id"]),
        Index("ix_notices_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_notices_run_id", "run_id"),
        Index("ix_notices_guard", "run_id", postgresql_where=text("reason = 'guard'")),
        # Asked before each ticket is written, and after each run is judged; few rows are in either.
        Index(
            "ix_notices_claimed_until", "claimed_until", postgresql_where=text("claimed_until IS NOT NULL")
        ),
        Index("ix_notices_ready", "run_id", postgresql_where=text("target IS NOT NULL AND due_at IS NULL")),
        Index("ix_notices_remote_id", "remote_id", postgresql_where=text("remote_id IS NOT NULL")),
        one_of("state", ("shadow", "held", "due", "posted", "resolved", "withdrawn", "failed")),
        one_of("guard", ("held", "passed", "approved")),
        one_of("taking_back", ("edit", "delete")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    state: Mapped[str]
    target: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    body: Mapped[str]
    facts_hash: Mapped[str]
    posted_hash: Mapped[str | None]
    posted_body: Mapped[str | None]
    named: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()), server_default="{}")
    remote_id: Mapped[str | None]
    url: Mapped[str | None]
    run_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="SET NULL"))
    guard: Mapped[str | None]
    guard_why: Mapped[str | None]
    taking_back: Mapped[str | None]
    due_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    unanswered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = stamped()
    updated_at: Mapped[datetime] = stamped()

    @property
    def lost(self) -> bool:
        """Our comment is there, or may be, under an id that we do not know."""
        return self.unanswered_at is not None and self.remote_id is None


ON_TICKET = Notice.remote_id.is_not(None)
# A request of ours is on its way, or its answer is missing.
MAYBE_SENT = or_(Notice.unanswered_at.is_not(None), Notice.claimed_by.is_not(None))
# A comment not made yet, of which no request is on its way.
UNSENT = and_(Notice.remote_id.is_(None), Notice.unanswered_at.is_(None), Notice.claimed_by.is_(None))
# Judged, and not let go yet.
BEHIND_THE_BARRIER = and_(Notice.target.is_not(None), Notice.due_at.is_(None))


class NoticeWrite(Base):
    """Every write to a tracker, with the run it belongs to; kept when the notice goes."""

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
    remote_id: Mapped[str | None]
    at: Mapped[datetime] = stamped()
