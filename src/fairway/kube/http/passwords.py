"""Does a request carry the platform's token, as a bearer token or as the password of whatever user?"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac


def carries(header: str, token: str) -> bool:
    """`header` is the value of `Authorization`. Compared in constant time; an empty token opens nothing."""
    return bool(token) and hmac.compare_digest(password_in(header).encode(), token.encode())


def password_in(header: str) -> str:
    """What the client gave, by Bearer or as the password of any user; "" where nothing can be read."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, UnicodeDecodeError):
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    return ""
