"""How far this machine keeps containers apart: found out by trying it, and said once with the mend.

The least is the same everywhere: a session, a supervisor, an address and folders of its own. Where the kernel lets us make
mounts that nobody else sees, a container gets a root of its own too (`own_root.py`). Whether it does is not read from
versions: a small container is started in one, and what it sees is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fairway.node import own_root
from fairway.node.folder import PodFolder
from fairway.node.security import Rights, steps
from fairway.node.settings import NodeSettings

PROBE_LIMIT_S = 5.0
_REFUSED = (errno.EPERM, errno.EACCES)
_TRY = """
import os, sys
sys.path.insert(0, sys.argv[1])
module = __import__(sys.argv[2])
try:
    module.begin(sys.argv[3])
except OSError as error:
    print(error.errno, error.strerror)
    sys.exit(3)
os.execv("/bin/sh", ["sh", "-c", "cat /app/a && rm /app/a && echo new > /app/b && python3 -I -S -c 'print(1)'"])
"""
_SEEN = "there\n1\n"
_PLAIN = Rights(None, None, (), sealed=False, bound=False, bare=False)


@dataclass(frozen=True, slots=True)
class Isolation:
    """`own_root`: containers have one. `message` says how it is; `mend`, where it could be better, what to do."""

    own_root: bool = False
    message: str = "paths are mapped: a root for each container was not tried"
    mend: str = ""
    groups: Path | None = None
    """Where control groups for containers may be made."""

    @property
    def level(self) -> str:
        """What the annotation `fairway.dev/isolation` says."""
        return "own-root" if self.own_root else "paths"


async def probe(settings: NodeSettings, program: Path) -> Isolation:
    """Try a root of its own, in about 40 ms. `program`: the compiled shim, beside which its children's part lies."""
    if settings.isolation == "paths":
        return Isolation(message="paths are mapped, as the settings say", mend="set isolation to auto")
    settings.folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="probe-", dir=settings.folder))
    folder = PodFolder(scratch)
    try:
        plan = await asyncio.to_thread(_plan, folder, settings)
        code, said = await _try(settings, program, plan)
    except (own_root.NoOwnRoot, OSError, TimeoutError) as error:
        return _refused(0, str(error) or "no answer")
    finally:
        await asyncio.to_thread(folder.remove)
        shutil.rmtree(scratch, ignore_errors=True)
    if code == 0 and said == _SEEN:
        how = "a mount namespace" if os.geteuid() == 0 else "a user and a mount namespace"
        return Isolation(own_root=True, message=f"every container has a root of its own, by {how}")
    number, _, text = said.strip().partition(" ")
    return _refused(int(number), text) if code == 3 and number.isdigit() else _refused(0, " ".join(said.split())[:300])


def _plan(folder: PodFolder, settings: NodeSettings) -> Path:
    folder.create("probe", "probe", "probe", "127.0.0.1")
    image = folder.path / "image"
    (image / "app").mkdir(parents=True)
    (image / "app" / "a").write_text("there\n")
    base = own_root.Base(settings.python.parent.parent, settings.interpreter)
    before, _ = steps(_PLAIN, root=os.geteuid() == 0, uid=os.geteuid(), gid=os.getegid())
    own_root.write(folder, "probe", [*before, *own_root.over_image(folder, "probe", image, "/app", base, ())])
    return folder.plan("probe")


async def _try(settings: NodeSettings, program: Path, plan: Path) -> tuple[int, str]:
    module = "enter_" + program.stem.partition("-")[2].replace("-", "_")
    process = await asyncio.create_subprocess_exec(
        str(settings.python), "-I", "-S", "-c", _TRY, str(program.parent), module, str(plan),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}, start_new_session=True)
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            said, _ = await process.communicate()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, said.decode(errors="replace")


def _refused(number: int, text: str) -> Isolation:
    return Isolation(message=f"paths are mapped, because a root for each container cannot be had: {text}",
                     mend=mend(number, text, _kernel_setting))


def _kernel_setting(path: str) -> str:
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError:
        return ""


def mend(number: int, text: str, setting: Callable[[str], str]) -> str:
    """What to do about a refusal. `setting` reads a kernel setting, "" where there is none."""
    if setting("user/max_user_namespaces") == "0":
        return "allow user namespaces: sudo sysctl user.max_user_namespaces=10000"
    if setting("kernel/unprivileged_userns_clone") == "0":
        return "allow user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1"
    if number in _REFUSED and setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return ("AppArmor restricts user namespaces: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give "
                "the interpreter a profile with the rule `userns,`")
    if number in _REFUSED:
        return ("namespaces are refused, as in most containers: start the surrounding container with --cap-add SYS_ADMIN "
                "--security-opt seccomp=unconfined --security-opt apparmor=unconfined, or stay with mapped paths")
    if "overlay" in text:
        return "overlay mounts by users need Linux 5.11 and a file system such as ext4, xfs or btrfs for the state folder"
    return ""
