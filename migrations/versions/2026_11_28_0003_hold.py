"""Hold what attackers, old clocks and broken trackers sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_28_0003"
down_revision = "2026_11_28_0002"
branch_labels = None
depends_on = None

QUEUED = "state = 'queued' AND evaluates IS NOT NULL"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _add_machine_clocks()
    _follow_projects()
    _add_digests_of_deliveries()
    _add_attempts()
    _add_unreadable_tickets()
    _create_causes()
    _add_explained()
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
    op.drop_column("command_comments", "explained_key_result_ids")
    _drop_causes()
    _drop_unreadable_tickets()
    _drop_attempts()
    _drop_digests_of_deliveries()
    _follow_no_projects()
    op.drop_table("machine_clocks")


def _add_machine_clocks() -> None:
    op.create_table(
        "machine_clocks",
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("ahead", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_machine_clocks")),
    )


def _follow_projects() -> None:
    op.add_column("source_projects", sa.Column("remote_id", sa.Text(), nullable=True))
    for name in ("named_projects", "unknown_names"):
        column = sa.Column(
            name,
            postgresql.JSONB(none_as_null=True),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        )
        op.add_column("sources", column)


def _follow_no_projects() -> None:
    op.drop_column("sources", "unknown_names")
    op.drop_column("sources", "named_projects")
    op.drop_column("source_projects", "remote_id")


# --- repeats of a webhook's body -----------------------------------------------------------------


def _add_digests_of_deliveries() -> None:
    op.add_column("deliveries", sa.Column("digest", sa.LargeBinary(), nullable=True))
    op.add_column(
        "deliveries", sa.Column("is_repeat", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("deliveries", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_deliveries_digest",
        "deliveries",
        ["source_id", "digest", "id"],
        postgresql_where=sa.text("reason IS DISTINCT FROM 'repeated'"),
    )


def _drop_digests_of_deliveries() -> None:
    op.drop_index("ix_deliveries_digest", table_name="deliveries")
    for column in ("ended_at", "is_repeat", "digest"):
        op.drop_column("deliveries", column)


def _add_attempts() -> None:
    for table in ("runs", "notices"):
        op.add_column(table, sa.Column("attempts", sa.Integer(), server_default="0", nullable=False))


def _drop_attempts() -> None:
    for table in ("notices", "runs"):
        op.drop_column(table, "attempts")


def _add_unreadable_tickets() -> None:
    op.create_table(
        "unreadable_tickets",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_unreadable_tickets_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_unreadable_tickets_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unreadable_tickets")),
    )
    op.create_index("ix_unreadable_tickets_run_id", "unreadable_tickets", ["run_id"])
    op.create_index(
        "uq_unreadable_tickets_remote_id",
        "unreadable_tickets",
        ["source_id", "remote_id"],
        unique=True,
        postgresql_where=sa.text("remote_id IS NOT NULL"),
    )
    op.create_index(
        "uq_unreadable_tickets_unknown",
        "unreadable_tickets",
        ["source_id", "project", "key", "reason"],
        unique=True,
        postgresql_where=sa.text("remote_id IS NULL"),
    )


def _drop_unreadable_tickets() -> None:
    op.drop_table("unreadable_tickets")


def _create_causes() -> None:
    """A queued run that was to match a condition is opened for the rules that have this condition now."""
    op.add_column("runs", sa.Column("evaluates", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("evaluated_up_to", sa.BigInteger(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_runs_evaluates"), "runs", "evaluates IN ('affected', 'due')")
    op.create_table(
        "run_causes",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "kind", "reference", name=op.f("pk_run_causes")),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_causes_run_id_runs"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_run_causes_open", "run_causes", ["run_id"], postgresql_where=sa.text("NOT done"))
    op.execute("""
        INSERT INTO run_causes (run_id, kind, reference, label, created_at)
        SELECT runs.id, 'rule', rules.id::text, rules.name, runs.created_at
        FROM runs JOIN rules ON rules."when" = runs.rule_condition -> 'when'
        WHERE runs.rule_condition IS NOT NULL AND runs.finished_at IS NULL
    """)
    # Of several open runs of a source the first takes the causes of all; the others evaluate what is due.
    op.execute("""
        UPDATE runs SET evaluates = 'affected', state = 'queued', claimed_by = NULL, claimed_until = NULL
        FROM (SELECT min(id) AS id FROM runs WHERE id IN (SELECT run_id FROM run_causes) GROUP BY source_id)
            AS first
        WHERE runs.id = first.id
    """)
    op.execute("""
        INSERT INTO run_causes (run_id, kind, reference, label, created_at)
        SELECT first.id, kind, reference, label, run_causes.created_at
        FROM run_causes JOIN runs ON runs.id = run_causes.run_id
            JOIN runs AS first ON first.source_id = runs.source_id AND first.evaluates = 'affected'
        ON CONFLICT DO NOTHING
    """)
    op.execute("UPDATE run_causes SET done = true FROM runs WHERE runs.id = run_id AND evaluates IS NULL")
    op.drop_column("runs", "rule_condition")
    op.create_index(
        "uq_runs_evaluates_queued",
        "runs",
        ["source_id", "evaluates"],
        unique=True,
        postgresql_where=sa.text(QUEUED),
    )
    # A rule is deleted in a time that does not grow with its links.
    op.drop_constraint(op.f("fk_links_rule_id_rules"), "links", type_="foreignkey")
    op.create_index("ix_notices_mentioned", "notices", ["mentioned_key_result_ids"], postgresql_using="gin")
    op.execute("""
        CREATE FUNCTION northing_lower(text[]) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
        AS 'SELECT coalesce(array_agg(lower(one)), ''{}'') FROM unnest($1) AS one'
    """)
    op.create_index(
        "ix_epics_references",
        "epics",
        [sa.text("northing_lower(ticket_references)")],
        postgresql_using="gin",
    )


def _add_explained() -> None:
    """Answers and warnings so far may tell of goals what their tickets must not show."""
    op.add_column(
        "command_comments",
        sa.Column(
            "explained_key_result_ids", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False
        ),
    )
    op.execute(
        "UPDATE command_comments SET answer = NULL WHERE answer LIKE '%is linked, but does not count:%'"
    )
    op.execute("""
        UPDATE epics SET evaluate_at = now() WHERE id IN (
            SELECT notices.epic_id FROM notices
                LEFT JOIN links ON links.epic_id = notices.epic_id
                LEFT JOIN key_results ON key_results.id = links.key_result_id
                LEFT JOIN objectives ON objectives.id = key_results.objective_id
            WHERE notices.remote_id IS NOT NULL AND coalesce(objectives.visibility, '') <> 'public')
    """)


def _drop_causes() -> None:
    op.drop_index("ix_epics_references", "epics")
    op.execute("DROP FUNCTION northing_lower(text[])")
    op.drop_index("ix_notices_mentioned", "notices")
    op.execute("UPDATE links SET rule_id = NULL WHERE rule_id NOT IN (SELECT id FROM rules)")
    op.create_foreign_key(
        op.f("fk_links_rule_id_rules"), "links", "rules", ["rule_id"], ["id"], ondelete="SET NULL"
    )
    # The earlier version evaluates what is due: no epic that a cause affects may be left out.
    op.execute("""
        UPDATE epics SET evaluate_at = now() WHERE source_id IN (
            SELECT source_id FROM runs JOIN run_causes ON run_id = runs.id WHERE NOT done)
    """)
    op.drop_index("uq_runs_evaluates_queued", "runs")
    op.drop_table("run_causes")
    op.drop_constraint(op.f("ck_runs_evaluates"), "runs", type_="check")
    op.drop_column("runs", "evaluated_up_to")
    op.drop_column("runs", "evaluates")
    op.add_column("runs", sa.Column("rule_condition", postgresql.JSONB(), nullable=True))


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
