"""Speed: what makes syncs and lists cheap."""

revision = "2026_11_29_0008"
down_revision = "2026_11_29_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
