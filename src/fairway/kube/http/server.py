"""The API server: one listener on loopback over any `Api`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from fairway.kube.access import Access, forbidden
from fairway.kube.accounts import Accounts
from fairway.kube.api import Api
from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.errors import ApiError, BadRequest, MethodNotAllowed, NotFound
from fairway.kube.facts import facts
from fairway.kube.guards import Guard, Guarded
from fairway.kube.http import answers, bindings, bodies, channels, evictions, openapi, port_forward, proxying
from fairway.kube.http.asked import flag, number, write_asked
from fairway.kube.http.attributes import attributes
from fairway.kube.http.conversion import ConvertedApi
from fairway.kube.http.discovery import BINDINGS, COMPONENT_STATUSES, REVIEWS, Discovery
from fairway.kube.http.identity import Authenticator, impersonated
from fairway.kube.http.media import accepted
from fairway.kube.http.paths import GroupPath, ObjectPath, parse_path
from fairway.kube.http.pod_exec import PodExec, check_running
from fairway.kube.http.pod_logs import PodLogs, check_started, container_of
from fairway.kube.http.resource_metrics import MeasuredApi, Measurements
from fairway.kube.http.reviews import Reviews
from fairway.kube.http.streams import Streams, send_log
from fairway.kube.http.verbs import Call, Verbs
from fairway.kube.http.views import VIEWS, ViewedApi
from fairway.kube.objects import Key, Obj, parse_time
from fairway.kube.rbac import Attributes
from fairway.kube.refusals import not_found
from fairway.kube.resources import CRDS, PODS, SERVICE_ACCOUNTS, Resource
from fairway.kube.tokens import ISSUER
from fairway.kube.users import User

log = logging.getLogger("fairway.kube.http")

VERSION = {"major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "clean",
           "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64"}  # fmt: skip
"""What clients take us for; Python clients warn outside of the versions that they know."""

_LARGEST_BODY = 3 << 20  # what kube-apiserver reads; its store holds objects of 1.5 MB
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class KubeServer:
    """`start`, then `url` says where it listens; `stop` ends every stream and returns within a second or so."""

    def __init__(self, api: Api, clock: Clock, *, logs: PodLogs | None, tls: ssl.SSLContext | None, token: str,
                 exec: PodExec | None = None, accounts: Accounts | None = None,
                 users: Mapping[str, User] | None = None, measurements: Measurements | None = None,
                 guard: Guard | None = None) -> None:
        """`token` is the admin's, `users` maps further tokens to users; `accounts` issues those of service accounts.
        `measurements` is what `metrics.k8s.io` shows; without it, that group is not served. `guard` may allow what RBAC does
        not."""
        self._api = api
        self._clock = clock
        self._logs = logs
        self._exec = exec
        self._tls = tls
        self._streams = Streams()
        self._access: Access | None = None
        if isinstance(api, EmbeddedApi):
            self._access = Access(api)
            accounts = accounts or Accounts(api, clock)
        self.accounts = accounts
        self._guard = guard
        self._users = Authenticator(token, clock.now, accounts.tokens if accounts else None, users or {}, guard)
        self._reviews = Reviews(self._access, self._users, guard)
        self._verbs = Verbs(api, clock, self._streams, self._access)
        self._views = {view: Verbs(ViewedApi(api, view), clock, self._streams) for view in VIEWS}
        self._measured = MeasuredApi(measurements) if measurements is not None else None
        self._documents: dict[str, bytes] = {}
        self._discovered: tuple[tuple[Resource, ...], Discovery] | None = None
        self._address = ""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A client that leaves must end its handler: a watch would wait for its next event for ever.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)

    async def start(self, host: str, port: int) -> None:
        """Port 0 takes a free one. OSError where the port is taken."""
        if self._access is not None:
            await self._access.start()
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._tls).start()
        found = self._runner.addresses[0]
        self._address = f"{found[0]}:{found[1]}"

    async def stop(self) -> None:
        self._streams.stop()
        await self._runner.cleanup()
        if self._access is not None:
            await self._access.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._address}"

    @property
    def port(self) -> int:
        return int(self._address.rpartition(":")[2])

    # --- one request --------------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            user = self._identify(request)
            raw_path = request.rel_url.raw_path
            asked = attributes(request.method, raw_path, parse_path(raw_path), request.query)
            guard = None
            try:
                self._authorize(user, asked)
            except ApiError:
                guard = self._guard
                if guard is None or not guard.may_ask(user, asked):
                    raise
            return await self._route(request, user, guard)
        except ApiError as error:
            return answers.refusal(error)
        except web.HTTPRequestEntityTooLarge:
            words = f"Request entity too large: limit is {_LARGEST_BODY}"
            return answers.refusal(ApiError(words, code=413, reason="RequestEntityTooLarge"))
        except (web.HTTPException, HttpProcessingError, ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path_qs)
            return answers.refusal(ApiError(f"Internal error occurred: {error!r}"))

    def _identify(self, request: web.Request) -> User:
        transport = request.transport
        certificate = transport.get_extra_info("peercert") if transport is not None else None
        user = self._users.identify(request.headers.get("Authorization", ""), certificate)
        spoken_for = impersonated(request.headers)
        if spoken_for is None:
            return user
        other, needed = spoken_for
        for asked in needed:
            self._authorize(user, asked)
        return other

    def _authorize(self, user: User, asked: Attributes) -> None:
        if user.unrestricted:
            return
        if self._access is None:
            raise forbidden(user, asked)
        self._access.require(user, asked)

    async def _route(self, request: web.Request, user: User, guard: Guard | None) -> web.StreamResponse:
        raw_path = request.rel_url.raw_path
        path = raw_path.strip("/")
        match path:
            case "healthz" | "livez" | "readyz":
                return answers.text("ok")
            case "version":
                return answers.answer(VERSION)
            case "":
                return answers.answer({"paths": self._roots()})
            case ".well-known/openid-configuration" | "openid/v1/jwks" if self.accounts is not None:
                return answers.answer(self._issuer(path, self.accounts))
        if path == "openapi/v3" or path.startswith("openapi/v3/"):
            return await self._openapi(request, path.removeprefix("openapi/v3").strip("/"))
        match parse_path(raw_path):
            case GroupPath() as group:
                return self._discover(request, group)
            case ObjectPath() as found:
                return await self._objects(request, found, user, guard)
        return answers.page_not_found()

    async def _objects(self, request: web.Request, path: ObjectPath, user: User, guard: Guard | None) -> web.StreamResponse:
        asked = (path.group, path.version, path.plural)
        review = next((row for row in REVIEWS if (row.group, row.version, row.plural) == asked), None)
        if review is not None:
            return await self._review(request, path, review, user)
        if self._measured is not None and (measured := self._measured.resources.of_plural(*asked)) is not None:
            call = Call(request, path, measured, accepted(request.headers.get("Accept", "")), user)
            return await Verbs(self._measured, self._clock, self._streams).run(call)
        view = next((one for one in VIEWS if (one.row.group, one.row.version, one.row.plural) == asked), None)
        resource = view.row if view else self._api.resources.of_plural(path.group, path.version, path.plural)
        known = self._discovery().has(path.group, path.version)
        if resource is None and path.group == "":
            if path.plural == COMPONENT_STATUSES.plural and not path.namespace:
                return self._components(request, path)
            if path.plural == BINDINGS.plural and path.namespace and not path.name:
                return await self._bind(request, path)
        if resource is None:
            if not known:
                return answers.page_not_found()
            raise NotFound("the server could not find the requested resource")
        if resource.namespaced != bool(path.namespace) and (path.namespace or path.name or request.method == "POST"):
            return answers.page_not_found()
        if resource.group_kind == PODS.group_kind:
            if path.subresource == "log":
                return await self._log(request, path)
            if path.subresource in ("exec", "attach"):
                return await self._in_container(request, path)
            if path.subresource == "portforward":
                return await self._forward(request, path)
            if path.subresource == "eviction":
                return await self._evict(request, path)
            if path.subresource == "binding":
                return await self._bind(request, path)
        if path.subresource == "proxy" and "proxy" in resource.subresources:
            return await proxying.proxy(self._api, request, path)
        if path.subresource == "token" and resource.group_kind == SERVICE_ACCOUNTS.group_kind:
            return await self._account_token(request, path)
        media = accepted(request.headers.get("Accept", ""))
        guarded = Guarded(guard, user, resource) if guard is not None else None
        if isinstance(self._api, EmbeddedApi) and (custom := self._api.custom.of(resource)) is not None and custom.conversion:
            turning = Verbs(ConvertedApi(self._api, custom), self._clock, self._streams, self._access)
            return await turning.run(Call(request, path, resource, media, user, guarded))
        if view is None:
            return await self._verbs.run(Call(request, path, resource, media, user, guarded))
        if media.form == "table":  # whose columns are those of the kept form
            return await self._verbs.run(Call(request, path, view.kept, media, user))
        return await self._views[view].run(Call(request, path, resource, media, user))

    def _roots(self) -> list[str]:
        groups = [f"/{openapi.root_of(*gv)}" for gv in self._discovery().group_versions()]
        return ["/api", "/apis", *groups, "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]

    def _issuer(self, path: str, accounts: Accounts) -> Obj:
        """How others check tokens of service accounts."""
        if path.endswith("jwks"):
            return {"keys": [accounts.tokens.key.jwk()]}
        return {"issuer": ISSUER, "jwks_uri": f"{self.url}/openid/v1/jwks", "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"]}

    # --- discovery ----------------------------------------------------------------------------------------------------

    def _discovery(self) -> Discovery:
        rows = (*self._api.resources, *(self._measured.resources if self._measured is not None else ()))
        if self._discovered is None or self._discovered[0] != rows:
            self._discovered = rows, Discovery(rows)
        return self._discovered[1]

    def _discover(self, request: web.Request, path: GroupPath) -> web.Response:
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        discovery = self._discovery()
        media = accepted(request.headers.get("Accept", ""))
        if path.version:
            body = discovery.resources(path.group, path.version)
        elif path.group:
            body = discovery.group(path.group)
        elif media.form == "aggregated":
            return answers.answer(discovery.aggregated(core=path.core), content_type=_AGGREGATED)
        else:
            body = discovery.core(self._address) if path.core else discovery.groups()
        return answers.page_not_found() if body is None else answers.answer(body, media=media)

    async def _openapi(self, request: web.Request, root: str) -> web.Response:
        discovery = self._discovery()
        crds = await self._crds()
        groups = discovery.group_versions()
        hashes = {gv: openapi.fingerprint(discovery.of(*gv), crds, facts().version) for gv in groups}
        if not root:
            return answers.answer(openapi.index(groups, hashes))
        chosen = next((gv for gv in groups if openapi.root_of(*gv) == root), None)
        if chosen is None:
            return answers.page_not_found()
        asked = request.query.get("hash", "")
        if asked and asked != hashes[chosen]:
            raise web.HTTPMovedPermanently(f"/openapi/v3/{root}?hash={hashes[chosen]}")
        key = f"{root}?{hashes[chosen]}"
        if key not in self._documents:
            stale = [old for old in self._documents if old.partition("?")[0] == root]
            for old in stale:
                del self._documents[old]
            self._documents[key] = openapi.document(*chosen, discovery.of(*chosen), facts(), crds)
        return answers.raw(self._documents[key])

    async def _crds(self) -> dict[tuple[str, str], Obj]:
        found = await self._api.list(CRDS)
        return {(crd["spec"]["group"], crd["spec"]["names"]["kind"]): crd for crd in found.items}

    # --- reviews and containers ---------------------------------------------------------------------------------------

    async def _review(self, request: web.Request, path: ObjectPath, review: Resource, user: User) -> web.Response:
        if request.method != "POST" or path.name:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        content_type = bodies.content_type_of(request.headers.get("Content-Type", ""))
        body = bodies.decode_object(await request.read(), content_type, review.kind)
        return answers.answer(self._reviews.answer(review, body.value, user, path.namespace), status=201)

    async def _account_token(self, request: web.Request, path: ObjectPath) -> web.Response:
        if request.method != "POST":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        if self.accounts is None:
            raise BadRequest("this server issues no tokens: they come from the API behind it")
        content_type = bodies.content_type_of(request.headers.get("Content-Type", ""))
        body = bodies.decode_object(await request.read(), content_type, "TokenRequest").value
        return answers.answer(self.accounts.request(path.namespace, path.name, body), status=201)

    async def _evict(self, request: web.Request, path: ObjectPath) -> web.Response:
        if request.method != "POST":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        content_type = bodies.content_type_of(request.headers.get("Content-Type", ""))
        body = bodies.decode_object(await request.read(), content_type, "Eviction").value
        key = Key(path.namespace, path.name)
        return answers.answer(await evictions.evict(self._api, key, body, self._clock.now()), status=201)

    async def _bind(self, request: web.Request, path: ObjectPath) -> web.Response:
        if request.method != "POST":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        options = write_asked("CreateOptions", request.query, request.headers.get("User-Agent", ""))
        content_type = bodies.content_type_of(request.headers.get("Content-Type", ""))
        body = bodies.decode_object(await request.read(), content_type, "Binding").value
        key = Key(path.namespace, path.name)
        return answers.answer(await bindings.bind(self._api, key, body, self._clock, options), status=201)

    def _components(self, request: web.Request, path: ObjectPath) -> web.Response:
        """The one component there is, which is well where it answers."""
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        if path.name not in ("", "fairway"):
            raise not_found(COMPONENT_STATUSES, path.name)
        meta: Obj = {"name": "fairway"}
        one: Obj = {"metadata": meta, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]}
        if path.name:
            return answers.answer({"kind": "ComponentStatus", "apiVersion": "v1", **one})
        return answers.answer(answers.list_body("ComponentStatusList", "v1", {}, [one]))

    async def _log(self, request: web.Request, path: ObjectPath) -> web.StreamResponse:
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = await self._api.get(PODS, path.name, path.namespace)
        if self._logs is None:
            raise BadRequest("this server has no node whose logs could be read")
        query = request.query
        previous, follow = flag(query, "previous"), flag(query, "follow")
        container = container_of(pod, query.get("container", ""))
        check_started(pod, container, previous=previous)
        chunks = self._logs.read(
            path.namespace, path.name, container=container, follow=follow, previous=previous,
            tail_lines=number(query, "tailLines"), since_s=self._since(request),
            limit_bytes=number(query, "limitBytes"), timestamps=flag(query, "timestamps"))  # fmt: skip
        return await send_log(request, self._streams, chunks, follow=follow)

    async def _in_container(self, request: web.Request, path: ObjectPath) -> web.StreamResponse:
        """`exec` and `attach`. Every refusal comes before the connection is a stream, where clients can read it."""
        if request.method not in ("GET", "POST"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = await self._api.get(PODS, path.name, path.namespace)
        if self._exec is None:
            raise BadRequest("this server has no node that could run commands")
        query, command = request.query, request.query.getall("command", [])
        container = container_of(pod, query.get("container", ""))
        stdin, tty = flag(query, "stdin"), flag(query, "tty")
        if not (stdin or flag(query, "stdout") or flag(query, "stderr")):
            raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
        if path.subresource == "exec" and not command:
            raise BadRequest("you must specify at least 1 command for the container")
        check_running(pod, container)
        channels.check_upgrade(request)
        if path.subresource == "exec":
            session = await self._exec.exec(path.namespace, path.name, container=container, command=command, stdin=stdin,
                                            tty=tty)
        else:
            session = await self._exec.attach(path.namespace, path.name, container=container)
        return await channels.carry(request, self._streams, session)

    async def _forward(self, request: web.Request, path: ObjectPath) -> web.StreamResponse:
        if request.method not in ("GET", "POST"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        pod = await self._api.get(PODS, path.name, path.namespace)
        return await port_forward.forward(request, self._streams, port_forward.address_of(pod))

    def _since(self, request: web.Request) -> float | None:
        seconds = number(request.query, "sinceSeconds")
        if seconds is not None:
            return float(seconds)
        moment = request.query.get("sinceTime", "")
        if not moment:
            return None
        try:
            return max((self._clock.now() - parse_time(moment)).total_seconds(), 0.0)
        except ValueError:
            raise BadRequest(f"sinceTime: {moment!r} is no RFC 3339 time") from None
