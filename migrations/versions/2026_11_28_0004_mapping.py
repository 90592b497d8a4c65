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
    _add_inheritance()


def downgrade() -> None:
    _drop_inheritance()
    _drop_parents()


def _add_parents() -> None:
    for name in PARENT:
        op.add_column("epics", sa.Column(name, sa.Text(), nullable=True))
    for name in CHILDREN:
        op.add_column("epics", sa.Column(name, sa.Integer(), nullable=True))


def _drop_parents() -> None:
    for name in (*PARENT, *CHILDREN):
        op.drop_column("epics", name)


def _add_inheritance() -> None:
    op.add_column("links", sa.Column("inherited_from", sa.BigInteger(), nullable=True))
    op.add_column("epics", sa.Column("evaluated_version", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_epics_parent_remote_id",
        "epics",
        ["parent_remote_id"],
        postgresql_where=sa.text("parent_remote_id IS NOT NULL"),
    )
    op.create_index(
        "ix_epics_parent_key",
        "epics",
        [sa.text("lower(parent_key)")],
        postgresql_where=sa.text("parent_key IS NOT NULL"),
    )
    # They are due: until now nothing was inherited.
    op.execute(
        "UPDATE epics SET evaluate_at = TIMESTAMPTZ 'epoch'"
        " WHERE parent_key IS NOT NULL AND removed_at IS NULL"
    )


def _drop_inheritance() -> None:
    op.execute("DELETE FROM links WHERE origin = 'inherited'")
    op.drop_index("ix_epics_parent_key", "epics")
    op.drop_index("ix_epics_parent_remote_id", "epics")
    op.drop_column("epics", "evaluated_version")
    op.drop_column("links", "inherited_from")
