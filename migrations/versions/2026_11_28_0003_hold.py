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


def downgrade() -> None:
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
