"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _follow_projects()


def downgrade() -> None:
    _follow_no_projects()


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
