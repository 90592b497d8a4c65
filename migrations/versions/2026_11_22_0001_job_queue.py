"""Create the job queue, up to where its states grow."""

from migrations.job_queue import drop_everything, run_shipped_files

revision = "2026_11_22_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_shipped_files(after="", newest="02.06.00_01_add_cancel_states.sql")


def downgrade() -> None:
    drop_everything()
