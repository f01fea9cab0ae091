"""How a shim keeps a container's output. Runs beside `shim.py`, never in the daemon: see there what it may import."""

from __future__ import annotations

import posix
import time

LINE_LIMIT = 16 * 1024  # longer lines are written in parts, as CRI does
LOG_LIMIT = 10 * 1024 * 1024  # then the file is rotated; one rotated file is kept


class Log:
    """CRI log lines: `<time> <stream> <F or P> <text>`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.open()
        self.rest = {"stdout": b"", "stderr": b""}

    def open(self) -> None:
        self.fd = posix.open(self.path, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o600)
        self.size = posix.fstat(self.fd).st_size

    def feed(self, stream: str, data: bytes) -> None:
        lines = (self.rest[stream] + data).split(b"\n")
        rest = lines.pop()
        mark = b"%s %s " % (now_text(), stream.encode())
        out: list[bytes] = []
        for line in lines:
            while len(line) > LINE_LIMIT:
                out.append(b"%sP %s\n" % (mark, line[:LINE_LIMIT]))
                line = line[LINE_LIMIT:]
            out.append(b"%sF %s\n" % (mark, line))
        while len(rest) > LINE_LIMIT:
            out.append(b"%sP %s\n" % (mark, rest[:LINE_LIMIT]))
            rest = rest[LINE_LIMIT:]
        self.rest[stream] = rest
        self.write(b"".join(out))

    def end(self, stream: str) -> None:
        if self.rest[stream]:
            self.write(b"%s %s F %s\n" % (now_text(), stream.encode(), self.rest[stream]))
            self.rest[stream] = b""

    def write(self, data: bytes) -> None:
        if not data:
            return
        try:
            if self.size and self.size + len(data) > LOG_LIMIT:
                posix.close(self.fd)
                posix.rename(self.path, self.path + ".1")
                self.open()
            posix.write(self.fd, data)
            self.size += len(data)
        except OSError:
            pass  # a full disk loses log lines, never the container

    def close(self) -> None:
        posix.close(self.fd)


def now_text() -> bytes:
    ns = time.time_ns()
    return b"%s.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9)).encode(), ns % 10**9)
