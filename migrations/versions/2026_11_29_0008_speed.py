"""Speed: what makes syncs and lists cheap."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_0008"
down_revision = "2026_11_29_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _links_by_rule_and_people()


def downgrade() -> None:
    _links_as_before()


def _links_by_rule_and_people() -> None:
    op.drop_index("ix_links_rule_id", "links")
    op.create_index(
        "ix_links_rule_id_origin",
        "links",
        ["rule_id", "origin"],
        postgresql_where=sa.text("rule_id IS NOT NULL"),
    )
    op.create_index(
        "ix_links_confirmed",
        "links",
        ["key_result_id", "id"],
        postgresql_where=sa.text("origin IN ('manual', 'command', 'ticket')"),
    )


def _links_as_before() -> None:
    op.drop_index("ix_links_confirmed", "links")
    op.drop_index("ix_links_rule_id_origin", "links")
    op.create_index("ix_links_rule_id", "links", ["rule_id"])
