"""Every test has a database of its own, made by the migrations."""

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient

from shop import db


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    db.engine.cache_clear()
    command.upgrade(Config(Path(__file__).parents[1] / "alembic.ini"), "head")
    from shop.main import app

    with TestClient(app) as opened:
        yield opened
    db.engine().dispose()
    db.engine.cache_clear()
