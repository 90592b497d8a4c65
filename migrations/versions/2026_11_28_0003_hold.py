"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_attempts()
    _add_unreadable_tickets()


def downgrade() -> None:
    _drop_unreadable_tickets()
    _drop_attempts()


def _add_attempts() -> None:
    for table in ("runs", "notices"):
        op.add_column(table, sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))


def _drop_attempts() -> None:
    for table in ("notices", "runs"):
        op.drop_column(table, "attempts")


def _add_unreadable_tickets() -> None:
    op.create_table(
        "unreadable_tickets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_unreadable_tickets_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_unreadable_tickets_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unreadable_tickets")),
    )
    op.create_index("ix_unreadable_tickets_run_id", "unreadable_tickets", ["run_id"])
    op.create_index(
        "uq_unreadable_tickets_remote_id",
        "unreadable_tickets",
        ["source_id", "remote_id"],
        unique=True,
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_index(
        "uq_unreadable_tickets_unknown",
        "unreadable_tickets",
        ["source_id", "project", "key", "reason"],
        unique=True,
        postgresql_where=sa.text("remote_id IS NULL"),
    )


def _drop_unreadable_tickets() -> None:
    op.drop_table("unreadable_tickets")
