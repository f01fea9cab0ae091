"""CertificateSigningRequests: approved ones of the signer `kubernetes.io/kube-apiserver-client` get a certificate of our CA."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.decision import Outcome, Reason
from fairway.kube.http.pki import sign_request
from fairway.kube.objects import Key, Obj, is_true, rfc3339, spec_of, status_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import CERTIFICATE_REQUESTS

SIGNER = "kubernetes.io/kube-apiserver-client"
_MANAGER = "kube-controller-manager"


class CertificateSigner:
    """`pki`: the folder of the CA. Requests of other signers are for others."""

    name = "certificate-signer"
    resource = CERTIFICATE_REQUESTS
    workers = 1

    def __init__(self, informers: Informers, pki: Path) -> None:
        self._api = informers.api
        self._requests = informers.of(CERTIFICATE_REQUESTS)
        self._pki = pki

    def watches(self) -> Sequence[Watch]:
        return ()

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        found = self._requests.get(key)
        if found is None or spec_of(found).get("signerName") != SIGNER or status_of(found).get("certificate"):
            return Outcome()
        if not is_true(found, "Approved") or is_true(found, "Denied") or is_true(found, "Failed"):
            return Outcome()
        status: Obj
        try:
            pem = sign_request(self._pki, base64.b64decode(spec_of(found)["request"]), now,
                               seconds=spec_of(found).get("expirationSeconds"))
        except ValueError as error:
            failed = {"type": "Failed", "status": "True", "reason": "SigningFailed", "message": str(error),
                      "lastTransitionTime": rfc3339(now), "lastUpdateTime": rfc3339(now)}
            status = {"conditions": [*(status_of(found).get("conditions") or ()), failed]}
            reason = Reason("SigningFailed", str(error))
        else:
            status = {"certificate": base64.b64encode(pem.encode()).decode()}
            reason = Reason("Signed", f"{key.name} has its certificate")
        options = WriteOptions(manager=_MANAGER)
        await self._api.patch(CERTIFICATE_REQUESTS, key.name, "", MergePatch({"status": status}), options, subresource="status")
        return Outcome(reasons=(reason,))
