"""Ask before a burst, take comments back, and remember what a person has to say a word about."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_0006"
down_revision = "2026_11_22_0005"
branch_labels = None
depends_on = None

KINDS = ("posted", "edited", "resolved", "failed")
GONE = "gone_at IS NOT NULL"
CLAIMED, READY = "claimed_until IS NOT NULL", "target IS NOT NULL AND due_at IS NULL"
EDITS = "kind IN ('edited', 'resolved', 'withdrawn')"


def _kinds(*kinds: str) -> None:
    op.drop_constraint(op.f("ck_notice_writes_kind"), "notice_writes")
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    op.create_check_constraint(op.f("ck_notice_writes_kind"), "notice_writes", f"kind IN ({listed})")


def upgrade() -> None:
    op.add_column("notices", sa.Column("guard", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("ck_notices_guard"), "notices", "guard IN ('held', 'passed', 'approved')")
    op.add_column("notices", sa.Column("guard_why", sa.Text(), nullable=True))
    op.add_column("notices", sa.Column("taking_back", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("ck_notices_taking_back"), "notices", "taking_back IN ('edit', 'delete')")
    _kinds(*KINDS, "withdrawn")
    op.create_index("ix_notice_writes_edited_at", "notice_writes", ["at"], postgresql_where=sa.text(EDITS))

    nothing = sa.text("'{}'::jsonb")
    op.add_column(
        "runs", sa.Column("new_comments", postgresql.JSONB(), server_default=nothing, nullable=False)
    )
    op.add_column("runs", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("runs", sa.Column("notices_mode", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("tracker", sa.Text(), nullable=True))
    op.create_index(
        "ix_runs_asked_at",
        "runs",
        ["source_id", "asked_at"],
        postgresql_where=sa.text("asked_at IS NOT NULL AND mode = 'judge'"),
    )
    for name in ("withdraws", "accepts"):
        op.add_column("runs", sa.Column(name, sa.BigInteger(), nullable=True))
        op.create_foreign_key(
            op.f(f"fk_runs_{name}_runs"), "runs", "runs", [name], ["id"], ondelete="CASCADE"
        )
        op.create_index(f"uq_runs_{name}", "runs", [name], unique=True)
    op.create_table(
        "held_removals",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_held_removals_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "remote_id", name=op.f("pk_held_removals")),
    )

    op.add_column(
        "source_projects", sa.Column("writes_stopped_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column("source_projects", sa.Column("writes_stopped_why", sa.Text(), nullable=True))
    op.add_column("sources", sa.Column("signature_refused_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sources", sa.Column("leaving_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_runs_finished_at", "runs", ["finished_at"])
    op.create_index("ix_epics_gone_at", "epics", ["gone_at"], postgresql_where=sa.text(GONE))
    _count_what_is_done()


def _count_what_is_done() -> None:
    op.create_table(
        "tallies",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("buckets", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_tallies_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source_id", "what", "label", name=op.f("pk_tallies")),
    )
    op.create_table(
        "tracker_readings",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("budget_limit", sa.Integer(), nullable=True),
        sa.Column("budget_remaining", sa.Integer(), nullable=True),
        sa.Column("budget_resets_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("budget_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_ahead", sa.Float(), nullable=True),
        sa.Column("clock_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_tracker_readings_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", name=op.f("pk_tracker_readings")),
    )
    _indexes(["source_id"], ["reason", "epic_id"])
    op.create_index("ix_notices_guard", "notices", ["run_id"], postgresql_where=sa.text("reason = 'guard'"))
    claimed, ready = sa.text(CLAIMED), sa.text(READY)
    op.create_index("ix_notices_claimed_until", "notices", ["claimed_until"], postgresql_where=claimed)
    op.create_index("ix_notices_ready", "notices", ["run_id"], postgresql_where=ready)


def _indexes(of_epics: list[str] | None, of_notices: list[str] | None) -> None:
    """Anew, with what has to stand in them so that rows are counted without being read."""
    shown = sa.text("gone_at IS NULL")
    op.drop_index("ix_epics_alignment_id", table_name="epics", postgresql_where=shown)
    op.create_index(
        "ix_epics_alignment_id",
        "epics",
        ["alignment", "id"],
        postgresql_include=of_epics,
        postgresql_where=shown,
    )
    op.drop_index("ix_notices_state_id", table_name="notices")
    op.create_index("ix_notices_state_id", "notices", ["state", "id"], postgresql_include=of_notices)


def downgrade() -> None:
    op.drop_index("ix_epics_gone_at", table_name="epics", postgresql_where=sa.text(GONE))
    op.drop_index("ix_runs_finished_at", table_name="runs")
    op.drop_index("ix_notices_ready", table_name="notices", postgresql_where=sa.text(READY))
    op.drop_index("ix_notices_claimed_until", table_name="notices", postgresql_where=sa.text(CLAIMED))
    op.drop_index("ix_notices_guard", table_name="notices", postgresql_where=sa.text("reason = 'guard'"))
    _indexes(None, None)
    op.drop_table("tracker_readings")
    op.drop_table("tallies")
    op.drop_column("sources", "leaving_at")
    op.drop_column("sources", "signature_refused_at")
    op.drop_column("source_projects", "writes_stopped_why")
    op.drop_column("source_projects", "writes_stopped_at")
    op.drop_table("held_removals")
    op.drop_index(
        "ix_runs_asked_at",
        table_name="runs",
        postgresql_where=sa.text("asked_at IS NOT NULL AND mode = 'judge'"),
    )
    for name in ("withdraws", "accepts"):
        op.drop_index(f"uq_runs_{name}", table_name="runs")
        op.drop_constraint(op.f(f"fk_runs_{name}_runs"), "runs", type_="foreignkey")
        op.drop_column("runs", name)
    for name in ("tracker", "notices_mode", "asked_at", "new_comments"):
        op.drop_column("runs", name)
    op.drop_index("ix_notice_writes_edited_at", table_name="notice_writes", postgresql_where=sa.text(EDITS))
    op.execute("DELETE FROM notice_writes WHERE kind = 'withdrawn'")
    _kinds(*KINDS)
    op.drop_constraint(op.f("ck_notices_taking_back"), "notices")
    op.drop_column("notices", "taking_back")
    op.drop_column("notices", "guard_why")
    op.drop_constraint(op.f("ck_notices_guard"), "notices")
    op.drop_column("notices", "guard")
