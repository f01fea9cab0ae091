"""Layers as tar archives: gzip, zstd (images built with `compression=zstd`) or plain."""

from __future__ import annotations

import gzip
import importlib
import shutil
import subprocess
import zlib

from fairway.images.layout import DOCKER_LAYER, LAYER_GZIP, LAYER_TAR, BadBlob

LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"


class Unpackable(Exception):
    """The image is here but cannot be unpacked; the message says why."""


def tar_of(blob: bytes, media_type: str) -> bytes:
    """Raises `BadBlob`, `Unpackable`."""
    if media_type == LAYER_TAR:
        return blob
    if media_type in (LAYER_GZIP, DOCKER_LAYER):
        try:
            return gzip.decompress(blob)
        except (OSError, EOFError, zlib.error) as error:
            raise BadBlob(f"a layer is not gzip: {error}") from error
    if media_type in (LAYER_ZSTD, DOCKER_ZSTD):
        return _of_zstd(blob)
    raise Unpackable(f"layers of type {media_type} cannot be unpacked; build the image with gzip or zstd layers")


def _of_zstd(blob: bytes) -> bytes:
    """By Python's own module (3.14), else by the program `zstd`, which every distribution has."""
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        return _by_program(blob)
    try:
        return bytes(module.decompress(blob))
    except (module.ZstdError, EOFError) as error:
        raise BadBlob(f"a layer is not zstd: {error}") from error


def _by_program(blob: bytes) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        raise Unpackable("the image has zstd layers, which this Python cannot read: install the program zstd, or run Fairway "
                         "with Python 3.14")
    done = subprocess.run([program, "--decompress", "--stdout", "--quiet"], input=blob, capture_output=True)
    if done.returncode:
        raise BadBlob(f"a layer is not zstd: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
