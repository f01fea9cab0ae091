"""What a container sees as `/` where the machine allows a mount namespace: folders on disk, and the mounts over them.

An image that brings its own C library is its own root. The images that Fairway builds bring an application and its
packages only: they lie over the host's interpreter and system folders, which are read-only or written to the pod's own
upper layer. The pseudo-image `host` sees the host, with the pod's volumes at their mount paths.

Every folder on which something is mounted is made here, on disk, before the container starts: in a user namespace nobody
may make one in a folder that belongs to root. `enter.py` carries out the steps.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fairway.node.folder import PodFolder, write_atomic

HOME, HOST_TEMPORARY = "/pod", "/pod/tmp"
"""A container's own home folder; it is the pod's, not the container's, and outlives a restart."""
_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "nix")
_KERNEL = ("proc", "sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts")
_DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
                 "ptmx": "pts/ptmx"}
_LINKS_LIMIT = 40  # Linux's own
_LOADERS = ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1", "lib/ld-musl-x86_64.so.1",
            "lib/ld-musl-aarch64.so.1")

Step = tuple[str, ...]


class NoOwnRoot(Exception):
    """This container cannot have a root of its own; the message says why. Paths are mapped instead."""


@dataclass(frozen=True, slots=True)
class Shown:
    """`source` appears at `path`."""

    path: str
    source: Path
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Base:
    """What every container of the node stands on. `prefix`: the interpreter's own folder. `interpreter`: a folder laid out
    like `/usr`, in which `local/bin/python3` is that interpreter."""

    prefix: Path
    interpreter: Path


@dataclass(slots=True)
class _Region:
    """What lies at `path`: layers, the topmost first. `grows`: new mount points may be made in the first one."""

    path: str
    layers: list[Path]
    grows: bool = True

    def holds(self, path: str) -> bool:
        return self.path == "/" or path == self.path or path.startswith(self.path + "/")

    def place(self, path: str, layer: Path) -> Path:
        return layer / path[len(self.path):].lstrip("/")


@dataclass(slots=True)
class _Root:
    top: Path
    layers: Path
    regions: list[_Region] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def region_of(self, path: str) -> _Region:
        """What is seen at `path`: the deepest, and of two at one place the later, which lies over the other."""
        return max((one for one in reversed(self.regions) if one.holds(path)), key=lambda one: len(one.path))

    def overlay(self, path: str, lower: Sequence[Path]) -> None:
        name = "root" if path == "/" else PurePosixPath(path).relative_to("/").as_posix().replace("/", "-")
        upper, work = self.layers / name / "upper", self.layers / name / "work"
        for folder in (upper, work):
            folder.mkdir(parents=True, exist_ok=True)
        target = self.top if path == "/" else self.point(path, folder=True)
        self.steps.append(("overlay", str(target), str(upper), str(work), *map(str, lower)))
        self.regions.append(_Region(path, [upper, *lower]))

    def bind(self, path: str, source: Path, *, read_only: bool = False, grows: bool = False) -> None:
        path = self.resolve(path)
        target = self.point(path, folder=source.is_dir())
        self.steps.append(("bind", str(source), str(target), "ro" if read_only else "rw"))
        self.regions.append(_Region(path, [source], grows))

    def point(self, path: str, *, folder: bool) -> Path:
        """The place on which something is mounted at `path`, which is made where it is absent."""
        region = self.region_of(path)
        if not any(os.path.lexists(region.place(path, layer)) for layer in region.layers):
            if not region.grows:
                raise NoOwnRoot(f"nothing can be mounted at {path}: no folder may be made in {region.path}")
            _make(region.place(path, region.layers[0]), folder=folder)
        return self.top / path.lstrip("/")

    def link(self, path: str, target: str) -> None:
        place = self.regions[0].place(path, self.regions[0].layers[0])
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)

    def resolve(self, path: str) -> str:
        """`path` without links, as the container will see it."""
        waiting, at, links = list(reversed(_parts(path))), "/", 0
        while waiting:
            part = waiting.pop()
            if part == "..":
                at = str(PurePosixPath(at).parent)
                continue
            here = f"{at.rstrip('/')}/{part}"
            target = self._target(here)
            if target is None:
                at = here
                continue
            links += 1
            if links > _LINKS_LIMIT:
                raise NoOwnRoot(f"{path}: too many links")
            at = "/" if target.startswith("/") else at
            waiting += reversed(_parts(target))
        return at

    def _target(self, path: str) -> str | None:
        region = self.region_of(path)
        for layer in region.layers:
            place = region.place(path, layer)
            if os.path.lexists(place):
                return str(place.readlink()) if place.is_symlink() and path != region.path else None
        return None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _make(place: Path, *, folder: bool) -> None:
    try:
        if folder:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
    except OSError as error:
        raise NoOwnRoot(f"{place} cannot be made: {error.strerror}") from error


def is_complete(image: Path) -> bool:
    """It has a C library of its own, and so needs nothing of the host's."""
    return any(os.path.lexists(image / loader) for loader in _LOADERS)


def over_image(folder: PodFolder, container: str, image: Path, working_dir: str, base: Base, shown: Sequence[Shown],
               hosts: Path | None = None) -> list[Step]:
    """The steps for an image's root. `hosts` is seen as `/etc/hosts`. Raises `NoOwnRoot`. Idempotent."""
    root = _Root(folder.own(container) / "root", folder.own(container))
    root.top.mkdir(parents=True, exist_ok=True)
    root.overlay("/", [image])
    if is_complete(image):
        for name in ("/etc/resolv.conf", "/etc/hosts"):
            if Path(name).exists():
                root.bind(name, Path(name).resolve(), read_only=True)
    else:
        _system(root, image, base)
    _names(root, hosts)
    for name in _KERNEL:
        root.bind(f"/{name}", Path("/") / name)
    _devices(root)
    root.bind("/tmp", folder.root / "tmp", grows=True)
    root.bind(HOME, folder.home, grows=True)
    if working_dir:
        inside = root.resolve(working_dir)
        root.point(inside, folder=True)
    return _finished(root, shown)


def _devices(root: _Root) -> None:
    """A `/dev` of its own: the harmless devices, and shared memory that nobody else sees."""
    for name in _DEVICES:
        if Path("/dev", name).exists():
            root.bind(f"/dev/{name}", Path("/dev") / name)
    for name, target in _DEVICE_LINKS.items():
        root.link(f"/dev/{name}", target)
    memory = root.layers / "shm"
    memory.mkdir(exist_ok=True)
    memory.chmod(0o1777)
    root.bind("/dev/shm", memory, grows=True)


def _system(root: _Root, image: Path, base: Base) -> None:
    """The host's interpreter and libraries below what the image has."""
    for name in _SYSTEM:
        host = Path("/") / name
        ours = image / name
        if host.is_symlink() and not os.path.lexists(ours):
            root.link(f"/{name}", str(host.readlink()))
        elif host.is_dir():
            lower = [ours] if ours.is_dir() else []
            if name == "usr":
                lower.append(base.interpreter)
            if lower or name == "etc":
                root.overlay(f"/{name}", [*lower, host.resolve()])
            else:
                root.bind(f"/{name}", host, read_only=True)
    servers = Path("/etc/resolv.conf").resolve()
    if servers.exists() and not servers.is_relative_to("/etc"):
        root.bind(str(servers), servers, read_only=True)
    if not any(base.prefix.is_relative_to(f"/{name}") for name in _SYSTEM) and base.prefix != Path("/"):
        root.bind(str(base.prefix), base.prefix, read_only=True)


def _names(root: _Root, hosts: Path | None) -> None:
    if hosts is not None and hosts.is_file() and os.path.lexists("/etc/hosts"):
        root.bind("/etc/hosts", hosts, read_only=True)


def over_host(folder: PodFolder, container: str, shown: Sequence[Shown], hosts: Path | None = None) -> list[Step]:
    """The steps for the host's files with volumes among them. Raises `NoOwnRoot`. Idempotent."""
    top = folder.root / container
    top.mkdir(parents=True, exist_ok=True)
    root = _Root(top, folder.own(container), [_Region("/", [top])], [("bind", str(top), str(top), "rw")])
    for host in sorted(Path("/").iterdir()):
        if host.is_symlink():
            root.link(str(host), str(host.readlink()))
        elif host.is_dir():
            root.bind(str(host), host)
    _names(root, hosts)
    lacking = {_nearest(path) for one in shown if not os.path.lexists(path := root.resolve(one.path))}
    for path in sorted(lacking):
        if path == "/" or any(path.startswith(other + "/") for other in lacking if other != "/"):
            continue
        if folder.path.is_relative_to(path):
            raise NoOwnRoot(f"a volume in {path} would hide the pod's own files")
        root.overlay(path, [Path(path)])
    root.bind(HOME, folder.home, grows=True)
    root.bind(HOST_TEMPORARY, folder.root / "tmp")
    return _finished(root, shown)


def _nearest(path: str) -> str:
    """The folder of the host in which `path`, or the first missing part of it, has to be made."""
    place = Path(path).parent
    while not place.is_dir():
        place = place.parent
    return str(place)


def _finished(root: _Root, shown: Sequence[Shown]) -> list[Step]:
    for one in sorted(shown, key=lambda one: one.path.count("/") if one.path != "/" else 0):
        if one.path == "/":
            raise NoOwnRoot("a volume at / would hide everything")
        if not one.source.exists():
            raise NoOwnRoot(f"{one.source} does not exist")
        root.bind(one.path, one.source, read_only=one.read_only, grows=not one.read_only)
    return [*root.steps, ("root", str(root.top))]


def write(folder: PodFolder, container: str, steps: Sequence[Step]) -> None:
    """Where the shim's children look for it. No steps: nothing there."""
    plan = folder.plan(container)
    if not steps:
        plan.unlink(missing_ok=True)
        return
    if any("\t" in part or "\n" in part for step in steps for part in step):
        raise NoOwnRoot("a path with a tab or a line break in it")
    plan.parent.mkdir(exist_ok=True)
    write_atomic(plan, "".join("\t".join(step) + "\n" for step in steps))
