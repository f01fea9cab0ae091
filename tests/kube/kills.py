"""`python -m tests.kube.kills DATABASE SEED KILLS`: kill the API's process again and again while it writes.

One process forks the writers, so that each costs no start of an interpreter. Every writer first judges what its
predecessor left, against what was acknowledged to us; we hear of acknowledgements by a pipe, and of broken promises by
exit code 1 and a line on stderr.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairway.kube.api import MergePatch
from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj
from fairway.kube.resources import CONFIG_MAPS

WRITERS = 6
MOST_ACKNOWLEDGED = 80  # before a kill: about 50 ms of writing
LONGEST_WAIT_S = 0.004  # then: long enough to fall anywhere in a commit
OPENING = 8  # one kill in so many hits a process that has only begun to read what is there


@dataclass
class Known:
    """What was acknowledged: by object, the step of its writer that wrote it, None for a deletion."""

    objects: dict[str, int | None] = field(default_factory=dict)
    steps: list[int] = field(default_factory=lambda: [0] * WRITERS)
    revision: int = 0
    writes: int = 0


def planned(writer: int, step: int) -> tuple[str, str]:
    """(verb, object): each object is created, changed eight times and, every other one, deleted."""
    number, part = divmod(step, 10)
    verb = "create" if part == 0 else "patch" if part < 9 else "delete" if number % 2 else "patch"
    return verb, f"w{writer}-{number}"


def content(step: int) -> dict[str, str]:
    """Of many pages, and alike at both ends: a torn object would differ from itself."""
    return {"first": str(step), "filler": f"{step} " * 700, "last": str(step)}


async def write(api: EmbeddedApi, writer: int, step: int, out: int) -> None:
    while True:
        verb, name = planned(writer, step)
        if verb == "create":
            made = await api.create({"apiVersion": "v1", "kind": "ConfigMap",
                                     "metadata": {"name": name, "namespace": "default"}, "data": content(step)})
        elif verb == "patch":
            made = await api.patch(CONFIG_MAPS, name, "default", MergePatch({"data": content(step)}))
        else:
            made = await api.delete(CONFIG_MAPS, name, "default")
        os.write(out, f"{writer} {step} {made['metadata']['resourceVersion']}\n".encode())
        step += 1


def judge(found: dict[str, Obj], revision: int, known: Known) -> tuple[list[int], list[str]]:
    """(the step with which each writer goes on, broken promises)"""
    broken, steps = [], list(known.steps)
    if revision < known.revision:
        broken.append(f"revision {known.revision} was acknowledged, now it is {revision}")
    for writer in range(WRITERS):  # a write that was not acknowledged may have happened
        verb, name = planned(writer, steps[writer])
        present = found.get(name)
        happened = present is None if verb == "delete" else bool(present) and step_of(present) == steps[writer]
        if happened and (verb != "delete" or name in known.objects):
            known.objects[name] = None if verb == "delete" else steps[writer]
            steps[writer] += 1
    wanted = {name: step for name, step in known.objects.items() if step is not None}
    for name in sorted(wanted.keys() | found.keys()):
        obj = found.get(name)
        if obj is None or step_of(obj) != wanted.get(name):
            broken.append(f"{name}: acknowledged step {wanted.get(name)}, found {obj and step_of(obj)}")
        elif obj["data"] != content(step_of(obj)):
            broken.append(f"{name}: torn")
        elif int(obj["metadata"]["resourceVersion"]) > revision:
            broken.append(f"{name}: of a revision that does not exist yet")
    return steps, broken


def step_of(obj: Any) -> int:
    return int(obj["data"]["first"])


async def live(path: Path, known: Known, out: int, *, writing: bool) -> None:
    api = await EmbeddedApi.open(path, WallClock())
    listed = await api.list(CONFIG_MAPS, "default")
    found = {obj["metadata"]["name"]: obj for obj in listed.items if obj["metadata"]["name"].startswith("w")}
    steps, broken = judge(found, api.store.revision, known)
    if broken:
        print("\n".join(broken), file=sys.stderr)
        os._exit(1)
    base = {"steps": steps, "objects": known.objects, "revision": api.store.revision}
    os.write(out, f"base {json.dumps(base)}\n".encode())
    if writing:
        await asyncio.gather(*(write(api, writer, steps[writer], out) for writer in range(WRITERS)))
    await api.close()


def begin(path: Path, known: Known, *, writing: bool) -> tuple[int, int]:
    """(process, the end of the pipe on which it acknowledges)"""
    reading, out = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        try:
            asyncio.run(live(path, known, out, writing=writing))
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    os.close(out)
    return process, reading


def hear(line: str, known: Known) -> None:
    if line.startswith("base "):
        base = json.loads(line[5:])
        known.steps, known.objects, known.revision = base["steps"], base["objects"], base["revision"]
        return
    writer, step, revision = map(int, line.split())
    verb, name = planned(writer, step)
    known.objects[name] = None if verb == "delete" else step
    known.steps[writer] = step + 1
    known.revision = max(known.revision, revision)
    known.writes += 1


def life(path: Path, known: Known, chance: random.Random | None) -> None:
    """One process, killed at a moment of `chance`; without one, it only judges."""
    process, reading = begin(path, known, writing=chance is not None)
    if chance is not None and chance.randrange(OPENING) == 0:
        time.sleep(chance.uniform(0, 10 * LONGEST_WAIT_S))
        os.kill(process, signal.SIGKILL)
    with os.fdopen(reading) as told:
        if chance is not None:
            for _ in range(chance.randint(1, MOST_ACKNOWLEDGED)):
                if (line := told.readline()).endswith("\n"):
                    hear(line, known)
            time.sleep(chance.uniform(0, LONGEST_WAIT_S))
            os.kill(process, signal.SIGKILL)
        for line in told:
            if line.endswith("\n"):
                hear(line, known)
    _, status = os.waitpid(process, 0)
    expected = os.WIFSIGNALED(status) if chance is not None else status == 0
    if not expected:
        sys.exit(f"the process ended by itself: {status}")


def main() -> None:
    path, chance, kills = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    known = Known()
    for _ in range(kills):
        life(path, known, chance)
    life(path, known, None)
    print(known.writes)


if __name__ == "__main__":
    main()
