"""Writes `src/fairway/kube/data/protobuf.json.gz`: the field numbers of Kubernetes' built-in types.

Usage: python tools/proto_facts.py KUBECTL [FOLDER]

Source: the protobuf descriptors that a client program up to version 1.33 carries inside (one gzipped `FileDescriptorProto` a
package), because they also say which fields are pointers; and of fields that came later, the `generated.proto` texts under
FOLDER (`core/v1/generated.proto`, ...), where given. Kept: numbers, names and types of the groups that are served.
Prints the fields that Fairway's own type facts have and the table has not.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairway.kube.facts import facts
from fairway.kube.protobuf import wire
from fairway.kube.schema import Schema

OUT = Path(__file__).parent.parent / "src/fairway/kube/data/protobuf.json.gz"
PACKAGES = (
    "core.v1", "apps.v1", "batch.v1", "autoscaling.v1", "autoscaling.v2", "policy.v1", "networking.v1", "discovery.v1",
    "rbac.v1", "coordination.v1", "scheduling.v1", "storage.v1", "authentication.v1", "authorization.v1", "events.v1",
    "admissionregistration.v1", "certificates.v1", "node.v1", "meta.v1", "resource", "intstr", "runtime",
)  # fmt: skip
_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00"
_SCALARS = {1: "d", 3: "i", 4: "i", 5: "i", 8: "b", 9: "s", 12: "y", 13: "i"}
_NULLABLE = 65001  # an option of the Go generator
_WORDS = {"string": "s", "bytes": "y", "bool": "b", "int32": "i", "int64": "i", "uint32": "i", "uint64": "i", "double": "d"}
_LINE = re.compile(r"^\s*(optional|repeated|map<string, ([\w.]+)>)\s+(?:([\w.]+)\s+)?(\w+)\s*=\s*(\d+);")


def short(name: str) -> str:
    """`.k8s.io.apimachinery.pkg.apis.meta.v1.Time` is `meta.v1.Time`."""
    machinery = "k8s.io.apimachinery.pkg."
    for lead in ("k8s.io.api.", f"{machinery}apis.", f"{machinery}api.", f"{machinery}util.", machinery):
        if name.lstrip(".").startswith(lead):
            return name.lstrip(".").removeprefix(lead)
    return name.lstrip(".")


def descriptors(program: bytes) -> Iterator[bytes]:
    for found in re.finditer(re.escape(_GZIP), program):
        try:
            data = zlib.decompressobj(31).decompress(program[found.start() : found.start() + (1 << 20)])
        except zlib.error:
            continue
        if data[:1] == b"\n" and b"generated.proto" in data[:100]:
            yield data


def types_of(descriptor: bytes) -> Iterator[tuple[str, list[list[Any]]]]:
    parts = list(wire(descriptor))
    package = short(next(v.decode() for n, v in parts if n == 2 and isinstance(v, bytes)))
    if package not in PACKAGES:
        return
    for number, value in parts:
        if number == 4 and isinstance(value, bytes):
            message = list(wire(value))
            name = next(v.decode() for n, v in message if n == 1 and isinstance(v, bytes))
            entries = dict(_map_entry(v) for n, v in message if n == 3 and isinstance(v, bytes))
            rows = [_row(v, entries) for n, v in message if n == 2 and isinstance(v, bytes)]
            yield f"{package}.{name}", sorted(rows)


def _map_entry(data: bytes) -> tuple[str, str]:
    name, value_type = "", ""
    for number, value in wire(data):
        if number == 1 and isinstance(value, bytes):
            name = value.decode()
        elif number == 2 and isinstance(value, bytes):
            row = _row(value, {})
            value_type = row[2] if row[0] == 2 else value_type
    return name, value_type


def _row(data: bytes, entries: dict[str, str]) -> list[Any]:
    parts: dict[int, Any] = dict(wire(data))
    name, number, repeated = parts[1].decode(), parts[3], parts[4] == 3
    options: dict[int, Any] = dict(wire(parts[8])) if 8 in parts else {}
    if parts[5] != 11:
        kind = _SCALARS[parts[5]]
    else:
        full = parts[6].decode()
        if full.rpartition(".")[2] in entries:
            return [number, name, entries[full.rpartition(".")[2]], "m"]
        kind = short(full)
    form = "r" if repeated else "z" if options.get(_NULLABLE) == 0 else ""
    return [number, name, kind, form]


def texts(folder: Path) -> Iterator[tuple[str, list[list[Any]]]]:
    """The same out of `generated.proto` texts. They do not say which fields are pointers: all are taken for such."""
    for file in sorted(folder.rglob("generated.proto")):
        package, message, rows = "", "", []
        for line in file.read_text().splitlines():
            if line.startswith("package "):
                package = short(line.removeprefix("package ").rstrip("; "))
            elif line.startswith("message "):
                message, rows = line.split()[1], []
            elif line.startswith("}") and message:
                yield f"{package}.{message}", sorted(rows)
                message = ""
            elif message and (found := _LINE.match(line)):
                word, value, kind, name, number = found.groups()
                kind = value or kind
                full = _WORDS.get(kind) or (short(kind) if "." in kind else f"{package}.{kind}")
                rows.append([int(number), name, full, "m" if value else "r" if word == "repeated" else ""])


def spelt(types: dict[str, list[list[Any]]]) -> None:
    """Names as JSON spells them. A message that JSON has no name for is embedded: its fields are the object's own."""
    for name, schema in schemas():
        json_names = {field.lower(): field for field in schema.fields}
        for row in types.get(name, []):
            if row[1].lower() in json_names:
                row[1] = json_names[row[1].lower()]
            elif row[2] in types:
                row[3] = "e"


def schemas() -> Iterator[tuple[str, Schema]]:
    """Every object type of the type facts once, by its short name."""
    seen: set[str] = set()
    queue = [facts().type(kind) for _, _, kind in facts().kinds()]
    while queue:
        schema = queue.pop()
        if schema.type_name in seen:
            continue
        if schema.type_name:
            seen.add(schema.type_name)
            if schema.kind == "object":
                yield short(schema.type_name.replace("io.k8s.", "k8s.io.", 1)), schema
        queue += [*schema.fields.values(), *([schema.items] if schema.items else [])]


def missing(types: dict[str, list[list[Any]]]) -> list[str]:
    found = []
    for name, schema in schemas():
        if not name.endswith("List") and not name.startswith("io."):
            known = names(types, name) | {"apiVersion", "kind"}
            found += [f"{name}.{field}" for field in schema.fields if field not in known]
    return sorted(found)


def names(types: dict[str, list[list[Any]]], name: str) -> set[str]:
    rows = types.get(name, [])
    inner = [names(types, row[2]) for row in rows if row[3] == "e"]
    return {row[1] for row in rows if row[3] != "e"}.union(*inner)


def main() -> None:
    types: dict[str, list[list[Any]]] = {}
    for descriptor in descriptors(Path(sys.argv[1]).read_bytes()):
        types.update(types_of(descriptor))
    if len(sys.argv) > 2:
        for name, rows in texts(Path(sys.argv[2])):
            known = types.setdefault(name, [])
            numbers = {row[0] for row in known}
            known += [row for row in rows if row[0] not in numbers]
    spelt(types)
    types = {name: rows for name, rows in sorted(types.items()) if not name.endswith("List") or name.startswith("core.v1.List")}
    document = json.dumps({"version": facts().version, "types": types}, separators=(",", ":"))
    OUT.write_bytes(gzip.compress(document.encode(), 9, mtime=0))
    print(f"{len(types)} types, {sum(map(len, types.values()))} fields, {OUT.stat().st_size} bytes")
    for field in missing(types):
        print("not in the table:", field)


if __name__ == "__main__":
    main()
