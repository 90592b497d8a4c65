"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_machine_clocks()


def downgrade() -> None:
    op.drop_table("machine_clocks")


def add_machine_clocks() -> None:
    op.create_table(
        "machine_clocks",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("ahead", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_machine_clocks")),
    )
