"""The gRPC health probe against servers that say what real ones say, frame by frame."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fairway.node import grpc
from fairway.node.spec import GrpcHandler, decode
from tests.node.machine import Machine, shell
from tests.node.test_pods import play

SETTINGS = bytes.fromhex("000006040000000000" "000400100000")
HEADERS = bytes.fromhex("00000e010400000001" "885f8b1d75d0620d263d4c4d6564")  # :status 200, content-type, Huffman coded
TRAILERS = bytes.fromhex("00000c010500000001" "40889acac8b21234da8f0130")  # grpc-status 0
UNIMPLEMENTED = bytes.fromhex("00000d010500000001" "40889acac8b21234da8f023132")  # grpc-status 12
PING = bytes.fromhex("000008060000000000" "0102030405060708")


def _reply(status: int) -> bytes:
    message = bytes((8, status)) if status else b""
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return len(body).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01" + body


async def _ask(answer: bytes, service: str = "") -> tuple[tuple[bool, str], bytes]:
    """What the probe makes of `answer`, and what it sent."""
    heard = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(answer)
        while data := await reader.read(4096):
            heard += data
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        result = await grpc.check("127.0.0.1", server.sockets[0].getsockname()[1], service)
        await asyncio.sleep(0)
    return result, heard


@pytest.mark.parametrize(("answer", "expected"), [
    (SETTINGS + PING + HEADERS + _reply(1) + TRAILERS, (True, 'service unhealthy (responded with "SERVING")')),
    (SETTINGS + HEADERS + _reply(2) + TRAILERS, (False, 'service unhealthy (responded with "NOT_SERVING")')),
    (SETTINGS + HEADERS + _reply(0) + TRAILERS, (False, 'service unhealthy (responded with "UNKNOWN")')),
])
def test_what_a_server_says(answer: bytes, expected: tuple[bool, str]) -> None:
    assert asyncio.run(_ask(answer))[0] == expected


def test_an_error_without_a_message_names_the_protocol() -> None:
    ok, message = asyncio.run(_ask(SETTINGS + UNIMPLEMENTED))[0]
    assert not ok and "must offer grpc.health.v1.Health" in message


def test_another_protocol_is_told_from_http_2() -> None:
    ok, message = asyncio.run(_ask(b"HTTP/1.1 400 Bad Request\r\n\r\n"))[0]
    assert (ok, message) == (False, "the answer is no HTTP/2: is this a gRPC port?")


def test_the_question_is_one_whole_call() -> None:
    sent = grpc.question("127.0.0.1:80", "shop.Orders")
    size = int.from_bytes(sent[:3], "big")
    head, data = sent[:9 + size], sent[9 + size:]
    assert head[3:9] == b"\x01\x04\x00\x00\x00\x01"
    assert b"\x05:path\x1c/grpc.health.v1.Health/Check" in head
    assert data == b"\x00\x00\x12\x00\x01\x00\x00\x00\x01" + b"\x00\x00\x00\x00\x0d" + b"\x0a\x0bshop.Orders"


def test_a_grpc_probe_decides_readiness(tmp_path: Path) -> None:
    """The container's server answers the same bytes to whoever comes: NOT_SERVING until a file is there."""
    good, bad = ((SETTINGS + HEADERS + _reply(status) + TRAILERS).hex() for status in (1, 2))
    program = (
        "import os, socket\n"
        "server = socket.create_server((os.environ['POD_IP'], 9000))\n"
        "while True:\n"
        "    one, _ = server.accept()\n"
        f"    up = os.path.exists(os.environ['HOME'] + '/up')\n"
        f"    one.sendall(bytes.fromhex('{good}' if up else '{bad}'))\n"
        "    while one.recv(4096): pass\n"
    )

    async def story(m: Machine) -> None:
        probe = {"grpc": {"port": 9000}, "periodSeconds": 1}
        made = shell("serves", "exec python3 -c \"$PROGRAM\"", readinessProbe=probe,
                     env=[{"name": "PROGRAM", "value": program.replace("$", "$$")}])
        assert decode(made).containers[0].readiness.handler == GrpcHandler(9000, "")  # type: ignore[union-attr]
        await m.api.create(made)
        found = await m.phase("serves", "Running")
        await asyncio.sleep(0.4)
        (m.folder(found).home / "up").touch()
        await m.ready("serves")

    play(tmp_path, story)
