"""A packaged chart (`.tgz`) as a tree of files, read in memory: bounded, and without a way out of it. Pure.

A package comes from the network. Members that are links, devices or lead out of the chart's own folder are refused, and reading
stops as soon as the limits of a chart are passed, however small the package was.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Iterator

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import DictTree, normal
from fairway.manifests.helm.chart_files import MAX_BYTES, MAX_FILES


class ChartTree(DictTree):
    """The files of one chart, `Chart.yaml` at the root; also a mapping, as the tree of a commit is."""

    def __getitem__(self, path: str) -> bytes:
        return self._files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: object) -> bool:
        return path in self._files


def unpacked(data: bytes, place: str) -> ChartTree:
    """The chart in the package; `place` is for messages. `ManifestError`."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            files = dict(_members(archive, place))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise ManifestError(Place(place), f"not a packaged chart: {error}", "push what `helm package` made") from error
    if "Chart.yaml" not in files:
        raise ManifestError(Place(place), "the package has no Chart.yaml in a folder at its top", "use `helm package`")
    return ChartTree(files)


def _members(archive: tarfile.TarFile, place: str) -> Iterator[tuple[str, bytes]]:
    size = 0
    for count, member in enumerate(archive, 1):
        path = normal(member.name)
        if member.name.startswith("/") or path.startswith(".."):
            raise ManifestError(Place(place), f"the package has a file outside of its chart: {member.name}", "do not use it")
        if not (member.isfile() or member.isdir()):
            raise ManifestError(Place(place), f"the package has a link or a device: {member.name}", "put the file itself there")
        size += member.size
        if count > MAX_FILES or size > MAX_BYTES:
            raise ManifestError(Place(place), f"a chart of more than {MAX_FILES} files or {MAX_BYTES >> 20} MB",
                                "leave out what no template reads")
        inner = path.partition("/")[2]
        content = archive.extractfile(member) if member.isfile() and inner else None
        if content is not None:
            yield inner, content.read()
