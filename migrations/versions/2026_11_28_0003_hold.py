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


def downgrade() -> None:
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
