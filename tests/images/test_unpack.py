"""Layers from strangers: nothing leaves the root, whiteouts remove."""

from __future__ import annotations

import gzip
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from fairway.images.compression import DOCKER_ZSTD, LAYER_ZSTD, Unpackable, tar_of
from fairway.images.layout import CONFIG, LAYER_GZIP, LAYER_TAR, MANIFEST, BadBlob, Layout, encode
from fairway.images.unpack import unpack


def layer(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return gzip.compress(buffer.getvalue())


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def image(folder: Path, *layers: bytes) -> tuple[Layout, str]:
    layout = Layout(folder / "layout")
    parts = [layout.write(data, LAYER_GZIP).as_json() for data in layers]
    config = layout.write(encode({"config": {}}), CONFIG).as_json()
    manifest = layout.write(encode({"mediaType": MANIFEST, "config": config, "layers": parts}), MANIFEST)
    return layout, manifest.digest


def test_upper_layers_replace_and_remove_what_lower_ones_brought(tmp_path: Path) -> None:
    layout, digest = image(
        tmp_path,
        layer(("etc/a", b"1"), ("etc/b", b"1"), ("var/old/x", b"1")),
        layer(("etc/a", b"2"), ("etc/.wh.b", b""), ("var/old/.wh..wh..opq", b""), ("var/old/y", b"2")),
    )
    unpack(layout, digest, tmp_path / "root")
    found = {p.relative_to(tmp_path / "root").as_posix(): p.read_bytes() for p in (tmp_path / "root").rglob("*") if p.is_file()}
    assert found == {"etc/a": b"2", "var/old/y": b"2"}


@pytest.mark.parametrize(
    "entries",
    [
        (("../outside", b"x"),),
        (link("out", ".."), ("out/outside", b"x")),
        (link("out", "/"), ("out/tmp/outside", b"x")),
        (link("hard", "../../outside", tarfile.LNKTYPE),),
        ((".wh...", b""),),
        (("a/.wh..", b""),),
        ((".wh.", b""),),
    ],
    ids=["dots", "relative link", "absolute link", "hard link", "whiteout of the folder above", "of itself", "of nothing"],
)
def test_nothing_leaves_the_root_and_nothing_half_done_stays(tmp_path: Path, entries: tuple) -> None:
    layout, digest = image(tmp_path, layer(*entries))
    neighbour = tmp_path / "images" / "neighbour"
    neighbour.mkdir(parents=True)
    with pytest.raises(Unpackable):
        unpack(layout, digest, tmp_path / "images" / "root")
    assert [path for path in (tmp_path / "images").iterdir() if path.name != "chains"] == [neighbour]
    assert not (tmp_path / "outside").exists()


def test_a_damaged_blob_is_found_out(tmp_path: Path) -> None:
    layout, digest = image(tmp_path, layer(("a", b"1")))
    blob = layout.blob_path(layout.read_json(digest)["layers"][0]["digest"])
    blob.write_bytes(b"something else")
    with pytest.raises(BadBlob, match="is not what its name says"):
        unpack(layout, digest, tmp_path / "root")


def test_a_layer_that_is_cut_off_or_missing_is_said(tmp_path: Path) -> None:
    layout, digest = image(tmp_path, layer(("a", b"1"))[:-9])
    with pytest.raises(BadBlob, match="not gzip"):
        unpack(layout, digest, tmp_path / "root")
    layout, digest = image(tmp_path)
    with pytest.raises(Unpackable, match="no layers"):
        unpack(layout, digest, tmp_path / "root")


def test_images_that_share_layers_share_their_files(tmp_path: Path) -> None:
    base = layer(("lib/large", b"x" * 1000))
    for name in ("one", "two"):
        own = (("lib/large", b"own"),) if name == "two" else ()
        layout, digest = image(tmp_path / name, base, layer(("app", name.encode()), *own))
        unpack(layout, digest, tmp_path / "images" / name)
    large = tmp_path / "images" / "one" / "lib" / "large"
    assert large.stat().st_nlink == 2
    assert large.read_bytes() == b"x" * 1000
    assert (tmp_path / "images" / "two" / "lib" / "large").read_bytes() == b"own"


def test_layers_of_zstd(tmp_path: Path) -> None:
    program = shutil.which("zstd")
    if program is None:
        pytest.skip("the program zstd is not installed: nothing makes a zstd layer here")
    plain = gzip.decompress(layer(("a/b", b"packed by zstd")))
    packed = subprocess.run([program, "--stdout", "--quiet"], input=plain, capture_output=True, check=True).stdout
    layout = Layout(tmp_path / "layout")
    config = layout.write(encode({"config": {}}), CONFIG).as_json()
    for number, (data, kind) in enumerate([(packed, LAYER_ZSTD), (packed, DOCKER_ZSTD), (plain, LAYER_TAR)]):
        part = layout.write(data, kind).as_json()
        made = layout.write(encode({"mediaType": MANIFEST, "config": config, "layers": [part]}), MANIFEST)
        unpack(layout, made.digest, tmp_path / f"root{number}")
        assert (tmp_path / f"root{number}" / "a" / "b").read_bytes() == b"packed by zstd"
    with pytest.raises(BadBlob, match="a layer is not zstd"):
        tar_of(packed[:-5], LAYER_ZSTD)
    with pytest.raises(Unpackable, match="build the image with gzip or zstd layers"):
        tar_of(packed, "application/vnd.oci.image.layer.v1.tar+brotli")
