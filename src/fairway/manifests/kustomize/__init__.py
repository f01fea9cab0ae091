"""Kustomize: a folder with a kustomization to objects, in time linear in their number.

One layer is accumulated as upstream does it: resources, generators, components, then the transformers in their fixed order.
Every object keeps the ids that it had; patches, replacements and references find it by any of them. Hashes and references
are settled once, at the top.
"""

from fairway.manifests.kustomize.build import build

__all__ = ["build"]
