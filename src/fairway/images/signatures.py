"""Signatures of images, as cosign makes and reads them: who holds a key says that a digest is good.

What is signed is a small JSON document that names the digest ("simple signing"). It lies beside the image as the layer of a
manifest tagged `sha256-<hex>.sig`, the signature (ECDSA P-256 over SHA-256, DER, base64) in an annotation of that layer.
Source: sigstore/cosign `specs/SIGNATURE_SPEC.md`. No transparency log is asked or written: keys alone, no certificates.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fairway.images.attach import signature_tag
from fairway.images.layout import CONFIG, MANIFEST, BadBlob, Descriptor, Layout, encode
from fairway.images.reference import Reference

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
TYPE = "cosign container image signature"


class BadKey(ValueError):
    """A key that cannot be used; the message says what is needed."""


class NotSigned(Exception):
    """No signature of this image stands; the message says what was found instead."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One signature that stands: which image it names, and what else was signed with it."""

    reference: str
    digest: str
    annotations: Mapping[str, str]


# --- keys -----------------------------------------------------------------------------------------------------------


def new_keys(password: bytes) -> tuple[bytes, bytes]:
    """(private, public) as PEM. Without a password the private one is not encrypted."""
    key = ec.generate_private_key(ec.SECP256R1())
    locked: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked), public


def private_key(pem: bytes, password: bytes) -> ec.EllipticCurvePrivateKey:
    """Raises `BadKey`."""
    if b"SIGSTORE PRIVATE KEY" in pem or b"COSIGN PRIVATE KEY" in pem:
        raise BadKey("a private key in cosign's own encryption is not read; make one with `fairway image keys`: cosign takes "
                     "it by `cosign import-key-pair`, and reads its public key")
    try:
        key = serialization.load_pem_private_key(pem, password or None)
    except (ValueError, TypeError) as error:
        raise BadKey(f"the private key cannot be read: {error}; its password is that of FAIRWAY_KEY_PASSWORD or "
                     "COSIGN_PASSWORD") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("the private key is not ECDSA P-256")
    return key


def public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Raises `BadKey`."""
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError as error:
        raise BadKey(f"the public key cannot be read: {error}; a PEM file such as cosign.pub is needed") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadKey("the public key is not ECDSA P-256")
    return key


# --- signing --------------------------------------------------------------------------------------------------------


def payload_of(reference: Reference, digest: str, annotations: Mapping[str, str]) -> bytes:
    return encode({"critical": {"identity": {"docker-reference": reference.name}, "image": {"docker-manifest-digest": digest},
                                "type": TYPE}, "optional": dict(annotations) or None})


def sign(layout: Layout, reference: Reference, digest: str, key: ec.EllipticCurvePrivateKey,
         annotations: Mapping[str, str]) -> Descriptor:
    """Add a signature to those that the image has; the manifest that now holds them."""
    payload = layout.write(payload_of(reference, digest, annotations), PAYLOAD)
    signature = base64.b64encode(key.sign(layout.read(payload.digest), ec.ECDSA(hashes.SHA256()))).decode()
    layers = [*_layers(layout, digest), {**payload.as_json(), "annotations": {SIGNATURE: signature}}]
    config = layout.write(encode({
        "architecture": "", "os": "", "created": "0001-01-01T00:00:00Z", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        "history": [{"created": "0001-01-01T00:00:00Z"} for _ in layers]}), CONFIG)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.as_json(), "layers": layers}
    made = layout.write(encode(document), MANIFEST)
    layout.tag(signature_tag(digest), made)
    return made


def verify(layout: Layout, digest: str, keys: Sequence[ec.EllipticCurvePublicKey],
           annotations: Mapping[str, str] | None = None) -> list[Signed]:
    """Every signature of the image by one of the keys that names it and holds these annotations. Raises `NotSigned`."""
    layers = _layers(layout, digest)
    if not layers:
        raise NotSigned(f"{digest} has no signature")
    found: list[Signed] = []
    said: list[str] = []
    for layer in layers:
        try:
            one = _verified(layout, layer, digest, keys)
        except (NotSigned, BadBlob) as error:
            said.append(str(error))
            continue
        lacking = [f"{name}={value}" for name, value in (annotations or {}).items() if one.annotations.get(name) != value]
        if lacking:
            said.append(f"a signature stands, but does not hold {', '.join(lacking)}")
        else:
            found.append(one)
    if not found:
        raise NotSigned(f"{digest}: none of {len(layers)} signatures stands: {'; '.join(dict.fromkeys(said))}")
    return found


def _verified(layout: Layout, layer: Mapping[str, Any], digest: str, keys: Sequence[ec.EllipticCurvePublicKey]) -> Signed:
    payload = layout.read(str(layer["digest"]))
    try:
        signature = base64.b64decode(str((layer.get("annotations") or {}).get(SIGNATURE, "")), validate=True)
    except binascii.Error:
        raise NotSigned("a signature is not base64") from None
    if not any(_stands(key, signature, payload) for key in keys):
        raise NotSigned("it was made with another key")
    try:
        document = msgspec.json.decode(payload)
        critical = document["critical"]
        named, kind = str(critical["image"]["docker-manifest-digest"]), critical["type"]
        reference = str(critical["identity"]["docker-reference"])
        optional = document.get("optional") or {}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise NotSigned("what was signed is not a simple signing document") from None
    if named != digest or kind != TYPE:
        raise NotSigned(f"a good signature, but of {named}, not of this image")
    return Signed(reference, digest, {str(name): str(value) for name, value in optional.items()})


def _stands(key: ec.EllipticCurvePublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _layers(layout: Layout, digest: str) -> list[dict[str, Any]]:
    found = layout.manifests().get(signature_tag(digest))
    return list(layout.read_json(found.digest).get("layers") or ()) if found is not None else []
