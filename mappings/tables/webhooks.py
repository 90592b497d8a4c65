"""Received webhooks, and the comments whose commands were executed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, Claimed, belongs_to, identity, one_of, stamped


class DeliveryRow(Claimed, Base):
    """One received webhook. `body` is the raw signed body and is deleted after 14 days; `due_at` set means
    that the delivery waits to be processed.

    `digest` is of the event's header and the body; null for deliveries of before there were digests.
    `is_repeat`: an earlier delivery, under another id, had the same digest and was worked on. `ended_at`:
    when the work on it ended.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("source_id", "remote_id"),
        Index("ix_deliveries_source_id_id", "source_id", "id"),
        Index("ix_deliveries_due_at", "source_id", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_deliveries_received_at", "received_at"),
        Index("ix_deliveries_body", "received_at", postgresql_where=text("body IS NOT NULL")),
        Index("ix_deliveries_state_id", "state", "id"),
        Index(
            "ix_deliveries_digest",
            "source_id",
            "digest",
            "id",
            postgresql_where=text("reason IS DISTINCT FROM 'repeated'"),
        ),
        Index("ix_deliveries_unknown", "source_id", postgresql_where=text("reason = 'unknown'")),
        one_of("state", ("received", "done", "ignored", "failed")),
    )

    id: Mapped[int] = identity()
    source_id: Mapped[int] = belongs_to("sources.id")
    remote_id: Mapped[str]
    event: Mapped[str]
    action: Mapped[str | None]
    is_form: Mapped[bool] = mapped_column(server_default=text("false"))
    body: Mapped[bytes | None] = mapped_column(deferred=True)
    digest: Mapped[bytes | None]
    is_repeat: Mapped[bool] = mapped_column(server_default=text("false"))
    received_at: Mapped[datetime] = stamped()
    state: Mapped[str] = mapped_column(server_default="received")
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[dict[str, Any] | None]
    run_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("runs.id", ondelete="SET NULL"), index=True
    )
    due_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class CommandCommentRow(Base):
    """A comment whose commands were executed, so that each version of them runs once, however often and
    whichever way it is met.

    `digest` is of the lines that are commands or nearly so, as they were typed; null for comments of before
    there were digests. `outcome`: how it was acknowledged. `reaction_id`: our reaction to it. `is_told`: its
    author was told in words that they may give no commands there. `answer` is the
    answer that the notice shows; null if the effect of the command is answer enough. It tells why
    `explained_key_result_ids` no longer count. `author_id` is the tracker's id of the account that
    `author` is the name of.
    """

    __tablename__ = "command_comments"
    __table_args__ = (
        UniqueConstraint("epic_id", "remote_id"),
        one_of("outcome", ("done", "not_understood", "not_allowed")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    remote_id: Mapped[str]
    digest: Mapped[bytes | None]
    outcome: Mapped[str] = mapped_column(server_default="done")
    reaction_id: Mapped[str | None]
    is_told: Mapped[bool] = mapped_column(server_default=text("false"))
    author: Mapped[str]
    author_id: Mapped[str | None]
    commands: Mapped[list[str]]
    answer: Mapped[str | None]
    explained_key_result_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger()), server_default="{}")
    at: Mapped[datetime] = stamped()
