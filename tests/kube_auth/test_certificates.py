"""A certificate request, from its sender to the certificate that the server believes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fairway.kube.cache import Informers
from fairway.kube.http.pki import sign_request
from fairway.kube.http.signing import SIGNER, CertificateSigner
from fairway.kube.objects import key_of
from tests.kube_http.serving import Served, serving

REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
MERGE = "application/merge-patch+json"


def request(name: str, *groups: str) -> bytes:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def test_an_approved_request_is_signed(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        asked = {"request": base64.b64encode(request("bob", "devs")).decode(), "signerName": SIGNER, "usages": ["client auth"],
                 "username": "somebody else"}
        made = served.create(REQUESTS, "bob", spec=asked)
        assert (made["spec"]["username"], made["status"]) == ("admin", {})
        row = served.ask("GET", REQUESTS, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")[1]["rows"][0]["cells"]
        assert row[2:] == [SIGNER, "admin", "<none>", "Pending"]
        approved = {"type": "Approved", "status": "True", "reason": "ByHand", "message": ""}
        body = {"status": {"conditions": [approved]}}
        status, after = served.ask("PATCH", f"{REQUESTS}/bob/approval", body, Content_Type=MERGE)
        assert status == 200, after
        served.run(_signed(served, tmp_path))
        pem = base64.b64decode(served.ask("GET", f"{REQUESTS}/bob")[1]["status"]["certificate"])
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(served.pki.ca.encode()))
        assert certificate.subject.rfc4514_string() == "CN=bob,O=devs"


async def _signed(served: Served, pki: Path) -> None:
    """One pass of the signer."""
    informers = Informers(served.api)
    signer = CertificateSigner(informers, pki)
    await informers.synced()
    for obj in informers.of(signer.resource).list():
        await signer.reconcile(key_of(obj), datetime.now(UTC))
    await informers.close()


def test_nobody_becomes_master_by_a_request(tmp_path: Path) -> None:
    with serving(tmp_path), pytest.raises(ValueError, match="system:masters group is not allowed"):
        sign_request(tmp_path, request("eve", "system:masters"), datetime.now(UTC))


def test_who_approves_must_be_allowed_to(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        served.create(REQUESTS, "x", spec={"request": base64.b64encode(request("x")).decode(), "signerName": SIGNER,
                                           "usages": ["client auth"]})
        rule = {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["*"]}
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        served.create(f"{rbac}/clusterroles", "half", rules=[rule])
        served.create(f"{rbac}/clusterrolebindings", "half", subjects=[{"kind": "User", "name": "alice"}],
                      roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "half"})
        status, refused = served.ask("PATCH", f"{REQUESTS}/x/approval", {"status": {"conditions": []}}, token="user-alice",
                                     Content_Type=MERGE)
        assert status == 403
        assert 'cannot approve resource "signers"' in refused["message"]
