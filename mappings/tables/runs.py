"""Runs, how far each has read, and the removals that the drop guard held."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import (
    READING_MODES,
    UNFINISHED_STATES,
    Base,
    Claimed,
    belongs_to,
    identity,
    one_of,
    stamped,
)


class RunRow(Claimed, Base):
    """One unit of work on one source.

    `evaluates`: which epics a run of mode `evaluate` evaluates: `affected`, those that its causes affect, up
    to the id `evaluated_up_to` so far; `due`, those whose time has come. Null for a run that evaluates one
    epic at once; a worker that takes it up evaluates what is due. A source has one queued run of each.
    `new_comments`: how many new comments the burst guard has counted for this run, by project, the last time
    at `guard_checked_at`. `notices_mode` and `tracker`: its source's when the run ended. `withdraws`: the run
    whose comments this run withdraws. `accepts_run_id`: the run whose held removals a person has allowed.
    `attempts`: how often a worker has taken it up since it last got ahead; one that released it or waits for
    the tracker does not count.
    """

    __tablename__ = "runs"
    __table_args__ = (
        one_of("mode", (*READING_MODES, "evaluate", "withdraw")),
        one_of("state", ("queued", *UNFINISHED_STATES, "succeeded", "partial", "failed")),
        # A source never has two unfinished reading runs, and never two queued ones.
        Index(
            "uq_runs_reading_queued",
            "source_id",
            unique=True,
            postgresql_where=text("state = 'queued' AND mode IN ('incremental', 'full')"),
        ),
        Index(
            "uq_runs_reading_active",
            "source_id",
            unique=True,
            postgresql_where=text(
                "state IN ('running', 'waiting', 'stalled') AND mode IN ('incremental', 'full')"
            ),
        ),
        Index(
            "ix_runs_due",
            "due_at",
            postgresql_where=text("state IN ('queued', 'running', 'waiting', 'stalled')"),
        ),
        Index("ix_runs_source_id_id", "source_id", "id"),
        Index("ix_runs_finished_at", "finished_at"),
        Index(
            "ix_runs_guard_checked_at",
            "source_id",
            "guard_checked_at",
            postgresql_where=text("guard_checked_at IS NOT NULL AND mode = 'evaluate'"),
        ),
        CheckConstraint("evaluates IN ('affected', 'due')", name="evaluates"),
        Index(
            "uq_runs_evaluates_queued",
            "source_id",
            "evaluates",
            unique=True,
            postgresql_where=text("state = 'queued' AND evaluates IS NOT NULL"),
        ),
        Index("uq_runs_withdraws", "withdraws", unique=True),
        Index("uq_runs_accepts_run_id", "accepts_run_id", unique=True),
    )

    id: Mapped[int] = identity()
    source_id: Mapped[int] = belongs_to("sources.id")
    mode: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    due_at: Mapped[datetime] = stamped()
    seen: Mapped[int] = mapped_column(server_default="0")
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    deleted: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    requests: Mapped[int] = mapped_column(server_default="0")
    uncounted_requests: Mapped[int] = mapped_column(server_default="0")
    held: Mapped[int] = mapped_column(server_default="0")
    evaluates: Mapped[str | None]
    evaluated_up_to: Mapped[int] = mapped_column(BigInteger, server_default="0")
    new_comments: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    guard_checked_at: Mapped[datetime | None]
    notices_mode: Mapped[str | None]
    tracker: Mapped[str | None]
    withdraws: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="CASCADE"))
    accepts_run_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="CASCADE"))
    waiting_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = stamped()


class RunCauseRow(Base):
    """Why a run of mode `evaluate` was opened. `kind`, `reference` and `label` are those of
    `mappings.runs.causes.Cause`. `done`: no epic waits for it: they
    are evaluated, or another run has the cause."""

    __tablename__ = "run_causes"
    __table_args__ = (Index("ix_run_causes_open", "run_id", postgresql_where=text("NOT done")),)

    run_id: Mapped[int] = belongs_to("runs.id", primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str]
    done: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = stamped()


class RunCursorRow(Base):
    """How far one run has read one project, so that a killed run continues where it stopped."""

    __tablename__ = "run_cursors"

    run_id: Mapped[int] = belongs_to("runs.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[datetime | None]
    done: Mapped[bool] = mapped_column(server_default=text("false"))


class UnreadableTicketRow(Base):
    """A ticket that the tracker showed and that could not be read, until it is read or gone.

    `run_id`: the run that met it last; null where a webhook led to it, or the run was deleted. `project`: its
    project's key, empty where it is not known. `remote_id`: null, and `key` empty, where its row hides them.
    """

    __tablename__ = "unreadable_tickets"
    __table_args__ = (
        Index(
            "uq_unreadable_tickets_remote_id",
            "source_id",
            "remote_id",
            unique=True,
            postgresql_where=text("remote_id IS NOT NULL"),
        ),
        Index(
            "uq_unreadable_tickets_unknown",
            "source_id",
            "project",
            "key",
            "reason",
            unique=True,
            postgresql_where=text("remote_id IS NULL"),
        ),
    )

    id: Mapped[int] = identity()
    source_id: Mapped[int] = belongs_to("sources.id")
    run_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("runs.id", ondelete="SET NULL"), index=True
    )
    project: Mapped[str]
    remote_id: Mapped[str | None]
    key: Mapped[str]
    reason: Mapped[str]


class HeldRemovalRow(Base):
    """An epic that a full run did not meet and the drop guard kept; a person may allow its removal."""

    __tablename__ = "held_removals"

    run_id: Mapped[int] = belongs_to("runs.id", primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)
