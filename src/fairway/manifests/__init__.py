"""Kustomize, Helm charts, Jsonnet and plain YAML to objects, and the image write-back that changes one line.

Rendering over a file tree that somebody else read; linear in the number of objects; comments survive write-back. Helm and
Jsonnet run in limited processes of their own, never in this one.
"""

from typing import TYPE_CHECKING

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import DictTree, FileTree, FolderTree, OverlaidTree, RecordingTree
from fairway.manifests.kustomize.dead_images import DeadImage, dead_images
from fairway.manifests.kustomize.ports import Outside, RemoteBases
from fairway.manifests.kustomize.remote import RemoteAddress
from fairway.manifests.render import render
from fairway.manifests.rendering import Directory, Jsonnet, Rendering

if TYPE_CHECKING:
    from fairway.manifests.helm.options import FetchChart, HelmOptions, Parameter
    from fairway.manifests.image_reference import ImageReference
    from fairway.manifests.write_back import image_name, set_image

__all__ = [
    "DeadImage", "DictTree", "Directory", "FetchChart", "FileTree", "FolderTree", "HelmOptions", "ImageReference", "Jsonnet",
    "ManifestError", "Outside", "OverlaidTree", "Parameter", "Place", "RecordingTree", "RemoteAddress", "RemoteBases",
    "Rendering", "dead_images", "image_name", "render", "set_image",
]

_WHERE = {"FetchChart": "helm.options", "HelmOptions": "helm.options", "Parameter": "helm.options",
          "ImageReference": "image_reference", "image_name": "write_back", "set_image": "write_back"}
"""What a rendering does without is loaded when it is asked for: the first object must not wait for it."""


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
