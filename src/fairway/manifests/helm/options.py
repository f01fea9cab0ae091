"""How a chart is to be rendered: in the words of an Application's `helm:` and of `helm template`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.manifests.errors import ManifestError, Place
from fairway.manifests.files import FileTree

FetchChart = Callable[[str, str, str], FileTree]
"""Repository, name and version constraint of a dependency to the files of its chart."""

_PART = re.compile(r"\[(\d+)\]|((?:\\.|[^.\\\[])+)")
_INTEGER = re.compile(r"^-?(0|[1-9][0-9]{0,18})$")
MAX_INDEX = 65536
"""As Helm has it: a longer list in `--set a[n]=` is a mistake, and memory."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """`--set name=value`; `text` is `--set-string`; `file` says that `value` is a path whose contents are meant."""

    name: str
    value: str
    text: bool = False
    file: bool = False


@dataclass(frozen=True, slots=True)
class HelmOptions:
    """Later sources of values win: values files in order, `values`, `parameters`.

    A values file is a path from the chart's folder, or `$name/path` in one of `refs`. `kube_version` "" is the version
    that Fairway's own API serves, and `api_versions` are added to those that it serves.
    """

    release: str
    namespace: str = "default"
    value_files: tuple[str, ...] = ()
    ignore_missing_value_files: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[Parameter, ...] = ()
    refs: Mapping[str, FileTree] = field(default_factory=dict)
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()
    crds: bool = True
    hooks: bool = True
    tests: bool = True
    upgrade: bool = False
    check_schema: bool = True
    fetch: FetchChart | None = None
    """Fills dependencies of other repositories; without it nothing is downloaded, and they must lie in `charts/`."""


def with_parameter(values: Mapping[str, Any], parameter: Parameter) -> dict[str, Any]:
    """`values` with `a.b[0].c=value` set, lists and maps made where they are missing."""
    steps: list[str | int] = [int(m[1]) if m[1] else re.sub(r"\\(.)", r"\1", m[2]) for m in _PART.finditer(parameter.name)]
    if not steps or isinstance(steps[0], int):
        raise ManifestError(Place("parameters"), f"helm parameter {parameter.name!r} names no value", "write a.b[0].c")
    value: Any = parameter.value if parameter.text or parameter.file else typed(parameter.value)
    found = _set(dict(values), steps, value, parameter.name)
    assert isinstance(found, dict)
    return found


def typed(text: str) -> Any:
    """What `--set` makes of a text: numbers, booleans, null, `{a,b}` as a list; everything else stays text."""
    if len(text) > 1 and text[0] == "{" and text[-1] == "}":
        return [typed(part) for part in re.split(r"(?<!\\),", text[1:-1])]  # `{}` is a list of one empty text
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() == "null":
        return None
    return int(text) if _INTEGER.match(text) else text.replace("\\,", ",")


def _set(at: Any, steps: list[str | int], value: Any, name: str) -> Any:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        found = dict(at) if isinstance(at, dict) else {}
        found[step] = _set(found.get(step), rest, value, name)
        return found
    if step > MAX_INDEX:
        raise ManifestError(Place("parameters"), f"helm parameter {name!r}: index {step} is greater than {MAX_INDEX}",
                            "a list is not that long")
    items = list(at) if isinstance(at, list) else []
    items += [None] * (step + 1 - len(items))
    items[step] = _set(items[step], rest, value, name)
    return items
