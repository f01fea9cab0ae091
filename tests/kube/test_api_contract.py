"""The contract of the `Api` port, on every implementation that lives in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from fairway.kube.api import Api
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from tests.kube.contract import CASES, Case

NAMESPACE = "story"
Factory = Callable[[Path], AbstractAsyncContextManager[Api]]


@asynccontextmanager
async def in_memory(_: Path) -> AsyncIterator[Api]:
    yield EmbeddedApi.in_memory(WallClock())


@asynccontextmanager
async def over_sqlite(folder: Path) -> AsyncIterator[Api]:
    api = await EmbeddedApi.open(folder / "state.db", WallClock())
    yield api
    await api.close()


async def tell(factory: Factory, case: Case, folder: Path) -> None:
    async with factory(folder) as api:
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        await case(api, NAMESPACE)


@pytest.mark.parametrize("factory", [in_memory, over_sqlite], ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_contract(case: Case, factory: Factory, tmp_path: Path) -> None:
    asyncio.run(tell(factory, case, tmp_path))
