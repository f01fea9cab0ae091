"""What a URL path of the API means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class GroupPath:
    """A discovery document: `/api` and `/apis` (no version), `/apis/<group>`, `/apis/<group>/<version>`.

    `core` tells `/api/...` from `/apis/...`.
    """

    core: bool
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A collection (`name` is ""), an object, or a subresource of one. `watching`: the old `/watch/` prefix. `rest`: what
    follows `proxy`, as it was sent."""

    group: str
    version: str
    plural: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watching: bool = False
    rest: str = ""


ApiPath = GroupPath | ObjectPath


def parse_path(raw: str) -> ApiPath | None:
    """The meaning of a percent-encoded path; None where there is none. A trailing slash is fine."""
    parts = [unquote(part) for part in raw.strip("/").split("/")]
    if parts[0] == "api":
        group, rest = "", parts[1:]
        if len(rest) < 2:
            return GroupPath(core=True, version=rest[0] if rest else "")
    elif parts[0] == "apis":
        group, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
        if len(rest) < 2:
            return GroupPath(core=False, group=group, version=rest[0] if rest else "")
    else:
        return None
    version, rest = rest[0], rest[1:]
    watching = rest[0] == "watch"
    if watching:
        rest = rest[1:]
    namespace = ""
    # /namespaces/x is the Namespace x and /namespaces/x/status part of it; /namespaces/x/pods lies inside.
    inside = len(rest) > 2 and rest[0] == "namespaces" and not (len(rest) == 3 and rest[2] in ("status", "finalize"))
    if inside:
        namespace, rest = rest[1], rest[2:]
    behind = ""
    if len(rest) > 2 and rest[2] == "proxy":
        behind = raw.partition("/proxy")[2]
        rest = rest[:3]
    if not 1 <= len(rest) <= 3 or not all(rest):
        return None
    plural, name, subresource = (*rest, "", "")[:3]
    return ObjectPath(group, version, plural, namespace, name, subresource, watching, behind)
