"""Alembic's entry point; the connection comes from upgrade.py, never from an ini file."""

from alembic import context

from nakamura_misaki.infrastructure.database.schema import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    # The driver's own dialect: the default one would write every % of a function twice.
    context.configure(
        url="postgresql+asyncpg://", target_metadata=metadata, literal_binds=True, as_sql=True
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=connection, target_metadata=metadata)
    with context.begin_transaction():
        context.run_migrations()
