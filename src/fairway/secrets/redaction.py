"""What is secret by its place, though nobody declared it: credentials in headers, URLs, and key files."""

from __future__ import annotations

import re

from fairway.secrets.masking import MASK

_HEADER = re.compile(
    r"(?P<head>\b(?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?(?:(?:basic|bearer|token|digest)\s+)?)(?P<secret>[^\s\"',;]+)",
    re.IGNORECASE,
)
_COOKIE = re.compile(r"(?P<head>\b(?:set-)?cookie[\"']?\s*:\s*[\"']?)(?P<secret>[^\r\n\"']+)", re.IGNORECASE)
_BEARER = re.compile(r"(?P<head>\bbearer\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_URL = re.compile(r"(?P<head>\b[a-z][a-z0-9+.-]*://[^\s/:@\"']*:)(?P<secret>[^\s/@\"']+)(?=@)", re.IGNORECASE)
_TOKEN_URL = re.compile(r"(?P<head>\bhttps?://)(?P<secret>[^\s/:@\"']{16,})(?=@)", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<head>[?&](?:access_token|token|api_key|apikey|password|secret|signature|sig)=)(?P<secret>[^\s&\"'#]+)", re.IGNORECASE
)
_PRIVATE_KEY = re.compile(
    r"(?P<head>-----BEGIN [A-Z ]*PRIVATE KEY-----)(?P<secret>.*?)(?=-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
)
_JWT = re.compile(r"(?P<head>)(?P<secret>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})")

_PATTERNS = (_PRIVATE_KEY, _HEADER, _COOKIE, _BEARER, _URL, _TOKEN_URL, _PARAMETER, _JWT)


def redacted(text: str) -> str:
    """The text without credentials, as logs may keep it."""
    for pattern in _PATTERNS:
        text = pattern.sub(lambda match: f"{match['head']}{MASK}", text)
    return text
