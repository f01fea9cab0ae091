"""Which requests a browser may have been talked into, and are refused.

The web port is on loopback, but so is the browser of whoever works here, and any page it shows can send requests to
127.0.0.1. Two kinds matter: a page of another site that changes something (a silence, say; the browser names that site in
`Origin` or `Sec-Fetch-Site`), and a page whose host name was pointed at 127.0.0.1 so that it may read the answers too ("DNS
rebinding"; the browser still names the page's own host in `Host`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OTHERWISE_PROVEN = ("/git/", "/v2/", "/api/webhook")
"""These ask for the token or a signature, which no page has, and are what a team publishes under a name of its own."""


def refusal(method: str, path: str, headers: Mapping[str, str]) -> str | None:
    """Why the request is refused, or None. `headers` are looked up case-insensitively by the caller's mapping."""
    if path.startswith(_OTHERWISE_PROVEN):
        return None
    host = headers.get("Host", "")
    if not _is_local(host):
        return f"this port answers to loopback addresses and localhost, not to {host!r}"
    if method in _READING:
        return None
    origin = headers.get("Origin")
    if headers.get("Sec-Fetch-Site") == "cross-site" or (origin is not None and urlsplit(origin).netloc != host):
        return f"a page of {origin or 'another site'} may not change anything here"
    return None


def _is_local(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
