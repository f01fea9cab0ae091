"""Where a container stands: in a root of its own, or on this machine with its paths mapped.

Which of the two is settled when a container starts, and stays until it ends: its plan in the pod's folder says so, also to
the next daemon.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairway.kube.objects import Obj, spec_of
from fairway.node import last_words, own_root
from fairway.node.environment import ConfigProblem
from fairway.node.folder import PodFolder
from fairway.node.hosts import file_for
from fairway.node.images import UnpackedImage
from fairway.node.launch import Stand
from fairway.node.paths import PathMap
from fairway.node.roots import build, site_packages
from fairway.node.security import Rights, fs_group, steps
from fairway.node.settings import NodeSettings
from fairway.node.volumes import Files, Mount, give_to_group, place_volumes


@dataclass(frozen=True, slots=True)
class Asked:
    """One attempt of a container that is to be placed."""

    pod: Obj
    raw: Obj
    attempt: int
    image: UnpackedImage
    working_dir: str
    mounts: Sequence[Mount]
    rights: Rights

    @property
    def container(self) -> str:
        return str(self.raw["name"])


def stand_of(asked: Asked, folder: PodFolder, settings: NodeSettings, *, own: bool) -> Stand:
    """Where a container stands, or will; nothing is made."""
    image, message = asked.image, last_words.path_of(asked.raw)
    if not own:
        root = folder.root / asked.container
        paths = _mapped(root, image, (*(mount.path for mount in asked.mounts), message))
        return Stand(paths, str(root), str(folder.home), str(folder.root / "tmp"), str(root),
                     (str(settings.links), settings.host_path), [str(root) + part for part in site_packages(image.root)])
    nothing = PathMap("/", (), lambda path: False)
    if image.root is None:  # the host's /dev cannot take another file
        words = PathMap(str(folder.last_words(asked.container, asked.attempt)), (message,), lambda path: False)
        return Stand(words, "", own_root.HOME, own_root.HOST_TEMPORARY, "/", (str(settings.links), settings.host_path),
                     (), own_root=True)
    packages = () if own_root.is_complete(image.root) else site_packages(image.root)
    return Stand(nothing, "", own_root.HOME, "/tmp", "/", (), packages, own_root=True)


def wants_own_root(asked: Asked) -> bool:
    """The pseudo-image `host` without volumes stands well where it is."""
    return asked.image.root is not None or bool(asked.mounts) or not asked.rights.plain or bool(
        spec_of(asked.pod).get("hostAliases"))


def has_own_root(folder: PodFolder, container: str) -> bool:
    try:
        return "\nroot\t" in "\n" + folder.plan(container).read_text()
    except OSError:
        return False


def lay_out(asked: Asked, folder: PodFolder, settings: NodeSettings, projected: Mapping[str, Files], *, own: bool,
            group: str) -> None:
    """Make the container's folders, and its plan. Raises `ConfigProblem`, or `NoOwnRoot` where `own`."""
    is_root = os.geteuid() == 0
    placed = place_volumes(asked.pod, folder, settings.claims, projected)
    if own and is_root and (owner := fs_group(asked.pod)) is not None:
        give_to_group(asked.pod, placed, owner)
    shown = [own_root.Shown(mount.path, _target(placed, mount), mount.read_only or _fixed(asked.pod, mount.volume))
             for mount in asked.mounts]
    words = last_words.prepare(last_words.file_of(folder, asked.raw, asked.attempt))
    if asked.image.root is not None or not own:
        shown.append(own_root.Shown(last_words.path_of(asked.raw), words))
    first: list[own_root.Step] = [("cgroup", group)] if group else []
    if not own:
        root = folder.root / asked.container
        build(root, asked.image.root, asked.working_dir if asked.image.root is not None else "",
              {one.path: one.source for one in shown})
        if not os.path.lexists(root / "tmp"):
            (root / "tmp").symlink_to(folder.root / "tmp")
        own_root.write(folder, asked.container, first)
        return
    before, after = steps(asked.rights, root=is_root, uid=os.geteuid(), gid=os.getegid())
    if is_root and asked.rights.uid is not None:
        os.chown(folder.home, asked.rights.uid, asked.rights.gid or 0)
    (folder.root / "tmp").chmod(0o1777)
    hosts = file_for(settings.hosts, folder.path, asked.pod)
    if asked.image.root is None:
        mounts = own_root.over_host(folder, asked.container, shown, hosts)
    else:
        base = own_root.Base(settings.python.parent.parent, settings.interpreter)
        mounts = own_root.over_image(folder, asked.container, asked.image.root, asked.working_dir, base, shown,
                                     hosts)
    own_root.write(folder, asked.container, [*before, *first, *mounts, *after])


def _target(placed: Mapping[str, Path], mount: Mount) -> Path:
    if mount.volume not in placed:
        raise ConfigProblem(f'volumeMount names volume "{mount.volume}", which the pod does not have')
    target = placed[mount.volume] / mount.sub_path if mount.sub_path else placed[mount.volume]
    if mount.sub_path and not target.exists():
        target.mkdir(parents=True)
    return target


def _fixed(pod: Obj, volume: str) -> bool:
    """Volumes whose content comes from the API are never written by a container."""
    return any(one["name"] == volume and any(kind in one for kind in ("configMap", "secret", "projected", "downwardAPI"))
               for one in spec_of(pod).get("volumes") or ())


def _mapped(root: Path, image: UnpackedImage, mounted: Sequence[str]) -> PathMap:
    inside, work = image.root, image.working_dir.rstrip("/")

    def in_image(path: str) -> bool:
        if inside is None or path.count("/") < 1 or path == "":
            return False
        if work and (path == work or path.startswith(work + "/")):
            return True
        place = inside / path.lstrip("/")
        return place.exists() or place.is_symlink() or (path.count("/") > 1 and place.parent.is_dir() and not (
            Path(path).exists()))

    return PathMap(str(root), mounted, in_image)
