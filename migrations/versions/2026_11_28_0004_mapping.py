"""Map epics in bulk: parents, counts of children, coverage, agreements."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0004"
down_revision = "2026_11_28_0003"
branch_labels = None
depends_on = None

PARENT = ("parent_remote_id", "parent_title", "parent_url")
CHILDREN = ("children", "children_done")


def upgrade() -> None:
    _add_parents()
    _add_agreements()


def downgrade() -> None:
    _drop_agreements()
    _drop_parents()


def _add_parents() -> None:
    for name in PARENT:
        op.add_column("epics", sa.Column(name, sa.Text(), nullable=True))
    for name in CHILDREN:
        op.add_column("epics", sa.Column(name, sa.Integer(), nullable=True))


def _drop_parents() -> None:
    for name in (*PARENT, *CHILDREN):
        op.drop_column("epics", name)


# --- agreements -----------------------------------------------------------------------------------


def _add_agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("baseline", sa.Double(), nullable=True),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("voided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("void_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("side IN ('business', 'it')", name=op.f("ck_agreements_side")),
        sa.CheckConstraint(
            "void_reason IN ('metric_changed', 'signed_again')", name=op.f("ck_agreements_void_reason")
        ),
        sa.CheckConstraint("(voided_at IS NULL) = (void_reason IS NULL)", name=op.f("ck_agreements_voided")),
        sa.ForeignKeyConstraint(
            ["key_result_id"],
            ["key_results.id"],
            name=op.f("fk_agreements_key_result_id_key_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreements")),
    )
    op.create_index("ix_agreements_key_result_id_id", "agreements", ["key_result_id", "id"])
    op.create_index(
        "uq_agreements_valid",
        "agreements",
        ["key_result_id", "side"],
        unique=True,
        postgresql_where=sa.text("voided_at IS NULL"),
    )


def _drop_agreements() -> None:
    op.drop_table("agreements")
