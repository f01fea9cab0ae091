"""How a client shows who it is: a token, a token file that others renew, a client certificate, or a plugin that is asked."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from fairway.kube.errors import Unauthorized
from fairway.kube.kubeconfig import Connection, ExecPlugin
from fairway.kube.objects import Obj, parse_time

_PLUGIN_LIMIT_S = 60.0  # a plugin may ask an identity provider over the network
_RENEW_BEFORE_S = 30.0


class Credentials:
    """The credentials of one connection. Where a plugin gives them they are kept until they expire or are refused."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._from_plugin: Obj | None = None
        self._asking = asyncio.Lock()
        self._tls: ssl.SSLContext | bool | None = None

    @property
    def renewable(self) -> bool:
        return self._connection.exec is not None or bool(self._connection.token_file)

    def forget(self) -> None:
        """The server refused them: ask again next time."""
        self._from_plugin = None

    async def authorization(self) -> dict[str, str]:
        """The header to send; {} where a certificate says who we are."""
        token = self._connection.token
        if self._connection.token_file:
            token = Path(self._connection.token_file).read_text().strip()  # others rotate it, so it is read each time
        elif self._connection.exec is not None and not token:
            token = str((await self._plugin(self._connection.exec)).get("token") or "")
        if token:
            return {"Authorization": f"Bearer {token}"}
        if self._connection.username:
            pair = f"{self._connection.username}:{self._connection.password}"
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}

    def tls(self) -> ssl.SSLContext | bool:
        """For https: who is trusted, and our certificate."""
        if self._tls is None:
            self._tls = self._context() if self._connection.server.startswith("https:") else True
        return self._tls

    def _context(self) -> ssl.SSLContext:
        given = self._connection
        context = ssl.create_default_context(cadata=given.ca or None)
        # kubeconfigs carry CAs of all ages; OpenSSL's strict reading refuses some that every other client takes.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if given.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = given.client_certificate, given.client_key
        if self._from_plugin is not None and self._from_plugin.get("clientCertificateData"):
            certificate = self._from_plugin["clientCertificateData"]
            key = self._from_plugin.get("clientKeyData", "")
        if certificate:
            _load_pair(context, certificate, key)
        return context

    async def _plugin(self, plugin: ExecPlugin) -> Obj:
        async with self._asking:
            if self._from_plugin is None or _expired(self._from_plugin):
                self._from_plugin = await _ask(plugin, self._connection)
                self._tls = None
            return self._from_plugin


def _expired(status: Obj) -> bool:
    """Wall time on purpose: the moment of expiry was given by somebody else's clock."""
    text = str(status.get("expirationTimestamp") or "")
    return bool(text) and (parse_time(text) - datetime.now(UTC)).total_seconds() < _RENEW_BEFORE_S


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """`ssl` reads key pairs from files only: a folder of ours, for as long as that takes."""
    with tempfile.TemporaryDirectory(prefix="fairway-") as folder:
        cert_file, key_file = Path(folder) / "client.crt", Path(folder) / "client.key"
        for file, text in ((cert_file, certificate), (key_file, key)):
            file.touch(mode=0o600)
            file.write_text(text)
        context.load_cert_chain(cert_file, key_file)


async def _ask(plugin: ExecPlugin, connection: Connection) -> Obj:
    spec = {"interactive": False, "cluster": {"server": connection.server}}
    info = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    environment = {**os.environ, **dict(plugin.environment), "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command, *plugin.arguments, env=environment, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)  # fmt: skip
    except OSError as error:
        raise Unauthorized(f"the credential plugin {plugin.command} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(_PLUGIN_LIMIT_S):
            out, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Unauthorized(f"the credential plugin {plugin.command} gave no answer in {_PLUGIN_LIMIT_S:.0f} s") from None
    if process.returncode != 0:
        said = complaint.decode(errors="replace").strip()[-300:]
        raise Unauthorized(f"the credential plugin {plugin.command} failed with {process.returncode}: {said}")
    try:
        status: Obj = json.loads(out)["status"]
    except (ValueError, KeyError, TypeError) as error:
        raise Unauthorized(f"the credential plugin {plugin.command} printed no ExecCredential with a status") from error
    return status
