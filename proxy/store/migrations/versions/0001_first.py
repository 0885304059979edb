"""Keys, secrets, the ledger and tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("old_digest", sa.LargeBinary),
        sa.Column("old_until", sa.Float),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("last_four", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("image_output", sa.Text),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("budget", sa.Text),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("changed", sa.BigInteger, nullable=False, unique=True),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("call", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger),
        sa.Column("released", sa.BigInteger),
        sa.Column("vendor_amount", sa.BigInteger),
        sa.Column("vendor_unit", sa.Text),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.UniqueConstraint("request_id", "call", "attempt", "kind", name="ledger_once"),
    )
    op.create_index("ledger_by_key", "ledger", ["key", "day"])
    op.create_index("ledger_by_day", "ledger", ["day"])
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("waits", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("idempotency", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("orders", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("repeatable", sa.Boolean, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("cancel_asked", sa.Boolean, nullable=False),
        sa.Column("callback_url", sa.Text),
        sa.Column("callback_due", sa.Float),
        sa.Column("callback_tries", sa.Integer, nullable=False),
        sa.UniqueConstraint("key", "idempotency", name="tasks_once"),
    )
    op.create_index("tasks_by_key", "tasks", ["key", "id"])
    op.create_index("tasks_by_digest", "tasks", ["key", "digest"])
    op.create_index("tasks_by_state", "tasks", ["state", "lease_until"])
    op.create_index("tasks_by_callback", "tasks", ["callback_due"])
    op.create_index("tasks_by_end", "tasks", ["ended_at"])
    op.create_table(
        "deliveries",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
    )
    op.create_index("deliveries_by_task", "deliveries", ["task"])


def downgrade() -> None:
    op.drop_table("deliveries")
    op.drop_table("tasks")
    op.drop_table("ledger")
    op.drop_table("secrets")
    op.drop_table("keys")
