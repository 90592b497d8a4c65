"""Speed: what makes syncs and lists cheap."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_0008"
down_revision = "2026_11_29_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _project_lists()
    _links_by_rule_and_people()


def downgrade() -> None:
    _links_as_before()
    _drop_project_lists()


def _project_lists() -> None:
    """The list of projects is remembered, and of which projects no search shows an older change any more."""
    op.add_column("sources", sa.Column("projects_listed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("source_projects", sa.Column("settled_cursor", sa.DateTime(timezone=True), nullable=True))
    no = sa.text("false")
    op.add_column("source_projects", sa.Column("listed", sa.Boolean(), server_default=no, nullable=False))


def _drop_project_lists() -> None:
    op.drop_column("source_projects", "listed")
    op.drop_column("source_projects", "settled_cursor")
    op.drop_column("sources", "projects_listed_at")


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
