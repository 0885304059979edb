"""Replies that clients come back to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "replies",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("told", sa.LargeBinary, nullable=False),
        sa.Column("context", sa.LargeBinary, nullable=False),
        sa.Column("events", sa.LargeBinary),
        sa.Column("running", sa.Boolean, nullable=False),
        sa.Column("alive_until", sa.Float),
        sa.Column("cancel_asked", sa.Boolean, nullable=False),
    )
    op.create_index("replies_by_key", "replies", ["key", "created_at"])
    op.create_index("replies_by_end", "replies", ["expires_at"])


def downgrade() -> None:
    op.drop_table("replies")
