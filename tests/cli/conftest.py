from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.platform import Running, running


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One for the tests of a module; each test uses names of its own."""
    with running(tmp_path_factory.mktemp("state")) as found:
        yield found
