"""The way into a container's own root. Runs in a shim's child between fork and exec; never imported by the daemon.

The daemon writes what the root is made of into `roots/NAME` of the pod's folder (`own_root.py` composes it); the child
reads it, makes mounts that nobody else sees, and makes them its `/`. Nothing stays in the shim: the child takes the memory
of `ctypes` with it, and the mounts live as long as a process of the container does.

One step per line, fields separated by tabs:

    user UID GID                    a user namespace of its own, in which we are UID:GID (without root's rights)
    cgroup FOLDER                   into this control group
    overlay TARGET UPPER WORK LOWER…  a merged folder; the first LOWER hides those after it
    bind SOURCE TARGET rw|ro        SOURCE, with all that is mounted in it, seen at TARGET
    root TARGET                     TARGET is `/` from now on; comes after every mount
    seal                            `/` and all that the image has is read-only
    as UID GID GROUP…               who the container runs as (with root's rights)
    bound                           no new rights by exec (allowPrivilegeEscalation: false)
    bare                            no capabilities, also for root (capabilities.drop: [ALL])
"""

from __future__ import annotations

import ctypes
import os
import stat

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_RDONLY, MS_REC, MS_PRIVATE, MS_BIND, MNT_DETACH = 1, 0x4000, 1 << 18, 0x1000, 2
AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = -100, 0x8000, 1
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
LAST_CAPABILITY = 40
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442  # the same everywhere: it came after system call numbers were made alike

_libc = ctypes.CDLL(None, use_errno=True)


def begin(plan: str) -> None:
    """Make the root that `plan` describes and go in. Raises OSError whose text begins with `own root:`."""
    steps = _read(plan)
    mounts = [step for step in steps if step[0] in ("overlay", "bind")]
    user = next((step for step in steps if step[0] == "user"), None)
    for step in steps:
        if step[0] == "cgroup":
            _write(step[1] + "/cgroup.procs", "0")
    if any(step[0] == "root" for step in steps):
        if user is not None:
            _new_user(int(user[1]), int(user[2]))
        else:
            _call("a mount namespace", _libc.unshare, CLONE_NEWNS)
        _mount("", "/", "", MS_REC | MS_PRIVATE, "")
        for step in mounts:
            if step[0] == "overlay":
                _overlay(step[1], step[2], step[3], step[4:], user=user is not None)
            else:
                _mount(step[1], step[2], "", MS_BIND | MS_REC, "")
                if step[3] == "ro":
                    _seal(step[2], AT_RECURSIVE)
    for step in steps:
        if step[0] == "root":
            _pivot(step[1], [one[1] for one in mounts if one[0] == "overlay"] if ["seal"] in steps else [])
    _restrict(steps)


def join(pid: int, plan: str) -> None:
    """Go where a process of the container is: the same root, the same rights."""
    steps = _read(plan)
    for step in steps:
        if step[0] == "cgroup":
            _write(step[1] + "/cgroup.procs", "0")
    if any(step[0] == "root" for step in steps):
        kinds = [("mnt", CLONE_NEWNS)]
        if any(step[0] == "user" for step in steps):
            kinds.insert(0, ("user", CLONE_NEWUSER))
        descriptors = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds]
        for descriptor, kind in descriptors:
            _call("the container's namespace", _libc.setns, descriptor, kind)
    _restrict(steps)


def _restrict(steps: list[list[str]]) -> None:
    for step in steps:
        if step[0] == "bare":
            for capability in range(LAST_CAPABILITY + 1):
                _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        elif step[0] == "as":
            for stream in range(3):
                if stat.S_ISFIFO(os.fstat(stream).st_mode):
                    os.fchown(stream, int(step[1]), -1)  # programs open /dev/stdout anew
            os.setgroups([int(group) for group in step[3:]])
            os.setgid(int(step[2]))
            os.setuid(int(step[1]))
        elif step[0] == "bound":
            _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _new_user(uid: int, gid: int) -> None:
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    _call("a user namespace", _libc.unshare, CLONE_NEWUSER | CLONE_NEWNS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outer_gid} 1")


def _overlay(target: str, upper: str, work: str, lower: list[str], *, user: bool) -> None:
    """In a user namespace what is deleted or replaced is marked in attributes that users may write."""
    options = f"lowerdir={':'.join(map(_escaped, lower))},upperdir={_escaped(upper)},workdir={_escaped(work)}"
    _mount("overlay", target, "overlay", 0, options + (",userxattr" if user else ""))


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _pivot(target: str, sealed: list[str]) -> None:
    """The old root is put on the new one and taken off again: no folder is needed for it."""
    for folder in sealed:
        _seal(folder, 0)
    os.chdir(target)
    number = _PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(38, f"own root: pivot_root on {os.uname().machine} is not known")
    _call("the change of root", _libc.syscall, number, b".", b".")
    _call("leaving the old root", _libc.umount2, b".", MNT_DETACH)
    os.chdir("/")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


def _seal(folder: str, how: int) -> None:
    attributes = _MountAttributes(MOUNT_ATTR_RDONLY, 0, 0, 0)
    _call(f"read-only {folder}", _libc.syscall, _MOUNT_SETATTR, AT_FDCWD, os.fsencode(folder), how,
          ctypes.byref(attributes), ctypes.sizeof(attributes))


def _mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    _call(f"{kind or 'mount'} on {target}", _libc.mount, os.fsencode(source) or None, os.fsencode(target),
          kind.encode() or None, ctypes.c_ulong(flags), os.fsencode(options) or None)


def _call(what: str, function: object, *arguments: object) -> None:
    if function(*arguments) != 0:  # type: ignore[operator]
        number = ctypes.get_errno()
        raise OSError(number, f"own root: {what}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:  # noqa: PTH123 (pathlib would be one import too many here)
            file.write(text)
    except OSError as error:
        raise OSError(error.errno, f"own root: {path}: {error.strerror}") from error


def _read(plan: str) -> list[list[str]]:
    with open(plan, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123
        return [line.split("\t") for line in file.read().split("\n") if line]
