"""How a shim starts processes: their streams, their session, their root. Runs beside `shim.py`, never in the daemon.

Only modules that are compiled into the interpreter are imported: see there.
"""

# ruff: noqa: SIM105
from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import errno
import posix
import sys


def exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def spawn_heard(argv: list[str], env: dict[str, str], cwd: str, plan: str, inside: int, *, input: bool = False
                ) -> tuple[int, int, int, int]:
    """Start argv with pipes to us. Returns (pid, stdout, stderr, stdin or -1); raises OSError with the child's own error."""
    in_w = -1
    if input:
        in_r, in_w = posix.pipe2(posix.O_CLOEXEC)
    else:
        in_r = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC)
    out_r, out_w = posix.pipe2(posix.O_CLOEXEC)
    err_r, err_w = posix.pipe2(posix.O_CLOEXEC)
    ours = [out_r, err_r, in_w] if input else [out_r, err_r]
    try:
        pid = spawn(argv, env, cwd, [in_r, out_w, err_w], plan, inside)
    except OSError:
        close_all(ours)
        raise
    finally:
        close_all([in_r, out_w, err_w])
    for descriptor in ours:
        posix.set_blocking(descriptor, False)
    return pid, out_r, err_r, in_w


def spawn_on_terminal(argv: list[str], env: dict[str, str], cwd: str, plan: str) -> tuple[int, int, int]:
    """Start argv on a terminal of its own. Returns (pid, what it writes, what it reads): two descriptors of our end."""
    master, slave = posix.openpty()
    try:
        pid = spawn(argv, env, cwd, [slave], plan, 0)
    except OSError:
        close_all([master])
        raise
    finally:
        close_all([slave])
    posix.set_blocking(master, False)
    return pid, master, posix.dup(master)


def spawn(argv: list[str], env: dict[str, str], cwd: str, streams: list[int], plan: str, inside: int) -> int:
    """Start argv in a session of its own, on three streams or on one terminal; where `plan` is there, in the root that it
    describes, or in the root of the process `inside`."""
    oops_r, oops_w = posix.pipe2(posix.O_CLOEXEC)
    pid = posix.fork()
    if pid == 0:
        try:
            become(argv, env, cwd, streams, plan, inside)
        except OSError as error:
            posix.write(oops_w, f"{error.errno} {error.strerror}: {error.filename or argv[0]}".encode())
        finally:
            posix._exit(127)
    posix.close(oops_w)
    oops = posix.read(oops_r, 4096)
    posix.close(oops_r)
    if oops:
        posix.waitpid(pid, 0)
        number, _, text = oops.decode(errors="replace").partition(" ")
        raise OSError(int(number), text)
    return pid


def become(argv: list[str], env: dict[str, str], cwd: str, streams: list[int], plan: str, inside: int) -> None:
    """In the child: from shim to container. Returns only by raising."""
    posix.setsid()
    if len(streams) == 1:
        streams = [posix.open(posix.ttyname(streams[0]), posix.O_RDWR)] * 3  # the first terminal opened is the session's
    for number in range(1, _signal.NSIG):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            try:
                _signal.signal(number, _signal.SIG_DFL)
            except (OSError, ValueError):
                pass  # numbers that the C library keeps for itself
    for number in range(3):
        posix.dup2(streams[number], number)
    if exists(plan):
        enter(plan, inside)
    posix.chdir(cwd)
    execute(argv, env)


def enter(plan: str, inside: int) -> None:
    """`enter.py` is loaded by the child alone: its memory goes with the child."""
    module = __import__("enter_" + (sys.implementation.cache_tag or "").replace("-", "_"))
    if inside:
        module.join(inside, plan)
    else:
        module.begin(plan)


def execute(argv: list[str], env: dict[str, str]) -> None:
    """execvpe over the PATH of `env`. Returns only by raising."""
    if "/" in argv[0]:
        posix.execve(argv[0], argv, env)
    denied: OSError | None = None
    for folder in env.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
        try:
            posix.execve((folder or ".") + "/" + argv[0], argv, env)
        except OSError as error:
            if error.errno == errno.EACCES:
                denied = error
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
    raise denied or OSError(errno.ENOENT, "executable file not found in $PATH", argv[0])


def close_all(descriptors: list[int]) -> None:
    while descriptors:
        posix.close(descriptors.pop())
