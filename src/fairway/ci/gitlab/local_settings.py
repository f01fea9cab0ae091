"""Settings of gitlab-ci-local that teams already have: variables and inputs for runs on one's own machine.

`.gitlab-ci-local-variables.yml` (project) and `~/.gitlab-ci-local/variables.yml` (keys global, group, project) give
variables, `.gitlab-ci-local-inputs.yml` gives inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fairway.ci.gitlab.plan import Scoped
from fairway.ci.gitlab.variables import NO_VARIABLES, Variable, Variables
from fairway.ci.spec import Mistake, WorkflowError

VARIABLES, INPUTS = ".gitlab-ci-local-variables.yml", ".gitlab-ci-local-inputs.yml"
_HOME = Path(".gitlab-ci-local") / "variables.yml"


@dataclass(frozen=True)
class LocalSettings:
    """`inputs` are by component, "" for all."""

    variables: Variables = NO_VARIABLES
    scoped: Scoped = ()
    inputs: Mapping[str, Mapping[str, Any]] | None = None


def read_settings(root: Path, home: Path, repository: str, host: str = "gitlab.com") -> LocalSettings:
    """Raises `WorkflowError` for a file that cannot be read."""
    layers: list[Mapping[str, Any]] = []
    kept = _mapping(home / _HOME)
    layers.append(kept.get("global") or {})
    for kind, prefix in (("group", True), ("project", False)):
        for key, values in (kept.get(kind) or {}).items():
            name = str(key).replace(":", "/").removesuffix(".git")
            own = f"{host}/{repository}"
            if own.startswith(name.rstrip("/") + "/") if prefix else own == name:
                layers.append(values or {})
    layers.append(_mapping(root / VARIABLES))
    everywhere: dict[str, Variable] = {}
    scoped: dict[str, dict[str, Variable]] = {}
    for layer in layers:
        for name, entry in layer.items():
            for pattern, variable in _values(entry, home):
                if pattern == "*":
                    everywhere[str(name)] = variable
                else:
                    scoped.setdefault(pattern, {})[str(name)] = variable
    return LocalSettings(Variables(everywhere), tuple((pattern, Variables(found)) for pattern, found in scoped.items()),
                         _inputs(_mapping(root / INPUTS)))


def _values(entry: Any, home: Path) -> list[tuple[str, Variable]]:
    if isinstance(entry, dict):
        is_file = entry.get("type") == "file"
        values = entry.get("values") if isinstance(entry.get("values"), dict) else {"*": entry.get("value", "")}
        return [(str(pattern), _variable(value, home, is_file)) for pattern, value in (values or {}).items()]
    return [("*", _variable(entry, home, False))]


def _variable(value: Any, home: Path, is_file: bool) -> Variable:
    text = "" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)
    if text.startswith("~/") and (home / text[2:]).is_file():
        return Variable((home / text[2:]).read_text(errors="replace"), file=True)
    return Variable(text, file=is_file)


def _inputs(given: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """`_global` and plain values are for all files, a mapping is for the component of its name."""
    wide: dict[str, Any] = {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, value in given.items():
        if name == "_global" and isinstance(value, dict):
            wide |= value
        elif isinstance(value, dict):
            found[str(name)] = value
        else:
            wide[str(name)] = value
    return {**found, "": wide}


def _mapping(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = yaml.safe_load(path.read_text(errors="replace"))
    except yaml.YAMLError as error:
        raise WorkflowError(path.name, (Mistake(f"not valid YAML: {error}".replace("\n", " ")),)) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise WorkflowError(path.name, (Mistake("a mapping of names and values is needed"),))
    return found
