"""A try ends once, and orders whose end nobody knows are watched."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ENDS = "kind IN ('settle', 'refund')"


def upgrade() -> None:
    op.execute(
        f"DELETE FROM ledger WHERE {_ENDS} AND EXISTS (SELECT 1 FROM ledger AS first"
        " WHERE first.id < ledger.id AND first.request_id = ledger.request_id AND first.call = ledger.call"
        f" AND first.attempt = ledger.attempt AND first.{_ENDS})"
    )
    op.create_index(
        "ledger_ends_once",
        "ledger",
        ["request_id", "call", "attempt"],
        unique=True,
        sqlite_where=sa.text(_ENDS),
        postgresql_where=sa.text(_ENDS),
    )
    op.create_table(
        "watches",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("call", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("size", sa.Text),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("due", sa.Float, nullable=False),
    )
    op.create_index("watches_by_due", "watches", ["due"])


def downgrade() -> None:
    op.drop_table("watches")
    op.drop_index("ledger_ends_once", "ledger")
