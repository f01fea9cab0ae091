"""Going back to an older version must not fail on what a newer one did to the database."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from sqlalchemy import text

from shop import db


def test_a_database_that_a_newer_version_migrated_is_left_as_it_is(client: TestClient) -> None:
    with db.engine().begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of-a-newer-one'"))
    command.upgrade(Config(Path(__file__).parents[1] / "alembic.ini"), "head")
    with db.engine().connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    assert found == "of-a-newer-one"
    assert client.get("/health/ready").status_code == 200
