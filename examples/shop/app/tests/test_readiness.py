from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from shop import db


def test_without_its_table_the_service_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    db.engine.cache_clear()
    from shop.main import app

    with TestClient(app) as client:
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
    db.engine.cache_clear()
