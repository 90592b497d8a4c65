"""Create the first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2026_11_22_0003"
down_revision = "2026_11_22_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cycles",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("starts", sa.Date(), nullable=False),
        sa.Column("ends", sa.Date(), nullable=False),
        sa.Column("review", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cycles")),
    )
    op.create_index("uq_cycles_key", "cycles", [sa.literal_column("lower(key)")], unique=True)
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), server_default="1", nullable=False),
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("admin_token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("goals_version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("policy", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("policy_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("tracker", sa.Text(), nullable=False),
        sa.Column("credentials", sa.LargeBinary(), nullable=False),
        sa.Column("credentials_type", sa.Text(), nullable=False),
        sa.Column("webhook_secret", sa.LargeBinary(), nullable=True),
        sa.Column("scope", postgresql.JSONB(), nullable=False),
        sa.Column("epics", postgresql.JSONB(), nullable=False),
        sa.Column("schedule", postgresql.JSONB(), nullable=False),
        sa.Column("notices", postgresql.JSONB(), nullable=False),
        sa.Column("health_state", sa.Text(), server_default="unknown", nullable=False),
        sa.Column("health_message", sa.Text(), server_default="", nullable=False),
        sa.Column("health_what_to_do", sa.Text(), server_default="", nullable=False),
        sa.Column("health_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
    )
    op.create_index("uq_sources_name", "sources", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "epics",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("tracker", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_category", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("assignees", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("components", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("milestone", sa.Text(), nullable=True),
        sa.Column("parent_key", sa.Text(), nullable=True),
        sa.Column("declared", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("fields", postgresql.JSONB(), nullable=False),
        sa.Column("tracker_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tracker_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content_hash", sa.LargeBinary(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("gone_reason", sa.Text(), nullable=True),
        sa.Column("alignment", sa.Text(), nullable=True),
        sa.Column("judged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("look_again_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_epics_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_epics")),
        sa.UniqueConstraint("tracker", "remote_id", name=op.f("uq_epics_tracker_remote_id")),
    )
    op.create_index(
        "ix_epics_alignment_id",
        "epics",
        ["alignment", "id"],
        unique=False,
        postgresql_where=sa.text("gone_at IS NULL"),
    )
    op.create_index(
        "ix_epics_look_again_at",
        "epics",
        ["source_id", "look_again_at"],
        unique=False,
        postgresql_where=sa.text("look_again_at IS NOT NULL"),
    )
    op.create_index(
        "ix_epics_source_id_key", "epics", ["source_id", sa.literal_column("lower(key)")], unique=False
    )
    op.create_index("ix_epics_source_id_project", "epics", ["source_id", "project", "id"], unique=False)
    op.create_table(
        "objectives",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("driver", sa.Text(), nullable=True),
        sa.Column("cycle_id", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("sponsor", sa.Text(), nullable=True),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column("visibility", sa.Text(), server_default="internal", nullable=False),
        sa.Column("public_label", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "driver IN ('growth', 'cost', 'experience', 'risk')", name=op.f("ck_objectives_driver")
        ),
        sa.CheckConstraint(
            "state IN ('draft', 'active', 'achieved', 'missed', 'archived')", name=op.f("ck_objectives_state")
        ),
        sa.CheckConstraint(
            "visibility IN ('public', 'internal', 'confidential')", name=op.f("ck_objectives_visibility")
        ),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycles.id"], name=op.f("fk_objectives_cycle_id_cycles")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["objectives.id"], name=op.f("fk_objectives_parent_id_objectives")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objectives")),
    )
    op.create_index(op.f("ix_objectives_cycle_id"), "objectives", ["cycle_id"], unique=False)
    op.create_index(op.f("ix_objectives_parent_id"), "objectives", ["parent_id"], unique=False)
    op.create_index("uq_objectives_key", "objectives", [sa.literal_column("lower(key)")], unique=True)
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="queued", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created", sa.Integer(), server_default="0", nullable=False),
        sa.Column("updated", sa.Integer(), server_default="0", nullable=False),
        sa.Column("deleted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("held", sa.Integer(), server_default="0", nullable=False),
        sa.Column("touch", postgresql.JSONB(), nullable=True),
        sa.Column("waiting_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("mode IN ('incremental', 'full', 'judge', 'withdraw')", name=op.f("ck_runs_mode")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'waiting', 'stalled', 'succeeded', 'partial', 'failed')",
            name=op.f("ck_runs_state"),
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_runs_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(
        "ix_runs_due",
        "runs",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("state IN ('queued', 'running', 'waiting', 'stalled')"),
    )
    op.create_index("ix_runs_source_id_id", "runs", ["source_id", "id"], unique=False)
    op.create_index(
        "uq_runs_reading_active",
        "runs",
        ["source_id"],
        unique=True,
        postgresql_where=sa.text(
            "state IN ('running', 'waiting', 'stalled') AND mode IN ('incremental', 'full')"
        ),
    )
    op.create_index(
        "uq_runs_reading_queued",
        "runs",
        ["source_id"],
        unique=True,
        postgresql_where=sa.text("state = 'queued' AND mode IN ('incremental', 'full')"),
    )
    op.create_table(
        "source_projects",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("public", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("service_desk", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("read_to_end", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"],
            ["sources.id"],
            name=op.f("fk_source_projects_source_id_sources"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("source_id", "key", name=op.f("pk_source_projects")),
    )
    op.create_table(
        "epic_keys",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_epic_keys_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_epic_keys_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source_id", "key", name=op.f("pk_epic_keys")),
    )
    op.create_index(op.f("ix_epic_keys_epic_id"), "epic_keys", ["epic_id"], unique=False)
    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("check", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'snoozed', 'waived', 'disputed', 'resolved')", name=op.f("ck_findings_state")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_findings_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint("epic_id", "check", name=op.f("uq_findings_epic_id_check")),
    )
    op.create_index("ix_findings_state_id", "findings", ["state", "id"], unique=False)
    op.create_table(
        "key_results",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("objective_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("baseline", sa.Double(), nullable=True),
        sa.Column("target", sa.Double(), nullable=True),
        sa.Column("direction", sa.Text(), nullable=True),
        sa.Column("due", sa.Date(), nullable=True),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'active', 'achieved', 'missed', 'archived')",
            name=op.f("ck_key_results_state"),
        ),
        sa.ForeignKeyConstraint(
            ["objective_id"], ["objectives.id"], name=op.f("fk_key_results_objective_id_objectives")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_key_results")),
    )
    op.create_index(op.f("ix_key_results_objective_id"), "key_results", ["objective_id"], unique=False)
    op.create_index("uq_key_results_key", "key_results", [sa.literal_column("lower(key)")], unique=True)
    op.create_table(
        "notice_writes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('posted', 'edited', 'resolved', 'failed')", name=op.f("ck_notice_writes_kind")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_notice_writes_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_notice_writes_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_writes")),
    )
    op.create_index("ix_notice_writes_epic_id", "notice_writes", ["epic_id"], unique=False)
    op.create_index("ix_notice_writes_run_id", "notice_writes", ["run_id"], unique=False)
    op.create_table(
        "notices",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("facts_hash", sa.Text(), nullable=False),
        sa.Column("posted_hash", sa.Text(), nullable=True),
        sa.Column("named", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("unanswered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "state IN ('shadow', 'held', 'due', 'posted', 'resolved', 'withdrawn', 'failed')",
            name=op.f("ck_notices_state"),
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_notices_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_notices_run_id_runs"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("epic_id", name=op.f("uq_notices_epic_id")),
    )
    op.create_index(
        "ix_notices_due_at",
        "notices",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index("ix_notices_run_id", "notices", ["run_id"], unique=False)
    op.create_index("ix_notices_state_id", "notices", ["state", "id"], unique=False)
    op.create_table(
        "run_projects",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("done", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("fk_run_projects_run_id_runs"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "key", name=op.f("pk_run_projects")),
    )
    op.create_table(
        "check_ins",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_result_id"],
            ["key_results.id"],
            name=op.f("fk_check_ins_key_result_id_key_results"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_check_ins")),
    )
    op.create_index(
        "ix_check_ins_latest",
        "check_ins",
        ["key_result_id", sa.literal_column("at DESC"), sa.literal_column("id DESC")],
        unique=False,
    )
    op.create_table(
        "rules",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("when", postgresql.JSONB(), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_result_id"], ["key_results.id"], name=op.f("fk_rules_key_result_id_key_results")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rules")),
    )
    op.create_index(op.f("ix_rules_key_result_id"), "rules", ["key_result_id"], unique=False)
    op.create_index("uq_rules_name", "rules", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "links",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("epic_id", sa.BigInteger(), nullable=False),
        sa.Column("key_result_id", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column("is_primary", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rule_id", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "origin IN ('manual', 'rule', 'ticket', 'command', 'inherited')", name=op.f("ck_links_origin")
        ),
        sa.ForeignKeyConstraint(
            ["epic_id"], ["epics.id"], name=op.f("fk_links_epic_id_epics"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["key_result_id"], ["key_results.id"], name=op.f("fk_links_key_result_id_key_results")
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"], ["rules.id"], name=op.f("fk_links_rule_id_rules"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sa.UniqueConstraint(
            "epic_id", "key_result_id", "origin", name=op.f("uq_links_epic_id_key_result_id_origin")
        ),
    )
    op.create_index(op.f("ix_links_key_result_id"), "links", ["key_result_id"], unique=False)
    op.create_index(op.f("ix_links_rule_id"), "links", ["rule_id"], unique=False)
    op.create_index(
        "uq_links_primary", "links", ["epic_id"], unique=True, postgresql_where=sa.text("is_primary")
    )


def downgrade() -> None:
    op.drop_table("links")
    op.drop_table("rules")
    op.drop_table("check_ins")
    op.drop_table("run_projects")
    op.drop_table("notices")
    op.drop_table("notice_writes")
    op.drop_table("key_results")
    op.drop_table("findings")
    op.drop_table("epic_keys")
    op.drop_table("source_projects")
    op.drop_table("runs")
    op.drop_table("objectives")
    op.drop_table("epics")
    op.drop_table("sources")
    op.drop_table("installation")
    op.drop_table("cycles")
