"""Bring the job queue to procrastinate 3.10; its new states had to be committed first."""

from migrations.job_queue import run_shipped_files

revision = "2026_11_22_0002"
down_revision = "2026_11_22_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_shipped_files(
        after="02.06.00_01_add_cancel_states.sql",
        newest="03.04.00_50_post_add_retry_failed_job_procedure.sql",
    )


def downgrade() -> None:
    """Nothing: the migration below drops the queue whole."""
