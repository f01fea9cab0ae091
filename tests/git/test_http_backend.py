"""Real git against the embedded server: push-to-create, clone, a wrong password, and the port over HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from fairway.git import (
    Change,
    Login,
    LostRace,
    Person,
    RemoteRepository,
    Repositories,
    UnknownRevision,
    Unreachable,
    commit_with_retry,
)
from fairway.git.http_backend import routes

TOKEN = "correct-horse"
Scenario = Callable[[str, Repositories, "Pushes"], Awaitable[None]]


class Pushes(list[str]):
    """The names that were announced."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def heard(self, name: str) -> None:
        self.append(name)
        self.event.set()


def serve(tmp_path: Path, scenario: Scenario) -> None:
    async def main() -> None:
        pushed = Pushes()
        repositories = Repositories(tmp_path / "git")
        app = web.Application()
        app.add_routes(routes(repositories, token=TOKEN, on_push=pushed.heard))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        try:
            await asyncio.wait_for(scenario(f"http://ann:{TOKEN}@127.0.0.1:{port}/git", repositories, pushed), 20)
        finally:
            await runner.cleanup()

    asyncio.run(main())


async def git(*arguments: str, cwd: Path, ok: bool = True) -> str:
    env = {
        "PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com",
        "GIT_COMMITTER_NAME": "Ann", "GIT_COMMITTER_EMAIL": "ann@example.com",
    }
    process = await asyncio.create_subprocess_exec(
        "git", *arguments, cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    output = (await process.communicate())[0].decode()
    assert (process.returncode == 0) == ok, output
    return output


async def work_tree(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    await git("init", "-q", "-b", "main", cwd=folder)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    await git("add", ".", cwd=folder)
    await git("commit", "-q", "-m", "first", cwd=folder)
    return folder


def test_the_first_push_creates_the_repository_and_a_clone_reads_it(tmp_path: Path) -> None:
    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        source = await work_tree(tmp_path / "work", readme=b"hello", big=os.urandom(3_000_000))
        assert not repositories.exists("shop/app")
        await git("push", "-q", f"{url}/shop/app.git", "main", cwd=source)
        assert pushed == ["shop/app"]
        head = (await git("rev-parse", "HEAD", cwd=source)).strip()
        assert repositories.open("shop/app").refs() == {"refs/heads/main": head}
        await git("clone", "-q", f"{url}/shop/app", "copy", cwd=tmp_path)
        assert (tmp_path / "copy" / "big").read_bytes() == (source / "big").read_bytes()
        assert pushed == ["shop/app"], "a clone is not a push"

    serve(tmp_path, scenario)


def test_a_wrong_password_is_refused_and_creates_nothing(tmp_path: Path) -> None:
    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        source = await work_tree(tmp_path / "work", a=b"1")
        wrong = url.replace(TOKEN, "wrong")
        output = await git("push", f"{wrong}/shop/app.git", "main", cwd=source, ok=False)
        assert "Authentication failed" in output
        assert repositories.names() == [] and pushed == []
        output = await git("clone", f"{url}/no/such", cwd=tmp_path, ok=False)
        assert "not found" in output

    serve(tmp_path, scenario)


def test_a_first_push_of_another_branch_becomes_the_head(tmp_path: Path) -> None:
    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        source = await work_tree(tmp_path / "work", a=b"1")
        await git("push", "-q", f"{url}/x.git", "main:trunk", cwd=source)
        assert repositories.open("x").default_branch == "trunk"
        await git("clone", "-q", f"{url}/x.git", "copy", cwd=tmp_path)
        assert (tmp_path / "copy" / "a").read_bytes() == b"1"

    serve(tmp_path, scenario)


def test_many_small_commits_fetch_with_a_compressed_request(tmp_path: Path) -> None:
    """Above 1 KiB of `have` lines git sends gzip: the body must reach the backend unpacked."""

    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        repo = repositories.create("many")
        head = ""
        for n in range(120):
            head = repo.commit("main", _change(f"{n}"), expected_head=head)
        await git("clone", "-q", f"{url}/many.git", "copy", cwd=tmp_path)
        copy = tmp_path / "copy"
        for n in range(80):
            await git("commit", "-q", "--allow-empty", "-m", f"local {n}", cwd=copy)
        repo.commit("main", _change("new"), expected_head=head)
        await git("-c", "protocol.version=0", "fetch", "-q", "origin", cwd=copy)
        assert (await git("show", "origin/main:n", cwd=copy)) == "new"

    serve(tmp_path, scenario)


def test_the_port_over_http_polls_reads_commits_and_loses_races(tmp_path: Path) -> None:
    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        local = repositories.create("shop/deploy")
        first = local.commit("main", _change("1"), expected_head="")
        bare = url.replace(f"ann:{TOKEN}@", "")
        remote = RemoteRepository(f"{bare}/shop/deploy.git", tmp_path / "cache", Login(password=TOKEN))
        assert await asyncio.to_thread(remote.resolve, "main") == first
        assert (await asyncio.to_thread(remote.read_tree, first))["n"] == b"1"
        second = await asyncio.to_thread(lambda: remote.commit("main", _change("2"), expected_head=first))
        assert local.resolve("main") == second
        await pushed.event.wait()  # libgit2 leaves before the last byte of the answer; bounded by serve()
        assert pushed == ["shop/deploy"]
        with pytest.raises(LostRace):
            await asyncio.to_thread(lambda: remote.commit("main", _change("3"), expected_head=first))
        third = await asyncio.to_thread(
            lambda: commit_with_retry(remote, "main", lambda tree, head: _change(tree["n"].decode() + "!")))
        assert third is not None and local.read_tree(third)["n"] == b"2!"
        wrong = RemoteRepository(f"{bare}/shop/deploy.git", tmp_path / "cache2", Login(password="wrong"))
        with pytest.raises(Unreachable, match="credentials"):
            await asyncio.to_thread(wrong.resolve, "main")

    serve(tmp_path, scenario)


def test_a_url_with_a_password_shows_it_to_nobody(tmp_path: Path) -> None:
    """What the port says ends in conditions, events and logs."""

    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        repositories.create("shop/deploy").commit("main", _change("1"), expected_head="")
        remote = RemoteRepository(f"{url}/shop/deploy.git", tmp_path / "cache")
        assert await asyncio.to_thread(remote.resolve, "main")
        with pytest.raises(UnknownRevision) as unknown:
            await asyncio.to_thread(remote.resolve, "no-such-branch")
        refused = RemoteRepository(f"{url.replace(TOKEN, 'wrong-horse')}/shop/deploy.git", tmp_path / "cache2")
        with pytest.raises(Unreachable) as unreachable:
            await asyncio.to_thread(refused.resolve, "main")
        for said in (remote.url, refused.url, str(unknown.value), str(unreachable.value)):
            assert "horse" not in said and "ann:" not in said and "/git/shop/deploy.git" in said

    serve(tmp_path, scenario)


def test_a_client_that_leaves_in_the_middle_leaves_no_process_behind(tmp_path: Path) -> None:
    async def scenario(url: str, repositories: Repositories, pushed: Pushes) -> None:
        local = repositories.create("big")
        data = {f"f{n}": os.urandom(4_000_000) for n in range(5)}  # far more than fits into a pipe
        ann = Person("Ann", "ann@example.com")
        head = local.commit("main", Change(data, "big", ann, datetime(2030, 1, 1, tzinfo=UTC)), expected_head="")
        host, port = url.rpartition("@")[2].partition("/")[0].split(":")
        body = _packet(f"want {head} no-progress\n") + b"0000" + _packet("done\n")
        password = base64.b64encode(f"ann:{TOKEN}".encode()).decode()
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST /git/big.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {password}\r\n"
                     "Content-Type: application/x-git-upload-pack-request\r\n"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await reader.readexactly(1000)
        assert _git_processes(tmp_path), "one is at work"
        writer.transport.abort()
        async with asyncio.timeout(10):
            while _git_processes(tmp_path):  # noqa: ASYNC110 (processes tell nobody)
                await asyncio.sleep(0.01)

    serve(tmp_path, scenario)


def _packet(line: str) -> bytes:
    return f"{len(line) + 4:04x}{line}".encode()


def _git_processes(root: Path) -> list[str]:
    """Processes of git that serve a repository below `root`."""
    wanted, found = f"GIT_PROJECT_ROOT={root}/".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes():
                found.append(folder.name)
    return found


def test_the_port_over_a_file_url(tmp_path: Path) -> None:
    local = Repositories(tmp_path).create("a")
    first = local.commit("main", _change("1"), expected_head="")
    remote = RemoteRepository(local.path.as_uri(), tmp_path / "cache")
    second = remote.commit("main", _change("2"), expected_head=remote.resolve("main"))
    assert local.changed_paths(first, second) == {"n"} and local.resolve("main") == second


def _change(text: str) -> Change:
    ann = Person("Ann", "ann@example.com")
    return Change({"n": text.encode()}, f"n is {text}", ann, datetime(2030, 1, 1, tzinfo=UTC))
