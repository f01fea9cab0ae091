"""Keys and certificates of one platform: a CA of its own, the server's certificate, the admin's token, the tokens' key.

Made once and kept in a folder that only its owner can read; made again when a file is missing, does not parse, or is
about to expire. Clients trust the CA by its file, never the machine's trust store.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fairway.kube.kubeconfig import write_kubeconfig
from fairway.kube.tokens import TokenKey
from fairway.kube.users import MASTERS

__all__ = ["Pki", "client_certificate", "ensure_pki", "server_context", "write_kubeconfig"]

_CA_LIFE, _LEAF_LIFE = timedelta(days=3650), timedelta(days=365)
_RENEW_BEFORE = timedelta(days=30)
_BACKDATED = timedelta(hours=1)  # clocks of clients may be behind
_TOKEN_BYTES = 32  # 256 bits: not to be guessed


@dataclass(frozen=True, slots=True)
class Pki:
    """`ca` is the CA's certificate as PEM; `accounts` signs the tokens of service accounts; the rest is the server's."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    ca: str
    token: str
    accounts: TokenKey


def ensure_pki(folder: Path, now: datetime, *, token_file: Path | None = None) -> Pki:
    """What is there and valid, else new ones. The token lies in `token_file`, by default `<folder>/token`."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_file, ca_key = folder / "ca.crt", folder / "ca.key"
    cert_file, key_file = folder / "server.crt", folder / "server.key"
    if not _valid(ca_file, ca_key, None, now):
        _make_ca(ca_file, ca_key, now)
        cert_file.unlink(missing_ok=True)
    if not _valid(cert_file, key_file, ca_file, now):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fairway")])
        certificate = _issue(folder, subject, key.public_key(), now, ExtendedKeyUsageOID.SERVER_AUTH, local=True)
        _write_pair(cert_file, certificate, key_file, key)
    token = _token(token_file or folder / "token")
    return Pki(ca_file, cert_file, key_file, ca_file.read_text(), token, TokenKey.load(folder / "sa.key", write_private))


def server_context(pki: Pki) -> ssl.SSLContext:
    """TLS for the server. Clients may show a certificate of our CA; none is fine too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(pki.cert_file, pki.key_file)
    context.load_verify_locations(pki.ca_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def client_certificate(folder: Path, name: str, groups: tuple[str, ...], now: datetime) -> tuple[str, str]:
    """Certificate and key (PEM) that make their holder the user `name` of `groups`."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    key = ec.generate_private_key(ec.SECP256R1())
    whole = x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = _issue(folder, whole, key.public_key(), now, ExtendedKeyUsageOID.CLIENT_AUTH, local=False)
    return _pem(certificate), _key_pem(key)


def sign_request(folder: Path, request: bytes, now: datetime, *, seconds: int | None = None) -> str:
    """The client certificate (PEM) that a certificate request asks for. ValueError says why there is none."""
    asked = x509.load_pem_x509_csr(request)
    if not asked.is_signature_valid:
        raise ValueError("the request is not signed with its own key")
    groups = [str(part.value) for part in asked.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    if MASTERS in groups:
        raise ValueError(f"use of kubernetes.io/kube-apiserver-client signer with {MASTERS} group is not allowed")
    key = asked.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        raise ValueError("keys of this kind are not signed; use RSA, ECDSA or Ed25519")
    life = min(timedelta(seconds=seconds), _LEAF_LIFE) if seconds else _LEAF_LIFE
    return _pem(_issue(folder, asked.subject, key, now, ExtendedKeyUsageOID.CLIENT_AUTH, local=False, life=life))


def _valid(cert_file: Path, key_file: Path, ca_file: Path | None, now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        if ca_file is not None:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_file.read_bytes()))
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    same = certificate.public_key() == key.public_key()
    return same and certificate.not_valid_after_utc > now + _RENEW_BEFORE and certificate.not_valid_before_utc <= now


def _make_ca(ca_file: Path, ca_key: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    # A CA that was made again must not be taken for the old one: clients would blame the signature.
    common = f"fairway {secrets.token_hex(4)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                          key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                          decipher_only=False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(ca_file, certificate, ca_key, key)


def _issue(folder: Path, subject: x509.Name, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
           now: datetime, purpose: x509.ObjectIdentifier, *, local: bool, life: timedelta | None = None) -> x509.Certificate:
    issuer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    issuer_key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + (life or _LEAF_LIFE))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if local:
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc"),
                                         x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _token(path: Path) -> str:
    try:
        if found := path.read_text().strip():
            return found
    except OSError:
        pass
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    write_private(path, token + "\n")
    return token


def write_private(path: Path, text: str) -> None:
    """Readable by the owner alone, from the first byte on; replaced as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def _write_pair(cert_file: Path, certificate: x509.Certificate, key_file: Path,
                key: ec.EllipticCurvePrivateKey) -> None:
    write_private(key_file, _key_pem(key))
    write_private(cert_file, _pem(certificate))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()
