"""dorny/paths-filter: which groups of files a push or a pull request has changed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import yaml

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.ci.gitlab.globs import path_pattern

_STATUS = {"A": "added", "M": "modified", "D": "deleted", "R": "renamed", "C": "copied", "U": "unmerged"}


async def paths_filter(use: Use) -> None:
    filters = _filters(use)
    changed = await _changed(use)
    names = []
    for name, rules in filters.items():
        files = [path for path, status in changed.items() if _wanted(path, status, rules, use.text("predicate-quantifier"))]
        use.output(name, "true" if files else "false")
        use.output(f"{name}_count", str(len(files)))
        if use.text("list-files") not in ("", "none"):
            use.output(f"{name}_files", listed(files, use.text("list-files")))
        use.log(f"{name}: {len(files)} of {len(changed)} changed file(s)")
        names += [name] if files else []
    use.output("changes", json.dumps(names, separators=(",", ":")))


def _filters(use: Use) -> dict[str, list[Any]]:
    text = use.inputs.get("filters", "")
    if "\n" not in text.strip() and text.strip().endswith((".yml", ".yaml")):
        path = use.inside(text.strip())
        if not path.is_file():
            raise ActionFailed(f"filters: {text.strip()} does not exist in the work tree")
        text = path.read_text()
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ActionFailed(f"filters: not valid YAML: {error}".replace("\n", " ")) from None
    if not isinstance(found, dict):
        raise ActionFailed("filters must be a mapping of names and patterns")
    return {str(name): _flat(rules) for name, rules in found.items()}


def _flat(rules: Any) -> list[Any]:
    return [entry for rule in rules for entry in _flat(rule)] if isinstance(rules, list) else [rules]


async def _changed(use: Use) -> dict[str, str]:
    """Paths and what happened to them, against the base that the event means."""
    folder = use.inside(use.text("working-directory") or ".")
    event: Mapping[str, Any] = use.github.get("event") or {}
    base = use.text("base")
    if use.context("event_name").startswith("pull_request"):
        base = str(((event.get("pull_request") or {}).get("base") or {}).get("sha") or base)
    elif not base or base == use.context("ref_name"):
        base = str(event.get("before") or "")
    if not base or set(base) == {"0"}:
        base = "HEAD~1"
    known = await use.execute("git", "rev-parse", "--quiet", "--verify", f"{base}^{{commit}}", cwd=folder, echo=False,
                              quiet=True, may_fail=True)
    if not known:
        wanted = base if re.fullmatch(r"[0-9a-f]{40}", base) else f"refs/heads/{base}:refs/remotes/origin/{base}"
        await use.execute("git", "fetch", "--quiet", "--depth=100", "origin", wanted, cwd=folder, echo=False, quiet=True,
                          may_fail=True)
        known = await use.execute("git", "rev-parse", "--quiet", "--verify", f"origin/{base}", cwd=folder, echo=False,
                                  quiet=True, may_fail=True) or base
    said = await use.execute("git", "diff", "--no-renames", "--name-status", "-z", known.strip(), use.text("ref") or "HEAD",
                             cwd=folder, echo=False, quiet=True)
    parts = said.replace("\n", "").split("\0")
    return {path: _STATUS.get(status[:1], "modified") for status, path in zip(parts[::2], parts[1::2], strict=False)}


def _wanted(path: str, status: str, rules: list[Any], quantifier: str) -> bool:
    answers = [_holds(path, status, rule) for rule in rules]
    return all(answers) if quantifier == "every" else any(answers)


def _holds(path: str, status: str, rule: Any) -> bool:
    """A pattern, or a mapping of a status (`added|modified`) to patterns."""
    if isinstance(rule, dict):
        return any(status in str(wanted).split("|") and any(_holds(path, status, one) for one in _flat(patterns))
                   for wanted, patterns in rule.items())
    pattern = str(rule)
    if pattern.startswith("!"):
        return path_pattern(pattern[1:]).fullmatch(path) is None
    return path_pattern(pattern).fullmatch(path) is not None


def listed(files: list[str], form: str) -> str:
    match form:
        case "json":
            return json.dumps(files, separators=(",", ":"))
        case "csv":
            return ",".join(f'"{file}"' if re.search(r'[",]', file) else file for file in files)
        case "shell":
            return " ".join(map(shlex.quote, files))
    return " ".join(re.sub(r"([^\w./-])", r"\\\1", file) for file in files)


PATHS_FILTER = BuiltIn("dorny/paths-filter", {
    "filters": "", "base": "", "ref": "", "token": "", "list-files": "none", "working-directory": "", "initial-fetch-depth": "",
    "predicate-quantifier": "some"}, paths_filter)
