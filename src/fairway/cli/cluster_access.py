"""How a command reaches a cluster: the one that a platform in cluster mode delivers to, with the platform's kubeconfig, or
another one that is registered with it."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from fairway.cli.errors import CommandError
from fairway.kube.credentials import Credentials
from fairway.kube.kubeconfig import BadKubeconfig, Connection, read_kubeconfig


class ClusterAccess:
    """The same credentials as the daemon's: tokens, certificates, plugins."""

    @staticmethod
    def of_kubeconfig(kubeconfig: str, context: str) -> ClusterAccess:
        try:
            return ClusterAccess(read_kubeconfig(Path(kubeconfig), context))
        except BadKubeconfig as error:
            raise CommandError(str(error)) from error

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._credentials = Credentials(self._connection)
        self._header: dict[str, str] | None = None

    def authorization(self) -> dict[str, str]:
        if self._header is None:
            self._header = asyncio.run(self._credentials.authorization())
        return self._header

    def renew(self) -> bool:
        """The cluster refused them. True where it is worth asking once more."""
        if not self._credentials.renewable:
            return False
        self._credentials.forget()
        self._header = None
        return True

    def connection(self, timeout: float | None) -> http.client.HTTPConnection:
        url = urlsplit(self._connection.server)
        self.authorization()  # a plugin may bring a certificate
        tls = self._credentials.tls()
        if not isinstance(tls, ssl.SSLContext):
            return http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
        return _Named(url.hostname or "", url.port, timeout, tls, self._connection.server_name)


class _Named(http.client.HTTPSConnection):
    """TLS to a server that may be called otherwise than its address (`tls-server-name`)."""

    def __init__(self, host: str, port: int | None, timeout: float | None, tls: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=tls)
        self._tls, self._name = tls, name or host

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)
