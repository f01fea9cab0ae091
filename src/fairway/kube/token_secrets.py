"""Secrets of type `kubernetes.io/service-account-token`: filled with a token that lives as long as they do.

For programs that cannot ask for a token (TokenRequest). A Secret whose account is not there is left alone until it is.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from fairway.kube.accounts import Accounts
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason
from fairway.kube.objects import Key, Obj, annotations_of, is_deleting, key_of, uid_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import SECRETS, SERVICE_ACCOUNTS
from fairway.kube.tokens import LONGEST_S, Bound

TYPE = "kubernetes.io/service-account-token"
_ACCOUNT, _UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
_MANAGER = "kube-controller-manager"


class TokenSecrets:
    """`ca`: the certificate of the API's CA as PEM."""

    name = "token-secrets"
    resource = SECRETS
    workers = 1

    def __init__(self, informers: Informers, accounts: Accounts, ca: str) -> None:
        self._api = informers.api
        self._secrets = informers.of(SECRETS)
        self._existing = informers.of(SERVICE_ACCOUNTS)
        self._accounts = accounts
        self._ca = ca

    def watches(self) -> Sequence[Watch]:
        return (Watch(SERVICE_ACCOUNTS, self._of_account),)

    def _of_account(self, account: Obj) -> Iterable[Key]:
        namespace, name = key_of(account)
        return [key_of(one) for one in self._secrets.list(namespace) if annotations_of(one).get(_ACCOUNT) == name]

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        secret = self._secrets.get(key)
        if secret is None or secret.get("type") != TYPE or is_deleting(secret):
            return Outcome()
        account = self._existing.get(Key(key.namespace, annotations_of(secret).get(_ACCOUNT, "")))
        data = secret.get("data") or {}
        if account is None or (data.get("token") and annotations_of(secret).get(_UID) == uid_of(account)):
            return Outcome()
        bound = Bound("Secret", key.name, uid_of(secret))
        token = self._accounts.issue(key.namespace, account["metadata"]["name"], life=timedelta(seconds=LONGEST_S), bound=bound,
                                     now=now)
        filled = {"token": token.text, "ca.crt": self._ca, "namespace": key.namespace}
        body = {"metadata": {"annotations": {_UID: uid_of(account)}},
                "data": {name: base64.b64encode(text.encode()).decode() for name, text in filled.items()}}
        await self._api.patch(SECRETS, key.name, key.namespace, MergePatch(body), WriteOptions(manager=_MANAGER))
        return Outcome(reasons=(Reason("Filled", f"Secret {key.name} has a token of {account['metadata']['name']}"),))
