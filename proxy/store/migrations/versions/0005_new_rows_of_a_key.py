"""What is new of a key is read by day and id."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ledger_by_key", "ledger")
    op.create_index("ledger_by_key", "ledger", ["key", "day", "id"])


def downgrade() -> None:
    op.drop_index("ledger_by_key", "ledger")
    op.create_index("ledger_by_key", "ledger", ["key", "day"])
