"""Which form of an answer a client asked for, by its Accept header. Pure.

Answers are JSON. protobuf is never written: every client that prefers it lists JSON as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from fairway.kube.errors import NotAcceptable

Form = Literal["plain", "table", "metadata", "metadata-list", "aggregated"]
META_GROUP, DISCOVERY_GROUP = "meta.k8s.io", "apidiscovery.k8s.io"

_FORMS: dict[tuple[str, str, str], Form] = {
    ("Table", META_GROUP, "v1"): "table",
    ("PartialObjectMetadata", META_GROUP, "v1"): "metadata",
    ("PartialObjectMetadataList", META_GROUP, "v1"): "metadata-list",
    ("APIGroupDiscoveryList", DISCOVERY_GROUP, "v2"): "aggregated",
}
_REPRESENTATIONS = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


@dataclass(frozen=True, slots=True)
class Media:
    """`form` of the content, and whether it is written as YAML."""

    form: Form = "plain"
    yaml: bool = False


@lru_cache(maxsize=512)
def accepted(header: str) -> Media:
    """The first acceptable entry; `NotAcceptable` where there is none. No header: plain JSON."""
    if not header.strip():
        return Media()
    transformed = False
    for entry in header.split(","):
        kind, *params = (part.strip() for part in entry.split(";"))
        asked = dict(param.partition("=")[::2] for param in params if "=" in param)
        if "as" in asked:
            transformed = True
            form = _FORMS.get((asked["as"], asked.get("g", ""), asked.get("v", "")))
            if form is not None and kind in ("application/json", "*/*"):
                return Media(form)
        elif kind in ("application/json", "*/*", "application/*"):
            return Media()
        elif kind == "application/yaml":
            return Media(yaml=True)
    if transformed:
        raise NotAcceptable("only the following media types are accepted: " + ", ".join(_REPRESENTATIONS))
    streams = ", ".join(f"{kind};stream=watch" for kind in (_REPRESENTATIONS[0], _REPRESENTATIONS[2]))
    raise NotAcceptable(f"406: Not Acceptable\n\nAvailable representations: {', '.join(_REPRESENTATIONS)}, {streams}")
