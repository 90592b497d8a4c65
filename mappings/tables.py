"""The tables. One row class a table; judging never sees these, only the frozen values made of them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

GOAL_STATES = ("draft", "active", "achieved", "missed", "archived")
READING_MODES = ("incremental", "full")
UNFINISHED_STATES = ("running", "waiting", "stalled")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  (SQLAlchemy's own declaration point)
        datetime: DateTime(timezone=True),
        date: Date(),
        str: Text(),
        int: Integer(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(),
        list[str]: ARRAY(Text()),
    }


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)


def _ref(target: str, *, ondelete: str = "CASCADE", primary_key: bool = False) -> Mapped[Any]:
    return mapped_column(BigInteger, ForeignKey(target, ondelete=ondelete), primary_key=primary_key)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({quoted})", name=column)


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
    created_at: Mapped[datetime] = _now()


class Source(Base):
    """`credentials` and `webhook_secret` are Fernet tokens. `tracker` is its identity."""

    __tablename__ = "sources"
    __table_args__ = (Index("uq_sources_name", text("lower(name)"), unique=True),)

    id: Mapped[int] = _id()
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
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()


class SourceProject(Base):
    """A project of a source: how far it is read, and whether the last run read it to its end."""

    __tablename__ = "source_projects"

    source_id: Mapped[int] = _ref("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[datetime | None]
    public: Mapped[bool] = mapped_column(server_default=text("false"))
    service_desk: Mapped[bool] = mapped_column(server_default=text("false"))
    read_to_end: Mapped[bool] = mapped_column(server_default=text("false"))
    problem: Mapped[str | None]


class Run(Base):
    __tablename__ = "runs"
    __table_args__ = (
        _one_of("mode", (*READING_MODES, "judge", "withdraw")),
        _one_of("state", ("queued", *UNFINISHED_STATES, "succeeded", "partial", "failed")),
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
    )

    id: Mapped[int] = _id()
    source_id: Mapped[int] = _ref("sources.id")
    mode: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="queued")
    due_at: Mapped[datetime] = _now()
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    seen: Mapped[int] = mapped_column(server_default="0")
    created: Mapped[int] = mapped_column(server_default="0")
    updated: Mapped[int] = mapped_column(server_default="0")
    deleted: Mapped[int] = mapped_column(server_default="0")
    skipped: Mapped[int] = mapped_column(server_default="0")
    requests: Mapped[int] = mapped_column(server_default="0")
    held: Mapped[int] = mapped_column(server_default="0")
    waiting_until: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = _now()


class RunProject(Base):
    """How far one run has read one project, so that a killed run goes on where it stopped."""

    __tablename__ = "run_projects"

    run_id: Mapped[int] = _ref("runs.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    cursor: Mapped[datetime | None]
    done: Mapped[bool] = mapped_column(server_default=text("false"))


class Epic(Base):
    """An epic as last read. `look_again_at` in the past means that it waits to be judged."""

    __tablename__ = "epics"
    __table_args__ = (
        UniqueConstraint("tracker", "remote_id"),
        Index("ix_epics_source_id_key", "source_id", text("lower(key)")),
        Index("ix_epics_source_id_project", "source_id", "project", "id"),
        Index("ix_epics_alignment_id", "alignment", "id", postgresql_where=text("gone_at IS NULL")),
        Index(
            "ix_epics_look_again_at",
            "source_id",
            "look_again_at",
            postgresql_where=text("look_again_at IS NOT NULL"),
        ),
        Index("ix_epics_declared", "declared", postgresql_using="gin"),
    )

    id: Mapped[int] = _id()
    source_id: Mapped[int] = _ref("sources.id")
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

    source_id: Mapped[int] = _ref("sources.id", primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    epic_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("epics.id", ondelete="CASCADE"), index=True)


class Cycle(Base):
    __tablename__ = "cycles"
    __table_args__ = (Index("uq_cycles_key", text("lower(key)"), unique=True),)

    id: Mapped[int] = _id()
    key: Mapped[str]
    title: Mapped[str]
    starts: Mapped[date]
    ends: Mapped[date]
    review: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _now()


class Objective(Base):
    __tablename__ = "objectives"
    __table_args__ = (
        Index("uq_objectives_key", text("lower(key)"), unique=True),
        _one_of("state", GOAL_STATES),
        _one_of("driver", ("growth", "cost", "experience", "risk")),
        _one_of("visibility", ("public", "internal", "confidential")),
    )

    id: Mapped[int] = _id()
    key: Mapped[str]
    title: Mapped[str]
    description: Mapped[str | None]
    driver: Mapped[str | None]
    cycle_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("cycles.id"), index=True)
    parent_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("objectives.id"), index=True)
    owner: Mapped[str | None]
    sponsor: Mapped[str | None]
    weight: Mapped[float] = mapped_column(server_default="1")
    visibility: Mapped[str] = mapped_column(server_default="internal")
    public_label: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="active")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _now()


class KeyResult(Base):
    __tablename__ = "key_results"
    __table_args__ = (
        Index("uq_key_results_key", text("lower(key)"), unique=True),
        _one_of("state", GOAL_STATES),
    )

    id: Mapped[int] = _id()
    key: Mapped[str]
    objective_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("objectives.id"), index=True)
    title: Mapped[str]
    category: Mapped[str | None]
    unit: Mapped[str | None]
    baseline: Mapped[float | None]
    target: Mapped[float | None]
    direction: Mapped[str | None]
    due: Mapped[date | None]
    state: Mapped[str] = mapped_column(server_default="active")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _now()


class CheckIn(Base):
    __tablename__ = "check_ins"
    __table_args__ = (Index("ix_check_ins_latest", "key_result_id", text("at DESC"), text("id DESC")),)

    id: Mapped[int] = _id()
    key_result_id: Mapped[int] = _ref("key_results.id")
    value: Mapped[float]
    confidence: Mapped[float]
    note: Mapped[str | None]
    at: Mapped[datetime]
    created_at: Mapped[datetime] = _now()


class Rule(Base):
    __tablename__ = "rules"
    __table_args__ = (Index("uq_rules_name", text("lower(name)"), unique=True),)

    id: Mapped[int] = _id()
    name: Mapped[str]
    when: Mapped[dict[str, Any]]
    key_result_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("key_results.id"), index=True)
    priority: Mapped[int]
    enabled: Mapped[bool]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = _now()


class Link(Base):
    __tablename__ = "links"
    __table_args__ = (
        UniqueConstraint("epic_id", "key_result_id", "origin"),
        Index(
            "uq_links_primary", "epic_id", unique=True, postgresql_where=text("is_primary")
        ),  # one link an epic may be marked primary
        _one_of("origin", ("manual", "rule", "ticket", "command", "inherited")),
    )

    id: Mapped[int] = _id()
    epic_id: Mapped[int] = _ref("epics.id")
    key_result_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("key_results.id"), index=True)
    origin: Mapped[str]
    weight: Mapped[float] = mapped_column(server_default="1")
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    rule_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("rules.id", ondelete="SET NULL"), index=True
    )
    why: Mapped[str]
    created_at: Mapped[datetime] = _now()


class Finding(Base):
    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("epic_id", "check"),
        Index("ix_findings_state_id", "state", "id"),
        _one_of("state", ("open", "snoozed", "waived", "disputed", "resolved")),
    )

    id: Mapped[int] = _id()
    epic_id: Mapped[int] = _ref("epics.id")
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
    `target`. `remote_id` is the truth about our comment, `named` are the key results whose titles
    stand in it. `unanswered_at`: a write was sent whose
    answer never came, so the ticket must be looked at before the next one.
    """

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("epic_id"),
        Index("ix_notices_state_id", "state", "id"),
        Index("ix_notices_due_at", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_notices_run_id", "run_id"),
        _one_of("state", ("shadow", "held", "due", "posted", "resolved", "withdrawn", "failed")),
    )

    id: Mapped[int] = _id()
    epic_id: Mapped[int] = _ref("epics.id")
    state: Mapped[str]
    target: Mapped[str | None]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    body: Mapped[str]
    facts_hash: Mapped[str]
    posted_hash: Mapped[str | None]
    named: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()), server_default="{}")
    remote_id: Mapped[str | None]
    url: Mapped[str | None]
    run_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("runs.id", ondelete="SET NULL"))
    due_at: Mapped[datetime | None]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
    unanswered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()


class NoticeWrite(Base):
    """Every write to a tracker, with the run it belongs to; kept when the notice goes."""

    __tablename__ = "notice_writes"
    __table_args__ = (
        Index("ix_notice_writes_run_id", "run_id"),
        _one_of("kind", ("posted", "edited", "resolved", "failed")),
    )

    id: Mapped[int] = _id()
    run_id: Mapped[int] = _ref("runs.id")
    epic_id: Mapped[int] = _ref("epics.id")
    kind: Mapped[str]
    remote_id: Mapped[str | None]
    at: Mapped[datetime] = _now()
