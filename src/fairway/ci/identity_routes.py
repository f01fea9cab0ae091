"""The issuer over HTTP, below `/ci`: its configuration and key for whoever checks tokens, and the tokens for jobs that run."""

from __future__ import annotations

from aiohttp import hdrs, web

from fairway.ci.identity import Identities
from fairway.kube.http.passwords import password_in


def routes(identities: Identities) -> list[web.RouteDef]:
    async def configuration(request: web.Request) -> web.Response:
        return web.json_response({
            "issuer": identities.issuer, "jwks_uri": f"{identities.issuer}/.well-known/jwks",
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"]})

    async def keys(request: web.Request) -> web.Response:
        return web.json_response({"keys": [identities.key()]})

    async def token(request: web.Request) -> web.Response:
        given = password_in(request.headers.get(hdrs.AUTHORIZATION, ""))
        signed = identities.answer(given, request.query.get("audience", ""))
        if signed is None:
            raise web.HTTPUnauthorized(text="only a running job with `permissions: id-token: write` is told who it is\n")
        return web.json_response({"value": signed})

    return [web.get("/ci/.well-known/openid-configuration", configuration), web.get("/ci/.well-known/jwks", keys),
            web.get("/ci/token", token)]
