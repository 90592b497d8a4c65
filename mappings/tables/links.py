"""Links from epics to key results."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity, one_of, stamped

# Of a link that a person makes: through the API, or by a command in a comment.
MANUAL_ORIGINS = ("manual", "command")


class SuggestionRejectionRow(Base):
    """A person said that this key result does not fit this epic: it is not suggested for it again."""

    __tablename__ = "suggestion_rejections"

    epic_id: Mapped[int] = belongs_to("epics.id", primary_key=True)
    key_result_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("key_results.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    rejected_at: Mapped[datetime]


class LinkRow(Base):
    __tablename__ = "links"
    __table_args__ = (
        UniqueConstraint("epic_id", "key_result_id", "origin"),
        # At most one primary link for each epic.
        Index("uq_links_primary", "epic_id", unique=True, postgresql_where=text("is_primary")),
        Index(
            "ix_links_key_result_id_epic_id", "key_result_id", "epic_id"
        ),  # in the order of the epics' list
        # So that the epics that a rule links itself are counted by index-only scans.
        Index("ix_links_rule_id_origin", "rule_id", "origin", postgresql_where=text("rule_id IS NOT NULL")),
        # The newest links that people made to a key result, which suggestions learn from.
        Index(
            "ix_links_confirmed",
            "key_result_id",
            "id",
            postgresql_where=text("origin IN ('manual', 'command', 'ticket')"),
        ),
        one_of("origin", ("manual", "rule", "ticket", "command", "inherited")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int] = belongs_to("epics.id")
    key_result_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("key_results.id"))
    origin: Mapped[str]
    weight: Mapped[float] = mapped_column(server_default="1")
    is_primary: Mapped[bool] = mapped_column(server_default=text("false"))
    # No foreign key: a rule is deleted at once, and the run that follows finds its epics by these links.
    rule_id: Mapped[int | None] = mapped_column(BigInteger)
    # Of an inherited link: the epic whose own it is. No foreign key: that epic may go, as the rule may.
    inherited_from: Mapped[int | None] = mapped_column(BigInteger)
    why: Mapped[str]
    created_at: Mapped[datetime] = stamped()
