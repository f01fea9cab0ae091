"""Jsonnet files to objects, where its wheel is installed; evaluated in a limited process, imports served from the tree.

A Jsonnet program can run for ever and fill any memory, so it never runs here. The process asks for each file that it imports:
what was read is known, and nothing outside of the tree can be.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree, join
from fairway.manifests.rendering import Jsonnet

SECONDS = 20.0
MEMORY_BYTES = 1 * 2**30
"""Of address space: an evaluation of 10 000 objects takes 0.2 GB."""
OUTPUT_BYTES = 64 * 2**20
"""Of one file's value as JSON."""


def evaluate(tree: FileTree, file: str, options: Jsonnet) -> Any:
    """The value of a Jsonnet file. It blocks: not for an event loop."""
    if importlib.util.find_spec("_jsonnet") is None:
        raise ManifestError(Place(file), "Jsonnet is not rendered here", "install the package `jsonnet`, or commit JSON")
    process = subprocess.Popen([sys.executable, "-m", "fairway.manifests.jsonnet_worker", str(MEMORY_BYTES)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}, start_new_session=True)
    try:
        return _conversation(process, tree, file, options)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _conversation(process: subprocess.Popen[bytes], tree: FileTree, file: str, options: Jsonnet) -> Any:
    deadline = time.monotonic() + SECONDS
    _say(process, {"file": file, "text": tree.read(file).decode(), "ext_vars": dict(options.variables),
                   "ext_codes": dict(options.variables_code), "tla_vars": dict(options.arguments),
                   "tla_codes": dict(options.arguments_code)})
    while True:
        line = _line(process, deadline)
        if line is None:
            raise ManifestError(Place(file), f"Jsonnet took more than {SECONDS:g} s or {MEMORY_BYTES >> 20} MB, or printed "
                                f"more than {OUTPUT_BYTES >> 20} MB, and was stopped", "look for a recursion without end")
        answer = json.loads(line)
        if "import" in answer:
            _say(process, _import(tree, answer["from"], answer["import"], options.libraries))
        elif "error" in answer:
            raise ManifestError(Place(file), str(answer["error"]).strip().replace("\n", " "), "correct the Jsonnet")
        else:
            return json.loads(answer["value"])


def _import(tree: FileTree, folder: str, name: str, libraries: tuple[str, ...]) -> dict[str, Any]:
    for place in (folder, *libraries):
        at = join(place, name)
        if not at.startswith("..") and tree.is_file(at):
            return {"path": at, "text": tree.read(at).decode()}
    return {"path": ""}


def _say(process: subprocess.Popen[bytes], value: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(value).encode() + b"\n")
    process.stdin.flush()


def _line(process: subprocess.Popen[bytes], deadline: float) -> bytes | None:
    assert process.stdout is not None
    found, fd = bytearray(), process.stdout.fileno()
    while not found.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        data = os.read(fd, 1 << 20) if ready else b""
        found += data
        if not data or len(found) > OUTPUT_BYTES:
            return None
    return bytes(found)
