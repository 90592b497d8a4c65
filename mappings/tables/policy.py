"""The installation: its id, its admin token, what it signs with, and the policy in force."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, stamped


class InstallationRow(Base):
    """The only row. `uuid` is in the marker of our comments; `goals_version` rises with every change of
    goals, rules, manual links or policy. `signing_key`, sealed, is what signs markers and cursors; the start
    that makes it is the only one that takes secrets which are not bound to their place."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, server_default="1")
    uuid: Mapped[str]
    admin_token_hash: Mapped[bytes | None]
    signing_key: Mapped[bytes | None]
    goals_version: Mapped[int] = mapped_column(BigInteger, server_default="1")
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    policy_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()
