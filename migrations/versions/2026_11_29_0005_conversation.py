"""The conversation on the ticket: which version of a comment was answered, and how."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_0005"
down_revision = "2026_11_28_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _version_comments()
    _name_who_answered()


def downgrade() -> None:
    _forget_who_answered()
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


# --- who snoozed, waived or disputed a finding, and when ------------------------------------------


def _name_who_answered() -> None:
    op.add_column("findings", sa.Column("by", sa.Text(), nullable=True))
    op.add_column("findings", sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))


def _forget_who_answered() -> None:
    for name in ("by", "changed_at"):
        op.drop_column("findings", name)
