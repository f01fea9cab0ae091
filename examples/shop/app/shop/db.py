"""The database: one engine a process, one session a request."""

from collections.abc import Iterator
from functools import lru_cache

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import Session

from shop.settings import database_url


@lru_cache
def engine() -> Engine:
    url = database_url()
    made = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if url.startswith("sqlite"):
        event.listen(made, "connect", _share_the_file)
    return made


def _share_the_file(connection, _record) -> None:
    """Several processes use the file: readers never block, and a writer waits its turn."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA busy_timeout=5000")


def session() -> Iterator[Session]:
    with Session(engine()) as opened:
        yield opened
