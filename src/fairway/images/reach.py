"""Which registries a pipeline's job really speaks to. Pure.

Images of a run go to the embedded registry; a push to the world outside is a decision of whoever runs the platform, not of a
workflow that was written for elsewhere. Registries on loopback addresses are this machine's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairway.images.reference import is_loopback

PUSH_TO = "FAIRWAY_PUSH_TO"
"""Variable: hosts of registries, with commas, to which jobs log in and push for real."""


def is_reached(registry: str, variables: Mapping[str, str]) -> bool:
    wanted = {host.strip() for host in variables.get(PUSH_TO, "").split(",")}
    return registry in wanted or is_loopback(registry)
