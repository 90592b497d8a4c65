"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add_machine_clocks()
    _follow_projects()
    add_digests_of_deliveries()
    _add_attempts()
    _add_unreadable_tickets()


def downgrade() -> None:
    _drop_unreadable_tickets()
    _drop_attempts()
    drop_digests_of_deliveries()
    _follow_no_projects()
    op.drop_table("machine_clocks")


def _add_machine_clocks() -> None:
    op.create_table(
        "machine_clocks",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("ahead", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_machine_clocks")),
    )


def _follow_projects() -> None:
    op.add_column("source_projects", sa.Column("remote_id", sa.Text(), nullable=True))
    for name in ("named_projects", "unknown_names"):
        column = sa.Column(
            name,
            postgresql.JSONB(none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        )
        op.add_column("sources", column)


def _follow_no_projects() -> None:
    op.drop_column("sources", "unknown_names")
    op.drop_column("sources", "named_projects")
    op.drop_column("source_projects", "remote_id")


# --- repeats of a webhook's body -----------------------------------------------------------------


def add_digests_of_deliveries() -> None:
    op.add_column("deliveries", sa.Column("digest", sa.LargeBinary(), nullable=True))
    op.add_column(
        "deliveries", sa.Column("is_repeat", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("deliveries", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_deliveries_digest",
        "deliveries",
        ["source_id", "digest", "id"],
        postgresql_where=sa.text("reason IS DISTINCT FROM 'repeated'"),
    )


def drop_digests_of_deliveries() -> None:
    op.drop_index("ix_deliveries_digest", table_name="deliveries")
    for column in ("ended_at", "is_repeat", "digest"):
        op.drop_column("deliveries", column)


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
