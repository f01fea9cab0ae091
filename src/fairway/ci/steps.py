"""Decoding steps, of a job or of a composite action. Pure."""

from __future__ import annotations

import re

from fairway.ci.contexts import Availability
from fairway.ci.expressions import Value, to_text
from fairway.ci.reading import Reader, is_null
from fairway.ci.spec import Step
from fairway.ci.yaml_tree import Map, Node, Scalar, Seq

MAX_SCRIPT = 21_000
_LONGEST_ID = 100
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_BOTH = ("id", "name", "if", "env", "continue-on-error", "timeout-minutes")
_RUN = (*_BOTH, "run", "shell", "working-directory")
_USES = (*_BOTH, "uses", "with")
_PARALLEL = ("background", "wait", "wait-all", "cancel", "parallel")
_USES_FORM = re.compile(r"\./.*|\.\\.*|docker://.+|[^/@]+/[^/@]+(?:/[^@]*)?@\S+")


def decode_steps(read: Reader, node: Node | None, where: Availability,
                 if_where: Availability) -> tuple[Step, ...]:
    """The steps with their ids; generated ids (`__run`, `__run_2`) avoid those that are written."""
    if not isinstance(node, Seq):
        return ()
    ids = _Ids(read)
    for item in node:
        ids.reserve(item)
    return tuple(_step(read, item, where, if_where, ids) for item in node)


class _Ids:
    """Ids of one job: unique without regard to case."""

    def __init__(self, read: Reader) -> None:
        self.read = read
        self.taken: set[str] = set()

    def reserve(self, item: Node) -> None:
        node = item.get("id") if isinstance(item, Map) else None
        if not isinstance(node, Scalar) or not node.text:
            return
        if not _ID.fullmatch(node.text):
            self.read.refuse(node, f"The identifier '{node.text}' is invalid. IDs may only contain alphanumeric "
                             "characters, '_', and '-'. IDs must start with a letter or '_' and must be less than 100 "
                             "characters.")
        elif node.text.startswith("__"):
            self.read.refuse(node, f"The identifier '{node.text}' is invalid. IDs starting with '__' are reserved.")
        elif node.text.upper() in self.taken:
            self.read.refuse(node, f"The identifier '{node.text}' may not be used more than once within the same scope.")
        self.taken.add(node.text.upper())

    def generate(self, uses: str) -> str:
        if uses.startswith(("./", ".\\")):
            stem = "__self"
        elif uses.startswith("docker://"):
            stem = "__" + re.sub(r"[^A-Za-z0-9_-]", "_", uses.removeprefix("docker://"))
        elif uses:
            stem = "__" + re.sub(r"[^A-Za-z0-9_-]", "_", "_".join(uses.partition("@")[0].split("/")[:2]))
        else:
            stem = "__run"
        number, name = 1, stem[:_LONGEST_ID]
        while name.upper() in self.taken:
            number += 1
            name = f"{stem[: _LONGEST_ID - len(str(number)) - 1]}_{number}"
        self.taken.add(name.upper())
        return name


def _step(read: Reader, node: Node, where: Availability, if_where: Availability, ids: _Ids) -> Step:
    raw = node if isinstance(node, Map) else None
    if raw is None:
        read.mapping(node)
        return Step(id="__run", line=node.line)
    for key, _ in raw.pairs:
        if key.text in _PARALLEL:
            read.refuse(key, f"'{key.text}': parallel steps cannot run here; write the steps one after the other")
            return Step(id="__run", line=node.line)
    runs = raw.get("run") is not None or (raw.get("uses") is None and raw.get("with") is None)
    fields = read.mapping(node, _RUN if runs else _USES, required=("run",) if runs else ("uses",))
    uses = _uses(read, fields.get("uses"))
    run = read.string(fields.get("run"), where)
    if isinstance(run, str) and "${{" in run and len(run) > MAX_SCRIPT:
        read.refuse(fields["run"], f"Exceeded max expression length {MAX_SCRIPT}")
    given = fields.get("id")
    return Step(
        id=given.text if isinstance(given, Scalar) and given.text else ids.generate(uses),
        line=node.line,
        name=read.string(fields.get("name"), where),
        condition=read.condition(fields.get("if"), if_where),
        run="" if run is None and runs else run,
        uses=uses,
        inputs=read.plain_map(fields.get("with"), where),
        env=read.string_map(fields.get("env"), where),
        shell=read.string(fields.get("shell"), where),
        working_directory=read.string(fields.get("working-directory"), where),
        continue_on_error=_flag(read, fields.get("continue-on-error"), where),
        timeout_minutes=read.typed(fields.get("timeout-minutes"), where, float),
    )


def _uses(read: Reader, node: Node | None) -> str:
    if node is None:
        return ""
    uses = read.text(node)
    if not _USES_FORM.fullmatch(uses):
        read.refuse(node, "Expected format {org}/{repo}[/path]@ref, ./path or docker://image. "
                    f"Actual '{uses}'")
    return uses


def _flag(read: Reader, node: Node | None, where: Availability) -> Value:
    if node is None or is_null(node):
        return False
    if isinstance(node, Scalar) and to_text(node.value) in ("true", "false"):
        return to_text(node.value) == "true"
    return read.typed(node, where, bool) or False
