"""Cycles, objectives, key results, check-ins, agreements, and the rules that map epics to them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import GOAL_STATES, Base, belongs_to, identity, one_of, stamped


class CycleRow(Base):
    __tablename__ = "cycles"
    __table_args__ = (Index("uq_cycles_key", text("lower(key)"), unique=True),)

    id: Mapped[int] = identity()
    key: Mapped[str]
    title: Mapped[str]
    starts: Mapped[date]
    ends: Mapped[date]
    review: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()


class ObjectiveRow(Base):
    __tablename__ = "objectives"
    __table_args__ = (
        Index("uq_objectives_key", text("lower(key)"), unique=True),
        one_of("state", GOAL_STATES),
        one_of("driver", ("growth", "cost", "experience", "risk")),
        one_of("visibility", ("public", "internal", "confidential")),
    )

    id: Mapped[int] = identity()
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
    created_at: Mapped[datetime] = stamped()


class KeyResultRow(Base):
    __tablename__ = "key_results"
    __table_args__ = (
        Index("uq_key_results_key", text("lower(key)"), unique=True),
        one_of("state", GOAL_STATES),
    )

    id: Mapped[int] = identity()
    key: Mapped[str]
    objective_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("objectives.id"), index=True)
    title: Mapped[str]
    description: Mapped[str | None]
    owner: Mapped[str | None]
    category: Mapped[str | None]
    unit: Mapped[str | None]
    baseline: Mapped[float | None]
    target: Mapped[float | None]
    direction: Mapped[str | None]
    due: Mapped[date | None]
    state: Mapped[str] = mapped_column(server_default="active")
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()


class CheckInRow(Base):
    __tablename__ = "check_ins"
    __table_args__ = (Index("ix_check_ins_latest", "key_result_id", text("at DESC"), text("id DESC")),)

    id: Mapped[int] = identity()
    key_result_id: Mapped[int] = belongs_to("key_results.id")
    value: Mapped[float]
    confidence: Mapped[float]
    note: Mapped[str | None]
    at: Mapped[datetime]
    created_at: Mapped[datetime] = stamped()


class AgreementRow(Base):
    """One side's signature under how a key result is measured; `unit` to `direction` are the metric signed.

    `voided_at` null: it counts. `void_reason`: the metric was changed, or the same side signed again.
    """

    __tablename__ = "agreements"
    __table_args__ = (
        Index("ix_agreements_key_result_id_id", "key_result_id", "id"),
        Index(
            "uq_agreements_valid",
            "key_result_id",
            "side",
            unique=True,
            postgresql_where=text("voided_at IS NULL"),
        ),
        one_of("side", ("business", "it")),
        one_of("void_reason", ("metric_changed", "signed_again")),
        CheckConstraint("(voided_at IS NULL) = (void_reason IS NULL)", name="voided"),
    )

    id: Mapped[int] = identity()
    key_result_id: Mapped[int] = belongs_to("key_results.id")
    side: Mapped[str]
    name: Mapped[str]
    note: Mapped[str | None]
    unit: Mapped[str | None]
    baseline: Mapped[float | None]
    target: Mapped[float | None]
    direction: Mapped[str | None]
    voided_at: Mapped[datetime | None]
    void_reason: Mapped[str | None]
    created_at: Mapped[datetime] = stamped()


class RuleRow(Base):
    """`changed_at`: when a person last changed it, null for never since this is recorded. `last_matched_at`:
    when it was last seen to link an epic, to the day."""

    __tablename__ = "rules"
    __table_args__ = (Index("uq_rules_name", text("lower(name)"), unique=True),)

    id: Mapped[int] = identity()
    name: Mapped[str]
    when: Mapped[dict[str, Any]]
    key_result_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("key_results.id"), index=True)
    priority: Mapped[int]
    enabled: Mapped[bool]
    changed_at: Mapped[datetime | None]
    last_matched_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[datetime] = stamped()
