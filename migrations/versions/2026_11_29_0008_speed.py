"""Speed: what makes syncs and lists cheap."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_29_0008"
down_revision = "2026_11_29_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _project_lists()
    _links_by_rule_and_people()
    _known_answers()


def downgrade() -> None:
    _without_known_answers()
    _links_as_before()
    _drop_project_lists()


def _known_answers() -> None:
    """Answers of trackers by their tags, and the requests that did not count."""
    op.create_table(
        "known_answers",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_known_answers_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "name", name=op.f("pk_known_answers")),
    )
    op.add_column("runs", sa.Column("uncounted_requests", sa.Integer(), server_default="0", nullable=False))


def _without_known_answers() -> None:
    op.drop_column("runs", "uncounted_requests")
    op.drop_table("known_answers")


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
