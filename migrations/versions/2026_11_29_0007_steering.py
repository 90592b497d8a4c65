"""Steering: answers, stages, scores, estimates, conflicts, reviews, decisions and frozen months."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_29_0007"
down_revision = "2026_11_29_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_tables()


def downgrade() -> None:
    _drop_tables()


def _make_tables() -> None:
    op.create_table(
        "allocation_months",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("epics", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("month", name=op.f("pk_allocation_months")),
    )
    op.create_table(
        "criteria",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_criteria")),
    )
    op.create_index("uq_criteria_key", "criteria", [sa.literal_column("lower(key)")], unique=True)
    op.create_table(
        "allocation_rows",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("allocation", sa.Text(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=True),
        sa.Column("objective", sa.Text(), nullable=True),
        sa.Column("key_result", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("made_by", sa.Text(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("children", sa.Integer(), nullable=True),
        sa.Column("points", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "allocation IN ('aligned', 'exempt', 'unaligned')", name=op.f("ck_allocation_rows_allocation")
        ),
        sa.ForeignKeyConstraint(
            ["month"],
            ["allocation_months.month"],
            name=op.f("fk_allocation_rows_month_allocation_months"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("month", "epic_id", name=op.f("pk_allocation_rows")),
    )
    op.create_table(
        "reviews",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("cycle_id", sa.BigInteger(), nullable=False),
        sa.Column("held_on", sa.Date(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("attendees", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("previous_id", sa.BigInteger(), nullable=True),
        sa.Column("frozen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cycle_facts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("coverage", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("objectives", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("changes", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("epics", sa.Integer(), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("missing_sides", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("(state = 'closed') = (closed_at IS NOT NULL)", name=op.f("ck_reviews_closed")),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_reviews_state")),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.id"], name=op.f("fk_reviews_cycle_id_cycles")),
        sa.ForeignKeyConstraint(
            ["previous_id"], ["reviews.id"], name=op.f("fk_reviews_previous_id_reviews"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reviews")),
    )
    op.create_index("uq_reviews_held_on", "reviews", ["cycle_id", "held_on"], unique=True)
    op.create_index(
        "uq_reviews_open", "reviews", ["cycle_id"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "epic_values",
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("driver", sa.Text(), nullable=True),
        sa.Column("answered_by", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("asked_of", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.Text(), nullable=True),
        sa.Column("question_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "driver IN ('growth', 'cost', 'experience', 'risk')", name=op.f("ck_epic_values_driver")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_epic_values_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epic_id", name=op.f("pk_epic_values")),
    )
    op.create_table(
        "review_epics",
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_category", sa.Text(), nullable=False),
        sa.Column("alignment", sa.Text(), nullable=True),
        sa.Column("key_results", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("children", sa.Integer(), nullable=True),
        sa.Column("children_done", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_epics_review_id_reviews"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("review_id", "epic_id", name=op.f("pk_review_epics")),
    )
    op.create_table(
        "review_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=True),
        sa.Column("key_result_id", sa.BigInteger(), nullable=True),
        sa.Column("about", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("facts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("mitigation", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('open', 'done', 'skipped')", name=op.f("ck_review_items_state")),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.id"], name=op.f("fk_review_items_review_id_reviews"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_items")),
    )
    op.create_index(
        "ix_review_items_review_id_position", "review_items", ["review_id", "position"], unique=False
    )
    op.create_table(
        "review_key_results",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"],
            ["reviews.id"],
            name=op.f("fk_review_key_results_review_id_reviews"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_key_results")),
    )
    op.create_index(
        "ix_review_key_results_review_id_id", "review_key_results", ["review_id", "id"], unique=False
    )
    op.create_table(
        "scores",
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("criterion_id", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("by", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("score BETWEEN 0 AND 5", name=op.f("ck_scores_score")),
        sa.ForeignKeyConstraint(
            ["criterion_id"],
            ["criteria.id"],
            name=op.f("fk_scores_criterion_id_criteria"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_scores_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epic_id", "criterion_id", name=op.f("pk_scores")),
    )
    op.create_index(op.f("ix_scores_criterion_id"), "scores", ["criterion_id"], unique=False)
    op.create_table(
        "conflicts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=True),
        sa.Column("objective_id", sa.BigInteger(), nullable=True),
        sa.Column("key_result_id", sa.BigInteger(), nullable=True),
        sa.Column("technical", sa.Text(), nullable=False),
        sa.Column("business", sa.Text(), nullable=False),
        sa.Column("raised_by", sa.Text(), nullable=True),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_id", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint(
            "num_nonnulls(epic_id, objective_id, key_result_id) = 1", name=op.f("ck_conflicts_one_thing")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_conflicts_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["key_result_id"], ["key_results.id"], name=op.f("fk_conflicts_key_result_id_key_results")
        ),
        sa.ForeignKeyConstraint(
            ["objective_id"], ["objectives.id"], name=op.f("fk_conflicts_objective_id_objectives")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conflicts")),
    )
    op.create_index(op.f("ix_conflicts_epic_id"), "conflicts", ["epic_id"], unique=False)
    op.create_index(op.f("ix_conflicts_key_result_id"), "conflicts", ["key_result_id"], unique=False)
    op.create_index(op.f("ix_conflicts_objective_id"), "conflicts", ["objective_id"], unique=False)
    op.create_index(
        "ix_conflicts_open",
        "conflicts",
        ["raised_at"],
        unique=False,
        postgresql_where=sa.text("decided_at IS NULL"),
    )
    op.create_table(
        "epic_stages",
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("measure_id", sa.BigInteger(), nullable=True),
        sa.Column("due", sa.Date(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=True),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pilot_began_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.CheckConstraint("stage IN ('idea', 'pilot', 'scale', 'done')", name=op.f("ck_epic_stages_stage")),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_epic_stages_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["measure_id"], ["key_results.id"], name=op.f("fk_epic_stages_measure_id_key_results")
        ),
        sa.PrimaryKeyConstraint("epic_id", name=op.f("pk_epic_stages")),
    )
    op.create_index(
        "ix_epic_stages_due",
        "epic_stages",
        ["due"],
        unique=False,
        postgresql_where=sa.text("stage = 'pilot'"),
    )
    op.create_index(op.f("ix_epic_stages_measure_id"), "epic_stages", ["measure_id"], unique=False)
    op.create_table(
        "value_estimates",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=True),
        sa.Column("key_result_id", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("estimated_by", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('planned', 'realised')", name=op.f("ck_value_estimates_kind")),
        sa.CheckConstraint(
            "num_nonnulls(epic_id, key_result_id) = 1", name=op.f("ck_value_estimates_one_thing")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_value_estimates_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["key_result_id"],
            ["key_results.id"],
            name=op.f("fk_value_estimates_key_result_id_key_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_value_estimates")),
    )
    op.create_index(
        "ix_value_estimates_epic_id",
        "value_estimates",
        ["epic_id", "id"],
        unique=False,
        postgresql_where=sa.text("epic_id IS NOT NULL"),
    )
    op.create_index(
        "ix_value_estimates_key_result_id",
        "value_estimates",
        ["key_result_id", "id"],
        unique=False,
        postgresql_where=sa.text("key_result_id IS NOT NULL"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("review_id", sa.BigInteger(), nullable=True),
        sa.Column("item_id", sa.BigInteger(), nullable=True),
        sa.Column("conflict_id", sa.BigInteger(), nullable=True),
        sa.Column("epic_id", sa.BigInteger(), nullable=True),
        sa.Column("epic_source", sa.Text(), nullable=True),
        sa.Column("epic_key", sa.Text(), nullable=True),
        sa.Column("epic_title", sa.Text(), nullable=True),
        sa.Column("about_objective_id", sa.BigInteger(), nullable=True),
        sa.Column("about_key_result_id", sa.BigInteger(), nullable=True),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=True),
        sa.Column("measure_id", sa.BigInteger(), nullable=True),
        sa.Column("by_date", sa.Date(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("effects", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "decision IN ('keep', 'remap', 'stop', 'defer', 'pilot', 'scale')",
            name=op.f("ck_decisions_decision"),
        ),
        sa.ForeignKeyConstraint(
            ["about_key_result_id"],
            ["key_results.id"],
            name=op.f("fk_decisions_about_key_result_id_key_results"),
        ),
        sa.ForeignKeyConstraint(
            ["about_objective_id"], ["objectives.id"], name=op.f("fk_decisions_about_objective_id_objectives")
        ),
        sa.ForeignKeyConstraint(
            ["conflict_id"],
            ["conflicts.id"],
            name=op.f("fk_decisions_conflict_id_conflicts"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_decisions_epic_id_epics"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["review_items.id"],
            name=op.f("fk_decisions_item_id_review_items"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["key_result_id"], ["key_results.id"], name=op.f("fk_decisions_key_result_id_key_results")
        ),
        sa.ForeignKeyConstraint(
            ["measure_id"], ["key_results.id"], name=op.f("fk_decisions_measure_id_key_results")
        ),
        sa.ForeignKeyConstraint(["review_id"], ["reviews.id"], name=op.f("fk_decisions_review_id_reviews")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(
        op.f("ix_decisions_about_key_result_id"), "decisions", ["about_key_result_id"], unique=False
    )
    op.create_index(
        op.f("ix_decisions_about_objective_id"), "decisions", ["about_objective_id"], unique=False
    )
    op.create_index(
        "ix_decisions_by_date",
        "decisions",
        ["by_date"],
        unique=False,
        postgresql_where=sa.text("undone_at IS NULL AND by_date IS NOT NULL"),
    )
    op.create_index(op.f("ix_decisions_conflict_id"), "decisions", ["conflict_id"], unique=False)
    op.create_index("ix_decisions_epic_id_id", "decisions", ["epic_id", "id"], unique=False)
    op.create_index(op.f("ix_decisions_key_result_id"), "decisions", ["key_result_id"], unique=False)
    op.create_index(op.f("ix_decisions_measure_id"), "decisions", ["measure_id"], unique=False)
    op.create_index("ix_decisions_review_id_id", "decisions", ["review_id", "id"], unique=False)
    op.add_column("epics", sa.Column("starts_on", sa.Date(), nullable=True))
    op.add_column("epics", sa.Column("due_on", sa.Date(), nullable=True))
    op.add_column("epics", sa.Column("points", sa.Double(), nullable=True))
    op.add_column("epics", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("epics", sa.Column("set_aside", sa.Text(), nullable=True))
    op.add_column("epics", sa.Column("set_aside_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("epics", sa.Column("set_aside_decision_id", sa.BigInteger(), nullable=True))


def _drop_tables() -> None:
    op.drop_column("epics", "set_aside_decision_id")
    op.drop_column("epics", "set_aside_until")
    op.drop_column("epics", "set_aside")
    op.drop_column("epics", "finished_at")
    op.drop_column("epics", "points")
    op.drop_column("epics", "due_on")
    op.drop_column("epics", "starts_on")
    op.drop_index("ix_decisions_review_id_id", table_name="decisions")
    op.drop_index(op.f("ix_decisions_measure_id"), table_name="decisions")
    op.drop_index(op.f("ix_decisions_key_result_id"), table_name="decisions")
    op.drop_index("ix_decisions_epic_id_id", table_name="decisions")
    op.drop_index(op.f("ix_decisions_conflict_id"), table_name="decisions")
    op.drop_index(
        "ix_decisions_by_date",
        table_name="decisions",
        postgresql_where=sa.text("undone_at IS NULL AND by_date IS NOT NULL"),
    )
    op.drop_index(op.f("ix_decisions_about_objective_id"), table_name="decisions")
    op.drop_index(op.f("ix_decisions_about_key_result_id"), table_name="decisions")
    op.drop_table("decisions")
    op.drop_index(
        "ix_value_estimates_key_result_id",
        table_name="value_estimates",
        postgresql_where=sa.text("key_result_id IS NOT NULL"),
    )
    op.drop_index(
        "ix_value_estimates_epic_id",
        table_name="value_estimates",
        postgresql_where=sa.text("epic_id IS NOT NULL"),
    )
    op.drop_table("value_estimates")
    op.drop_index(op.f("ix_epic_stages_measure_id"), table_name="epic_stages")
    op.drop_index("ix_epic_stages_due", table_name="epic_stages", postgresql_where=sa.text("stage = 'pilot'"))
    op.drop_table("epic_stages")
    op.drop_index("ix_conflicts_open", table_name="conflicts", postgresql_where=sa.text("decided_at IS NULL"))
    op.drop_index(op.f("ix_conflicts_objective_id"), table_name="conflicts")
    op.drop_index(op.f("ix_conflicts_key_result_id"), table_name="conflicts")
    op.drop_index(op.f("ix_conflicts_epic_id"), table_name="conflicts")
    op.drop_table("conflicts")
    op.drop_index(op.f("ix_scores_criterion_id"), table_name="scores")
    op.drop_table("scores")
    op.drop_index("ix_review_key_results_review_id_id", table_name="review_key_results")
    op.drop_table("review_key_results")
    op.drop_index("ix_review_items_review_id_position", table_name="review_items")
    op.drop_table("review_items")
    op.drop_table("review_epics")
    op.drop_table("epic_values")
    op.drop_index("uq_reviews_open", table_name="reviews", postgresql_where=sa.text("state = 'open'"))
    op.drop_index("uq_reviews_held_on", table_name="reviews")
    op.drop_table("reviews")
    op.drop_table("allocation_rows")
    op.drop_index("uq_criteria_key", table_name="criteria")
    op.drop_table("criteria")
    op.drop_table("allocation_months")
