from fastapi.testclient import TestClient

from shop import __version__


def test_an_order_is_kept_and_found_again(client: TestClient) -> None:
    placed = client.post("/api/orders", json={"item": "tea", "quantity": 2})
    assert placed.status_code == 201
    found = client.get(f"/api/orders/{placed.json()['id']}")
    assert found.status_code == 200
    assert found.json()["item"] == "tea"


def test_recent_orders_come_newest_first(client: TestClient) -> None:
    for item in ("tea", "cups"):
        client.post("/api/orders", json={"item": item})
    assert [order["item"] for order in client.get("/api/orders").json()] == ["cups", "tea"]


def test_an_order_without_quantity_to_sell_is_refused(client: TestClient) -> None:
    assert client.post("/api/orders", json={"item": "tea", "quantity": 0}).status_code == 422
    assert client.get("/api/orders/1").status_code == 404


def test_health_version_and_metrics(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "ok"}
    assert client.get("/health/ready").status_code == 200
    answer = client.get("/version")
    assert answer.json() == {"version": __version__}
    assert answer.headers["x-shop-version"] == __version__
    assert 'http_requests_total{method="GET",route="/version"' in client.get("/metrics").text


def test_an_order_may_carry_a_note(client: TestClient) -> None:
    placed = client.post("/api/orders", json={"item": "tea", "note": "ring twice"}).json()
    assert client.get(f"/api/orders/{placed['id']}").json()["note"] == "ring twice"
