"""Kustomize and plain YAML to objects, and the image write-back that changes one line.

Pure rendering over a file tree that somebody else read; linear in the number of objects; comments survive write-back.
"""

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import DictTree, FileTree, FolderTree, OverlaidTree
from fairway.manifests.image_reference import ImageReference
from fairway.manifests.render import render
from fairway.manifests.write_back import image_name, set_image

__all__ = [
    "DictTree", "FileTree", "FolderTree", "ImageReference", "ManifestError", "OverlaidTree", "Place", "image_name",
    "render", "set_image",
]
