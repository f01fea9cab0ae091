"""Migrations run on the service's own engine; `alembic upgrade head --sql` only prints them.

A database that a newer version has migrated already is left as it is: migrations suit the version
before too (expand first, contract in a later release), so going back to it must not be held up.
"""

import logging
from logging.config import fileConfig

from alembic import context
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from shop.db import engine
from shop.models import Base
from shop.settings import database_url

log = logging.getLogger("migrations")


def made_by_a_newer_version() -> list[str]:
    """Revisions of the database that this version does not know."""
    scripts = ScriptDirectory.from_config(context.config)
    known = {script.revision for script in scripts.walk_revisions()}
    with engine().connect() as connection:  # of its own: what it reads must not open a transaction
        heads = MigrationContext.configure(connection).get_current_heads()
    return [head for head in heads if head not in known]


if context.config.config_file_name:
    fileConfig(context.config.config_file_name, disable_existing_loggers=False)

if context.is_offline_mode():
    context.configure(url=database_url(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
elif newer := made_by_a_newer_version():
    log.warning("the database is at %s, made by a newer version: nothing to do", ", ".join(newer))
else:
    with engine().connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata)
        with context.begin_transaction():
            context.run_migrations()
