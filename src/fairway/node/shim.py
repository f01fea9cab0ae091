"""The small process that a pod hangs on. Run as `python -I -S shim.py FOLDER`; never imported by the daemon.

It outlives the control plane: it starts the pod's containers when told to, keeps their output in log files and their
ends in state files, and reaps whatever they leave behind. It decides nothing: when to restart, and how long to wait,
is the daemon's business. Only modules that are compiled into the interpreter, and two small ones, are imported: there
is one shim per pod, and its memory counts.

Life: the first process forks and leaves (so that a shim is nobody's child), the second becomes leader of its own
session and subreaper, and executes itself once more, because the subreaper mark survives `execve` and the memory of
`ctypes`, which sets it, does not.

Protocol (unix socket `shim.sock` in FOLDER; any number of clients): a message is a 4-byte big-endian length and that
many bytes, fields joined by NUL. Requests and their answers:

    start  NAME ATTEMPT LOG CWD OPTIONS ARGC ARG… ENV…  -> started NAME ATTEMPT PID STARTTIME
                                                           | failed NAME ATTEMPT ERRNO TEXT
    exec   ID NAME TIMEOUT_MS CWD ARGC ARG… ENV…        -> done ID EXIT_CODE|timeout OUTPUT
    session NAME CWD ARGC ARG… ENV…                     -> done NAME EXIT_CODE TEXT
    attach NAME                                         -> attached NAME ATTEMPT, then output NAME STREAM DATA, …
                                                           | refused NAME TEXT
    input  NAME DATA                                    -> took NAME LENGTH, when the container's pipe has it
    eof    NAME
    resize NAME COLUMNS ROWS
    stop   NAME GRACE_MS                                -> (exited follows)
    quit   GRACE_MS                                     -> (the socket closes when nothing is left)
    status                                              -> running NAME ATTEMPT PID STARTTIME, for each, then end

OPTIONS are words: `stdin` (a pipe for its input), `once` (which ends when the first that gives input does), `tty` (a terminal
instead of pipes), `signal=NUMBER` (what asks it to stop).

A session has a connection of its own, whose first bytes bring the descriptors of its input, output and errors, or of its
terminal alone. It is killed when the connection closes or NAME ends. TEXT, if any, says why a command was not started.

Every client also hears `exited NAME ATTEMPT CODE`. CODE is the exit status, or 128 + signal.

State file `state/NAME.ATTEMPT`, replaced atomically: lines `pid`, `start`, `started`, and after the end `code`,
`signal`, `finished`; times in nanoseconds since 1970.
"""

# ruff: noqa: SIM105
# contextlib would be one import too many here.
from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import posix
import select
import sys
import time

OUTPUT_LIMIT = 10 * 1024  # of a probe or hook: upstream's limit for probe output
TICK_S = 0.05  # while something is being stopped
UNSENT_LIMIT = 1024 * 1024  # who listens to a container and is this far behind misses what comes
IDLE_S = 20.0  # how often to see whether the folder is still there: a pod without one is nobody's
GONE_GRACE_MS = 5000
ENDING_S = 0.5  # how long an ended container's pipes may stay open in a process that escaped


TYPE_CHECKING = False
if TYPE_CHECKING:
    from fairway.node import shim_children as children
    from fairway.node import shim_log as logs
else:  # they lie beside this file as byte code
    sys.path.insert(0, __file__.rpartition("/")[0])
    TAG = (sys.implementation.cache_tag or "").replace("-", "_")
    children, logs = __import__(f"shim_children_{TAG}"), __import__(f"shim_log_{TAG}")


class Container:
    def __init__(self, name: str, attempt: str, pid: int, log: logs.Log, options: list[str], input: int) -> None:
        self.name, self.attempt, self.pid, self.log = name, attempt, pid, log
        self.start = start_time(pid)
        self.started = time.time_ns()
        self.pipes = 1 if "tty" in options else 2
        self.tty, self.once, self.stop_signal = "tty" in options, "once" in options, _signal.SIGTERM
        for word in options:
            if word.startswith("signal="):
                self.stop_signal = int(word[7:])
        self.input = input
        self.ungiven: list[tuple[int, bytes]] = []  # who gave it, and what the container has not taken yet
        self.giver = -1
        self.listeners: set[int] = set()
        self.code: int | None = None
        self.signal = self.finished = 0
        self.ended_at: float | None = None
        self.kill_at: float | None = None


class Client:
    def __init__(self, sock: _socket.socket) -> None:
        self.sock, self.received, self.unsent = sock, b"", b""
        self.passed: list[int] = []


class Exec:
    def __init__(self, ident: str, client: int, deadline: float, pipes: set[int]) -> None:
        self.ident, self.client, self.deadline, self.pipes = ident, client, deadline, pipes
        self.output = b""
        self.timed_out = False


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat: with the pid it names a process for ever. "0" where there is no /proc."""
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY)
    except OSError:
        return "0"
    try:
        return posix.read(fd, 4096).rpartition(b") ")[2].split()[19].decode()
    finally:
        posix.close(fd)


def write_atomic(path: str, text: str) -> None:
    fd = posix.open(path + ".new", posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC, 0o600)
    posix.write(fd, text.encode())
    posix.close(fd)
    posix.rename(path + ".new", path)


class Shim:
    def __init__(self, listener: _socket.socket) -> None:
        self.listener = listener
        self.poll = select.poll()
        self.poll.register(listener.fileno(), select.POLLIN)
        self.clients: dict[int, Client] = {}
        self.pipes: dict[int, tuple[Container, str]] = {}
        self.inputs: dict[int, Container] = {}
        self.containers: dict[str, Container] = {}
        self.execs: dict[int, Exec] = {}
        self.sessions: dict[int, tuple[int, str]] = {}  # process: client, container
        self.quitting = False
        self.look_at = time.monotonic() + IDLE_S

    # --- the loop -----------------------------------------------------------------------------------------------

    def run(self, wake: int) -> None:
        self.poll.register(wake, select.POLLIN)
        while not (self.quitting and not self.containers and not self.execs):
            busy = self.execs or any(c.kill_at or c.ended_at for c in self.containers.values())
            for fd, mask in self.poll.poll((TICK_S if busy or self.quitting else IDLE_S) * 1000):
                if fd == wake:
                    try:
                        posix.read(wake, 512)
                    except BlockingIOError:
                        pass
                elif fd == self.listener.fileno():
                    self.accept()
                elif fd in self.clients:
                    self.serve(fd, mask)
                elif fd in self.pipes:
                    self.pump(fd)
                elif fd in self.inputs:
                    self.give(self.inputs[fd])
                else:
                    self.gather(fd)
            self.reap()
            self.press()
            if time.monotonic() >= self.look_at:
                self.look_at = time.monotonic() + IDLE_S
                if not children.exists("shim.pid") and not self.quitting:
                    self.quit(GONE_GRACE_MS)

    def accept(self) -> None:
        try:
            fd, _ = self.listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        sock = _socket.socket(fileno=fd)
        sock.setblocking(False)
        self.clients[fd] = Client(sock)
        self.poll.register(fd, select.POLLIN)

    def serve(self, fd: int, mask: int) -> None:
        client = self.clients[fd]
        if mask & select.POLLOUT:
            self.flush(fd)
        if not mask & (select.POLLIN | select.POLLHUP | select.POLLERR) or fd not in self.clients:
            return
        try:
            data = self.receive(client)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.forget(fd)
            return
        client.received += data
        while len(client.received) >= 4:
            end = 4 + int.from_bytes(client.received[:4], "big")
            if len(client.received) < end:
                break
            message, client.received = client.received[4:end], client.received[end:]
            self.obey(fd, message.decode("utf-8", "surrogateescape").split("\0"))

    def receive(self, client: Client) -> bytes:
        data, passed, _, _ = client.sock.recvmsg(65536, _socket.CMSG_SPACE(12), _socket.MSG_CMSG_CLOEXEC)
        for _, _, raw in passed:
            client.passed += [int.from_bytes(raw[i:i + 4], sys.byteorder) for i in range(0, len(raw) - 3, 4)]
        return data

    def forget(self, fd: int) -> None:
        self.poll.unregister(fd)
        client = self.clients.pop(fd)
        client.sock.close()
        children.close_all(client.passed)
        for one in self.containers.values():
            one.listeners.discard(fd)
            if one.giver == fd:
                self.end_of_input(one)
        for pid, (owner, _) in self.sessions.items():
            if owner == fd:
                signal_group(pid, _signal.SIGKILL)

    def send(self, fd: int, *fields: object) -> None:
        if fd in self.clients:
            body = "\0".join(str(field) for field in fields).encode("utf-8", "surrogateescape")
            self.clients[fd].unsent += len(body).to_bytes(4, "big") + body
            self.flush(fd)

    def flush(self, fd: int) -> None:
        client = self.clients[fd]
        try:
            while client.unsent:
                client.unsent = client.unsent[client.sock.send(client.unsent):]
            self.poll.modify(fd, select.POLLIN)
        except BlockingIOError:
            self.poll.modify(fd, select.POLLIN | select.POLLOUT)
        except OSError:
            self.forget(fd)

    # --- requests -----------------------------------------------------------------------------------------------

    def obey(self, fd: int, fields: list[str]) -> None:
        verb = fields[0]
        if verb == "start":
            name, attempt, log, cwd, options = fields[1:6]
            self.start(fd, name, attempt, log, cwd, options.split(), fields[6:])
        elif verb == "exec":
            ident, name, timeout_ms, cwd = fields[1:5]
            self.exec(fd, ident, name, int(timeout_ms), cwd, fields[5:])
        elif verb == "session":
            self.session(fd, fields[1], fields[2], fields[3:])
        elif verb == "stop":
            if fields[1] in self.containers:
                self.stop(self.containers[fields[1]], int(fields[2]))
        elif verb == "attach":
            self.attach(fd, fields[1])
        elif verb in ("input", "eof", "resize"):
            if fields[1] in self.containers:
                self.serve_input(fd, verb, self.containers[fields[1]], fields[2:])
        elif verb == "quit":
            self.quit(int(fields[1]))
        elif verb == "status":
            for one in self.containers.values():
                self.send(fd, "running", one.name, one.attempt, one.pid, one.start)
            self.send(fd, "end")

    def start(self, fd: int, name: str, attempt: str, log: str, cwd: str, options: list[str], rest: list[str]) -> None:
        if name in self.containers or self.quitting:
            known = self.containers.get(name)
            if known is not None and known.attempt == attempt:
                self.send(fd, "started", name, attempt, known.pid, known.start)
            else:
                self.send(fd, "failed", name, attempt, errno.EBUSY, "the container still runs")
            return
        argv, env = arguments(rest)
        try:
            if "tty" in options:
                pid, out, given = children.spawn_on_terminal(argv, env, cwd, f"roots/{name}")
                pipes = [(out, "stdout")]
                if "stdin" not in options:
                    posix.close(given)
                    given = -1
            else:
                pid, out, err, given = children.spawn_heard(argv, env, cwd, f"roots/{name}", 0, input="stdin" in options)
                pipes = [(out, "stdout"), (err, "stderr")]
        except OSError as error:
            self.send(fd, "failed", name, attempt, error.errno, error.strerror)
            return
        one = self.containers[name] = Container(name, attempt, pid, logs.Log(log), options, given)
        self.save(one)
        for pipe, stream in pipes:
            self.pipes[pipe] = (one, stream)
            self.poll.register(pipe, select.POLLIN)
        self.send(fd, "started", name, attempt, pid, one.start)

    def exec(self, fd: int, ident: str, name: str, timeout_ms: int, cwd: str, rest: list[str]) -> None:
        argv, env = arguments(rest)
        try:
            inside = self.containers[name].pid if name in self.containers else 0
            pid, out, err, _ = children.spawn_heard(argv, env, cwd, f"roots/{name}" if inside else "", inside)
        except OSError as error:
            self.send(fd, "done", ident, 127 if error.errno == errno.ENOENT else 126, error.strerror)
            return
        self.execs[pid] = Exec(ident, fd, time.monotonic() + timeout_ms / 1000, {out, err})
        for pipe in (out, err):
            self.poll.register(pipe, select.POLLIN)

    def session(self, fd: int, name: str, cwd: str, rest: list[str]) -> None:
        client = self.clients[fd]
        argv, env = arguments(rest)
        try:
            if name not in self.containers or self.quitting or len(client.passed) not in (1, 3):
                raise OSError(errno.ESRCH, f"container {name} does not run")
            self.sessions[children.spawn(argv, env, cwd, client.passed, f"roots/{name}", self.containers[name].pid)] = fd, name
        except OSError as error:
            self.send(fd, "done", name, 127 if error.errno == errno.ENOENT else 126, error.strerror)
        children.close_all(client.passed)

    # --- attached -----------------------------------------------------------------------------------------------

    def attach(self, fd: int, name: str) -> None:
        if name not in self.containers or self.quitting:
            self.send(fd, "refused", name, f"container {name} does not run")
            return
        self.containers[name].listeners.add(fd)
        self.send(fd, "attached", name, self.containers[name].attempt)

    def serve_input(self, fd: int, verb: str, one: Container, rest: list[str]) -> None:
        if verb == "resize":
            self.resize(one, int(rest[0]), int(rest[1]))
        elif verb == "eof":
            self.end_of_input(one)
        else:
            one.giver = fd
            one.ungiven.append((fd, "\0".join(rest).encode("utf-8", "surrogateescape")))
            self.give(one)

    def give(self, one: Container) -> None:
        """What a container has no room for yet waits; what nobody reads any more is dropped."""
        while one.ungiven:
            fd, data = one.ungiven[0]
            try:
                taken = posix.write(one.input, data) if one.input >= 0 and data else len(data)
            except BlockingIOError:
                if one.input not in self.inputs:
                    self.inputs[one.input] = one
                    self.poll.register(one.input, select.POLLOUT)
                return
            except OSError:
                taken = len(data)
            self.send(fd, "took", one.name, taken)
            if not data:
                self.close_input(one)
            if taken < len(data):
                one.ungiven[0] = fd, data[taken:]
            else:
                one.ungiven.pop(0)
        if one.input in self.inputs:
            self.poll.unregister(one.input)
            del self.inputs[one.input]

    def end_of_input(self, one: Container) -> None:
        """On a terminal the end of the input is a character. Input that goes on after its first giver stays open."""
        one.giver = -1
        if not one.once or one.input < 0:
            return
        if one.tty:
            one.ungiven.append((-1, b"\x04"))
            self.give(one)
        elif one.ungiven:
            one.ungiven.append((-1, b""))  # closed when the rest is taken
        else:
            self.close_input(one)

    def close_input(self, one: Container) -> None:
        if one.input in self.inputs:
            self.poll.unregister(one.input)
            del self.inputs[one.input]
        if one.input >= 0:
            posix.close(one.input)
        one.input = -1

    def resize(self, one: Container, columns: int, rows: int) -> None:
        if one.tty and one.input >= 0:
            import fcntl

            size = b"".join(number.to_bytes(2, sys.byteorder) for number in (rows, columns, 0, 0))
            try:
                fcntl.ioctl(one.input, 0x5414, size)  # TIOCSWINSZ
            except OSError:
                pass

    def quit(self, grace_ms: int) -> None:
        self.quitting = True
        for one in self.containers.values():
            self.stop(one, grace_ms)

    def stop(self, one: Container, grace_ms: int) -> None:
        kill_at = time.monotonic() + grace_ms / 1000
        if one.kill_at is None:
            signal_group(one.pid, one.stop_signal)
        one.kill_at = kill_at if one.kill_at is None else min(one.kill_at, kill_at)

    # --- output and ends ----------------------------------------------------------------------------------------

    def pump(self, fd: int) -> None:
        one, stream = self.pipes[fd]
        try:
            data = posix.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:  # so a terminal tells that nobody writes to it any more
            data = b""
        if not data:
            self.close_pipe(fd)
            return
        one.log.feed(stream, data)
        for listener in list(one.listeners):
            if len(self.clients[listener].unsent) < UNSENT_LIMIT:
                self.send(listener, "output", one.name, stream, data.decode("utf-8", "surrogateescape"))

    def close_pipe(self, fd: int) -> None:
        one, stream = self.pipes.pop(fd)
        one.log.end(stream)
        one.pipes -= 1
        self.poll.unregister(fd)
        posix.close(fd)

    def gather(self, fd: int) -> None:
        for one in self.execs.values():
            if fd in one.pipes:
                try:
                    data = posix.read(fd, 65536)
                except BlockingIOError:
                    return
                one.output = (one.output + data)[:OUTPUT_LIMIT]
                if not data:
                    self.close_output(one, fd)
                return

    def close_output(self, one: Exec, fd: int) -> None:
        one.pipes.discard(fd)
        self.poll.unregister(fd)
        posix.close(fd)

    def reap(self) -> None:
        while True:
            try:
                pid, status = posix.waitpid(-1, posix.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            signal = posix.WTERMSIG(status) if posix.WIFSIGNALED(status) else 0
            code = 128 + signal if signal else posix.WEXITSTATUS(status)
            if pid in self.execs:
                self.finish_exec(pid, code)
                continue
            if pid in self.sessions:
                client, name = self.sessions.pop(pid)
                signal_group(pid, _signal.SIGKILL)
                self.send(client, "done", name, code, "")
                continue
            for one in self.containers.values():
                if one.pid == pid:
                    one.code, one.signal, one.finished = code, signal, time.time_ns()
                    one.ended_at = time.monotonic()
                    if one.kill_at is None:
                        signal_group(pid, _signal.SIGKILL)

    def finish_exec(self, pid: int, code: int) -> None:
        one = self.execs[pid]
        for fd in list(one.pipes):
            self.gather(fd)
        del self.execs[pid]
        signal_group(pid, _signal.SIGKILL)
        for fd in list(one.pipes):
            self.close_output(one, fd)
        self.send(one.client, "done", one.ident, "timeout" if one.timed_out else code,
                  one.output.decode("utf-8", "replace"))

    def press(self) -> None:
        """What time demands: kill after the grace period, give up on pipes that an escaped process keeps open."""
        now = time.monotonic()
        for pid, running in list(self.execs.items()):
            if now >= running.deadline and not running.timed_out:
                running.timed_out = True
                signal_group(pid, _signal.SIGKILL)
        for one in list(self.containers.values()):
            if one.kill_at is not None and now >= one.kill_at:
                signal_group(one.pid, _signal.SIGKILL)
            if one.ended_at is None:
                continue
            if one.kill_at is not None and now < one.kill_at and group_lives(one.pid):
                continue
            if one.pipes and now < one.ended_at + ENDING_S:
                continue
            self.end(one)

    def end(self, one: Container) -> None:
        signal_group(one.pid, _signal.SIGKILL)
        for fd in [fd for fd, (owner, _) in self.pipes.items() if owner is one]:
            self.pump(fd)
            if fd in self.pipes:
                self.close_pipe(fd)
        self.close_input(one)
        one.log.close()
        self.save(one)
        del self.containers[one.name]
        for pid, (_, name) in self.sessions.items():
            if name == one.name:
                signal_group(pid, _signal.SIGKILL)
        for fd in list(self.clients):
            self.send(fd, "exited", one.name, one.attempt, one.code)

    def save(self, one: Container) -> None:
        lines = [f"pid {one.pid}", f"start {one.start}", f"started {one.started}"]
        if one.code is not None:
            lines += [f"code {one.code}", f"signal {one.signal}", f"finished {one.finished}"]
        try:
            write_atomic(f"state/{one.name}.{one.attempt}", "\n".join(lines) + "\n")
        except OSError:
            pass  # the folder was removed: nobody will ask


def arguments(rest: list[str]) -> tuple[list[str], dict[str, str]]:
    """`ARGC ARG… NAME=VALUE…` taken apart."""
    end = 1 + int(rest[0])
    env: dict[str, str] = {}
    for pair in rest[end:]:
        name, _, value = pair.partition("=")
        env[name] = value
    return rest[1:end], env


def signal_group(pid: int, number: int) -> None:
    try:
        posix.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def group_lives(pid: int) -> bool:
    try:
        posix.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def leave_parent(folder: str) -> None:
    """The first stage: become nobody's child, a session of its own and a subreaper, then start anew without ctypes."""
    if posix.fork():
        posix._exit(0)
    posix.setsid()
    try:
        import ctypes

        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    except (ImportError, OSError, AttributeError):
        pass  # not Linux: orphans go to init, and a container's process group is all that is stopped
    posix.execv(sys.executable, [sys.executable, "-I", "-S", __file__, folder, "serve"])


def main() -> None:
    folder = sys.argv[1]
    if len(sys.argv) == 2:
        leave_parent(folder)
    posix.chdir(folder)
    wake_r, wake_w = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    _signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    if children.exists("shim.sock"):
        posix.unlink("shim.sock")
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    listener.bind("shim.sock")
    listener.listen(16)
    listener.setblocking(False)
    pid = posix.getpid()
    write_atomic("shim.pid", f"pid {pid}\nstart {start_time(pid)}\n")
    Shim(listener).run(wake_r)
    if children.exists("shim.sock"):
        posix.unlink("shim.sock")


if __name__ == "__main__":
    main()
