"""The process that evaluates one Jsonnet file: it asks on stdout for every import and reads the answer on stdin."""

from __future__ import annotations

import json
import resource
import sys
from typing import Any


def main() -> None:
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import _jsonnet

    asked = json.loads(sys.stdin.readline())

    def read(folder: str, name: str) -> tuple[str, bytes]:
        say({"import": name, "from": folder.rstrip("/")})
        answer = json.loads(sys.stdin.readline())
        if not answer["path"]:
            raise RuntimeError(f"couldn't open import {name!r}: no such file in this repository")
        return answer["path"], answer["text"].encode()

    try:
        value = _jsonnet.evaluate_snippet(
            asked["file"], asked["text"], ext_vars=asked["ext_vars"], ext_codes=asked["ext_codes"],
            tla_vars=asked["tla_vars"], tla_codes=asked["tla_codes"], import_callback=read)
        say({"value": value})
    except RuntimeError as error:
        say({"error": str(error)})


def say(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
