"""API tokens with their roles, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from mappings.tables.base import Base, identity, one_of, stamped

ROLES = ("viewer", "editor", "admin")


class TokenRow(Base):
    """An API token; only its hash is stored. `expires_at` null: it never expires."""

    __tablename__ = "tokens"
    __table_args__ = (Index("uq_tokens_hash", "hash", unique=True), one_of("role", ROLES))

    id: Mapped[int] = identity()
    name: Mapped[str]
    role: Mapped[str]
    hash: Mapped[bytes]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = stamped()


class AuditEntryRow(Base):
    """One change, by a person or a program (`who`). The database itself refuses to change or delete a row.

    `who_id`: the tracker's id of the account that gave a command; null for everybody else.
    """

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_what_id", "what", "id"),)

    id: Mapped[int] = identity()
    at: Mapped[datetime] = stamped()
    who: Mapped[str]
    who_id: Mapped[str | None]
    action: Mapped[str]
    what: Mapped[str]
    key: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
