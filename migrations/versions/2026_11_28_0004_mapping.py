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
    _add_children()


def downgrade() -> None:
    _drop_children()
    _drop_parents()


def _add_parents() -> None:
    for name in PARENT:
        op.add_column("epics", sa.Column(name, sa.Text(), nullable=True))
    for name in CHILDREN:
        op.add_column("epics", sa.Column(name, sa.Integer(), nullable=True))


def _drop_parents() -> None:
    for name in (*PARENT, *CHILDREN):
        op.drop_column("epics", name)


def _add_children() -> None:
    op.add_column("epics", sa.Column("children_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("sources", sa.Column("children_cursor", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "children_due",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("marks", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_children_due_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_children_due_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_children_due")),
        sa.UniqueConstraint("epic_id", name=op.f("uq_children_due_epic_id")),
    )
    op.create_index("ix_children_due_source_id_id", "children_due", ["source_id", "id"])
    op.create_table(
        "outside_parents",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_outside_parents_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "key", name=op.f("pk_outside_parents")),
    )


def _drop_children() -> None:
    op.drop_table("outside_parents")
    op.drop_table("children_due")
    op.drop_column("sources", "children_cursor")
    op.drop_column("epics", "children_at")
