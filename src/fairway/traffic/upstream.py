"""Connections to endpoints, kept open between requests."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from dataclasses import dataclass

from fairway.traffic.model import Endpoint

IDLE_S = 1.5  # closed by us before servers do it: gunicorn after 2 s, uvicorn and Node after 5
_CONNECT_S = 1.0
_KEPT_PER_ENDPOINT = 64


class Unreachable(Exception):
    """No connection could be made: nothing was sent."""


@dataclass(slots=True)
class Connection:
    endpoint: Endpoint
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle_since: float = 0.0

    @staticmethod
    async def open(endpoint: Endpoint) -> Connection:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_connection(endpoint.address, endpoint.port)
        except (OSError, TimeoutError) as error:
            raise Unreachable(f"{endpoint.address}:{endpoint.port}: {error}") from error
        return Connection(endpoint, reader, writer)

    @property
    def usable(self) -> bool:
        return not self.reader.at_eof() and not self.writer.is_closing()

    def close(self) -> None:
        self.writer.close()


class Pool:
    def __init__(self) -> None:
        self._idle: dict[Endpoint, list[Connection]] = {}
        self._known: Set[Endpoint] = frozenset()

    async def take(self, endpoint: Endpoint) -> Connection:
        now = asyncio.get_running_loop().time()
        idle = self._idle.get(endpoint, [])
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < IDLE_S:
                return connection
            connection.close()
        return await Connection.open(endpoint)

    def give_back(self, connection: Connection) -> None:
        idle = self._idle.setdefault(connection.endpoint, [])
        if connection.endpoint not in self._known or not connection.usable or len(idle) >= _KEPT_PER_ENDPOINT:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        idle.append(connection)

    def keep_only(self, endpoints: Set[Endpoint]) -> None:
        """Idle connections to any other endpoint are closed now, those in use when they come back."""
        self._known = endpoints
        for endpoint in self._idle.keys() - endpoints:
            for connection in self._idle.pop(endpoint):
                connection.close()

    def close(self) -> None:
        self.keep_only(frozenset())
