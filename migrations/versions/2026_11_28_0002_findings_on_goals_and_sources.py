"""Let a finding belong to an objective, a key result or a source."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0002"
down_revision = "2026_11_28_0001"
branch_labels = None
depends_on = None

THINGS = (("objective_id", "objectives"), ("key_result_id", "key_results"), ("source_id", "sources"))


def upgrade() -> None:
    op.alter_column("findings", "epic_id", nullable=True)
    for column, table in THINGS:
        op.add_column("findings", sa.Column(column, sa.BigInteger(), nullable=True))
        op.create_foreign_key(
            op.f(f"fk_findings_{column}_{table}"), "findings", table, [column], ["id"], ondelete="CASCADE"
        )
        op.create_index(
            f"uq_findings_{column}_check",
            "findings",
            [column, "check"],
            unique=True,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
    op.create_check_constraint(
        op.f("ck_findings_one_thing"),
        "findings",
        "num_nonnulls(epic_id, objective_id, key_result_id, source_id) = 1",
    )


def downgrade() -> None:
    op.execute("DELETE FROM findings WHERE epic_id IS NULL")
    op.drop_constraint(op.f("ck_findings_one_thing"), "findings", type_="check")
    for column, _ in reversed(THINGS):
        op.drop_column("findings", column)
    op.alter_column("findings", "epic_id", nullable=False)
