"""Commands in containers: their streams, terminals and ends, and what their paths mean."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.errors import ApiError, BadRequest
from fairway.node.exec import CommandSession, NodeExec
from fairway.node.inside import words
from fairway.node.paths import PathMap
from tests.node.machine import DEADLINE_S, Machine, alive, machine, shell
from tests.node.test_own_root import _possible


async def begin(world: Machine, *command: str, stdin: bool = False, tty: bool = False) -> CommandSession:
    return await NodeExec(world.node.pod).exec("default", "p", container="main", command=command, stdin=stdin, tty=tty)


async def said(session: Any) -> tuple[int, bytes, bytes]:
    """(exit code, stdout, stderr)"""
    heard = {"stdout": b"", "stderr": b""}
    async with asyncio.timeout(DEADLINE_S):
        while (piece := await session.read()) is not None:
            heard[piece[0]] += piece[1]
        code = await session.wait()
    await session.close()
    return code, heard["stdout"], heard["stderr"]


async def run(world: Machine, *command: str, given: bytes | None = None) -> tuple[int, bytes, bytes]:
    session = await begin(world, *command, stdin=given is not None)
    if given is not None:
        await session.write(given)
        await session.close_input()
    return await said(session)


def test_streams_and_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "sleep 60", env=[{"name": "COLOUR", "value": "green"}]))
            await world.ready("p")
            assert await run(world, "sh", "-c", "echo $COLOUR; echo bad >&2; exit 3") == (3, b"green\n", b"bad\n")
            assert await run(world, "cat", given=b"x" * 300_000) == (0, b"x" * 300_000, b"")
            assert await run(world, "cat") == (0, b"", b"")  # no input is an empty one
            assert (await run(world, "sh", "-c", "kill -9 $$"))[0] == 137
            assert await run(world, "true", given=b"nobody reads this") == (0, b"", b"")
            with pytest.raises(ApiError, match="executable file not found in \\$PATH: no-such-thing"):
                await run(world, "no-such-thing")
            left = await run(world, "sh", "-c", "setsid sleep 60 & echo $!")  # it holds the output open, and is not waited for
            assert left[0] == 0

    asyncio.run(main())


def test_a_terminal(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "sleep 60"))
            await world.ready("p")
            session = await begin(world, "sh", "-c", "tty >/dev/null && read line; stty size; echo got $line $TERM", stdin=True,
                                  tty=True)
            session.resize(91, 17)
            await session.write(b"hello\n")
            code, out, err = await said(session)
            assert (code, err) == (0, b"")
            assert out.replace(b"\r\n", b"\n") == b"hello\n17 91\ngot hello xterm\n"
            ended = await begin(world, "cat", stdin=True, tty=True)
            await ended.close_input()
            assert (await said(ended))[0] == 0

    asyncio.run(main())


def test_a_session_that_is_left_ends_its_command_and_so_does_the_end_of_the_container(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "mkfifo go; read line < go"))
            await world.ready("p")
            left = await begin(world, "sh", "-c", "echo $$; exec sleep 60")
            piece = await left.read()
            assert piece is not None
            await left.close()

            async def gone() -> bool:
                return not alive(int(piece[1]))

            await world.until(gone, "the command that was left is gone")
            stays = await begin(world, "sleep", "60")
            await asyncio.to_thread((world.folder(await world.pod("p")).root / "main/go").write_text, "\n")
            async with asyncio.timeout(DEADLINE_S):
                try:
                    assert await stays.wait() == 137
                except ApiError as error:
                    assert "the pod has ended" in error.message or "does not run" in error.message
            await stays.close()

    asyncio.run(main())


def test_paths_are_the_containers_and_files_are_copied_in_and_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path, isolation="paths") as world:
            spec = {"volumes": [{"name": "data", "emptyDir": {}}]}
            await world.api.create(shell("p", "sleep 60", spec, volumeMounts=[{"name": "data", "mountPath": "/data"}]))
            pod = await world.ready("p")
            archive = packed("note.txt", b"hello")
            for folder in ("/tmp", "/data", "/"):
                assert (await run(world, "tar", "-xmf", "-", "-C", folder, given=archive))[::2] == (0, b"")
            root = world.folder(pod).root / "main"
            assert [(root / at).read_bytes() for at in ("note.txt", "tmp/note.txt", "data/note.txt")] == [b"hello"] * 3
            assert not Path("/tmp/note.txt").exists()
            assert await run(world, "cat", "/tmp/note.txt") == (0, b"hello", b"")
            assert await run(world, "sh", "-c", "echo more > /data/new; cat /data/new") == (0, b"more\n", b"")
            assert (await run(world, "test", "-d", "/tmp/nothing"))[0] == 1
            for asked, names in (("/tmp/note.txt", ["tmp/note.txt"]), ("/data", ["data/.", "data/./new", "data/./note.txt"])):
                _, out, _ = await run(world, "tar", "cf", "-", asked)
                with tarfile.open(fileobj=io.BytesIO(out)) as found:
                    assert sorted(found.getnames()) == names

    asyncio.run(main())


@pytest.mark.skipif(not _possible(), reason="this machine refuses namespaces")
def test_in_a_root_of_its_own_paths_are_what_the_container_sees(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path, isolation="auto") as world:
            spec = {"volumes": [{"name": "data", "emptyDir": {}}]}
            await world.api.create(shell("p", "sleep 60", spec, volumeMounts=[{"name": "data", "mountPath": "/data"}]))
            pod = await world.ready("p")
            archive = packed("note.txt", b"hello")
            assert (await run(world, "tar", "-xmf", "-", "-C", "/data", given=archive))[::2] == (0, b"")
            assert (world.folder(pod).volumes / "data/note.txt").read_bytes() == b"hello"
            assert await run(world, "sh", "-c", "cd /data; cat n*; pwd") == (0, b"hello/data\n", b"")
            _, out, _ = await run(world, "tar", "cf", "-", "/data")
            with tarfile.open(fileobj=io.BytesIO(out)) as found:
                assert [name.rstrip("/") for name in found.getnames()] == ["data", "data/note.txt"]
            session = await begin(world, "sh", "-c", "test -t 0 && ls /data", tty=True)
            assert (await said(session))[:2] == (0, b"note.txt\r\n")

    asyncio.run(main())


def packed(name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return held.getvalue()


@pytest.mark.parametrize(("command", "placed"), [
    ("tar cf - /data/x", "tar cf - -C /root data/x"),
    ("/bin/tar -czf - /data rel /etc/hosts", "/bin/tar -czf - -C /root data/. rel -C / etc/hosts"),
    ("tar cf - /", "tar cf - -C /root ."),
    ("tar xf - -C /data", "tar xf - -C /root/data"),
    ("ls / /etc", "ls /root /etc"),
    ("awk /x/{print} s/a/b/", "awk /x/{print} s/a/b/"),
])  # fmt: skip
def test_words(command: str, placed: str) -> None:
    paths = PathMap("/root", ["/data"], lambda path: False)
    assert words(command.split(), paths, lambda place: place == "/root/data") == placed.split()


def test_attach_hears_what_comes_and_how_it_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "mkfifo go; echo before; read line < go; echo now; echo oops >&2; exit 4"))
            await world.ready("p")

            async def wrote() -> bool:
                return "before" in await world.log("p")

            await world.until(wrote)
            node = NodeExec(world.node.pod)
            session = await node.attach("default", "p", container="main")
            listening = asyncio.create_task(said(session))
            with contextlib.suppress(ApiError):  # the pod may end before the command that ends it has said so
                await run(world, "sh", "-c", "echo > go")
            assert await listening == (0, b"now\n", b"oops\n")
            with pytest.raises(BadRequest, match="does not run on this node"):
                await node.attach("default", "nobody", container="main")

    asyncio.run(main())


def test_a_container_that_is_given_input(tmp_path: Path) -> None:
    """As `kubectl run -i` does it: what is sent arrives whole, and the end of it ends the container."""

    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "echo hello; cat | wc -c; exit 3", stdin=True, stdinOnce=True))
            await world.ready("p")
            session = await NodeExec(world.node.pod).attach("default", "p", container="main")
            async with asyncio.timeout(DEADLINE_S):
                for _ in range(10):
                    await session.write(b"x" * 100_000 + b"\0\xff")
                await session.close_input()
                code, out, _ = await said(session)
            assert (code, out.split()[-1]) == (0, b"1000020")
            assert (await world.log("p")).split() == ["hello", "1000020"]

    asyncio.run(main())


def test_input_stays_open_for_the_next_who_attaches(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            await world.api.create(shell("p", "while read line; do echo got $line; done", stdin=True))
            await world.ready("p")
            node = NodeExec(world.node.pod)
            for word in (b"one", b"two"):
                session = await node.attach("default", "p", container="main")
                await session.write(word + b"\n")
                await session.close_input()
                assert await session.read() == ("stdout", b"got " + word + b"\n")
                await session.close()
            assert (await world.log("p")).splitlines() == ["got one", "got two"]

    asyncio.run(main())


def test_a_container_on_a_terminal(tmp_path: Path) -> None:
    async def main() -> None:
        async with machine(tmp_path) as world:
            script = "test -t 0 && test -t 1 && read line && stty size && echo [$line] $TERM"
            await world.api.create(shell("p", script, stdin=True, tty=True))
            await world.ready("p")
            session = await NodeExec(world.node.pod).attach("default", "p", container="main")
            session.resize(101, 23)
            await session.write(b"typed\n")
            code, out, err = await said(session)
            assert (code, err) == (0, b"")
            assert out.replace(b"\r", b"") == b"typed\n23 101\n[typed] xterm\n"

    asyncio.run(main())
