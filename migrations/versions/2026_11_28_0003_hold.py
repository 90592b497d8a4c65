"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_digests_of_deliveries()


def downgrade() -> None:
    drop_digests_of_deliveries()


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
