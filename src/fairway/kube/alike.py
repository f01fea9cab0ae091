"""Parts that many objects have alike, held once: what is stored is never changed, so it may be shared.

Most of an object's memory is its managedFields, and the Deployments of a thousand services name the same fields in them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fairway.kube.objects import Obj

_MOST = 4096
"""Sets of fields that are known at a time, of a kilobyte or two each: there are as many as there are shapes of objects."""

_encode = msgspec.json.encode
_known: dict[bytes, Any] = {}


def share_fields(obj: Obj) -> None:
    """Let `obj`, which is about to be stored, name its fields in the words of an object that named the same ones."""
    for entry in obj["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1")
        if fields:
            if len(_known) >= _MOST:
                _known.clear()
            entry["fieldsV1"] = _known.setdefault(_encode(fields), fields)
