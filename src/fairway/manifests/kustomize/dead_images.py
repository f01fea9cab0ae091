"""Entries of `images:` that change nothing, because no container has an image of that name when their layer comes to it.

The usual reason: a base has given the image another name already, and the overlay still speaks of the old one. Then every
`set image` in the overlay looks done and nothing is ever deployed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize import spec
from fairway.manifests.kustomize.building import Building, Layer
from fairway.manifests.kustomize.layers import top_layer
from fairway.manifests.kustomize.ports import Outside
from fairway.manifests.kustomize.remote import MountedTree
from fairway.manifests.kustomize.transform import image_names
from fairway.manifests.values import without_collector


@dataclass(frozen=True, slots=True)
class DeadImage:
    """`now` is what a layer below has called the image before, at `renamed_at`; "" where nobody renamed it.

    `others` are the names of the images that the objects have in the end.
    """

    name: str
    folder: str
    place: Place
    now: str = ""
    renamed_at: Place | None = None
    others: tuple[str, ...] = ()

    def error(self) -> ManifestError:
        if not self.now:
            return ManifestError(self.place, f"images: no container here uses the image {self.name!r}",
                                 f"the images are {', '.join(self.others)}" if self.others else "remove the entry")
        return ManifestError(self.place, f"images: {self.name!r} changes nothing: {self.renamed_at} has renamed it to "
                             f"{self.now!r}", f"write `name: {self.now}` here")


def dead_images(files: FileTree, folder: str, *, outside: Outside | None = None) -> list[DeadImage]:
    """Of all layers of a kustomization, in the order of the build."""
    with without_collector():
        building = Building(MountedTree(files), folder, False, outside or Outside(), frozenset())
        return dead_in(building, top_layer(building, spec.read(files, folder)))


def dead_in(building: Building, top: Layer) -> list[DeadImage]:
    """Of a build whose layers are read."""
    if all(entry.met for entry in building.image_entries):
        return []
    others = tuple(sorted(set[str]().union(*(image_names(item.obj) for item in top.resources))))
    found = []
    for n, entry in enumerate(building.image_entries):
        if entry.met:
            continue
        now, at = entry.name, None
        for below in building.image_entries[:n]:
            if below.met and below.name == now and below.new_name != now:
                now, at = below.new_name, below.place
        found.append(DeadImage(entry.name, entry.folder, entry.place, now if at else "", at, others))
    return found
