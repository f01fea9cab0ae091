"""`fairway-gates.yaml`: which reports there must be, and how good. Decoded strictly; every mistake with its line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

import yaml

from fairway.gates.forms.custom import BadExpression, compiled
from fairway.gates.nodes import Mistake, Nodes
from fairway.gates.policy import is_policy, translated
from fairway.gates.rules import COVERAGE, FINDINGS, NUMBERS, Number, Unit
from fairway.gates.units import read_number

CONFIG_NAME = "fairway-gates.yaml"
DEFAULT_MAX_AGE = timedelta(hours=24)
"""A report older than that was not made by this run."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The least share in percent, per metric. `new_lines`: of the lines that the change adds. `drop`: the most percentage
    points by which `lines` may be below the base's report."""

    minimum: tuple[tuple[str, float], ...] = ()
    new_lines: float | None = None
    drop: float | None = None


@dataclass(frozen=True, slots=True)
class JUnit:
    """`failures` counts failures and errors. `skipped` and `seconds` are None where any number is allowed."""

    failures: int = 0
    tests: int = 1
    skipped: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """The most findings per word (level, severity or `any`); `new` counts those only that the base's report does not have.

    `fixable_only`: what no version mends is not counted. `unchecked`: what the tool could not look at, at most.
    """

    form: str
    maximum: tuple[tuple[str, int], ...] = ()
    new: tuple[tuple[str, int], ...] = ()
    fixable_only: bool = False
    unchecked: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    name: str
    bound: float
    least: bool
    unit: Unit = ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Limits of what a report measures. `worse`: the most percent by which a number may be worse than the base's."""

    form: str
    limits: tuple[Limit, ...]
    worse: float | None = None
    expression: str = ""
    """jq, for the form `custom`."""


Rule = Coverage | JUnit | Scan | Numbers


@dataclass(frozen=True, slots=True)
class Waiver:
    """Findings of this id (a rule, a CVE) are not counted up to and including a day. `gate`, `path`: only there."""

    id: str
    reason: str
    expires: date
    gate: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """`reports` and `base` are paths or globs, from the folder of the file. `component` groups gates in what is shown."""

    name: str
    rule: Rule
    reports: tuple[str, ...]
    max_age: timedelta
    base: tuple[str, ...] = ()
    component: str = ""


@dataclass(frozen=True, slots=True)
class Config:
    gates: tuple[Gate, ...]
    waivers: tuple[Waiver, ...] = ()


class ConfigMistakes(ValueError):
    """The file cannot be used; all that is wrong with it, in order."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


def decode(text: str) -> Config:
    """A file's gates and waivers. A policy of thresholds (see `policy`) is read too. Raises `ConfigMistakes`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode) and is_policy({str(key.value) for key, _ in node.value}):
            rewritten, mistakes = translated(node)
            if mistakes:
                raise ConfigMistakes(mistakes)
            node = yaml.compose(rewritten, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigMistakes((Mistake(mark.line + 1 if mark else 1, "", f"not YAML: {error.problem}"),)) from None
    reader = _Reader()
    config = reader.config(node)
    if reader.nodes.mistakes:
        raise ConfigMistakes(tuple(sorted(reader.nodes.mistakes, key=lambda mistake: mistake.line)))
    return config


_KINDS = ("coverage", "junit", *FINDINGS, *NUMBERS, "custom")


@dataclass(frozen=True, slots=True)
class _Reader:
    nodes: Nodes = field(default_factory=Nodes)

    def config(self, node: yaml.Node | None) -> Config:
        nodes = self.nodes
        if not isinstance(node, yaml.MappingNode):
            nodes.mistakes.append(Mistake(1, "", "a mapping with `gates:` is needed"))
            return Config(())
        fields = nodes.fields(node, "", {"gates", "max_age", "waivers"})
        if "gates" not in fields:
            nodes.wrong(node, "", "`gates:` is missing: a list of gates is needed")
            return Config(())
        max_age = nodes.duration(fields["max_age"], "max_age", DEFAULT_MAX_AGE) if "max_age" in fields else DEFAULT_MAX_AGE
        gates = [self._gate(item, f"gates[{i}]", max_age) for i, item in nodes.items(fields["gates"], "gates")]
        if not gates and not nodes.mistakes:
            nodes.wrong(fields["gates"], "gates", "at least one gate is needed; no gate would mean no check")
        found = tuple(gate for gate in gates if gate is not None)
        names = [gate.name for gate in found]
        for name in sorted({name for name in names if names.count(name) > 1}):
            nodes.wrong(fields["gates"], "gates", f"two gates are called {name!r}")
        listed = nodes.items(fields["waivers"], "waivers") if "waivers" in fields else ()
        return Config(found, tuple(self._waiver(item, f"waivers[{i}]", set(names)) for i, item in listed))

    def _waiver(self, node: yaml.Node, path: str, gates: set[str]) -> Waiver:
        fields = self.nodes.fields(node, path, {"id", "reason", "expires", "gate", "path"})
        for name in ("id", "reason", "expires"):
            if name not in fields:
                self.nodes.wrong(node, path, f"`{name}:` is missing; a waiver names what, why, and until when")
        texts = {name: self.nodes.text(one, f"{path}.{name}") for name, one in fields.items() if name != "expires"}
        gate = texts.get("gate", "")
        if gate and gate not in gates:
            known = ", ".join(sorted(gates))
            self.nodes.wrong(fields["gate"], f"{path}.gate", f"no gate is called {gate!r}; known are {known}")
        expires = self.nodes.day(fields["expires"], f"{path}.expires") if "expires" in fields else date.min
        return Waiver(texts.get("id", ""), texts.get("reason", ""), expires, gate, texts.get("path", ""))

    def _gate(self, node: yaml.Node, path: str, default_age: timedelta) -> Gate | None:
        nodes = self.nodes
        fields = nodes.fields(node, path, {"name", "report", "reports", "base", "component", "max_age", *_KINDS})
        kinds = [kind for kind in _KINDS if kind in fields]
        if len(kinds) != 1:
            nodes.wrong(node, path, f"exactly one of {', '.join(_KINDS)} is needed, found {', '.join(kinds) or 'none'}")
            return None
        kind = kinds[0]
        reports = self._reports(node, fields, path)
        base = self._paths(fields["base"], f"{path}.base") if "base" in fields else ()
        rule = self._rule(kind, fields[kind], f"{path}.{kind}")
        name = nodes.text(fields["name"], f"{path}.name") if "name" in fields else kind
        component = nodes.text(fields["component"], f"{path}.component") if "component" in fields else ""
        max_age = nodes.duration(fields["max_age"], f"{path}.max_age", DEFAULT_MAX_AGE) if "max_age" in fields else default_age
        if _needs_base(rule) and not base:
            nodes.wrong(fields[kind], f"{path}.{kind}", "`base: PATH` is missing: the report of the branch to compare with")
        return Gate(name, rule, reports, max_age, base, component)

    def _reports(self, node: yaml.Node, fields: Mapping[str, yaml.Node], path: str) -> tuple[str, ...]:
        if ("report" in fields) == ("reports" in fields):
            self.nodes.wrong(node, path, "`report: PATH` or `reports: [PATH, …]` is needed (one of them)")
            return ()
        return self._paths(fields.get("report") or fields["reports"], f"{path}.{'report' if 'report' in fields else 'reports'}")

    def _paths(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        if isinstance(node, yaml.ScalarNode):
            return (self.nodes.text(node, path),)
        found = [self.nodes.text(item, f"{path}[{i}]") for i, item in self.nodes.items(node, path)]
        if not found:
            self.nodes.wrong(node, path, "at least one path is needed")
        return tuple(found)

    def _rule(self, kind: str, node: yaml.Node, path: str) -> Rule:
        if kind == "coverage":
            return self._coverage(node, path)
        if kind == "junit":
            return self._junit(node, path)
        if kind in FINDINGS:
            return self._scan(kind, node, path)
        return self._custom(node, path) if kind == "custom" else self._numbers(kind, node, path)

    def _coverage(self, node: yaml.Node, path: str) -> Coverage:
        fields = self.nodes.fields(node, path, {*COVERAGE, "new_lines", "drop"})
        values = {name: self.nodes.number(one, f"{path}.{name}") for name, one in fields.items()}
        if not fields:
            self.nodes.wrong(node, path, f"no threshold: give one of {', '.join(COVERAGE)}")
        minimum = tuple((name, value) for name, value in values.items() if name in COVERAGE)
        return Coverage(minimum, values.get("new_lines"), values.get("drop"))

    def _junit(self, node: yaml.Node, path: str) -> JUnit:
        fields = self.nodes.fields(node, path, {"failures", "tests", "skipped", "time"})
        counts = {name: self.nodes.count(one, f"{path}.{name}") for name, one in fields.items() if name != "time"}
        seconds = None
        if "time" in fields:
            seconds = self.nodes.duration(fields["time"], f"{path}.time", DEFAULT_MAX_AGE).total_seconds()
        return JUnit(**counts, seconds=seconds)

    def _scan(self, kind: str, node: yaml.Node, path: str) -> Scan:
        words = (*FINDINGS[kind], "any")
        fields = self.nodes.fields(node, path, {*words, "new", "fixable_only", "unchecked"})
        new = self.nodes.fields(fields["new"], f"{path}.new", set(words)) if "new" in fields else {}
        maximum = tuple((name, self.nodes.count(one, f"{path}.{name}")) for name, one in fields.items() if name in words)
        fresh = tuple((name, self.nodes.count(one, f"{path}.new.{name}")) for name, one in new.items())
        if not maximum and not fresh:
            self.nodes.wrong(node, path, f"no threshold: give one of {', '.join(FINDINGS[kind])}")
        fixable = "fixable_only" in fields and self.nodes.flag(fields["fixable_only"], f"{path}.fixable_only")
        unchecked = self.nodes.count(fields["unchecked"], f"{path}.unchecked") if "unchecked" in fields else 0
        return Scan(kind, maximum, fresh, fixable, unchecked)

    def _numbers(self, kind: str, node: yaml.Node, path: str) -> Numbers:
        known = NUMBERS[kind]
        fields = self.nodes.fields(node, path, {*known, "worse"})
        limits = tuple(self._limit(name, known[name], one, f"{path}.{name}") for name, one in fields.items() if name in known)
        if not limits:
            self.nodes.wrong(node, path, f"no threshold: give one of {', '.join(known)}")
        return Numbers(kind, limits, self._worse(fields, path))

    def _limit(self, name: str, number: Number, node: yaml.Node, path: str) -> Limit:
        what, read = read_number(number.unit)
        return Limit(name, self.nodes.scalar(node, path, what, read, 0.0), number.least, number.unit)

    def _custom(self, node: yaml.Node, path: str) -> Numbers:
        fields = self.nodes.fields(node, path, {"jq", "least", "most", "worse"})
        what, read = read_number("")
        limits = tuple(Limit("value", self.nodes.scalar(fields[name], f"{path}.{name}", what, read, 0.0), name == "least")
                       for name in ("least", "most") if name in fields)  # fmt: skip
        expression = self.nodes.text(fields["jq"], f"{path}.jq") if "jq" in fields else ""
        if not expression or not limits:
            self.nodes.wrong(node, path, "`jq: EXPRESSION` and `least:` or `most:` are needed")
        else:
            try:
                compiled(expression)
            except BadExpression as error:
                self.nodes.wrong(fields["jq"], f"{path}.jq", str(error))
        return Numbers("custom", limits, self._worse(fields, path), expression)

    def _worse(self, fields: Mapping[str, yaml.Node], path: str) -> float | None:
        return self.nodes.number(fields["worse"], f"{path}.worse", 1000.0) if "worse" in fields else None


def _needs_base(rule: Rule) -> bool:
    match rule:
        case Coverage(drop=drop):
            return drop is not None
        case Scan(new=new):
            return bool(new)
        case Numbers(worse=worse):
            return worse is not None
        case JUnit():
            return False
