"""`rules`, `only` and `except`: decoding, and which entry applies. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.ci.gitlab.conditions import ConditionError, check, evaluate, truthy
from fairway.ci.gitlab.durations import DurationError, seconds
from fairway.ci.gitlab.globs import some_match
from fairway.ci.gitlab.merging import flat
from fairway.ci.gitlab.regexps import RegexpError, compile_re2
from fairway.ci.gitlab.spec import WHENS, AllowFailure, Changes, Need, Only, Rule, When
from fairway.ci.gitlab.variables import Variable, Variables, expand

MOST_PATTERNS = 50
_KEYS = frozenset({"if", "changes", "exists", "when", "allow_failure", "variables", "needs", "start_in", "interruptible",
                   "auto_cancel"})


class RuleMistake(Exception):
    """What is wrong, with the path of the key."""


@dataclass(frozen=True)
class Facts:
    """What rules look at besides variables. `changed` is None where nobody knows: `changes` then holds."""

    source: str = "push"
    ref: str = ""
    is_tag: bool = False
    changed: frozenset[str] | None = None
    files: Callable[[], Iterable[str]] = tuple
    changed_since: Callable[[str], frozenset[str] | None] = field(default=lambda ref: None)


def first_match(rules: Iterable[Rule], variables: Mapping[str, str], facts: Facts) -> Rule | None:
    """The first rule of which all clauses hold. Raises `RuleMistake` for an expression that cannot be evaluated."""
    return next((rule for rule in rules if _applies(rule, variables, facts)), None)


def _applies(rule: Rule, variables: Mapping[str, str], facts: Facts) -> bool:
    if rule.condition is not None:
        try:
            if not truthy(evaluate(rule.condition, variables)):
                return False
        except ConditionError as error:
            raise RuleMistake(f"rules:if {rule.condition}: {error}") from None
    if rule.changes is not None:
        changed = facts.changed_since(expand(rule.changes.compare_to, variables)) if rule.changes.compare_to else facts.changed
        patterns = [expand(pattern, variables) for pattern in rule.changes.paths]
        if changed is not None and not some_match(patterns, changed):
            return False
    if rule.exists is not None:
        return some_match([expand(pattern, variables) for pattern in rule.exists], facts.files())
    return True


def outcome(rules: tuple[Rule, ...], variables: Mapping[str, str], facts: Facts, *, job_when: When = "on_success",
            job_allows: AllowFailure | None = None) -> tuple[When, AllowFailure, Rule | None]:
    """When the job runs, whether its failure counts, and the rule that says so; "never" where none applies."""
    rule = first_match(rules, variables, facts)
    if rule is None:
        return "never", AllowFailure(), None
    when = rule.when or job_when
    allowed = rule.allow_failure if rule.allow_failure is not None else job_allows
    if allowed is None:
        # a manual job is optional, unless it is a rule that makes it manual
        allowed = AllowFailure(always=when == "manual" and rule.when is None)
    return when, allowed, rule


# --- decoding -------------------------------------------------------------------------------------------------------


def decode_rules(value: Any, path: str) -> tuple[Rule, ...]:
    """Raises `RuleMistake`."""
    if not isinstance(value, list):
        raise RuleMistake(f"{path} must be an array of mappings")
    entries = flat(value)
    if not entries:
        raise RuleMistake(f"{path} config can't be blank")
    return tuple(_rule(entry, f"{path}[{number}]") for number, entry in enumerate(entries))


def _rule(entry: Any, path: str) -> Rule:
    if not isinstance(entry, dict):
        raise RuleMistake(f"{path} must be a mapping")
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise RuleMistake(f"{path} does not know {unknown[0]!r}; there are: {', '.join(sorted(_KEYS))}")
    condition = entry.get("if")
    if condition is not None:
        condition = str(condition)
        try:
            check(condition)
        except ConditionError as error:
            raise RuleMistake(f"{path}:if {condition}: {error}") from None
    when = entry.get("when")
    if when is not None and when not in WHENS:
        raise RuleMistake(f"{path}:when must be one of {', '.join(WHENS)}, not {when!r}")
    try:
        start_in = seconds(entry["start_in"]) if "start_in" in entry else None
    except DurationError as error:
        raise RuleMistake(f"{path}:start_in {error}") from None
    if when == "delayed" and start_in is None:
        raise RuleMistake(f"{path}: `when: delayed` needs `start_in`")
    return Rule(
        condition=condition,
        changes=_changes(entry["changes"], path) if "changes" in entry else None,
        exists=_exists(entry["exists"], path) if "exists" in entry else None,
        when=when,
        allow_failure=decode_allow_failure(entry["allow_failure"], path) if "allow_failure" in entry else None,
        variables=decode_variables(entry.get("variables"), f"{path}:variables"),
        needs=decode_needs(entry["needs"], f"{path}:needs") if "needs" in entry else None,
        start_in_s=start_in,
        interruptible=entry.get("interruptible"),
        auto_cancel=entry.get("auto_cancel") or {},
    )


def _changes(value: Any, path: str) -> Changes:
    if isinstance(value, dict):
        return Changes(_paths(value.get("paths"), f"{path}:changes:paths"), str(value.get("compare_to") or ""))
    return Changes(_paths(value, f"{path}:changes"))


def _exists(value: Any, path: str) -> tuple[str, ...]:
    return _paths(value.get("paths") if isinstance(value, dict) else value, f"{path}:exists")


def _paths(value: Any, path: str) -> tuple[str, ...]:
    found = flat(value) if value is not None else []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in found):
        raise RuleMistake(f"{path} must be an array of strings")
    if len(found) > MOST_PATTERNS:
        raise RuleMistake(f"{path} may have at most {MOST_PATTERNS} entries")
    return tuple(found)


def decode_allow_failure(value: Any, path: str) -> AllowFailure:
    if isinstance(value, bool):
        return AllowFailure(always=value)
    if isinstance(value, dict) and set(value) == {"exit_codes"}:
        codes = flat(value["exit_codes"])
        if codes and all(isinstance(code, int) and not isinstance(code, bool) for code in codes):
            return AllowFailure(exit_codes=tuple(codes))
    raise RuleMistake(f"{path}:allow_failure must be true, false, or exit_codes with a number or a list of numbers")


def decode_variables(value: Any, path: str) -> Variables:
    if value is None:
        return Variables()
    if not isinstance(value, dict):
        raise RuleMistake(f"{path} config should be a hash of key value pairs")
    return Variables({str(name): _variable(entry, f"{path}:{name}") for name, entry in value.items()})


def _variable(entry: Any, path: str) -> Variable:
    if isinstance(entry, dict):
        unknown = [key for key in entry if key not in ("value", "description", "options", "expand")]
        if unknown:
            raise RuleMistake(f"{path} does not know {unknown[0]!r}; there are: value, description, options, expand")
        options = tuple(map(str, entry.get("options") or ()))
        text = _variable_text(entry.get("value", ""), path)
        if options and text not in options:
            raise RuleMistake(f"{path}: the value {text!r} is not one of its options")
        return Variable(text, raw=entry.get("expand") is False, description=str(entry.get("description") or ""),
                        options=options)
    return Variable(_variable_text(entry, path))


def _variable_text(value: Any, path: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        raise RuleMistake(f"{path} must be a text or a number")
    return str(value)


def decode_needs(value: Any, path: str) -> tuple[Need, ...]:
    if not isinstance(value, (list, str, dict)):
        raise RuleMistake(f"{path} must be a list of jobs")
    return tuple(_need(entry, path) for entry in flat(value))


def _need(entry: Any, path: str) -> Need:
    if isinstance(entry, str):
        return Need(entry)
    known = ("job", "artifacts", "optional", "parallel", "project", "pipeline", "ref")
    if not isinstance(entry, dict) or not set(entry) <= set(known) or not ("job" in entry or "pipeline" in entry):
        raise RuleMistake(f"{path}: each entry is the name of a job, or a mapping of {', '.join(known)}")
    parallel = entry.get("parallel") or {}
    matrix = (parallel.get("matrix") or []) if isinstance(parallel, dict) else None
    if not isinstance(matrix, list) or not all(isinstance(row, dict) for row in matrix):
        raise RuleMistake(f"{path}:parallel is `matrix` with a list of mappings")
    return Need(
        job=str(entry.get("job") or ""), artifacts=entry.get("artifacts") is not False,
        optional=entry.get("optional") is True, matrix=tuple(matrix), project=str(entry.get("project") or ""),
        pipeline=str(entry.get("pipeline") or ""), ref=str(entry.get("ref") or ""))


# --- only and except ------------------------------------------------------------------------------------------------

_SOURCES = {
    "pushes": ("push",), "merge_requests": ("merge_request_event",), "schedules": ("schedule",), "web": ("web",),
    "api": ("api",), "triggers": ("trigger",), "pipelines": ("pipeline",), "external": ("external",), "chat": ("chat",),
    "external_pull_requests": ("external_pull_request_event",),
}


def decode_only(value: Any, path: str) -> Only:
    if isinstance(value, (str, list)):
        return Only(refs=tuple(map(str, flat(value))))
    if not isinstance(value, dict):
        raise RuleMistake(f"{path} must be a list of refs, or a mapping of refs, variables, changes, kubernetes")
    def texts(key: str) -> tuple[str, ...] | None:
        return tuple(map(str, flat(value[key]))) if key in value else None

    return Only(texts("refs"), texts("variables"), texts("changes"))


def is_wanted(only: Only | None, exclude: Only | None, variables: Mapping[str, str], facts: Facts) -> bool:
    """Without `only`, branches and tags are meant."""
    only = only or Only(refs=("branches", "tags"))
    if only.refs is None:
        only = Only(("branches", "tags"), only.variables, only.changes)
    return all(_clauses(only, variables, facts)) and not (exclude is not None and any(_clauses(exclude, variables, facts)))


def _clauses(only: Only, variables: Mapping[str, str], facts: Facts) -> list[bool]:
    found = []
    if only.refs is not None:
        found.append(any(_ref_matches(ref, facts, variables.get("CI_PROJECT_PATH", "")) for ref in only.refs))
    if only.variables is not None:
        found.append(any(_holds(text, variables) for text in only.variables))
    if only.changes is not None:
        patterns = [expand(pattern, variables) for pattern in only.changes]
        found.append(facts.changed is None or some_match(patterns, facts.changed))
    return found


def _holds(text: str, variables: Mapping[str, str]) -> bool:
    try:
        return truthy(evaluate(text, variables))
    except ConditionError:
        return False


def _ref_matches(wanted: str, facts: Facts, project: str) -> bool:
    name, at, path = wanted.rpartition("@")
    if at and not wanted.endswith("/"):
        if path.casefold() != project.casefold():
            return False
        wanted = name
    is_merge_request = facts.source == "merge_request_event"
    if wanted in ("branches", "tags"):
        return not is_merge_request and facts.is_tag == (wanted == "tags")
    if wanted in _SOURCES:
        return facts.source in _SOURCES[wanted]
    pattern = re.fullmatch(r"/(.+)/([ismU]*)", wanted, re.DOTALL)
    if pattern is None:
        return not is_merge_request and facts.ref == wanted
    try:
        return not is_merge_request and compile_re2(pattern[1].replace("\\/", "/"), pattern[2]).search(facts.ref) is not None
    except RegexpError:
        return False
