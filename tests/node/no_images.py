"""An image source for nodes that run commands of the host alone."""

from __future__ import annotations

from fairway.node.images import AS_IT_IS, ImageUnavailable, Pull, UnpackedImage


class NoImages:
    async def ensure(self, reference: str, pull: Pull = AS_IT_IS) -> UnpackedImage:
        raise ImageUnavailable(f'image "{reference}" is not here: this node has no image store; use the image "host"')
