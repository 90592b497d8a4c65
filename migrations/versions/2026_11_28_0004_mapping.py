"""Map epics in bulk: parents, counts of children, coverage, agreements."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0004"
down_revision = "2026_11_28_0003"
branch_labels = None
depends_on = None

PARENT = ("parent_remote_id", "parent_title", "parent_url")
CHILDREN = ("children", "children_done")
RULE_TIMES = ("changed_at", "last_matched_at")


def upgrade() -> None:
    _add_parents()
    _add_rule_times()


def downgrade() -> None:
    _drop_rule_times()
    _drop_parents()


def _add_parents() -> None:
    for name in PARENT:
        op.add_column("epics", sa.Column(name, sa.Text(), nullable=True))
    for name in CHILDREN:
        op.add_column("epics", sa.Column(name, sa.Integer(), nullable=True))


def _drop_parents() -> None:
    for name in (*PARENT, *CHILDREN):
        op.drop_column("epics", name)


def _add_rule_times() -> None:
    for name in RULE_TIMES:
        op.add_column("rules", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def _drop_rule_times() -> None:
    for name in RULE_TIMES:
        op.drop_column("rules", name)
