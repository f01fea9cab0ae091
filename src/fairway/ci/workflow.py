"""Decoding a workflow file: YAML text to a `Workflow`, strictly, every mistake with file, line and column. Pure."""

from __future__ import annotations

import re

from fairway.ci import contexts, globs
from fairway.ci.events import EVENTS
from fairway.ci.expressions import Value, to_text
from fairway.ci.needs import check_needs
from fairway.ci.permissions import SCOPES
from fairway.ci.reading import Reader, is_null
from fairway.ci.spec import (
    Concurrency,
    Container,
    Filter,
    Input,
    InputType,
    Job,
    Mistake,
    RunDefaults,
    Schedule,
    Strategy,
    Trigger,
    Workflow,
    WorkflowError,
)
from fairway.ci.steps import decode_steps
from fairway.ci.yaml_tree import Map, Node, Scalar, Seq, YamlError, parse_yaml

MAX_CHARACTERS = 1024 * 1024
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_TOP = ("name", "run-name", "description", "on", "env", "defaults", "permissions", "concurrency", "jobs")
_JOB = ("name", "needs", "if", "runs-on", "strategy", "timeout-minutes", "cancel-timeout-minutes", "continue-on-error",
        "outputs", "env", "defaults", "permissions", "concurrency", "environment", "services", "container", "steps",
        "snapshot")
_CALL_JOB = ("name", "needs", "if", "uses", "with", "secrets", "strategy", "permissions", "concurrency")
_INPUT_TYPES: tuple[InputType, ...] = ("string", "boolean", "number", "choice", "environment")


def decode_workflow(text: str, path: str, *, max_characters: int = MAX_CHARACTERS, tolerant: bool = False) -> Workflow:
    """The workflow of this text. Raises `WorkflowError` with every mistake that was found.

    `tolerant` takes what can be run although GitHub would not: inputs of a called workflow without a type are texts.
    """
    if len(text) > max_characters:
        raise WorkflowError(path, (Mistake(f"The maximum file size of {max_characters} characters has been exceeded"),))
    try:
        root = parse_yaml(text)
    except YamlError as error:
        raise WorkflowError(path, (Mistake(error.message, error.line, error.column),)) from None
    if not isinstance(root, Map):
        where = (root.line, root.column) if root is not None else (0, 0)
        raise WorkflowError(path, (Mistake("A workflow is a mapping with the keys 'on' and 'jobs'", *where),))
    reader = Reader()
    workflow = _Decoder(reader, path, tolerant).workflow(root)
    if reader.mistakes:
        raise WorkflowError(path, tuple(sorted(reader.mistakes, key=lambda m: (m.line, m.column))))
    return workflow


class _Decoder:
    def __init__(self, reader: Reader, path: str, tolerant: bool) -> None:
        self.read = reader
        self.path = path
        self.tolerant = tolerant

    def workflow(self, root: Map) -> Workflow:
        top = self.read.mapping(root, _TOP, required=("on", "jobs"))
        return Workflow(
            path=self.path,
            on=self.triggers(top["on"]) if "on" in top else (),
            jobs=self.jobs(top["jobs"]) if "jobs" in top else {},
            name=self.read.text(top.get("name")),
            run_name=self.read.string(top.get("run-name"), contexts.WORKFLOW),
            env=self.read.string_map(top.get("env"), contexts.WORKFLOW_ENV),
            defaults=self.defaults(top.get("defaults"), contexts.WORKFLOW),
            permissions=self.permissions(top.get("permissions")),
            concurrency=self.concurrency(top.get("concurrency"), contexts.WORKFLOW),
        )

    # --- on -------------------------------------------------------------------------------------------------------

    def triggers(self, node: Node) -> tuple[Trigger, ...]:
        if isinstance(node, Scalar):
            return (Trigger(self.event(node)),)
        if isinstance(node, Seq):
            return tuple(Trigger(self.event(item)) for item in node if isinstance(item, Scalar))
        return tuple(self.trigger(key, value) for key, value in node.pairs)

    def event(self, node: Scalar) -> str:
        if node.text not in EVENTS:
            self.read.refuse(node, f"Unexpected value '{node.text}'")
        return node.text

    def trigger(self, key: Scalar, node: Node) -> Trigger:
        event = self.event(key)
        if event == "schedule":
            return Trigger(event, schedules=self.schedules(node))
        if event in ("workflow_dispatch", "workflow_call"):
            return self.called(event, node)
        if is_null(node):
            return Trigger(event)
        fields = self.read.mapping(node, ("types", *EVENTS.get(event, ())))
        trigger = Trigger(
            event,
            types=self.read.texts(fields.get("types")),
            branches=self.filter(fields, "branches", "ref"),
            tags=self.filter(fields, "tags", "ref"),
            paths=self.filter(fields, "paths", "path"),
            workflows=self.read.texts(fields.get("workflows")),
        )
        if event == "workflow_run" and not trigger.workflows:
            self.read.refuse(node, "Required property is missing: workflows")
        return trigger

    def filter(self, fields: dict[str, Node], name: str, kind: str) -> Filter:
        select = self.patterns(fields.get(name), kind)
        if select and all(pattern.startswith("!") for pattern in select):
            self.read.refuse(fields[name], f"'{name}' needs a pattern without '!' before those with it")
        return Filter(select, self.patterns(fields.get(f"{name}-ignore"), kind))

    def patterns(self, node: Node | None, kind: str) -> tuple[str, ...]:
        found = self.read.texts(node)
        items = node.items if isinstance(node, Seq) else (node,)
        for pattern, item in zip(found, items, strict=False):
            for mistake in globs.mistakes(pattern, "ref" if kind == "ref" else "path") if pattern else ():
                if item is not None and "useless" not in mistake.message:
                    self.read.refuse(item, f"invalid pattern {pattern!r}: {mistake.message}")
        return found

    def schedules(self, node: Node) -> tuple[Schedule, ...]:
        from fairway.ci.schedules import cron_mistake, zone_mistake  # slow to load: time zones

        items = node.items if isinstance(node, Seq) else (node,)
        found = []
        for item in items:
            fields = self.read.mapping(item, ("cron", "timezone"), required=("cron",))
            cron, zone = self.read.filled(fields.get("cron")), self.read.text(fields.get("timezone"))
            for name, mistake in (("cron", cron_mistake(cron) if cron else ""), ("timezone", zone_mistake(zone))):
                if mistake:
                    self.read.refuse(fields[name], mistake)
            found.append(Schedule(cron, zone))
        return tuple(found)

    def called(self, event: str, node: Node) -> Trigger:
        allowed = ("inputs",) if event == "workflow_dispatch" else ("inputs", "outputs", "secrets")
        fields = {} if is_null(node) else self.read.mapping(node, allowed)
        inputs = tuple(self.input(key, value, event) for key, value in self.read.entries(fields.get("inputs")))
        outputs: dict[str, Value] = {}
        for key, value in self.read.entries(fields.get("outputs")):
            row = self.read.mapping(value, ("description", "value"), required=("value",))
            outputs[key.text] = self.read.scalar(row.get("value"), contexts.CALL_OUTPUTS)
        secrets, required = [], []
        for key, value in self.read.entries(fields.get("secrets")):
            row = {} if is_null(value) else self.read.mapping(value, ("description", "required"))
            secrets.append(key.text)
            if self.read.flag(row.get("required")):
                required.append(key.text)
        return Trigger(event, inputs=inputs, outputs=outputs, secrets=tuple(secrets), required_secrets=tuple(required))

    def input(self, key: Scalar, node: Node, event: str) -> Input:
        allowed = ("description", "type", "required", "default",
                   *(("options", "deprecationMessage") if event == "workflow_dispatch" else ()))
        row = {} if is_null(node) else self.read.mapping(node, allowed)
        kind = self.read.text(row.get("type")) or "string"
        known = next((name for name in _INPUT_TYPES if name == kind), None)
        if known is None:
            self.read.refuse(row["type"], f"Unexpected value '{kind}'")
        elif event == "workflow_call" and not is_null(node) and "type" not in row and not self.tolerant:
            self.read.refuse(node, "Required property is missing: type")
        return Input(
            name=key.text,
            type=known or "string",
            required=self.read.flag(row.get("required")),
            default=self.read.scalar(row.get("default"), contexts.WORKFLOW),
            options=self.read.texts(row.get("options")),
        )

    # --- what workflow and jobs share -----------------------------------------------------------------------------

    def defaults(self, node: Node | None, where: contexts.Availability) -> RunDefaults:
        if node is None or is_null(node):
            return RunDefaults()
        run = self.read.mapping(node, ("run",)).get("run")
        if run is None or is_null(run):
            return RunDefaults()
        fields = self.read.mapping(run, ("shell", "working-directory"))
        return RunDefaults(self.read.string(fields.get("shell"), where),
                           self.read.string(fields.get("working-directory"), where))

    def permissions(self, node: Node | None) -> Value:
        if node is None:
            return None
        if isinstance(node, Scalar):
            if node.text not in ("read-all", "write-all"):
                self.read.refuse(node, f"Unexpected value '{node.text}'")
            return node.text
        granted: dict[str, str] = {}
        for scope, level in self.read.mapping(node, SCOPES).items():
            granted[scope] = self.read.text(level)
            allowed = ("write", "none") if scope == "id-token" else ("read", "write", "none")
            if granted[scope] not in allowed:
                self.read.refuse(level, f"Unexpected value '{granted[scope]}'")
        return granted

    def concurrency(self, node: Node | None, where: contexts.Availability) -> Concurrency | None:
        if node is None:
            return None
        if isinstance(node, Scalar):
            return Concurrency(self.read.string(node, where))
        fields = self.read.mapping(node, ("group", "cancel-in-progress", "queue"), required=("group",))
        queue = self.read.text(fields.get("queue")) or "single"
        cancels = self.read.typed(fields.get("cancel-in-progress"), where, bool) or False
        if queue not in ("single", "max"):
            self.read.refuse(fields["queue"], f"Unexpected value '{queue}'")
        elif queue == "max" and cancels is True:
            self.read.refuse(node, "'queue: max' and 'cancel-in-progress: true' exclude each other")
        return Concurrency(self.read.string(fields.get("group"), where), cancels, queue)

    # --- jobs -----------------------------------------------------------------------------------------------------

    def jobs(self, node: Node) -> dict[str, Job]:
        jobs: dict[str, Job] = {}
        for key, value in self.read.entries(node):
            self.job_id(key)
            jobs[key.text] = self.job(key, value)
        if isinstance(node, Map):
            check_needs(self.read, node, jobs)
        return jobs

    def job_id(self, key: Scalar) -> None:
        if not _ID.fullmatch(key.text):
            self.read.refuse(key, f"The identifier '{key.text}' is invalid. IDs may only contain alphanumeric characters, "
                             "'_', and '-'. IDs must start with a letter or '_' and must be less than 100 characters.")
        elif key.text.startswith("__"):
            self.read.refuse(key, f"The identifier '{key.text}' is invalid. IDs starting with '__' are reserved.")

    def job(self, key: Scalar, node: Node) -> Job:
        calls = isinstance(node, Map) and node.get("uses") is not None and node.get("runs-on") is None
        fields = self.read.mapping(node, _CALL_JOB if calls else _JOB, required=() if calls else ("runs-on",))
        self.read.typed(fields.get("cancel-timeout-minutes"), contexts.JOB, float)
        if not calls and "steps" in fields and not isinstance(fields["steps"], Seq):
            self.read.refuse(fields["steps"], "A sequence was expected")
        return Job(
            id=key.text,
            line=key.line,
            column=key.column,
            name=self.read.string(fields.get("name"), contexts.JOB),
            needs=self.read.texts(fields.get("needs")),
            condition=self.read.condition(fields.get("if"), contexts.JOB_IF),
            runs_on=self.runs_on(fields.get("runs-on")),
            strategy=self.strategy(fields.get("strategy")),
            timeout_minutes=self.read.typed(fields.get("timeout-minutes"), contexts.JOB, float),
            continue_on_error=self.read.typed(fields.get("continue-on-error"), contexts.JOB, bool) or False,
            outputs=self.read.plain_map(fields.get("outputs"), contexts.JOB_OUTPUTS),
            env=self.read.string_map(fields.get("env"), contexts.JOB_ENV),
            defaults=self.defaults(fields.get("defaults"), contexts.JOB_DEFAULTS),
            permissions=self.permissions(fields.get("permissions")),
            concurrency=self.concurrency(fields.get("concurrency"), contexts.JOB),
            environment=self.environment(fields.get("environment")),
            services=self.services(fields.get("services")),
            services_expression=self.expression(fields.get("services"), contexts.JOB),
            container=self.container(fields["container"]) if "container" in fields else None,
            steps=decode_steps(self.read, fields.get("steps"), contexts.STEP, contexts.STEP_IF, parallel=True),
            uses=self.read.filled(fields.get("uses")),
            inputs=self.read.plain_map(fields.get("with"), contexts.JOB),
            secrets=self.call_secrets(fields.get("secrets")),
            places=_places(fields),
        )

    def expression(self, node: Node | None, where: contexts.Availability) -> Value:
        """A whole value that is one expression, or None."""
        return self.read.string(node, where) if isinstance(node, Scalar) and "${{" in node.text else None

    def services(self, node: Node | None) -> dict[str, Container]:
        if isinstance(node, Scalar) and "${{" in node.text:
            return {}
        return {name.text: self.container(value, required=()) for name, value in self.read.entries(node)}

    def call_secrets(self, node: Node | None) -> Value:
        if isinstance(node, Scalar) and node.text != "inherit":
            self.read.refuse(node, f"Unexpected value '{node.text}'")
        return self.read.value(node, contexts.JOB_ENV)

    def runs_on(self, node: Node | None) -> Value:
        if isinstance(node, Map):
            fields = self.read.mapping(node, ("group", "labels"))
            group = self.read.string(fields.get("group"), contexts.JOB)
            if group and "/" in group and "${{" not in group:
                self.runner_group(fields["group"], group)
            return {name: self.read.value(value, contexts.JOB) for name, value in fields.items()}
        if isinstance(node, Seq):
            return [self.read.string(item, contexts.JOB) for item in node]
        return self.read.string(node, contexts.JOB)

    def runner_group(self, node: Node, group: str) -> None:
        prefix, _, rest = group.partition("/")
        known = prefix in ("org", "organization", "ent", "enterprise")
        if not rest:
            self.read.refuse(node, f"Invalid runs-on group name '{group}'.")
        elif not known or "/" in rest:
            self.read.refuse(node, f"Invalid runs-on group name '{group}'. Please use 'organization/' or 'enterprise/' "
                             "prefix to target a single runner group.")

    def strategy(self, node: Node | None) -> Strategy:
        if node is None or is_null(node):
            return Strategy()
        if isinstance(node, Scalar):
            self.read.mapping(node)
            return Strategy()
        fields = self.read.mapping(node, ("matrix", "fail-fast", "max-parallel"))
        fail_fast = self.read.typed(fields.get("fail-fast"), contexts.STRATEGY, bool)
        return Strategy(
            matrix=self.matrix(fields.get("matrix")),
            fail_fast=True if fail_fast is None else fail_fast,
            max_parallel=self.read.typed(fields.get("max-parallel"), contexts.STRATEGY, float),
        )

    def matrix(self, node: Node | None) -> Value:
        if node is None or is_null(node):
            return None
        if isinstance(node, Scalar):
            value = self.read.value(node, contexts.STRATEGY)
            if not (isinstance(value, str) and "${{" in value):
                self.read.refuse(node, f"Unexpected value '{to_text(value)}'")
            return value
        for key, vector in self.read.entries(node):
            if isinstance(vector, Seq) and not vector.items and key.text not in ("include", "exclude"):
                self.read.refuse(vector, f"Matrix vector '{key.text}' does not contain any values")
            elif isinstance(vector, Map) or (isinstance(vector, Scalar) and "${{" not in vector.text):
                self.read.refuse(vector, f"Matrix '{key.text}' must be a sequence or an expression")
        return self.read.value(node, contexts.STRATEGY)

    def environment(self, node: Node | None) -> Value:
        if isinstance(node, Map):
            fields = self.read.mapping(node, ("name", "url", "deployment"), required=("name",))
            return {"name": self.read.string(fields.get("name"), contexts.JOB),
                    "url": self.read.string(fields.get("url"), contexts.ENVIRONMENT_URL)}
        name = self.read.string(node, contexts.JOB)
        return {"name": name, "url": None} if name else None

    def container(self, node: Node, required: tuple[str, ...] = ("image",)) -> Container:
        if isinstance(node, Scalar):
            return Container(self.read.string(node, contexts.JOB))
        image = node.get("image") if isinstance(node, Map) else None
        if image is not None and is_null(image):
            self.read.refuse(image, "Unexpected value ''")
        fields = self.read.mapping(node, ("image", "env", "ports", "volumes", "options", "credentials", "command",
                                          "entrypoint"), required=required)
        if "credentials" in fields and self.expression(fields["credentials"], contexts.CREDENTIALS) is None:
            for name, value in self.read.mapping(fields["credentials"], ("username", "password")).items():
                del name
                self.read.string(value, contexts.CREDENTIALS)
        ports, volumes = (self.read.value(fields.get(name), contexts.JOB) for name in ("ports", "volumes"))
        return Container(
            image=self.read.string(fields.get("image"), contexts.JOB),
            env=self.read.plain_map(fields.get("env"), contexts.CONTAINER_ENV),
            ports=tuple(ports) if isinstance(ports, list) else (),
            volumes=tuple(volumes) if isinstance(volumes, list) else (),
            options=self.read.string(fields.get("options"), contexts.JOB),
            command=self.read.string(fields.get("command"), contexts.JOB),
            entrypoint=self.read.string(fields.get("entrypoint"), contexts.JOB),
        )


def _places(fields: dict[str, Node]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {
        key: (fields[key].line, fields[key].column) for key in ("uses", "with", "secrets") if key in fields}
    for key in ("with", "secrets"):
        node = fields.get(key)
        if isinstance(node, Map):
            found |= {f"{key}.{name.text}": (value.line, value.column) for name, value in node.pairs}
    return found
