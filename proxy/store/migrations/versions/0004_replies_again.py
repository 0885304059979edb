"""A reply whose process is gone can be made again from its request."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("replies", sa.Column("body", sa.LargeBinary))
    op.add_column("replies", sa.Column("asked", sa.Text))
    op.add_column("replies", sa.Column("tries", sa.Integer, nullable=False, server_default="0"))


def downgrade() -> None:
    for name in ("body", "asked", "tries"):
        op.drop_column("replies", name)
