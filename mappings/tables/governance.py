"""What a steering committee keeps: answers, stages, scores, estimates, conflicts, reviews and decisions.

What a review froze refers to nothing by foreign key: it stays as it was when the epic or the goal goes.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, belongs_to, identity, one_of, stamped

STAGES = ("idea", "pilot", "scale", "done")
DECISIONS = ("keep", "remap", "stop", "defer", "pilot", "scale")


def _refers_to(target: str, *, index: bool = False) -> Mapped[Any]:
    """What it refers to cannot be deleted as long as it does."""
    return mapped_column(BigInteger, ForeignKey(target), index=index)


class EpicValueRow(Base):
    """How an initiative helps the business, in a sentence, and who was asked for it. `driver`: which of the
    four ways it names, None where that was left open."""

    __tablename__ = "epic_values"
    __table_args__ = (one_of("driver", ("growth", "cost", "experience", "risk")),)

    epic_id: Mapped[int] = belongs_to("epics.id", primary_key=True)
    answer: Mapped[str | None]
    driver: Mapped[str | None]
    answered_by: Mapped[str | None]
    answered_at: Mapped[datetime | None]
    asked_of: Mapped[str | None]
    asked_by: Mapped[str | None]
    question_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")


class EpicStageRow(Base):
    """Where an epic stands on the way from an idea to done. `measure_id`: the key result that the pilot is,
    or was, measured by; `due`: the day that the pilot ends, inclusive, UTC. `pilot_began_at`: of the last."""

    __tablename__ = "epic_stages"
    __table_args__ = (
        one_of("stage", STAGES),
        Index("ix_epic_stages_due", "due", postgresql_where=text("stage = 'pilot'")),
    )

    epic_id: Mapped[int] = belongs_to("epics.id", primary_key=True)
    stage: Mapped[str]
    measure_id: Mapped[int | None] = _refers_to("key_results.id", index=True)
    due: Mapped[date | None]
    changed_by: Mapped[str | None]
    entered_at: Mapped[datetime]
    pilot_began_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(server_default="1")


class EstimateRow(Base):
    """What an epic or a key result is worth, planned or realised; the newest of its kind and currency counts.
    `amount` in units of `currency`, an ISO 4217 code."""

    __tablename__ = "value_estimates"
    __table_args__ = (
        one_of("kind", ("planned", "realised")),
        CheckConstraint("num_nonnulls(epic_id, key_result_id) = 1", name="one_thing"),
        Index("ix_value_estimates_epic_id", "epic_id", "id", postgresql_where=text("epic_id IS NOT NULL")),
        Index(
            "ix_value_estimates_key_result_id",
            "key_result_id",
            "id",
            postgresql_where=text("key_result_id IS NOT NULL"),
        ),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int | None] = belongs_to("epics.id")
    key_result_id: Mapped[int | None] = belongs_to("key_results.id")
    kind: Mapped[str]
    amount: Mapped[float]
    currency: Mapped[str]
    estimated_by: Mapped[str]
    note: Mapped[str | None]
    at: Mapped[datetime]
    created_at: Mapped[datetime] = stamped()


class CriterionRow(Base):
    """A criterion that priorities are scored by. `position` is its place in the list that was agreed."""

    __tablename__ = "criteria"
    __table_args__ = (Index("uq_criteria_key", text("lower(key)"), unique=True),)

    id: Mapped[int] = identity()
    key: Mapped[str]
    title: Mapped[str]
    weight: Mapped[float]
    position: Mapped[int]
    created_at: Mapped[datetime] = stamped()


class ScoreRow(Base):
    """What an epic was given for one criterion, 0 to 5, by a person."""

    __tablename__ = "scores"
    __table_args__ = (CheckConstraint("score BETWEEN 0 AND 5", name="score"),)

    epic_id: Mapped[int] = belongs_to("epics.id", primary_key=True)
    criterion_id: Mapped[int] = mapped_column(
        BigInteger, ForeignKey("criteria.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    score: Mapped[float]
    by: Mapped[str | None]
    at: Mapped[datetime]


class ReviewRow(Base):
    """A review of a cycle. `cycle_facts` (`key`, `title`, `starts`, `ends`, `review`), `coverage` and
    `objectives` as they were at `frozen_at`, and `epics` how many there were; `attendees`: name and side of
    each. `previous_id`: the review before it, of whatever cycle; `changes`: what moved since that one, None
    without one. `missing_sides`: those that nobody came from, once it is closed."""

    __tablename__ = "reviews"
    __table_args__ = (
        one_of("state", ("open", "closed")),
        CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name="closed"),
        Index("uq_reviews_open", "cycle_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("uq_reviews_held_on", "cycle_id", "held_on", unique=True),
    )

    id: Mapped[int] = identity()
    cycle_id: Mapped[int] = _refers_to("cycles.id")
    held_on: Mapped[date]
    state: Mapped[str] = mapped_column(server_default="open")
    attendees: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    previous_id: Mapped[int | None] = belongs_to("reviews.id", ondelete="SET NULL")
    frozen_at: Mapped[datetime]
    cycle_facts: Mapped[dict[str, Any]]
    coverage: Mapped[dict[str, Any]]
    objectives: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    changes: Mapped[dict[str, Any] | None]
    epics: Mapped[int]
    opened_by: Mapped[str | None]
    closed_at: Mapped[datetime | None]
    closed_by: Mapped[str | None]
    missing_sides: Mapped[list[str] | None]
    version: Mapped[int] = mapped_column(server_default="1")


class ReviewKeyResultRow(Base):
    """A key result as it was when a review was opened; `facts` are its figures. Never written again."""

    __tablename__ = "review_key_results"
    __table_args__ = (Index("ix_review_key_results_review_id_id", "review_id", "id"),)

    id: Mapped[int] = identity()
    review_id: Mapped[int] = belongs_to("reviews.id")
    key_result_id: Mapped[int] = mapped_column(BigInteger)
    key: Mapped[str]
    title: Mapped[str]
    objective: Mapped[str]
    facts: Mapped[dict[str, Any]]


class ReviewEpicRow(Base):
    """An open epic as it was when a review was opened. `key_results`: the keys of those that it was linked to
    and that were live. Never written again."""

    __tablename__ = "review_epics"

    review_id: Mapped[int] = belongs_to("reviews.id", primary_key=True)
    epic_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    source: Mapped[str]
    key: Mapped[str]
    project: Mapped[str]
    title: Mapped[str]
    url: Mapped[str]
    status: Mapped[str]
    status_category: Mapped[str]
    alignment: Mapped[str | None]
    key_results: Mapped[list[str]]
    stage: Mapped[str | None]
    starts_on: Mapped[date | None]
    due_on: Mapped[date | None]
    children: Mapped[int | None]
    children_done: Mapped[int | None]


class ReviewItemRow(Base):
    """A line of a review's agenda, made from what was open at its opening. `kind` says what of, `about` names
    it: `{"epic": {"source", "key"}}`, `{"key_result"}`, `{"decision"}`, …; `facts` are its figures then.
    `mitigation`: what is done about a goal at risk, as a person wrote it."""

    __tablename__ = "review_items"
    __table_args__ = (
        Index("ix_review_items_review_id_position", "review_id", "position"),
        one_of("state", ("open", "done", "skipped")),
    )

    id: Mapped[int] = identity()
    review_id: Mapped[int] = belongs_to("reviews.id")
    position: Mapped[int]
    kind: Mapped[str]
    title: Mapped[str]
    detail: Mapped[str]
    epic_id: Mapped[int | None] = mapped_column(BigInteger)
    key_result_id: Mapped[int | None] = mapped_column(BigInteger)
    about: Mapped[dict[str, Any]]
    facts: Mapped[dict[str, Any]]
    mitigation: Mapped[str | None]
    state: Mapped[str] = mapped_column(server_default="open")
    changed_by: Mapped[str | None]
    changed_at: Mapped[datetime | None]


class ConflictRow(Base):
    """A technical constraint against a business demand, on an epic, an objective or a key result. It ends
    with the decision `decision_id`."""

    __tablename__ = "conflicts"
    __table_args__ = (
        CheckConstraint("num_nonnulls(epic_id, objective_id, key_result_id) = 1", name="one_thing"),
        Index("ix_conflicts_open", "raised_at", postgresql_where=text("decided_at IS NULL")),
    )

    id: Mapped[int] = identity()
    epic_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("epics.id", ondelete="CASCADE"), index=True
    )
    objective_id: Mapped[int | None] = _refers_to("objectives.id", index=True)
    key_result_id: Mapped[int | None] = _refers_to("key_results.id", index=True)
    technical: Mapped[str]
    business: Mapped[str]
    raised_by: Mapped[str | None]
    raised_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decision_id: Mapped[int | None] = mapped_column(
        BigInteger
    )  # no foreign key: decisions refer to conflicts
    version: Mapped[int] = mapped_column(server_default="1")


class DecisionRow(Base):
    """What a committee decided about an epic, or about the goal of a conflict: in a review, or without one.

    `epic_source`, `epic_key` and `epic_title` as they were then: the row stays where the epic goes.
    `by_date`: the last day that it holds or that it is due, inclusive, UTC. `effects`: what it changed, so
    that it can be taken back exactly.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        one_of("decision", DECISIONS),
        Index("ix_decisions_epic_id_id", "epic_id", "id"),
        Index("ix_decisions_review_id_id", "review_id", "id"),
        Index(
            "ix_decisions_by_date",
            "by_date",
            postgresql_where=text("undone_at IS NULL AND by_date IS NOT NULL"),
        ),
    )

    id: Mapped[int] = identity()
    review_id: Mapped[int | None] = _refers_to("reviews.id")
    item_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("review_items.id", ondelete="SET NULL")
    )
    conflict_id: Mapped[int | None] = mapped_column(
        BigInteger, ForeignKey("conflicts.id", ondelete="SET NULL"), index=True
    )
    epic_id: Mapped[int | None] = belongs_to("epics.id", ondelete="SET NULL")
    epic_source: Mapped[str | None]
    epic_key: Mapped[str | None]
    epic_title: Mapped[str | None]
    about_objective_id: Mapped[int | None] = _refers_to("objectives.id", index=True)
    about_key_result_id: Mapped[int | None] = _refers_to("key_results.id", index=True)
    decision: Mapped[str]
    key_result_id: Mapped[int | None] = _refers_to("key_results.id", index=True)
    measure_id: Mapped[int | None] = _refers_to("key_results.id", index=True)
    by_date: Mapped[date | None]
    reason: Mapped[str]
    decided_by: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    recorded_by: Mapped[str | None]
    decided_at: Mapped[datetime]
    effects: Mapped[dict[str, Any]]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None]
