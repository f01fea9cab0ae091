"""Decoding `action.yml`: inputs, outputs and what runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairway.ci import contexts
from fairway.ci.expressions import Value
from fairway.ci.reading import Reader
from fairway.ci.spec import Mistake, Step, WorkflowError
from fairway.ci.steps import decode_steps
from fairway.ci.yaml_tree import Map, Node, YamlError, parse_yaml


@dataclass(frozen=True, slots=True)
class ActionInput:
    default: Value = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class ActionFile:
    """`using` is composite, docker, or node20 and the like; `main`, `pre`, `post` are scripts of the latter."""

    name: str
    using: str
    inputs: Mapping[str, ActionInput]
    outputs: Mapping[str, Value]
    steps: tuple[Step, ...] = ()
    main: str = ""
    pre: str = ""
    pre_if: str = "always()"
    post: str = ""
    post_if: str = "always()"
    image: str = ""
    entrypoint: str = ""
    args: tuple[Value, ...] = ()


def decode_action(text: str, path: str) -> ActionFile:
    """The action of this text. Raises `WorkflowError`."""
    try:
        root = parse_yaml(text)
    except YamlError as error:
        raise WorkflowError(path, (Mistake(error.message, error.line, error.column),)) from None
    if not isinstance(root, Map):
        raise WorkflowError(path, (Mistake("An action is a mapping with the key 'runs'"),))
    read = Reader()
    top = read.mapping(root, ("name", "author", "description", "inputs", "outputs", "runs", "branding"),
                       required=("runs",))
    runs: dict[str, Node] = read.mapping(top.get("runs"), required=("using",))
    using = read.text(runs.get("using")).lower()
    action = ActionFile(
        name=read.text(top.get("name")),
        using=using,
        inputs={key.text: _input(read, value) for key, value in read.entries(top.get("inputs"))},
        outputs={key.text: read.scalar(read.mapping(value).get("value"), contexts.ACTION)
                 for key, value in read.entries(top.get("outputs"))},
        steps=decode_steps(read, runs.get("steps"), contexts.ACTION, contexts.ACTION_IF),
        main=read.text(runs.get("main")),
        pre=read.text(runs.get("pre")),
        pre_if=read.condition(runs.get("pre-if"), contexts.ACTION_IF) or "always()",
        post=read.text(runs.get("post")),
        post_if=read.condition(runs.get("post-if"), contexts.ACTION_IF) or "always()",
        image=read.text(runs.get("image")),
        entrypoint=read.text(runs.get("entrypoint")),
        args=_args(read.value(runs.get("args"), contexts.ACTION)),
    )
    if using == "composite":
        _check_shells(read, runs.get("steps"), action.steps)
    if read.mistakes:
        raise WorkflowError(path, tuple(read.mistakes))
    return action


def _args(value: Value) -> tuple[Value, ...]:
    return tuple(value) if isinstance(value, list) else ()


def _input(read: Reader, node: Node) -> ActionInput:
    row = read.mapping(node, ("description", "required", "default", "deprecationMessage", "type")) \
        if isinstance(node, Map) else {}
    return ActionInput(read.scalar(row.get("default"), contexts.ACTION), read.text(row.get("required")) == "true")


def _check_shells(read: Reader, node: Node | None, steps: tuple[Step, ...]) -> None:
    for step in steps:
        if step.run is not None and not step.shell and node is not None:
            read.mistakes.append(Mistake("Required property is missing: shell", step.line, node.column + 2))
