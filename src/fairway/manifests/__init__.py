"""Kustomize, Helm charts, Jsonnet and plain YAML to objects, and the image write-back that changes one line.

Rendering over a file tree that somebody else read; linear in the number of objects; comments survive write-back. Helm and
Jsonnet run in limited processes of their own, never in this one.
"""

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import DictTree, FileTree, FolderTree, OverlaidTree, RecordingTree
from fairway.manifests.helm.options import FetchChart, HelmOptions, Parameter
from fairway.manifests.image_reference import ImageReference
from fairway.manifests.kustomize.dead_images import DeadImage, dead_images
from fairway.manifests.kustomize.ports import Outside, RemoteBases
from fairway.manifests.kustomize.remote import RemoteAddress
from fairway.manifests.render import render
from fairway.manifests.rendering import Directory, Jsonnet, Rendering
from fairway.manifests.write_back import image_name, set_image

__all__ = [
    "DeadImage", "DictTree", "Directory", "FetchChart", "FileTree", "FolderTree", "HelmOptions", "ImageReference", "Jsonnet",
    "ManifestError", "Outside", "OverlaidTree", "Parameter", "Place", "RecordingTree", "RemoteAddress", "RemoteBases",
    "Rendering", "dead_images", "image_name", "render", "set_image",
]
