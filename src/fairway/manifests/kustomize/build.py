"""A build: the layers accumulated, then hashes, references, variables and order, which are settled once, at the top."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests.files import FileTree
from fairway.manifests.kustomize import field_tables as tables
from fairway.manifests.kustomize import origin, spec, transform
from fairway.manifests.kustomize.building import Building, Layer
from fairway.manifests.kustomize.dead_images import DeadImage, dead_in
from fairway.manifests.kustomize.generate import content_hash
from fairway.manifests.kustomize.layers import top_layer
from fairway.manifests.kustomize.order import checked, in_order
from fairway.manifests.kustomize.overrides import overruled
from fairway.manifests.kustomize.ports import Outside
from fairway.manifests.kustomize.references import follow_names
from fairway.manifests.kustomize.remote import MountedTree
from fairway.manifests.kustomize.resource import Resources
from fairway.manifests.values import without_collector

NOTHING_OUTSIDE = Outside()
Notice = Callable[[DeadImage], None]


def build(files: FileTree, path: str = "", *, load_restrictions: bool = True, sort: str = "",
          outside: Outside = NOTHING_OUTSIDE, notice: Notice | None = None) -> list[Obj]:
    """The objects of a folder with a kustomization.

    `load_restrictions`: files only from the folder that names them. `sort`: fifo or legacy, where the file does not say.
    `notice` is told of entries of `images:` that change nothing.
    """
    top = overruled(spec.read(files, path), outside.overrides)
    wanted = origin.wanted_of(top.list("buildMetadata"), top.place("buildMetadata"))
    options = checked(top.map("sortOptions"), top.place("sortOptions"))
    with without_collector():
        building = Building(MountedTree(files), path, load_restrictions, outside, wanted)
        layer = top_layer(building, top)
        if notice is not None:
            for dead in dead_in(building, layer):
                notice(dead)
        return _finished(layer, wanted, options, sort)


def _finished(layer: Layer, wanted: frozenset[str], options: Mapping[str, Any], sort: str) -> list[Obj]:
    """What is done once: hashes, then the references to all names, then variables, annotations and order."""
    found = layer.resources
    with_hashes(found)
    configuration = layer.configuration
    follow_names(found, (*tables.REFERENCES, *configuration.references))
    layer.variables.resolve(found, configuration.specs("varReference", tables.VARIABLES))
    origin.annotate(found, wanted)
    objects = transform.drop_local([item.obj for item in found])
    return in_order(objects, str(options.get("order") or sort), options.get("legacySortOptions") or {})


def with_hashes(resources: Resources) -> None:
    """The hash of its content behind the name of every object that asks for one."""
    for item in resources:
        if item.needs_hash:
            item.remember()
            meta = item.meta()
            meta["name"] = f"{meta.get('name', '')}-{content_hash(item.obj)}"
            item.needs_hash = False
    resources.renamed()

