"""Does a request carry the platform's token, as a bearer token or as the password of whatever user?"""

from __future__ import annotations

import base64
import binascii
import hmac


def carries(header: str, token: str) -> bool:
    """`header` is the value of `Authorization`. Compared in constant time; an empty token opens nothing."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        given = rest.strip()
    elif scheme.lower() == "basic":
        try:
            given = base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    else:
        return False
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())
