"""What a request asks for beside its path and body: the query of lists, watches, writes and deletes. Pure.

A value that means nothing is a 422 about the options object that Kubernetes decodes the query into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from fairway.kube.api import DeleteOptions, Propagation, Validation, WriteOptions
from fairway.kube.errors import BadRequest
from fairway.kube.objects import Obj
from fairway.kube.refusals import FieldError, forbidden, invalid, required, unsupported
from fairway.kube.resources import Resource

OptionsKind = Literal["ListOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "DeleteOptions"]
Query = Mapping[str, str]

_TRUE, _FALSE = {"1", "t", "true"}, {"", "0", "f", "false"}
WATCH_LIMIT_S = 1800.0  # a watch without timeoutSeconds; the API server's own least is the same half hour
_LONGEST_MANAGER = 128


def refuse(kind: OptionsKind, *errors: FieldError) -> Exception:
    return invalid(Resource("meta.k8s.io", "v1", kind, ""), "", errors)


def flag(query: Query, name: str) -> bool:
    """As Go parses a bool, in any case."""
    text = query.get(name, "").lower()
    if text not in _TRUE | _FALSE:
        raise BadRequest(f'strconv.ParseBool: parsing "{query[name]}": invalid syntax')
    return text in _TRUE


def number(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


@dataclass(frozen=True, slots=True)
class ListAsked:
    labels: str
    fields: str
    limit: int
    continue_token: str
    resource_version: str
    watch: bool
    bookmarks: bool
    initial_events: bool
    timeout_s: float


def list_asked(query: Query, *, name: str = "") -> ListAsked:
    """Options of a list or a watch. `name` narrows it to one object."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    watch, initial = flag(query, "watch"), flag(query, "sendInitialEvents")
    if "sendInitialEvents" in query and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise refuse("ListOptions", forbidden("resourceVersionMatch", why))
    if "sendInitialEvents" in query and not watch:
        why = "sendInitialEvents is forbidden for list"
        raise refuse("ListOptions", forbidden("sendInitialEvents", why))
    if match and not version and "sendInitialEvents" not in query:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise refuse("ListOptions", forbidden("resourceVersionMatch", why))
    fields = query.get("fieldSelector", "")
    if name:
        fields = f"metadata.name={name}" + (f",{fields}" if fields else "")
    seconds = number(query, "timeoutSeconds")
    return ListAsked(
        labels=query.get("labelSelector", ""),
        fields=fields,
        limit=max(number(query, "limit") or 0, 0),
        continue_token=query.get("continue", ""),
        resource_version=version,
        watch=watch,
        bookmarks=flag(query, "allowWatchBookmarks"),
        initial_events=initial,
        timeout_s=WATCH_LIMIT_S if not seconds else min(float(seconds), 24 * 3600.0),
    )


def write_asked(kind: OptionsKind, query: Query, user_agent: str) -> WriteOptions:
    """Without a fieldManager, the manager is the client's own name: its user agent up to the first slash."""
    dry_run, validation = query.get("dryRun", ""), query.get("fieldValidation", "")
    if dry_run not in ("", "All"):
        raise refuse(kind, unsupported("dryRun", [dry_run], ["All"]))
    if validation not in ("", *get_args(Validation)):
        raise refuse(kind, unsupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    manager = query.get("fieldManager") or user_agent.partition("/")[0][:_LONGEST_MANAGER] or "unknown"
    if len(manager) > _LONGEST_MANAGER:
        why = f"Too long: may not be more than {_LONGEST_MANAGER} bytes"
        raise refuse(kind, FieldError("fieldManager", why, "FieldValueTooLong"))
    return WriteOptions(manager=manager, dry_run=bool(dry_run), validation=cast(Validation, validation or "Warn"))


def apply_asked(query: Query, user_agent: str) -> tuple[WriteOptions, bool]:
    """Options of a server-side apply, and its force."""
    options = write_asked("PatchOptions", query, user_agent)
    if not query.get("fieldManager"):
        raise refuse("PatchOptions", required("fieldManager", "is required for apply patch"))
    return options, flag(query, "force")


def delete_asked(query: Query, body: Obj) -> tuple[DeleteOptions, WriteOptions]:
    """A DeleteOptions body, else the query."""
    said: dict[str, Any] = dict(body)
    grace = said.get("gracePeriodSeconds", number(query, "gracePeriodSeconds"))
    propagation = said.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if not propagation and said.get("orphanDependents", flag(query, "orphanDependents")):
        propagation = "Orphan"
    if propagation not in ("", *get_args(Propagation)):
        supported = ["Foreground", "Background", "Orphan", "nil"]
        raise refuse("DeleteOptions", unsupported("propagationPolicy", propagation, supported))
    dry_run = said.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    if dry_run not in ([], ["All"]):
        raise refuse("DeleteOptions", unsupported("dryRun", dry_run, ["All"]))
    conditions = said.get("preconditions") or {}
    delete = DeleteOptions(
        propagation=cast(Propagation, propagation or "Background"),
        grace_period_s=None if grace is None else int(grace),
        uid=conditions.get("uid") or "",
        resource_version=conditions.get("resourceVersion") or "",
    )
    return delete, WriteOptions(dry_run=bool(dry_run))
