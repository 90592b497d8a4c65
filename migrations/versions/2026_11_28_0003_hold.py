"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _bind_secrets()
    _count_refused_signatures()
    _know_our_comments()
    _say_who_acted()


def downgrade() -> None:
    for table, column in (("command_comments", "author_id"), ("audit_log", "who_id")):
        op.drop_column(table, column)
    for table in ("former_tickets", "tracker_accounts", "refused_signatures"):
        op.drop_table(table)
    op.drop_column("installation", "signing_key")
    op.drop_index("uq_sources_uuid", "sources")
    for column in ("unopened_since", "uuid"):
        op.drop_column("sources", column)


def _bind_secrets() -> None:
    # The first start, which has the keys, seals every stored secret again together with its place.
    uuid = sa.Column("uuid", sa.Text(), server_default=sa.text("(gen_random_uuid())::text"), nullable=False)
    op.add_column("sources", uuid)
    op.create_index("uq_sources_uuid", "sources", ["uuid"], unique=True)
    op.add_column("sources", sa.Column("unopened_since", MOMENT, nullable=True))
    op.add_column("installation", sa.Column("signing_key", sa.LargeBinary(), nullable=True))


def _count_refused_signatures() -> None:
    op.create_table(
        "refused_signatures",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_refused_signatures_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "since", name=op.f("pk_refused_signatures")),
    )


def _know_our_comments() -> None:
    for table, columns in (
        ("tracker_accounts", ("tracker", "account_id")),
        ("former_tickets", ("tracker", "remote_id", "former_id")),
    ):
        op.create_table(
            table,
            *(sa.Column(column, sa.Text(), nullable=False) for column in columns),
            sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}")),
        )


def _say_who_acted() -> None:
    op.add_column("audit_log", sa.Column("who_id", sa.Text(), nullable=True))
    op.add_column("command_comments", sa.Column("author_id", sa.Text(), nullable=True))
