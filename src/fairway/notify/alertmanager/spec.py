"""`alertmanager.yml`, decoded strictly: routes, receivers, inhibition, time intervals.

Source: Alertmanager `config` (fields and defaults). Receivers of kinds that are not there are named, with those that are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fairway.notify.alertmanager.alert import RESOLVE_TIMEOUT
from fairway.notify.alertmanager.intervals import Interval, decode_intervals
from fairway.notify.alertmanager.matchers import BadMatcher, Matcher, matcher, parse_matchers

ALL = "..."
"""`group_by: ['...']`: by every label."""
KINDS: Mapping[str, bool] = {
    "webhook": True, "slack": False, "email": False, "pagerduty": True, "msteams": True, "discord": True, "telegram": True,
    "opsgenie": True, "fairway": True,
}  # fmt: skip
"""Kinds of receivers, and whether they hear of the end where nothing else is said. `fairway`: the notifications here."""
_ROUTE = frozenset({
    "receiver", "group_by", "continue", "matchers", "match", "match_re", "group_wait", "group_interval", "repeat_interval",
    "mute_time_intervals", "active_time_intervals", "routes",
})  # fmt: skip
_TOP = frozenset({"global", "route", "receivers", "inhibit_rules", "time_intervals", "mute_time_intervals", "templates"})
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


class AlertmanagerMistake(ValueError):
    """The configuration cannot be used; the message names the path of the mistake."""


@dataclass(frozen=True, slots=True)
class Integration:
    """One way of telling: `settings` are as written, with the global ones where nothing else is said."""

    kind: str
    send_resolved: bool
    settings: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receiver:
    name: str
    integrations: tuple[Integration, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """`id` is its place in the tree. Waits and grouping are inherited, time intervals are not."""

    id: str
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    group_by: tuple[str, ...] = ()
    goes_on: bool = False
    wait: timedelta = timedelta(seconds=30)
    interval: timedelta = timedelta(minutes=5)
    repeat: timedelta = timedelta(hours=4)
    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Inhibition:
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    route: Route
    receivers: Mapping[str, Receiver]
    inhibitions: tuple[Inhibition, ...] = ()
    intervals: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    resolve_timeout: timedelta = RESOLVE_TIMEOUT
    original: str = field(default="", repr=False)


def decode_config(written: object, original: str = "") -> Config:
    """A whole file, as YAML gave it."""
    top = _known(_mapping(written, "the file"), _TOP, "")
    settings = _mapping(top.get("global") or {}, "global")
    receivers = [_receiver(one, settings, f"receivers[{i}]") for i, one in enumerate(_list(top.get("receivers"), "receivers"))]
    names = [receiver.name for receiver in receivers]
    for name in names:
        if names.count(name) > 1:
            raise AlertmanagerMistake(f'receivers: notification config name "{name}" is not unique')
    intervals = {}
    for key in ("time_intervals", "mute_time_intervals"):
        for i, one in enumerate(_list(top.get(key) or [], key)):
            named = _mapping(one, f"{key}[{i}]")
            try:
                intervals[_text(named, "name", f"{key}[{i}]")] = decode_intervals(named.get("time_intervals") or [])
            except ValueError as error:
                raise AlertmanagerMistake(f"{key}[{i}]: {error}") from None
    if "route" not in top:
        raise AlertmanagerMistake("route: no route provided in config")
    route = _route(top["route"], None, "route")
    if route.matchers:
        raise AlertmanagerMistake("route: root route must not have any matchers")
    for one in _every(route):
        if one.receiver not in names:
            raise AlertmanagerMistake(f'route: undefined receiver "{one.receiver}" used in route')
        for name in (*one.mute, *one.active):
            if name not in intervals:
                raise AlertmanagerMistake(f'route: undefined time interval "{name}" used in route')
    rules = _list(top.get("inhibit_rules") or [], "inhibit_rules")
    return Config(route, {receiver.name: receiver for receiver in receivers},
                  tuple(_inhibition(one, f"inhibit_rules[{i}]") for i, one in enumerate(rules)), intervals,
                  tuple(str(one) for one in top.get("templates") or ()),
                  _duration(settings, "resolve_timeout", "global") or RESOLVE_TIMEOUT, original)  # fmt: skip


def _every(route: Route) -> Iterable[Route]:
    yield route
    for child in route.routes:
        yield from _every(child)


def _route(written: object, parent: Route | None, path: str) -> Route:
    one = _known(_mapping(written, path), _ROUTE, path)
    base = parent or Route("{}", "")
    matchers = _matchers(one, "matchers", "match", "match_re", path)
    receiver = str(one.get("receiver") or base.receiver)
    if not receiver:
        raise AlertmanagerMistake(f"{path}: root route must specify a default receiver")
    shown = "{" + ",".join(map(str, matchers)) + "}"
    own = Route(
        shown if parent is None else f"{parent.id}/{shown}", receiver, matchers,
        _texts(one, "group_by", path) if one.get("group_by") is not None else base.group_by, bool(one.get("continue")),
        _duration(one, "group_wait", path, base.wait), _duration(one, "group_interval", path, base.interval),
        _duration(one, "repeat_interval", path, base.repeat), _texts(one, "mute_time_intervals", path),
        _texts(one, "active_time_intervals", path),
    )  # fmt: skip
    children = _list(one.get("routes") or [], f"{path}.routes")
    routes = tuple(_route(child, own, f"{path}.routes[{i}]") for i, child in enumerate(children))
    return Route(own.id, own.receiver, own.matchers, own.group_by, own.goes_on, own.wait, own.interval, own.repeat, own.mute,
                 own.active, routes)  # fmt: skip


def _matchers(one: Mapping[str, Any], field: str, equal: str, regex: str, path: str) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    try:
        for text in _list(one.get(field) or [], f"{path}.{field}"):
            found += parse_matchers(str(text))
        for name, value in _mapping(one.get(equal) or {}, f"{path}.{equal}").items():
            found.append(matcher(str(name), "=", str(value)))
        for name, value in _mapping(one.get(regex) or {}, f"{path}.{regex}").items():
            found.append(matcher(str(name), "=~", str(value)))
    except BadMatcher as error:
        raise AlertmanagerMistake(f"{path}: {error}") from None
    return tuple(found)


def _inhibition(written: object, path: str) -> Inhibition:
    known = {f"{side}_{kind}" for side in ("source", "target") for kind in ("matchers", "match", "match_re")}
    one = _known(_mapping(written, path), known | {"equal", "name"}, path)
    return Inhibition(_matchers(one, "source_matchers", "source_match", "source_match_re", path),
                      _matchers(one, "target_matchers", "target_match", "target_match_re", path),
                      _texts(one, "equal", path))  # fmt: skip


def _receiver(written: object, settings: Mapping[str, Any], path: str) -> Receiver:
    one = _mapping(written, path)
    integrations = []
    for key, configs in one.items():
        if key == "name":
            continue
        kind = str(key).removesuffix("_configs")
        if kind not in KINDS or not str(key).endswith("_configs"):
            raise AlertmanagerMistake(f"{path}.{key}: not supported; known are {', '.join(f'{k}_configs' for k in KINDS)}")
        for i, config in enumerate(_list(configs or [], f"{path}.{key}")):
            own = _mapping(config or {}, f"{path}.{key}[{i}]")
            _needed(kind, own, settings, f"{path}.{key}[{i}]")
            integrations.append(Integration(kind, bool(own.get("send_resolved", KINDS[kind])), {**settings, **own}))
    return Receiver(_text(one, "name", path), tuple(integrations))


_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "webhook": (("url", "url_file"),), "slack": (("api_url", "api_url_file", "slack_api_url", "slack_api_url_file"),),
    "email": (("to",), ("from", "smtp_from"), ("smarthost", "smtp_smarthost")),
    "pagerduty": (("routing_key", "routing_key_file", "service_key", "service_key_file"),),
    "msteams": (("webhook_url", "webhook_url_file"),), "discord": (("webhook_url", "webhook_url_file"),),
    "telegram": (("bot_token", "bot_token_file"), ("chat_id",)), "opsgenie": (("api_key", "api_key_file", "opsgenie_api_key"),),
    "fairway": (),
}  # fmt: skip


def _needed(kind: str, own: Mapping[str, Any], settings: Mapping[str, Any], path: str) -> None:
    for choices in _NEEDED[kind]:
        if not any(own.get(name) or settings.get(name) for name in choices):
            raise AlertmanagerMistake(f"{path}: missing {' or '.join(choices[:2])} in {kind} config")


# --- parts ------------------------------------------------------------------------------------------------------------


def _mapping(written: object, path: str) -> Mapping[str, Any]:
    if not isinstance(written, Mapping):
        raise AlertmanagerMistake(f"{path}: a mapping is needed")
    return written


def _list(written: object, path: str) -> list[Any]:
    if not isinstance(written, list):
        raise AlertmanagerMistake(f"{path}: a list is needed")
    return written


def _known(one: Mapping[str, Any], known: Iterable[str], path: str) -> Mapping[str, Any]:
    for name in one:
        if name not in known:
            raise AlertmanagerMistake(f"{path + '.' if path else ''}{name}: unknown field; known are "
                                      f"{', '.join(sorted(known))}")  # fmt: skip
    return one


def _texts(one: Mapping[str, Any], name: str, path: str) -> tuple[str, ...]:
    return tuple(map(str, _list(one.get(name) or [], f"{path}.{name}")))


def _text(one: Mapping[str, Any], name: str, path: str) -> str:
    value = one.get(name)
    if not isinstance(value, str) or not value:
        raise AlertmanagerMistake(f"{path}.{name}: a text is needed")
    return value


def _duration(one: Mapping[str, Any], name: str, path: str, default: timedelta = timedelta(0)) -> timedelta:
    """`1h30m`, as Prometheus writes durations."""
    if one.get(name) is None:
        return default
    text = str(one[name])
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    if text != "0" and (not parts or "".join(a + b for a, b in parts) != text):
        raise AlertmanagerMistake(f'{path}.{name}: not a valid duration string: "{text}"')
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))
