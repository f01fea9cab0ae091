"""Decoding steps, of a job or of a composite action. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from fairway.ci.contexts import Availability
from fairway.ci.expressions import Value, to_text
from fairway.ci.reading import Reader, is_null
from fairway.ci.spec import Step, StepKind
from fairway.ci.yaml_tree import Map, Node, Scalar, Seq

MAX_SCRIPT = 21_000
_LONGEST_ID = 100
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_BOTH = ("id", "name", "if", "env", "continue-on-error", "timeout-minutes", "background")
_RUN = (*_BOTH, "run", "shell", "working-directory")
_USES = (*_BOTH, "uses", "with")
_CONTROL: tuple[tuple[StepKind, str], ...] = (("wait", "Wait"), ("wait-all", "Wait for all"), ("cancel", "Cancel"),
                                              ("parallel", "Parallel"))
_CONTROL_KEYS = ("id", "name", "continue-on-error")
_USES_FORM = re.compile(r"\./.*|\$/.*|\.\\.*|docker://.+|[^/@]+/[^/@]+(?:/[^@]*)?@\S+")


def decode_steps(read: Reader, node: Node | None, where: Availability, if_where: Availability, *,
                 parallel: bool = False) -> tuple[Step, ...]:
    """The steps with their ids; generated ids (`__run`, `__run_2`) avoid those that are written.

    `parallel`: steps may run beside each other, which they may not in a composite action.
    """
    if not isinstance(node, Seq):
        return ()
    ids = _Ids(read)
    for item in node:
        ids.reserve(item)
        for inner in _group(item):
            ids.reserve(inner)
    steps = tuple(_step(read, item, where, if_where, ids, parallel) for item in node)
    _check_targets(read, node, steps)
    return steps


def _group(item: Node) -> tuple[Node, ...]:
    group = item.get("parallel") if isinstance(item, Map) else None
    return group.items if isinstance(group, Seq) else ()


def _check_targets(read: Reader, node: Seq, steps: tuple[Step, ...]) -> None:
    """`wait` and `cancel` name background steps that stand before them."""
    begun: set[str] = set()
    for item, step in zip(node, steps, strict=True):
        for target in step.targets:
            if target.upper() not in begun:
                place = item.get(step.kind) if isinstance(item, Map) else None
                read.refuse(place if place is not None else item, f"'{step.kind}': no background step '{target}' stands before "
                            "this one")
        if step.background:
            begun.add(step.id.upper())


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

    def generate(self, uses: str, kind: str = "run") -> str:
        if kind != "run":
            stem = f"__{kind}"
        elif uses.startswith(("./", ".\\", "$/")):
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


def _step(read: Reader, node: Node, where: Availability, if_where: Availability, ids: _Ids, parallel: bool) -> Step:
    raw = node if isinstance(node, Map) else None
    if raw is None:
        read.mapping(node)
        return Step(id="__run", line=node.line)
    for kind, title in _CONTROL:
        if parallel and raw.get(kind) is not None:
            return _control(read, raw, kind, title, where, if_where, ids)
    if not parallel and raw.get("background") is not None:
        read.refuse(next(key for key, _ in raw.pairs if key.text == "background"), "Unexpected value 'background'")
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
        background=read.flag(fields.get("background")),
    )


def _control(read: Reader, raw: Map, kind: StepKind, title: str, where: Availability, if_where: Availability,
             ids: _Ids) -> Step:
    """A step that works on other steps: it takes no `if`."""
    fields = read.mapping(raw, (*_CONTROL_KEYS, kind))
    node, given = fields[kind], fields.get("id")
    id = given.text if isinstance(given, Scalar) and given.text else ids.generate("", kind)
    group: tuple[Step, ...] = ()
    targets: tuple[str, ...] = ()
    if kind == "parallel":
        if not isinstance(node, Seq) or not node.items:
            read.refuse(node, "'parallel' needs a list of steps")
        group = tuple(replace(_step(read, item, where, if_where, ids, False), background=True) for item in _group(raw))
    elif kind == "wait-all":
        if not is_null(node):
            read.flag(node)
    elif kind == "cancel":
        targets = tuple(filter(None, [read.filled(node)]))
    else:
        targets = read.texts(node)
    return Step(id=id, line=raw.line, name=read.string(fields.get("name"), where) or title, kind=kind, targets=targets,
                parallel=group, continue_on_error=_flag(read, fields.get("continue-on-error"), where))


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
