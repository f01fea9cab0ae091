"""Which resources a cluster serves: two requests where it speaks aggregated discovery, one per group version else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fairway.kube.errors import ApiError
from fairway.kube.objects import Obj
from fairway.kube.resources import BUILT_IN, CUSTOM, Resource, ResourceMap

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
PLAIN = "application/json"
_FAMILIAR = {(row.group, row.version, row.plural): row for row in (*BUILT_IN, *CUSTOM)}
"""Rooms name kinds by these constants, and caches are found by them: an equal row must be the same."""
Fetch = Callable[[str, str], Awaitable[Obj]]
"""(path, Accept header) to the document."""


async def discover(fetch: Fetch) -> ResourceMap:
    """All resources that can be listed, the preferred version of each group first."""
    core, groups = await asyncio.gather(fetch("/api", AGGREGATED), fetch("/apis", AGGREGATED))
    rows = [*await _resources(fetch, core, core=True), *await _resources(fetch, groups, core=False)]
    return ResourceMap(_FAMILIAR.get((row.group, row.version, row.plural), row) for row in rows if row.plural)


async def _resources(fetch: Fetch, document: Obj, *, core: bool) -> list[Resource]:
    if document.get("kind") == "APIGroupDiscoveryList":
        return list(_aggregated(document))
    if core:
        wanted = [("", str(version)) for version in document.get("versions") or ()]
    else:
        wanted = [(group["name"], row["version"]) for group in document.get("groups") or ()
                  for row in _preferred_first(group)]
    found = await asyncio.gather(*(_plain(fetch, group, version) for group, version in wanted))
    return [row for rows in found for row in rows]


def _preferred_first(group: Obj) -> list[Obj]:
    preferred = (group.get("preferredVersion") or {}).get("version")
    return sorted(group.get("versions") or (), key=lambda row: row["version"] != preferred)


def _aggregated(document: Obj) -> Iterator[Resource]:
    for group in document.get("items") or ():
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in group.get("versions") or ():
            for row in version.get("resources") or ():
                yield Resource(
                    group=name,
                    version=version["version"],
                    kind=(row.get("responseKind") or {}).get("kind", ""),
                    plural=row["resource"] if "list" in row.get("verbs") or () else "",
                    namespaced=row.get("scope") == "Namespaced",
                    short_names=tuple(row.get("shortNames") or ()),
                    categories=tuple(row.get("categories") or ()),
                    subresources=tuple(sub["subresource"] for sub in row.get("subresources") or ()),
                    **_singular(row.get("singularResource"), row),
                )


def _singular(name: Any, row: Obj) -> dict[str, str]:
    """Only where it is not what the kind says anyway."""
    kind = (row.get("responseKind") or {}).get("kind") or row.get("kind") or ""
    return {"singular": name} if name and name != kind.lower() else {}


async def _plain(fetch: Fetch, group: str, version: str) -> list[Resource]:
    """[] for a group version whose own server is away: the rest of the cluster is there all the same."""
    try:
        document = await fetch(f"/apis/{group}/{version}" if group else f"/api/{version}", PLAIN)
    except ApiError:
        return []
    listed = document.get("resources") or []
    subs: dict[str, list[str]] = {}
    for row in listed:
        plural, slash, sub = row["name"].partition("/")
        if slash:
            subs.setdefault(plural, []).append(sub)
    return [
        Resource(
            group=group, version=version, kind=row["kind"], plural=row["name"], namespaced=bool(row["namespaced"]),
            short_names=tuple(row.get("shortNames") or ()), categories=tuple(row.get("categories") or ()),
            subresources=tuple(subs.get(row["name"], ())), **_singular(row.get("singularName"), row),
        )
        for row in listed if "/" not in row["name"] and "list" in (row.get("verbs") or ())
    ]  # fmt: skip
