"""What the API refuses, and who has to act next.

Every error carries the fields of a Kubernetes `Status`, so that the HTTP server writes them out and the HTTP client
reads them back unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """A refusal by the API: `code` is the HTTP status, `reason` the CamelCase word that clients match on."""

    code = 500
    reason = "InternalError"

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None, code: int = 0,
                 reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details or {})
        self.code = code or type(self).code
        self.reason = reason or type(self).reason

    def status(self) -> dict[str, Any]:
        """The `Status` object that a client receives."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            body["details"] = self.details
        return body

    @staticmethod
    def from_status(body: Mapping[str, Any]) -> ApiError:
        """The error that a `Status` body stands for."""
        reason = str(body.get("reason") or "")
        kind = _BY_REASON.get(reason, ApiError)
        return kind(
            str(body.get("message") or "no message"),
            details=body.get("details"),
            code=int(body.get("code") or 0),
            reason=reason,
        )


class BadRequest(ApiError):
    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    code, reason = 404, "NotFound"


class MethodNotAllowed(ApiError):
    code, reason = 405, "MethodNotAllowed"


class NotAcceptable(ApiError):
    code, reason = 406, "NotAcceptable"


class AlreadyExists(ApiError):
    code, reason = 409, "AlreadyExists"


class Conflict(ApiError):
    """Optimistic lock lost, or fields owned by another manager: read again and retry."""

    code, reason = 409, "Conflict"


class Expired(ApiError):
    """The resourceVersion is no longer held: list again."""

    code, reason = 410, "Expired"


class UnsupportedMediaType(ApiError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    code, reason = 422, "Invalid"


class TooManyRequests(ApiError):
    code, reason = 429, "TooManyRequests"


class Timeout(ApiError):
    code, reason = 504, "Timeout"


class Unavailable(ApiError):
    """The API cannot be reached: wait and retry."""

    code, reason = 503, "ServiceUnavailable"


_BY_REASON: dict[str, type[ApiError]] = {
    kind.reason: kind
    for kind in (
        BadRequest, Unauthorized, Forbidden, NotFound, MethodNotAllowed, NotAcceptable, AlreadyExists, Conflict,
        Expired, UnsupportedMediaType, Invalid, TooManyRequests, Timeout, Unavailable,
    )
}
