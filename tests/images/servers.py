"""Registries for tests: our own, in process; Debian's docker-registry, where it is installed."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from fairway.images import serving
from fairway.images.registry import LocalRegistry

TOKEN = "the-token"
BCRYPT_OF_TOKEN = "$2b$05$abcdefghijklmnopqrstuuF4p4uZ2riR/9W//Uq6BiGxpn6T9jJJG"


@asynccontextmanager
async def ours(registry: LocalRegistry) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of the embedded registry, served."""
    app = web.Application(client_max_size=1 << 30)
    app.add_routes(serving.routes(registry, token=TOKEN))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def debians(folder: Path, *, locked: bool = False) -> AsyncIterator[str]:
    """`127.0.0.1:PORT` of a docker-registry; skips where it is absent. `locked`: only `somebody` with `TOKEN` may enter."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed: pushes go to our own registry only")
    port = _free_port()
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
        + (f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}\n" if locked else ""))
    (folder / "htpasswd").write_text(f"somebody:{BCRYPT_OF_TOKEN}\n")
    process = await asyncio.create_subprocess_exec("docker-registry", "serve", str(config), stdout=subprocess.DEVNULL,
                                                   stderr=subprocess.DEVNULL)
    try:
        await _answers(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def _answers(port: int) -> None:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/v2/"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.02)  # the process says nothing when it begins to listen


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
