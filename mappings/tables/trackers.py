"""Sources, what was read from them, and the runs that read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import (
    READING_MODES,
    UNFINISHED_STATES,
    Base,
    belongs_to,
    identity,
    one_of,
    stamped,
)


class Installation(Base):
    """One row. `uuid` marks our comments; `goals_version` rises with every change that bears on judging."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    uuid: Mapped[str]
    admin_token_hash: Mapped[bytes | None]
    goals_version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    policy_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()


class Source(Base):
    """`credentials` and `webhook_secret` are Fernet tokens. `tracker` is its identity."""

    __tablename__ = "sources"
    __table_args__ = (Index("uq_sources_name", text("lower(name)"), unique=True),)

    id: Mapped[int] = identity()
    name: Mapped[str]
    kind: Mapped[str]
    base_url: Mapped[str]
    tracker: Mapped[str]
    credentials: Mapped[bytes]
    credentials_type: Mapped[str]
    webhook_secret: Mapped[bytes | None]
    scope: Mapped[dict[str, Any]]
    epics: Mapped[dict[str, Any]]
    schedule: Mapped[dict[str, Any]]
    notices: Mapped[dict[str, Any]]
    health_state: Mapped[str] = mapped_column(server_default="unknown")
    health_message: Mapped[str] = mapped_column(server_default="")
    health_what_to_do: Mapped[str] = mapped_column(server_default="")
    health_checked_at: Mapped[datetime | None]
    signature_refused_at: Mapped[datetime | None]
    leaving_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()
    updated_at: Mapped[datetime] = stamped()


class SourceProject(Base):
    """A project of a source: how far it is read, and whether the last run read it to its end."""

    __tablename__ = "source_projects"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[datetime | None]
    public: Mapped[bool] = mapped_column(server_default=text("false"))
    service_desk: Mapped[bool] = mapped_column(server_default=text("false"))
    read_to_end: Mapped[bool] = mapped_column(server_default=text("false"))
    problem: Mapped[str | None]
    writes_stopped_at: Mapped[datetime | None]
    writes_stopped_why: Mapped[str | None]


class Run(Base):
    """`touch`: which epics a judge run has to mark before it judges, where that takes a look at each.

    `new_comments`: how many it asked the guard for, by project, the last time at `asked_at`. `notices_mode`
    and `tracker`: its source's when it ended. `withdraws`: the run whose comments it takes back; `accepts`:
    the run whose held removals a person has allowed.
    """

    __tablename__ = "runs"
    __table_args__ = (
        one_of("mode", (*READING_MODES, "judge", "withdraw")),
        one_of("state", ("queued", *UNFINISHED_STATES, "succeeded", "partial", "failed")),
        # One source never has two reading runs at once, and never two waiting their turn.
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
            "ix_runs_asked_at",
            "source_id",
            "asked_at",
            postgresql_where=text("asked_at IS NOT NULL AND mode = 'judge'"),
        ),
        Index("uq_runs_withdraws", "withdraws", unique=True),
        Index("uq_runs_accepts", "accepts", unique=True),
    )

    id: Mapped[int] = identity()
    source_id: Mapped[int] = belongs_to("sources.id")
    mode: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    due_at: Mapped[datetime] = stamped()
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    seen: Mapped[int] = mapped_column(server_default="0")
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    deleted: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    requests: Mapped[int] = mapped_column(server_default="0")
    held: Mapped[int] = mapped_column(server_default="0")
    touch: Mapped[dict[str, Any] | None]
    new_comments: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    asked_at: Mapped[datetime | None]
    notices_mode: Mapped[str | None]
    tracker: Mapped[str | None]
    withdraws: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="CASCADE"))
    accepts: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="CASCADE"))
    waiting_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = stamped()


class RunProject(Base):
    """How far one run has read one project, so that a killed run goes on where it stopped."""

    __tablename__ = "run_projects"

    run_id: Mapped[int] = belongs_to("runs.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[datetime | None]
    done: Mapped[bool] = mapped_column(server_default=text("false"))


class HeldRemoval(Base):
    """An epic that a full run did not meet and the drop guard kept; a person may allow that it goes."""

    __tablename__ = "held_removals"

    run_id: Mapped[int] = belongs_to("runs.id", primary_key=True)
    remote_id: Mapped[str] = mapped_column(primary_key=True)


class Epic(Base):
    """An epic as last read. `look_again_at` in the past means that it waits to be judged."""

    __tablename__ = "epics"
    __table_args__ = (
        UniqueConstraint("tracker", "remote_id"),
        Index("ix_epics_gone_at", "gone_at", postgresql_where=text("gone_at IS NOT NULL")),
        Index("ix_epics_source_id_key", "source_id", text("lower(key)")),
        Index("ix_epics_source_id_project", "source_id", "project", "id"),
        Index(
            "ix_epics_alignment_id",
            "alignment",
            "id",
            postgresql_include=["source_id"],  # so that epics are counted without being read
            postgresql_where=text("gone_at IS NULL"),
        ),
        Index(
            "ix_epics_look_again_at",
            "source_id",
            "look_again_at",
            postgresql_where=text("look_again_at IS NOT NULL"),
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
    declared: Mapped[list[str]]  # the key results the ticket's text names, "line:KR-1" or "label:KR-1"
    fields: Mapped[dict[str, Any]]
    tracker_created_at: Mapped[datetime]
    tracker_updated_at: Mapped[datetime]
    content_hash: Mapped[bytes]
    read_at: Mapped[datetime]
    gone_at: Mapped[datetime | None]
    gone_reason: Mapped[str | None]
    alignment: Mapped[str | None]
    judged_at: Mapped[datetime | None]
    look_again_at: Mapped[datetime | None]


class EpicKey(Base):
    """Keys an epic had before, in lower case; a lookup by one of them finds the epic still."""

    __tablename__ = "epic_keys"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    epic_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("epics.id", ondelete="CASCADE"), index=True)
