"""What all layers of a build share, and what one layer holds; and where in the tree a path of a kustomization leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fairway.kube.objects import Obj
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import join
from fairway.manifests.kustomize.configuration import Configuration
from fairway.manifests.kustomize.origin import Whence
from fairway.manifests.kustomize.ports import Outside
from fairway.manifests.kustomize.remote import MountedTree, RemoteAddress, leaves, mount_of
from fairway.manifests.kustomize.resource import Resources
from fairway.manifests.kustomize.schemas import Schemas
from fairway.manifests.kustomize.spec import Kustomization
from fairway.manifests.kustomize.variables import Variables

Documents = list[tuple[Any, Place]]


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An entry of `images:` as it was carried out, and how many containers it met."""

    name: str
    new_name: str
    folder: str
    place: Place
    met: int


@dataclass(slots=True)
class Building:
    """What all layers of one build share."""

    files: MountedTree
    top: str
    restricted: bool
    outside: Outside
    wanted: frozenset[str]
    schemas: Schemas = field(default_factory=Schemas)
    documents: dict[str, Documents] = field(default_factory=dict)
    remotes: dict[str, RemoteAddress] = field(default_factory=dict)
    image_entries: list[ImageEntry] = field(default_factory=list)
    layers: int = 0
    """How many were begun: a limit stands on it."""

    def whence(self, folder: str) -> Whence:
        mount = mount_of(folder)
        if not mount:
            return Whence(self.top)
        address = self.remotes[mount]
        return Whence(mount, address.repo, address.ref)

    def read(self, file: str) -> Documents:
        """The documents of a file, parsed once a build: not to be changed."""
        if file not in self.documents:
            self.documents[file] = list(yaml.load_all(self.files.read(file), file, words=False))
        return self.documents[file]


@dataclass(slots=True)
class Layer:
    resources: Resources = field(default_factory=Resources)
    configuration: Configuration = field(default_factory=Configuration)
    variables: Variables = field(default_factory=Variables)

    def merge(self, below: Layer) -> None:
        self.resources.extend(below.resources)
        self.configuration.merge(below.configuration)
        self.variables.merge(below.variables)


def objects_in(documents: Sequence[tuple[Any, Place]], *, lenient: bool = False) -> list[tuple[Obj, Place]]:
    """Objects, lists of objects taken apart; each must say what it is and how it is called.

    `lenient` lets an apiVersion be absent, as upstream does: a patch or the API has the last word.
    """
    found: list[tuple[Obj, Place]] = []
    for value, place in documents:
        if not isinstance(value, dict):
            raise ManifestError(place, "not a Kubernetes object", "an object is a mapping with apiVersion, kind, metadata")
        kind = value.get("kind")
        if isinstance(kind, str) and kind.endswith("List") and isinstance(value.get("items"), list):
            found += objects_in([(item, place) for item in value["items"]], lenient=lenient)
            continue
        meta = value.get("metadata")
        if not isinstance(kind, str) or not kind:
            raise ManifestError(place, "missing Resource metadata: the object has no `kind`", "add `kind:`")
        if not isinstance(value.get("apiVersion"), str) and not lenient:
            raise ManifestError(place, f"{kind}: the object has no `apiVersion`", "add `apiVersion:`")
        if not isinstance(meta, dict) or not (meta.get("name") or meta.get("generateName")):
            raise ManifestError(place, f"{kind}: missing metadata.name in object", "add `metadata: {name: …}`")
        if not isinstance(meta.get("name", ""), str):
            raise ManifestError(place, f"{kind}: metadata.name {meta['name']!r} is not text", "quote it")
        for name in ("labels", "annotations"):
            if not isinstance(meta.get(name) or {}, dict):
                raise ManifestError(place, f"{kind}: metadata.{name} is a mapping, not {meta[name]!r}",
                                    "write `name: value` lines")
        found.append((value, place))
    return found


def file_of(building: Building, k: Kustomization, path: Any, place: Place) -> str:
    """Where in the tree the file lies that a kustomization names, or why it may not be read."""
    at = join(k.folder, str(path))
    if str(path).startswith("/") or RemoteAddress.parse(str(path)) is not None or leaves(k.folder, at):
        raise ManifestError(place, f"{path}: outside of this repository", "copy it in: a build depends on one commit only")
    if not building.files.is_file(at):
        what = "is a folder, not a file" if building.files.is_dir(at) else "doesn't exist: no such file or directory"
        raise ManifestError(place, f"accumulating resources from '{path}': '/{at}' {what}", "correct the path, or add the file")
    if building.restricted and k.folder and not at.startswith(f"{k.folder}/"):
        raise ManifestError(place, f"security; file '{at}' is not in or below '{k.folder}'",
                            "move it into the folder, or make its folder a base")
    return at


def folder_of(building: Building, k: Kustomization, path: str, place: Place) -> str:
    address = RemoteAddress.parse(path)
    if address is not None and not building.files.is_dir(join(k.folder, path)):
        remotes = building.outside.remotes
        if remotes is None:
            raise ManifestError(place, f"{path}: outside of this repository, and remote bases are off",
                                "copy it in, or allow its host: then a build depends on more than one commit")
        mount = building.files.mount(address, lambda: remotes.tree(address))
        building.remotes[mount] = address
        at = join(mount, address.path)
    else:
        at = join(k.folder, path)
    if path.startswith("/") or (address is None and leaves(k.folder, at)):
        raise ManifestError(place, f"{path}: outside of this repository", "copy it in: a build depends on one commit only")
    if not building.files.is_dir(at):
        what = "file is not directory" if building.files.is_file(at) else "doesn't exist"
        raise ManifestError(place, f"must build at directory: '/{at}': {what}", "correct the path")
    return at
