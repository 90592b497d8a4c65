"""The conversation on the ticket: which version of a comment was answered, and how."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_0005"
down_revision = "2026_11_28_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _version_comments()
    _remember_read_comments()


def downgrade() -> None:
    _forget_read_comments()
    _unversion_comments()


# --- comments with commands -----------------------------------------------------------------------

OUTCOMES = "outcome IN ('done', 'not_understood', 'not_allowed')"


def _version_comments() -> None:
    op.add_column("command_comments", sa.Column("digest", sa.LargeBinary(), nullable=True))
    op.add_column("command_comments", sa.Column("outcome", sa.Text(), server_default="done", nullable=False))
    op.add_column("command_comments", sa.Column("reaction_id", sa.Text(), nullable=True))
    op.create_check_constraint(op.f("ck_command_comments_outcome"), "command_comments", OUTCOMES)


def _unversion_comments() -> None:
    op.drop_constraint(op.f("ck_command_comments_outcome"), "command_comments", type_="check")
    for name in ("digest", "outcome", "reaction_id"):
        op.drop_column("command_comments", name)


# --- comments that a sync looks at ----------------------------------------------------------------


def _remember_read_comments() -> None:
    """Commands of before this were executed or are none any more. The default changes no row."""
    now = sa.text("now()")
    when = sa.Column("comments_read_at", sa.DateTime(timezone=True), server_default=now, nullable=True)
    op.add_column("epics", when)
    op.alter_column("epics", "comments_read_at", server_default=None)
    op.add_column("epics", sa.Column("comments_changed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_epics_comments_changed_at",
        "epics",
        ["source_id", "comments_changed_at"],
        postgresql_where=sa.text("comments_changed_at IS NOT NULL"),
    )
    op.add_column("sources", sa.Column("comments_cursor", sa.DateTime(timezone=True), nullable=True))


def _forget_read_comments() -> None:
    op.drop_index("ix_epics_comments_changed_at", "epics")
    op.drop_column("epics", "comments_changed_at")
    op.drop_column("epics", "comments_read_at")
    op.drop_column("sources", "comments_cursor")
