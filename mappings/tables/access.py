"""API tokens with their roles, the sessions of people on the pages, their saved views, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, text
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


class WebSessionRow(Base):
    """A person who is signed in on the pages. Of the cookie's value only the hash is stored.

    Either `token_hash` is set, the hash of the token that they signed in with, whose end ends the session; or
    `person`, their id at the OpenID provider, with the `role` that their groups gave them, what the
    provider gave to ask it again (`grant`, encrypted) and when it was asked (`checked_at`). `last_action`:
    what the page says of the latest change, and how to undo it.
    """

    __tablename__ = "web_sessions"
    __table_args__ = (
        Index("uq_web_sessions_hash", "hash", unique=True),
        Index("ix_web_sessions_created_at", "created_at"),
        one_of("role", ROLES),
        CheckConstraint("(token_hash IS NULL) <> (person IS NULL)", name="one_way_in"),
    )

    id: Mapped[int] = identity()
    hash: Mapped[bytes]
    token_hash: Mapped[bytes | None]
    person: Mapped[str | None]
    name: Mapped[str]
    role: Mapped[str | None]
    grant: Mapped[bytes | None]
    checked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    last_action: Mapped[dict[str, Any] | None]


class SavedViewRow(Base):
    """Filters of the list of epics that a person saved under a name. `owner`: as the audit log names them.
    `query`: of the page's address, as the page makes it."""

    __tablename__ = "saved_views"
    __table_args__ = (Index("uq_saved_views_owner_name", "owner", text("lower(name)"), unique=True),)

    id: Mapped[int] = identity()
    owner: Mapped[str]
    name: Mapped[str]
    query: Mapped[str]
    created_at: Mapped[datetime]


class AuditEntryRow(Base):
    """One change, by a person or a program (`who`). The database itself refuses to change or delete a row.

    `who_id`: the tracker's id of the account that gave a command; null for everybody else.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_what_id", "what", "id"),
        # The entries about an epic: their keys begin with its name, as `jira/SHOP-9 -> KR-1`.
        Index(
            "ix_audit_log_epic_id",
            text("lower(split_part(key, ' ', 1))"),
            "id",
            postgresql_where=text("what IN ('link', 'finding', 'rejection')"),
        ),
    )

    id: Mapped[int] = identity()
    at: Mapped[datetime] = stamped()
    who: Mapped[str]
    who_id: Mapped[str | None]
    action: Mapped[str]
    what: Mapped[str]
    key: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
