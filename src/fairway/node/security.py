"""What a securityContext asks for, what of it this node can give, and what it cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fairway.kube.objects import Obj, dig, key_of, spec_of
from fairway.node.environment import ConfigProblem


@dataclass(frozen=True, slots=True)
class Rights:
    """What one container asks for. None: as the node itself runs."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...]
    sealed: bool
    """readOnlyRootFilesystem"""
    bound: bool
    """allowPrivilegeEscalation: false"""
    bare: bool
    """capabilities.drop: [ALL], with nothing added"""

    @property
    def plain(self) -> bool:
        return self.uid is None and not (self.groups or self.sealed or self.bound or self.bare)


def rights(pod: Obj, container: Obj) -> Rights:
    """The container's own context first, then the pod's. Raises `ConfigProblem` where they contradict themselves."""
    whole: Obj = spec_of(pod).get("securityContext") or {}
    own: Obj = container.get("securityContext") or {}

    def asked(name: str) -> Any:
        return own[name] if own.get(name) is not None else whole.get(name)

    uid, gid = asked("runAsUser"), asked("runAsGroup")
    if asked("runAsNonRoot") and uid == 0:
        namespace, name = key_of(pod)
        raise ConfigProblem(f"container's runAsUser breaks non-root policy (pod: \"{name}_{namespace}"
                            f"({pod['metadata'].get('uid', '')})\", container: {container['name']})")
    groups = [*(whole.get("supplementalGroups") or ()), *([whole["fsGroup"]] if whole.get("fsGroup") is not None else [])]
    return Rights(
        uid=None if uid is None else int(uid),
        gid=None if gid is None else int(gid),
        groups=tuple(dict.fromkeys(int(group) for group in groups)),
        sealed=bool(own.get("readOnlyRootFilesystem")),
        bound=own.get("allowPrivilegeEscalation") is False,
        bare="ALL" in (dig(own, "capabilities", "drop") or ()) and not dig(own, "capabilities", "add"),
    )


def fs_group(pod: Obj) -> int | None:
    group = dig(pod, "spec", "securityContext", "fsGroup")
    return None if group is None else int(group)


def steps(asked: Rights, *, root: bool, uid: int, gid: int) -> tuple[tuple[tuple[str, ...], ...], tuple[tuple[str, ...], ...]]:
    """Steps of `enter.py` before the mounts and after them. `root`: the node has root's rights; `uid`, `gid`: its own."""
    after: list[tuple[str, ...]] = []
    if asked.sealed:
        after.append(("seal",))
    if root:
        if asked.bare:
            after.append(("bare",))
        if asked.uid is not None or asked.groups:
            who = uid if asked.uid is None else asked.uid
            after.append(("as", str(who), str(asked.gid or 0), *map(str, asked.groups)))
    if asked.bound:
        after.append(("bound",))
    before = () if root else (("user", str(uid if asked.uid is None else asked.uid),
                               str(gid if asked.gid is None else asked.gid)),)
    return before, tuple(after)


def unenforced(pod: Obj, *, own_root: bool, root: bool) -> tuple[str, ...]:
    """Fields that the pod sets and this node does not enforce, by their names."""
    found: list[str] = []
    whole: Obj = spec_of(pod).get("securityContext") or {}
    found += _weak(whole, own_root=own_root, root=root)
    found += [name for name in ("fsGroup", "supplementalGroups") if whole.get(name) and not (own_root and root)]
    found += ["sysctls"] if whole.get("sysctls") else []
    for container in [*(spec_of(pod).get("initContainers") or ()), *(spec_of(pod).get("containers") or ())]:
        own: Obj = container.get("securityContext") or {}
        found += _weak(own, own_root=own_root, root=root)
        if own.get("readOnlyRootFilesystem") and not own_root:
            found.append("readOnlyRootFilesystem")
        if own.get("allowPrivilegeEscalation") is False and not own_root:
            found.append("allowPrivilegeEscalation")
        capabilities: Obj = own.get("capabilities") or {}
        if capabilities.get("add") or (capabilities.get("drop") and root and not (
                own_root and "ALL" in capabilities["drop"])):
            found.append("capabilities")
        found += [name for name in ("privileged", "procMount") if own.get(name)]
    return tuple(dict.fromkeys(found))


def _weak(context: Obj, *, own_root: bool, root: bool) -> Iterable[str]:
    """In a user namespace a container sees itself as runAsUser, and that is enough to be enforced."""
    if not own_root:
        yield from (name for name in ("runAsUser", "runAsGroup") if context.get(name) is not None)
    if context.get("runAsNonRoot") and context.get("runAsUser") is None and root:
        yield "runAsNonRoot"
    if (context.get("seccompProfile") or {}).get("type") not in (None, "Unconfined"):
        yield "seccompProfile"
    yield from (name for name in ("appArmorProfile", "seLinuxOptions") if context.get(name))
