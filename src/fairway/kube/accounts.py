"""Service accounts of the API in this process: their tokens, for the API's clients and for the node's pods."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fairway.kube.clock import Clock
from fairway.kube.embedded import EmbeddedApi, table_of
from fairway.kube.errors import Conflict
from fairway.kube.identities import Identities
from fairway.kube.objects import Key, Obj, dig, key_of, rfc3339, spec_of, uid_of
from fairway.kube.refusals import FieldError, invalid, invalid_value, not_found, unsupported
from fairway.kube.resources import PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from fairway.kube.tokens import LONGEST_S, SHORTEST_LIFE, Bound, Token, TokenKey, Tokens

_BOUND = {"Pod": PODS, "Secret": SECRETS, "ServiceAccount": SERVICE_ACCOUNTS}
_REQUEST = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
_DEFAULT_S = 3600


class Accounts:
    """Issues and checks tokens over what is stored. `identities`: where ids of tokens come from."""

    def __init__(self, api: EmbeddedApi, clock: Clock, key: TokenKey | None = None,
                 identities: Identities | None = None) -> None:
        self._api = api
        self._clock = clock
        self._identities = identities or Identities(None)
        self.tokens = Tokens(key or TokenKey.fresh(), self._find)

    def _find(self, kind: str, namespace: str, name: str) -> Obj | None:
        found = self._api.store.get(table_of(_BOUND[kind]), Key(namespace, name))
        return None if found is None else found.obj

    def issue(self, namespace: str, name: str, *, audiences: Sequence[str] = (), life: timedelta, bound: Bound | None = None,
              node: str = "", now: datetime | None = None) -> Token:
        """A token of this account; `NotFound` where there is no such account."""
        account = self._find("ServiceAccount", namespace, name)
        if account is None:
            raise not_found(SERVICE_ACCOUNTS, name)
        return self.tokens.issue(account, now or self._clock.now(), audiences=audiences, life=life, bound=bound, node=node,
                                 identity=self._identities.uid())

    def for_pod(self, pod: Obj, *, audience: str = "", seconds: int = _DEFAULT_S) -> Token:
        """What the node writes into a projected `serviceAccountToken` of `pod`: bound to the pod, and to be made again after
        80 % of its life. `NotFound` where the pod's account is not there."""
        key, spec = key_of(pod), spec_of(pod)
        life = timedelta(seconds=max(seconds, int(SHORTEST_LIFE.total_seconds())))
        return self.issue(key.namespace, spec.get("serviceAccountName") or "default", audiences=[audience] if audience else (),
                          life=life, bound=Bound("Pod", key.name, uid_of(pod)), node=str(spec.get("nodeName") or ""))

    def request(self, namespace: str, name: str, body: Obj) -> Obj:
        """The answer to a TokenRequest: `POST .../serviceaccounts/NAME/token`."""
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds")
        seconds = _DEFAULT_S if seconds is None else seconds
        bound = spec.get("boundObjectRef")
        errors = list(_mistakes(seconds, bound))
        if errors:
            raise invalid(_REQUEST, "", errors)
        now = self._clock.now()
        if self._find("ServiceAccount", namespace, name) is None:
            raise not_found(SERVICE_ACCOUNTS, name)
        token = self.issue(namespace, name, audiences=spec.get("audiences") or (), life=timedelta(seconds=seconds), now=now,
                           bound=None if bound is None else self._bound(namespace, bound))
        answered = {"audiences": spec.get("audiences") or ["https://kubernetes.default.svc"], "expirationSeconds": seconds,
                    "boundObjectRef": bound}
        return {
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": rfc3339(now)}, "spec": answered,
            "status": {"token": token.text, "expirationTimestamp": rfc3339(token.expires)},
        }  # fmt: skip

    def _bound(self, namespace: str, ref: Obj) -> Bound:
        kind, name = str(ref.get("kind")), str(ref.get("name"))
        found = self._find(kind, namespace, name)
        if found is None:
            raise not_found(_BOUND[kind], name)
        if ref.get("uid") and ref["uid"] != uid_of(found):
            raise Conflict(f'Operation cannot be fulfilled on {_BOUND[kind].qualified} "{name}": the UID in the bound object '
                           f"reference ({ref['uid']}) does not match the UID in record. The object might have been deleted and "
                           "then recreated", details={"name": name, "kind": _BOUND[kind].plural})
        return Bound(kind, name, uid_of(found))


def _mistakes(seconds: object, bound: Obj | None) -> list[FieldError]:
    found = []
    if not isinstance(seconds, int) or seconds < SHORTEST_LIFE.total_seconds():
        found.append(invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    elif seconds > LONGEST_S:
        found.append(invalid_value("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))
    if bound is not None and dig(bound, "kind") not in ("Pod", "Secret"):
        found.append(unsupported("spec.boundObjectRef.kind", dig(bound, "kind"), ["Pod", "Secret"]))
    return found
