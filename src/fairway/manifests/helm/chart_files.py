"""A chart out of a tree onto the disk, where Helm can read it: limited in size, with every declared dependency in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, files_below, join
from fairway.manifests.helm.options import FetchChart

MAX_FILES = 10_000
MAX_BYTES = 64 * 2**20
"""kube-prometheus-stack with its subcharts: 400 files, 8 MB."""


def write_chart(tree: FileTree, folder: str, into: Path, fetch: FetchChart | None = None) -> Path:
    """The chart in `folder` of the tree, below `into`; its folder is returned. `fetch` gets what lies in other repositories."""
    file = join(folder, "Chart.yaml")
    about = read_chart(tree, folder)
    found = into / str(about["name"])
    budget = _Budget(file)
    _copy(tree, folder, found, budget)
    _place_dependencies(tree, folder, about, found, budget, fetch)
    return found


def read_chart(tree: FileTree, folder: str) -> dict[str, Any]:
    """`Chart.yaml` as far as we need to trust it: a name that is no path."""
    file = join(folder, "Chart.yaml")
    about = yaml.load(tree.read(file), file)
    name = about.get("name") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise ManifestError(Place(file), "validation: chart.metadata.name is required", "add `name:`, without slashes")
    return about


class _Budget:
    def __init__(self, chart: str) -> None:
        self._chart = chart
        self._files = 0
        self._bytes = 0

    def spend(self, size: int) -> None:
        self._files += 1
        self._bytes += size
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise ManifestError(Place(self._chart), f"a chart of more than {MAX_FILES} files or {MAX_BYTES >> 20} MB",
                                "leave out what no template reads")


def _copy(tree: FileTree, folder: str, to: Path, budget: _Budget) -> None:
    for path in files_below(tree, folder):
        inner = path[len(folder) :].lstrip("/") if folder else path
        data = tree.read(path)
        budget.spend(len(data))
        target = to / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _place_dependencies(tree: FileTree, folder: str, about: dict[str, Any], chart: Path, budget: _Budget,
                        fetch: FetchChart | None) -> None:
    """`file://` dependencies come from the tree, others from their repository where that is wanted, at the locked version."""
    missing = []
    locked = _locked(tree, folder)
    for dependency in about.get("dependencies") or ():
        name, repository = str(dependency.get("name")), str(dependency.get("repository") or "")
        if "/" in name or name.startswith("."):
            raise ManifestError(Place(join(folder, "Chart.yaml")), f"dependency {name!r}: a name is no path", "correct it")
        if (chart / "charts" / name).is_dir() or any((chart / "charts").glob(f"{name}-*.tgz")):
            continue
        source = join(folder, repository.removeprefix("file://")) if repository.startswith("file://") else ""
        if source and not source.startswith("..") and tree.is_file(join(source, "Chart.yaml")):
            found, at = tree, source
        elif fetch is not None and repository.startswith(("https://", "http://", "oci://")):
            found, at = fetch(repository, name, locked.get(name) or str(dependency.get("version") or "*")), ""
        else:
            missing.append(name)
            continue
        _copy(found, at, chart / "charts" / name, budget)
        _place_dependencies(found, at, read_chart(found, at), chart / "charts" / name, budget, fetch)
    if missing:
        raise ManifestError(Place(join(folder, "Chart.yaml")), "found in Chart.yaml, but missing in charts/ directory: "
                            + ", ".join(missing), "run `helm dependency update` and commit charts/: a build downloads nothing")


def _locked(tree: FileTree, folder: str) -> dict[str, str]:
    """The versions that `Chart.lock` pins, by name."""
    file = join(folder, "Chart.lock")
    lock = yaml.load(tree.read(file), file) if tree.is_file(file) else {}
    entries = lock.get("dependencies") if isinstance(lock, dict) else None
    return {str(entry["name"]): str(entry["version"]) for entry in entries or ()
            if isinstance(entry, dict) and entry.get("name") and entry.get("version")}  # fmt: skip
