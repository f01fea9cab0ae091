"""Rule groups as Prometheus writes them, decoded strictly: every mistake with its path, every query parsed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fairway.manifests.go_template import TemplateError
from fairway.metrics.promql import BadQuery, parse
from fairway.metrics.promql.lexer import duration_seconds
from fairway.metrics.rules.templates import check_template

DEFAULT_INTERVAL = timedelta(minutes=1)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_GROUP = frozenset({"name", "interval", "query_offset", "limit", "labels", "rules", "partial_response_strategy"})
_RULE = frozenset({"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"})

Texts = tuple[tuple[str, str], ...]


class RuleMistake(ValueError):
    """The rules cannot be used; the message names the path of the mistake."""


@dataclass(frozen=True, slots=True)
class RecordingRule:
    record: str
    expr: str
    labels: Texts = ()

    @property
    def name(self) -> str:
        return self.record


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """`hold` is `for`, `keep` is `keep_firing_for`."""

    alert: str
    expr: str
    hold: timedelta = timedelta(0)
    keep: timedelta = timedelta(0)
    labels: Texts = ()
    annotations: Texts = ()

    @property
    def name(self) -> str:
        return self.alert


Rule = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class Group:
    """`file` says where it was written: `namespace/name` of a PrometheusRule, or a file. `limit` 0: none."""

    name: str
    file: str
    rules: tuple[Rule, ...]
    interval: timedelta = DEFAULT_INTERVAL
    offset: timedelta = timedelta(0)
    limit: int = 0

    @property
    def key(self) -> str:
        return f"{self.file};{self.name}"


def decode_groups(written: object, file: str, path: str = "groups") -> tuple[Group, ...]:
    """The value of `groups`. Names are unique within a file."""
    groups = tuple(_group(one, file, f"{path}[{i}]") for i, one in enumerate(_list(written, path)))
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise RuleMistake(f'{path}: groupname: "{name}" is repeated in the same file')
    return groups


def decode_file(written: object, file: str) -> tuple[Group, ...]:
    """A whole rule file."""
    top = _mapping(written, "the file")
    for field in top:
        if field not in ("groups", "namespace"):
            raise RuleMistake(f"{field}: unknown field; known is groups")
    return decode_groups(top.get("groups") or [], file)


def _group(written: object, file: str, path: str) -> Group:
    one = _known(_mapping(written, path), _GROUP, path)
    labels = _texts(one.get("labels"), f"{path}.labels")
    limit = one.get("limit") or 0
    if not isinstance(limit, int) or limit < 0:
        raise RuleMistake(f"{path}.limit: a number of 0 or more is needed")
    rules = tuple(_rule(rule, labels, f"{path}.rules[{i}]") for i, rule in enumerate(_list(one.get("rules") or [], path)))
    return Group(_text(one, "name", path), file, rules, _duration(one, "interval", path) or DEFAULT_INTERVAL,
                 _duration(one, "query_offset", path), limit)  # fmt: skip


def _rule(written: object, group_labels: Texts, path: str) -> Rule:
    one = _known(_mapping(written, path), _RULE, path)
    if bool(one.get("record")) == bool(one.get("alert")):
        raise RuleMistake(f"{path}: exactly one of record and alert must be set")
    expr = _text(one, "expr", path)
    try:
        parse(expr)
    except BadQuery as error:
        raise RuleMistake(f"{path}.expr: could not parse expression: {error}") from None
    labels = tuple(sorted({**dict(group_labels), **dict(_texts(one.get("labels"), f"{path}.labels"))}.items()))
    for name, _ in labels:
        if not _LABEL.fullmatch(name) or name == "__name__":
            raise RuleMistake(f"{path}.labels: invalid label name: {name}")
    if one.get("record"):
        for field in ("for", "keep_firing_for", "annotations"):
            if one.get(field):
                raise RuleMistake(f"{path}.{field}: invalid field in recording rule")
        record = _text(one, "record", path)
        if not _METRIC.fullmatch(record):
            raise RuleMistake(f"{path}.record: invalid recording rule name: {record}")
        return RecordingRule(record, expr, labels)
    annotations = _texts(one.get("annotations"), f"{path}.annotations")
    for kind, texts in (("labels", labels), ("annotations", annotations)):
        for name, text in texts:
            try:
                check_template(text)
            except TemplateError as error:
                raise RuleMistake(f"{path}.{kind}.{name}: {error}") from None
    return AlertingRule(_text(one, "alert", path), expr, _duration(one, "for", path),
                        _duration(one, "keep_firing_for", path), labels, annotations)  # fmt: skip


# --- parts ------------------------------------------------------------------------------------------------------------


def _mapping(written: object, path: str) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise RuleMistake(f"{path}: a mapping is needed")
    return written


def _list(written: object, path: str) -> list[Any]:
    if not isinstance(written, list):
        raise RuleMistake(f"{path}: a list is needed")
    return written


def _known(one: Mapping[str, Any], known: Iterable[str], path: str) -> Mapping[str, Any]:
    for field in one:
        if field not in known:
            raise RuleMistake(f"{path}.{field}: unknown field; known are {', '.join(sorted(known))}")
    return one


def _text(one: Mapping[str, Any], field: str, path: str) -> str:
    value = one.get(field)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)  # `expr: 1`
    if not isinstance(value, str) or not value.strip():
        raise RuleMistake(f"{path}.{field}: a text is needed")
    return value


def _texts(written: object, path: str) -> Texts:
    found = _mapping(written or {}, path)
    for name, value in found.items():
        if isinstance(value, Mapping | list):
            raise RuleMistake(f"{path}.{name}: a text is needed")
    return tuple(sorted((str(name), "" if value is None else str(value)) for name, value in found.items()))


def _duration(one: Mapping[str, Any], field: str, path: str) -> timedelta:
    value = one.get(field)
    if value in (None, "", 0, "0"):
        return timedelta(0)
    found = duration_seconds(str(value))
    if found is None:
        raise RuleMistake(f'{path}.{field}: not a valid duration string: "{value}"')
    return timedelta(seconds=found)
