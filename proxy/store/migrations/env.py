"""Run by alembic: its revisions on the connection that `engines.configuration` gives."""

from alembic import context

from proxy.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
