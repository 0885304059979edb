"""A repeated request finds the reply that is being made in the background."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("replies", sa.Column("digest", sa.LargeBinary))
    op.add_column("replies", sa.Column("idempotency", sa.Text))
    op.create_index("replies_once", "replies", ["key", "idempotency"], unique=True)
    op.create_index("replies_by_digest", "replies", ["key", "digest"])


def downgrade() -> None:
    op.drop_index("replies_by_digest", "replies")
    op.drop_index("replies_once", "replies")
    for name in ("digest", "idempotency"):
        op.drop_column("replies", name)
