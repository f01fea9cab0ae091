"""What is taken for a path, an address or a Service in a command line, and what is left alone."""

from __future__ import annotations

import pytest

from fairway.node.environment import expand, quantity
from fairway.node.paths import PathMap, ServiceNames, with_address

IMAGE = {"/app", "/app/main.py", "/usr/local/bin/uvicorn", "/etc/shop/shop.ini"}
PATHS = PathMap("/pod", ["/data", "/etc/tls"], lambda path: path in IMAGE or path.startswith("/app/"))


@pytest.mark.parametrize(("text", "expected"), [
    ("/app/main.py", "/pod/app/main.py"),
    ("/data", "/pod/data"),
    ("/data/", "/pod/data/"),
    ("/database", "/database"),
    ("--db=/data/shop.db", "--db=/pod/data/shop.db"),
    ("sqlite:////data/shop.db", "sqlite:////pod/data/shop.db"),
    ("sqlite:///data/shop.db", "sqlite:///data/shop.db"),
    ("file:///data/x", "file:///pod/data/x"),
    ("https://host/data/x", "https://host/data/x"),
    ("host:/data", "host:/pod/data"),
    ("/bin/sh", "/bin/sh"),
    ("cat /data/a /etc/passwd > /app/out", "cat /pod/data/a /etc/passwd > /pod/app/out"),
    ("/app:/data:/usr/lib", "/pod/app:/pod/data:/usr/lib"),
    ("a/app/b", "a/app/b"),
    ("['/etc/tls/tls.crt']", "['/pod/etc/tls/tls.crt']"),
    ("", ""),
])
def test_paths(text: str, expected: str) -> None:
    assert PATHS.rewrite(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("0.0.0.0", "127.64.0.5"),
    ("--bind=0.0.0.0:8000", "--bind=127.64.0.5:8000"),
    ("10.0.0.0", "10.0.0.0"),
    ("0.0.0.0.1", "0.0.0.0.1"),
    ("v1.0.0.0.0", "v1.0.0.0.0"),
])
def test_the_any_address(text: str, expected: str) -> None:
    assert with_address(text, "127.64.0.5") == expected


NAMES = ServiceNames("shop", {("shop", "db"): "127.0.0.9", ("other", "api"): "127.0.0.8"})


@pytest.mark.parametrize(("text", "expected"), [
    ("http://db:80/x", "http://127.0.0.9:80/x"),
    ("postgresql://user:pw@db:5432/shop", "postgresql://user:pw@127.0.0.9:5432/shop"),
    ("http://api.other.svc.cluster.local/", "http://127.0.0.8/"),
    ("http://api.other", "http://127.0.0.8"),
    ("api.other.svc:80", "127.0.0.8:80"),
    ("http://api/", "http://api/"),
    ("http://example.com/", "http://example.com/"),
    ("db", "db"),
])
def test_names_of_services(text: str, expected: str) -> None:
    assert NAMES.rewrite(text) == expected


def test_a_bare_word_is_a_service_only_in_a_variable_for_hosts() -> None:
    assert NAMES.rewrite_variable("DB_HOST", "db") == "127.0.0.9"
    assert NAMES.rewrite_variable("DB_NAME", "db") == "db"


def test_expansion_of_variables() -> None:
    assert expand("$(A)/$(B) $$(A) $(C)", {"A": "1", "B": "2"}) == "1/2 $(A) $(C)"


@pytest.mark.parametrize(("text", "value"), [("500m", 0.5), ("128Mi", 134217728.0), ("1e3", 1000.0), ("2", 2.0),
                                             ("1k", 1000.0)])
def test_quantities(text: str, value: float) -> None:
    assert quantity(text) == value


def test_a_quantity_that_is_none_says_what_is_needed() -> None:
    with pytest.raises(ValueError, match="500m or 128Mi"):
        quantity("lots")
