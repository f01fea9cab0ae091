"""Commands in containers over a WebSocket, as `kubectl exec` and the Python clients speak it.

Every binary message begins with the byte of its channel: 0 input, 1 output, 2 errors, 3 how it ended (a `Status` as
JSON), 4 the terminal's size. In v5 a message of 255 and a channel's byte ends that channel, which is how input ends
before the connection does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json

from aiohttp import WSMsgType, web

from fairway.kube.errors import ApiError, BadRequest
from fairway.kube.http.answers import encode
from fairway.kube.http.asked import flag
from fairway.kube.http.pod_exec import ExecSession
from fairway.kube.http.streams import Streams
from fairway.kube.objects import Obj

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_INPUT, _OUTPUT, _ERRORS, _STATUS, _SIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CHANNEL = {"stdout": _OUTPUT, "stderr": _ERRORS}
_LARGEST = 4 << 20


def check_upgrade(request: web.Request) -> None:
    """`BadRequest` for a client that does not ask for a WebSocket with channels."""
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise BadRequest(f"this server streams over WebSocket ({V5} or {V4}) alone: use a client that does, such as "
                         "kubectl 1.31 or newer")
    offered = {word.strip() for word in request.headers.get("Sec-WebSocket-Protocol", "").split(",")}
    if not offered & {V4, V5}:
        raise BadRequest(f"no subprotocol in common: offered {', '.join(sorted(offered)) or 'none'}, served {V5}, {V4}")


async def carry(request: web.Request, streams: Streams, session: ExecSession) -> web.WebSocketResponse:
    """Connect the client to `session` until the command ends, the client leaves or the server stops."""
    socket = web.WebSocketResponse(protocols=(V5, V4), compress=False, max_msg_size=_LARGEST)
    wanted = {name: flag(request.query, name) for name in ("stdout", "stderr")}
    async with contextlib.AsyncExitStack() as leaving:
        leaving.push_async_callback(session.close)
        await leaving.enter_async_context(streams.lasting(None))
        await socket.prepare(request)
        # A first, empty message tells the client that the stream stands.
        await socket.send_bytes(bytes([next((_CHANNEL[name] for name, asked in wanted.items() if asked), _STATUS)]))
        listening = asyncio.create_task(_listen(socket, session))
        speaking = asyncio.create_task(_speak(socket, session, wanted))
        try:
            await asyncio.wait({listening, speaking}, return_when=asyncio.FIRST_COMPLETED)
            if speaking.done():
                await speaking
        finally:
            listening.cancel()
            speaking.cancel()
            await asyncio.gather(listening, speaking, return_exceptions=True)
    await socket.close()
    return socket


async def _listen(socket: web.WebSocketResponse, session: ExecSession) -> None:
    """What the client sends; returns when it has left."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _INPUT and data:
            await session.write(data)
        elif channel == _CLOSE and data[:1] == bytes([_INPUT]):
            await session.close_input()
        elif channel == _SIZE:
            _resize(session, data)


def _resize(session: ExecSession, data: bytes) -> None:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        size = json.loads(data)
        session.resize(int(size["Width"]), int(size["Height"]))


async def _speak(socket: web.WebSocketResponse, session: ExecSession, wanted: dict[str, bool]) -> None:
    """The command's output, then how it ended."""
    while (piece := await session.read()) is not None:
        stream, data = piece
        if wanted[stream]:
            await socket.send_bytes(bytes([_CHANNEL[stream]]) + data)
    try:
        status = exit_status(await session.wait())
    except ApiError as error:
        status = error.status()
    await socket.send_bytes(bytes([_STATUS]) + encode(status))


def exit_status(code: int) -> Obj:
    """An exit code as clients read it: Success, or a Failure whose cause carries the code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]}}
