"""The conversation on the ticket: which version of a comment was answered, and how."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_29_0005"
down_revision = "2026_11_28_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _version_comments()
    _store_descriptions()
    _make_suggestion_rejections()


def downgrade() -> None:
    _drop_suggestion_rejections()
    _forget_descriptions()
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


# --- suggestions ------------------------------------------------------------------------------------


def _store_descriptions() -> None:
    op.add_column("epics", sa.Column("description", sa.Text(), nullable=True))


def _forget_descriptions() -> None:
    op.drop_column("epics", "description")


def _make_suggestion_rejections() -> None:
    op.create_table(
        "suggestion_rejections",
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_suggestion_rejections_epic_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["key_result_id"],
            ["key_results.id"],
            name=op.f("fk_suggestion_rejections_key_result_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("epic_id", "key_result_id", name=op.f("pk_suggestion_rejections")),
    )
    op.create_index(
        op.f("ix_suggestion_rejections_key_result_id"), "suggestion_rejections", ["key_result_id"]
    )


def _drop_suggestion_rejections() -> None:
    op.drop_table("suggestion_rejections")
