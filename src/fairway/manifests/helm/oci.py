"""As much of the OCI distribution API as a chart needs: tags, a manifest, a layer, and the token that registries want."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from fairway.git.port import UnknownRepository, UnknownRevision, Unreachable
from fairway.manifests.helm.download import Answer, Login, get

CHART_LAYERS = ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip")
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_MAX_JSON = 8 * 2**20
_MAX_PAGES = 200
_PART = re.compile(r'(\w+)="([^"]*)"')
_HERE = ("localhost", "127.0.0.1", "[::1]")


class Registry:
    """One repository of a registry. Over https; over http where the registry is on this machine, as other clients do."""

    def __init__(self, host: str, name: str, login: Login | None) -> None:
        self.url = f"oci://{host}/{name}"
        plain = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        self._base = f"{'http' if plain in _HERE else 'https'}://{host}/v2/{name}/"
        self._login = login
        self._token = ""

    def tags(self) -> list[str]:
        found: list[str] = []
        address = f"{self._base}tags/list"
        for _ in range(_MAX_PAGES):
            answer = self._get(address, limit=_MAX_JSON)
            found += [str(tag) for tag in self._json(answer).get("tags") or ()]
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', answer.headers.get("link", ""))
            if following is None:
                return found
            address = urljoin(address, following[1])
            if urlsplit(address).netloc != urlsplit(self._base).netloc:
                raise Unreachable(f"{self.url}: the registry's list of tags goes on at another host")
        return found

    def digest(self, tag: str) -> str:
        """Of the package that the manifest of a tag names. One round trip."""
        manifest = self._json(self._get(f"{self._base}manifests/{tag}", limit=_MAX_JSON, accept=_MANIFEST))
        layer = next((one for one in manifest.get("layers") or () if one.get("mediaType") in CHART_LAYERS), None)
        if layer is None:
            raise UnknownRevision(f"{self.url}:{tag}: this is no chart, it has no layer of a chart's type")
        return str(layer.get("digest"))

    def chart(self, tag: str, digest: str, *, limit: int) -> bytes:
        """The package of that digest, which is checked."""
        data = self._get(f"{self._base}blobs/{digest}", limit=limit).body
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != digest:
            raise Unreachable(f"{self.url}:{tag}: the layer is not what the manifest names ({found} instead of {digest})")
        return data

    def _get(self, url: str, *, limit: int, accept: str = "*/*") -> Answer:
        answer = get(url, limit=limit, authorization=self._token or self._basic(), accept=accept)
        if answer.status == 401 and not self._token:
            self._token = self._asked_for_token(answer.headers.get("www-authenticate", ""))
            answer = get(url, limit=limit, authorization=self._token or self._basic(), accept=accept)
        if answer.status in (401, 403):
            self._token = ""
            raise Unreachable(f"{self.url}: the registry asks for credentials ({answer.status}); put them into a Secret of the "
                              "repository")
        if answer.status == 404:
            raise UnknownRepository(f"{self.url}: the registry has no such chart or version (404)")
        if answer.status != 200:
            raise Unreachable(f"{self.url}: the registry answered {answer.status}")
        return answer

    def _basic(self) -> str:
        return self._login.header() if self._login is not None else ""

    def _asked_for_token(self, challenge: str) -> str:
        """`Bearer realm="…",service="…",scope="…"`: a token from there, with the login where there is one."""
        scheme, _, rest = challenge.partition(" ")
        said = dict(_PART.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in said:
            return ""
        if not said["realm"].startswith("https://") and not self._base.startswith("http://"):
            raise Unreachable(f"{self.url}: the registry wants credentials at {said['realm']}, which is not https")
        query = urlencode({key: said[key] for key in ("service", "scope") if key in said})
        answer = get(f"{said['realm']}?{query}", limit=_MAX_JSON, authorization=self._basic())
        if answer.status != 200:
            raise Unreachable(f"{self.url}: no token from {said['realm']} ({answer.status})")
        token = self._json(answer)
        return f"Bearer {token.get('token') or token.get('access_token') or ''}"

    def _json(self, answer: Answer) -> dict[str, Any]:
        try:
            found = json.loads(answer.body)
        except ValueError as error:
            raise Unreachable(f"{self.url}: the registry's answer is not JSON") from error
        if not isinstance(found, dict):
            raise Unreachable(f"{self.url}: the registry's answer is not what the protocol says")
        return found
