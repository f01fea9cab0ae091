"""Volumes of a pod as folders: what lies in each (pure), and how it is put there.

Contents of configMap, secret, downwardAPI and projected volumes are replaced as Kubernetes does it: files lie in a
fresh folder, and the link `..data` is moved to it by one rename, so that a reader sees the old set or the new one.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, key_of, spec_of
from fairway.node.environment import ConfigProblem, Facts, expand, field_value, quantity, resource_value
from fairway.node.folder import PodFolder

DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int = DEFAULT_MODE


Files = Mapping[str, File]
"""Relative path to file."""


@dataclass(frozen=True, slots=True)
class Mount:
    """`volume` appears at `path`; with `sub_path`, only that part of it."""

    volume: str
    path: str
    sub_path: str
    read_only: bool = False


def mounts(container: Obj, env: Mapping[str, str]) -> list[Mount]:
    """`env`: the container's variables, which a subPathExpr may name."""
    return [Mount(one["name"], one["mountPath"].rstrip("/") or "/", _sub_path(one, env), bool(one.get("readOnly")))
            for one in container.get("volumeMounts") or ()]


def _sub_path(mount: Obj, env: Mapping[str, str]) -> str:
    path = str(mount.get("subPath") or "")
    if expression := mount.get("subPathExpr"):
        path = expand(expression, env)
        if (missing := re.search(r"\$\(([^()]+)\)", path)) is not None:
            raise ConfigProblem(f'failed to prepare subPathExpr {expression!r}: no variable {missing[1]} is set')
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigProblem(f"invalid subPath {path!r} of volume {mount['name']}: it must stay inside the volume")
    return path.strip("/")


def volume_sources(pod: Obj, kind: str) -> set[str]:
    """Names of the ConfigMaps or Secrets (`kind`) that the pod's volumes show."""
    field = {"ConfigMap": "configMap", "Secret": "secret"}[kind]
    found: set[str] = set()
    for volume in spec_of(pod).get("volumes") or ():
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            if field in source:
                found.add(source[field].get("name") or source[field].get("secretName") or "")
    return found


def projected_files(volume: Obj, facts: Facts) -> Files | None:
    """The files of a volume whose content comes from the API; None for other kinds of volume."""
    try:
        return _files(volume, facts)
    except ConfigProblem as problem:
        words = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {problem.message}'
        raise ConfigProblem(words, "ContainerCreating") from problem


def _files(volume: Obj, facts: Facts) -> Files | None:
    if source := volume.get("configMap"):
        return _config_map(source, source["name"], facts, source.get("defaultMode"))
    if source := volume.get("secret"):
        return _secret(source, source["secretName"], facts, source.get("defaultMode"))
    if source := volume.get("downwardAPI"):
        return _downward(source, facts, source.get("defaultMode"))
    if source := volume.get("projected"):
        files: dict[str, File] = {}
        for part in source.get("sources") or ():
            files.update(_projection(part, facts, source.get("defaultMode")))
        return files
    return None


def _projection(part: Obj, facts: Facts, mode: int | None) -> Files:
    if source := part.get("configMap"):
        return _config_map(source, source["name"], facts, mode)
    if source := part.get("secret"):
        return _secret(source, source["name"], facts, mode)
    if source := part.get("downwardAPI"):
        return _downward(source, facts, mode)
    if source := part.get("serviceAccountToken"):
        return _token(source, facts, mode)
    return {}


def _token(source: Obj, facts: Facts, mode: int | None) -> Files:
    try:
        text = facts.token(source.get("audience") or "", int(source.get("expirationSeconds") or 3600))
    except NotFound as absent:
        raise ConfigProblem(f"failed to fetch token: {absent.message}") from absent
    return {} if text is None else {_safe(source["path"]): File(text.encode(), DEFAULT_MODE if mode is None else int(mode))}


def _config_map(source: Obj, name: str, facts: Facts, mode: int | None) -> Files:
    found = facts.config_map(name)
    if found is None:
        return _none(source, f'configmap "{name}" not found')
    content = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    content |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return _items(source, content, mode, f"configmap {name}")


def _secret(source: Obj, name: str, facts: Facts, mode: int | None) -> Files:
    found = facts.secret(name)
    if found is None:
        return _none(source, f'secret "{name}" not found')
    return _items(source, dict(found), mode, f"secret {name}")


def _none(source: Obj, message: str) -> Files:
    if source.get("optional"):
        return {}
    raise ConfigProblem(message)


def _items(source: Obj, content: Mapping[str, bytes], mode: int | None, what: str) -> Files:
    default = DEFAULT_MODE if mode is None else int(mode)
    if not source.get("items"):
        return {key: File(value, default) for key, value in content.items()}
    files: dict[str, File] = {}
    for item in source["items"]:
        if item["key"] not in content:
            if source.get("optional"):
                continue
            raise ConfigProblem(f"{what} references non-existent key: {item['key']}")
        files[_safe(item["path"])] = File(content[item["key"]], int(item.get("mode") or default))
    return files


def _downward(source: Obj, facts: Facts, mode: int | None) -> Files:
    default = DEFAULT_MODE if mode is None else int(mode)
    files: dict[str, File] = {}
    for item in source.get("items") or ():
        if ref := item.get("fieldRef"):
            text = field_value(facts, ref["fieldPath"])
        else:
            text = resource_value(facts, item["resourceFieldRef"], {})
        files[_safe(item["path"])] = File(text.encode(), int(item.get("mode") or default))
    return files


def _safe(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigProblem(f"invalid path {path!r} in a volume: it must stay inside the volume")
    return path


# --- hands --------------------------------------------------------------------------------------------------------


def place_volumes(pod: Obj, folder: PodFolder, claims: Path, projected: Mapping[str, Files]) -> dict[str, Path]:
    """Make every volume of the pod; volume name to its folder (or file, for a hostPath that is one)."""
    placed: dict[str, Path] = {}
    for volume in spec_of(pod).get("volumes") or ():
        name = volume["name"]
        if name in projected:
            placed[name] = folder.volumes / name
            write_files(placed[name], projected[name])
        elif "hostPath" in volume:
            placed[name] = _host_path(volume["hostPath"])
        elif claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            placed[name] = claim_folder(claims, key_of(pod).namespace, claim)
            _open_folder(placed[name])
        elif "ephemeral" in volume or "emptyDir" in volume:
            placed[name] = folder.volumes / name
            _open_folder(placed[name])
        else:
            kind = next((key for key in volume if key != "name"), "nothing")
            raise ConfigProblem(f'volume "{name}" is of a kind that this node does not have: {kind}')
    return placed


def _open_folder(path: Path) -> None:
    """Whoever the containers run as may write here; who may come here is settled above."""
    if not path.is_dir():
        path.mkdir(parents=True)
        path.chmod(0o777)


def oversized(pod: Obj, folder: PodFolder) -> str:
    """The first emptyDir that holds more than its sizeLimit, in the words of an eviction; "" where none does."""
    for volume in spec_of(pod).get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and _held(folder.volumes / volume["name"], most := quantity(str(limit))) > most > 0:
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}".'
    return ""


def _held(top: Path, most: float) -> int:
    """Bytes on disk below a folder; what is above `most` is not counted to its end."""
    total = 0
    for folder, _, names in os.walk(top):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(folder) / name).lstat().st_blocks * 512
        if total > most:
            break
    return total


def give_to_group(pod: Obj, placed: Mapping[str, Path], group: int) -> None:
    """fsGroup: the pod's volumes belong to this group, which may write wherever the owner may. Needs root's rights."""
    shared = {volume["name"] for volume in spec_of(pod).get("volumes") or () if "hostPath" in volume}
    for name in placed.keys() - shared:
        top = placed[name]
        if top.stat().st_gid == group:
            continue
        for path in (top, *top.rglob("*")):
            os.chown(path, -1, group, follow_symlinks=False)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | (0o2070 if path.is_dir() else (mode & 0o600) >> 3))


def claim_folder(claims: Path, namespace: str, claim: str) -> Path:
    return claims / namespace / claim


def _host_path(source: Obj) -> Path:
    path, kind = Path(source["path"]), source.get("type") or ""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch()
    elif (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file()):
        raise ConfigProblem(f"hostPath type check failed: {path} is not a {kind.lower()}", "ContainerCreating")
    return path


def write_files(target: Path, files: Files) -> None:
    """`target` shows exactly these files; the change is seen at once."""
    target.mkdir(parents=True, exist_ok=True)
    data = target / "..data"
    current = data.readlink() if data.is_symlink() else None
    number = int(current.name.rpartition("_")[2]) + 1 if current is not None else 0
    if current is not None and _same(target / current, files):
        return
    fresh = target / f"..version_{number}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, file in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    link = target / "..data_new"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    tops = {name.split("/")[0] for name in files}
    for top in tops:
        if not (target / top).is_symlink():
            (target / top).symlink_to(f"..data/{top}")
    for old in target.iterdir():
        if old.is_symlink() and not old.name.startswith("..") and old.name not in tops:
            old.unlink()
    if current is not None:
        shutil.rmtree(target / current, ignore_errors=True)


def _same(folder: Path, files: Files) -> bool:
    present = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    with contextlib.suppress(OSError):
        return set(present) == set(files) and all(present[name].read_bytes() == file.content
                                                  for name, file in files.items())
    return False
