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
    _compose_on_demand()
    _mark_answers()
    _remember_read_comments()
    _store_descriptions()
    _make_suggestion_rejections()


def downgrade() -> None:
    _drop_suggestion_rejections()
    _forget_descriptions()
    _forget_read_comments()
    _unmark_answers()
    _store_composed()
    _forget_who_answered()
    _unversion_comments()
    _forget_places()


# --- comments with commands -----------------------------------------------------------------------

OUTCOMES = "outcome IN ('done', 'not_understood', 'not_allowed')"


def _version_comments() -> None:
    op.add_column("command_comments", sa.Column("digest", sa.LargeBinary(), nullable=True))
    op.add_column("command_comments", sa.Column("outcome", sa.Text(), server_default="done", nullable=False))
    op.add_column("command_comments", sa.Column("reaction_id", sa.Text(), nullable=True))
    op.add_column(
        "command_comments",
        sa.Column("is_told", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.create_check_constraint(op.f("ck_command_comments_outcome"), "command_comments", OUTCOMES)


def _unversion_comments() -> None:
    op.drop_constraint(op.f("ck_command_comments_outcome"), "command_comments", type_="check")
    for name in ("digest", "outcome", "reaction_id", "is_told"):
        op.drop_column("command_comments", name)


# --- what tickets name ----------------------------------------------------------------------------


def _forget_places() -> None:
    """What was stored before stays readable. The code of before knows words alone, without their places."""
    op.execute(
        "UPDATE epics SET ticket_references = ARRAY("
        "SELECT one FROM unnest(ticket_references) WITH ORDINALITY AS each (one, at)"
        " WHERE one ~ '^(line|label):' ORDER BY at)"
        " WHERE ticket_references <> '{}'"
    )


# --- who snoozed, waived or disputed a finding, and when ------------------------------------------


def _name_who_answered() -> None:
    op.add_column("findings", sa.Column("by", sa.Text(), nullable=True))
    op.add_column("findings", sa.Column("changed_at", sa.DateTime(timezone=True), nullable=True))


def _forget_who_answered() -> None:
    for name in ("by", "changed_at"):
        op.drop_column("findings", name)


# --- the texts of notices -------------------------------------------------------------------------


def _compose_on_demand() -> None:
    """Of a comment that was found again and not edited since, `body` alone had the text."""
    op.execute(
        "UPDATE notices SET posted_body = body"
        " WHERE remote_id IS NOT NULL AND posted_body IS NULL AND target IS NULL"
    )
    op.drop_column("notices", "body")


def _store_composed() -> None:
    """What is not on a ticket yet stays without a text until its epic is evaluated again."""
    op.add_column("notices", sa.Column("body", sa.Text(), server_default="", nullable=False))
    op.execute("UPDATE notices SET body = coalesce(posted_body, '')")
    op.alter_column("notices", "body", server_default=None)
    op.execute(
        "UPDATE epics SET evaluate_at = to_timestamp(0) FROM notices"
        " WHERE notices.epic_id = epics.id AND notices.posted_body IS NULL"
    )


# --- what answers a person ------------------------------------------------------------------------


def _mark_answers() -> None:
    for table in ("notices", "notice_writes"):
        op.add_column(table, sa.Column("answers", sa.Boolean(), server_default=sa.false(), nullable=False))


def _unmark_answers() -> None:
    for table in ("notice_writes", "notices"):
        op.drop_column(table, "answers")


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
