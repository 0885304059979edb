"""What the tasks of a key have yet to order is found without a look at those that are over."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("tasks_by_key_and_state", "tasks", ["key", "state"])


def downgrade() -> None:
    op.drop_index("tasks_by_key_and_state", "tasks")
