"""Sources, their projects, and the last moments of their schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity, stamped


class SourceRow(Base):
    """A configured tracker. `credentials` and `webhook_secret` are Fernet tokens that open only together with
    this row's `uuid`, `kind` and `base_url`; empty credentials were dropped. `tracker` identifies the tracker
    itself, which two sources may share. `unopened_since`: since when no process was met whose keys open the
    credentials. `named_projects`: which projects the names in the
    configuration mean, see `mappings.policy.names`. `unknown_names`: those names in it that the tracker does
    not have, by setting (`epics.labels`). `unreadable_fields`: see `mappings.sources.unreadable_fields`.
    `children_cursor`: up to where it is
    known which tickets have changed children, for a tracker whose tickets do not show it. `comments_cursor`:
    comments of before then were looked at, on all its tickets. `projects_listed_at`: when the tracker was
    asked for the list of its projects last."""

    __tablename__ = "sources"
    __table_args__ = (
        Index("uq_sources_name", text("lower(name)"), unique=True),
        Index("uq_sources_uuid", "uuid", unique=True),
    )

    id: Mapped[int] = identity()
    uuid: Mapped[str] = mapped_column(server_default=text("(gen_random_uuid())::text"))
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
    named_projects: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    unknown_names: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    unreadable_fields: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    children_cursor: Mapped[datetime | None]
    comments_cursor: Mapped[datetime | None]
    projects_listed_at: Mapped[datetime | None]
    health_state: Mapped[str] = mapped_column(server_default="unknown")
    health_message: Mapped[str] = mapped_column(server_default="")
    health_what_to_do: Mapped[str] = mapped_column(server_default="")
    health_checked_at: Mapped[datetime | None]
    signature_refused_at: Mapped[datetime | None]
    unopened_since: Mapped[datetime | None]
    disconnecting_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()
    updated_at: Mapped[datetime] = stamped()


class SourceProjectRow(Base):
    """A project of a source: how far it is read, whether the last run read it completely, and its pause.

    `remote_id` is the tracker's immutable id, by which a renamed project is known again; None for a project
    not listed since this column is there. `listed`: the tracker's last list has it. `settled_cursor`: the
    cursor that the project had when it was read to its end, if that is so old that no search shows an older
    change any more."""

    __tablename__ = "source_projects"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    remote_id: Mapped[str | None]
    cursor: Mapped[datetime | None]
    settled_cursor: Mapped[datetime | None]
    listed: Mapped[bool] = mapped_column(server_default=text("false"))
    public: Mapped[bool] = mapped_column(server_default=text("false"))
    service_desk: Mapped[bool] = mapped_column(server_default=text("false"))
    fully_synced: Mapped[bool] = mapped_column(server_default=text("false"))
    problem: Mapped[str | None]
    writes_paused_at: Mapped[datetime | None]
    writes_paused_reason: Mapped[str | None]


class KnownAnswerRow(Base):
    """An answer of a tracker that is known by its tag, see `connectors.answers.KnownAnswer`. `version`:
    that of the source with whose login it was asked."""

    __tablename__ = "known_answers"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str]
    tag: Mapped[str]
    value: Mapped[dict[str, Any]]
    version: Mapped[int]


class RefusedSignatureRow(Base):
    """How many webhooks were refused for their signature in the ten minutes that begin at `since`, and when
    the first of them came."""

    __tablename__ = "refused_signatures"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    since: Mapped[datetime] = mapped_column(primary_key=True)
    first_at: Mapped[datetime]
    count: Mapped[int]


class TrackerAccountRow(Base):
    """An account that Northing is or was signed in as at a tracker: its comments there are ours. Kept when a
    source is deleted, for the comments stay."""

    __tablename__ = "tracker_accounts"

    tracker: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(primary_key=True)


class ScheduleTickRow(Base):
    """The last moment of a source's schedule for which a run was opened; one replica alone opens it."""

    __tablename__ = "schedule_ticks"

    source_id: Mapped[int] = belongs_to("sources.id", primary_key=True)
    mode: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
