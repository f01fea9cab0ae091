from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kube_http.serving import Served, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a module; each test uses names of its own."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
