"""Keep a notice's text as it was posted, beside the text it is to have."""

import sqlalchemy as sa
from alembic import op

revision = "2026_11_22_0004"
down_revision = "2026_11_22_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("notices", sa.Column("posted_body", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("notices", "posted_body")
