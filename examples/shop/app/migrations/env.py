"""Migrations run on the service's own engine; `alembic upgrade head --sql` only prints them."""

from logging.config import fileConfig

from alembic import context

from shop.db import engine
from shop.models import Base
from shop.settings import database_url

if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    context.configure(url=database_url(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with engine().connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
