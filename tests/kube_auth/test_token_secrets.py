"""Secrets that hold a token of a service account, and how others check such tokens."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from fairway.kube.accounts import Accounts
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock, run_virtual
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.reconcile import ControllerLoop
from fairway.kube.resources import SECRETS
from fairway.kube.token_secrets import TokenSecrets
from fairway.kube.tokens import API_AUDIENCE, Untrusted
from tests.kube_http.serving import serving


def test_a_secret_is_given_a_token_that_ends_with_it() -> None:
    async def main(clock: Clock) -> None:
        api = EmbeddedApi.in_memory(clock)
        informers, accounts = Informers(api), Accounts(api, clock)
        running = asyncio.create_task(ControllerLoop(TokenSecrets(informers, accounts, "a PEM"), informers, clock).run())
        meta = {"name": "robot", "namespace": "default", "annotations": {"kubernetes.io/service-account.name": "robot"}}
        kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token"}
        await api.create({**kind, "metadata": meta})
        await asyncio.sleep(1)
        assert "data" not in await api.get(SECRETS, "robot", "default"), "the account is not there yet"
        account = await api.create({"apiVersion": "v1", "kind": "ServiceAccount",
                                    "metadata": {"name": "robot", "namespace": "default"}})
        await asyncio.sleep(1)
        filled = await api.get(SECRETS, "robot", "default")
        assert filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
        data = {name: base64.b64decode(text).decode() for name, text in filled["data"].items()}
        assert (data["ca.crt"], data["namespace"]) == ("a PEM", "default")
        user, _ = accounts.tokens.check(data["token"], clock.now(), (API_AUDIENCE,))
        assert user.name == "system:serviceaccount:default:robot"
        await api.delete(SECRETS, "robot", "default")
        with pytest.raises(Untrusted):
            accounts.tokens.check(data["token"], clock.now(), (API_AUDIENCE,))
        running.cancel()
        await informers.close()

    run_virtual(main)


def test_others_can_check_tokens(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        document = served.ask("GET", "/.well-known/openid-configuration")[1]
        assert document["jwks_uri"] == f"{served.server.url}/openid/v1/jwks"
        [key] = served.ask("GET", "/openid/v1/jwks")[1]["keys"]
        assert (key["kty"], key["crv"], key["alg"]) == ("EC", "P-256", "ES256")
        assert served.ask("GET", "/openid/v1/jwks", token="")[0] == 403, "not for everybody"
