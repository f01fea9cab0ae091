"""`python -m fairway.job_pod ORDER ROOT`: the program of a CI job's pod.

It reads its order, runs the job, and prints what happens; the last line and the container's termination message are the result.
SIGTERM (the pod is deleted, or its Job suspended) cancels the job, whose steps with `always()` still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from fairway.ci.course import JobResult
from fairway.ci.pods import report
from fairway.ci.pods.inside import Pod, carry_out
from fairway.ci.pods.order import BadOrder, Order, decode_order
from fairway.kube.clock import WallClock
from fairway.secrets.masking import Masker

TERMINATION_LOG = Path("/dev/termination-log")


def main(argv: list[str]) -> int:
    if len(argv) != 2:
        print("usage: python -m fairway.job_pod ORDER ROOT", file=sys.stderr)
        return 2
    try:
        order = decode_order(_taken(Path(argv[0])))
    except (BadOrder, OSError) as error:
        return _end(JobResult("Failed", str(error), failure="runner_system_failure"))
    root = Path(argv[1])
    root.mkdir(parents=True, exist_ok=True)
    return _end(asyncio.run(_run(order, root)))


def _taken(file: Path) -> bytes:
    """The order holds every secret of the job, of which a step sees only what it is given."""
    data = file.read_bytes()
    file.unlink()
    return data


async def _run(order: Order, root: Path) -> JobResult:
    cancel = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel.set)
    address = os.environ.get("FAIRWAY_POD_IP") or "127.0.0.1"
    pod = Pod(root, address, Masker, (sys.executable, "-m", "fairway.cli"), WallClock(), _say)
    return await carry_out(order, pod, cancel)


def _end(result: JobResult) -> int:
    _say(report.ended(result))
    with contextlib.suppress(OSError):
        TERMINATION_LOG.write_bytes(report.last_words(result))
    return 0 if result.phase in ("Succeeded", "Skipped") else 1


def _say(line: bytes) -> None:
    while line:
        line = line[os.write(1, line):]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
