"""Pages: who is signed in, and the views that people saved."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_29_0006"
down_revision = "2026_11_29_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _make_web_sessions()
    _make_saved_views()
    _index_lists_of_epics()
    _count_coverage_by_index()
    _keep_documents_of_notices()
    _make_demo_company()


def downgrade() -> None:
    _drop_demo_company()
    _drop_documents_of_notices()
    _count_coverage_by_table()
    _drop_indexes_of_lists()
    _drop_saved_views()
    _drop_web_sessions()


# --- who is signed in -----------------------------------------------------------------------------


def _make_web_sessions() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "web_sessions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("grant", sa.LargeBinary(), nullable=True),
        sa.Column("checked_at", moment, nullable=True),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("last_action", postgresql.JSONB(none_as_null=True), nullable=True),
        sa.CheckConstraint("role IN ('viewer', 'editor', 'admin')", name=op.f("ck_web_sessions_role")),
        sa.CheckConstraint(
            "(token_hash IS NULL) <> (person IS NULL)", name=op.f("ck_web_sessions_one_way_in")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_web_sessions")),
    )
    op.create_index("uq_web_sessions_hash", "web_sessions", ["hash"], unique=True)
    op.create_index("ix_web_sessions_created_at", "web_sessions", ["created_at"])


def _drop_web_sessions() -> None:
    op.drop_table("web_sessions")


# --- saved views ----------------------------------------------------------------------------------


def _make_saved_views() -> None:
    op.create_table(
        "saved_views",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
    )
    op.create_index(
        "uq_saved_views_owner_name", "saved_views", ["owner", sa.text("lower(name)")], unique=True
    )


def _drop_saved_views() -> None:
    op.drop_table("saved_views")


# --- epics by when they were created, and their history ---------------------------------------------


def _index_lists_of_epics() -> None:
    op.create_index(
        "ix_epics_created_id",
        "epics",
        ["tracker_created_at", "id"],
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index(
        "ix_epics_open_created_id",
        "epics",
        ["tracker_created_at", "id"],
        postgresql_include=["alignment"],
        postgresql_where=sa.text("removed_at IS NULL AND status_category <> 'done'"),
    )
    op.create_index(
        "ix_audit_log_epic_id",
        "audit_log",
        [sa.text("lower(split_part(key, ' ', 1))"), "id"],
        postgresql_where=sa.text("what IN ('link', 'finding', 'rejection')"),
    )


def _drop_indexes_of_lists() -> None:
    op.drop_index("ix_audit_log_epic_id", "audit_log")
    op.drop_index("ix_epics_open_created_id", "epics")
    op.drop_index("ix_epics_created_id", "epics")


def _count_coverage_by_index() -> None:
    _index_alignment("source_id", "project", "status_category")


def _count_coverage_by_table() -> None:
    _index_alignment("source_id")


def _index_alignment(*beside: str) -> None:
    op.drop_index("ix_epics_alignment_id", "epics")
    op.create_index(
        "ix_epics_alignment_id",
        "epics",
        ["alignment", "id"],
        postgresql_include=list(beside),
        postgresql_where=sa.text("removed_at IS NULL"),
    )


# --- notices --------------------------------------------------------------------------------------


def _keep_documents_of_notices() -> None:
    op.add_column("notices", sa.Column("posted_document", postgresql.JSONB(none_as_null=True), nullable=True))


def _drop_documents_of_notices() -> None:
    op.drop_column("notices", "posted_document")


# --- the demo's company ---------------------------------------------------------------------------


def _make_demo_company() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "demo_company",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("steps_done", sa.Integer(), nullable=False),
        sa.Column("made", postgresql.JSONB(none_as_null=True), nullable=False),
        sa.Column("token_id", sa.BigInteger(), nullable=True),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("loaded_by", sa.Text(), nullable=False),
        sa.Column("remove_asked_by", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", moment, nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_demo_company_one_row")),
        sa.CheckConstraint("state IN ('loading', 'loaded', 'failed')", name=op.f("ck_demo_company_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_demo_company")),
    )


def _drop_demo_company() -> None:
    op.drop_table("demo_company")
