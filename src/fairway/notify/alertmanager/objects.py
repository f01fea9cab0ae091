"""AlertmanagerConfig objects, put below the configuration that is there as the Prometheus operator puts them. Pure.

Each object becomes a route before the others, for alerts of its own namespace only, after which the search goes on; its names
become `namespace/object/name`, and its inhibition holds within the namespace. An object that cannot be used is left out, with
what is wrong with it, and the others hold.

Source: prometheus-operator `pkg/alertmanager/amcfg.go` (behaviour), `monitoring.coreos.com` v1alpha1 and v1beta1 (fields).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairway.kube.objects import Key, Obj, key_of, spec_of
from fairway.notify.alertmanager.spec import AlertmanagerMistake, decode_config

Secret = Callable[[str, str, str], str]
"""The text of (namespace, name, key). KeyError where there is none, with a message."""
Written = dict[str, Any]
DEFAULT: Mapping[str, Any] = {
    "route": {"receiver": "fairway", "group_by": ["alertname"], "group_wait": "5s", "group_interval": "1m",
              "repeat_interval": "4h"},
    "receivers": [{"name": "fairway", "fairway_configs": [{}]}],
}  # fmt: skip
"""Where nobody wrote one: everything goes to the notifications that are there, soon, one message for each alert name."""
_CALLED_OTHERWISE = {("webhook_configs", "url_secret"): "url", ("discord_configs", "api_url"): "webhook_url"}
_TOKEN = "bearer_token_secret"
"""In `httpConfig`; in the file it is `bearer_token`."""
_PAIRS = ("headers", "details")


@dataclass(frozen=True, slots=True)
class Merged:
    """`problems`: what is wrong with an object, by its key."""

    written: Written
    problems: Mapping[Key, str] = field(default_factory=dict)


def merged(base: Mapping[str, Any], objects: Sequence[Obj], secret: Secret) -> Merged:
    """`base` is a configuration that can be decoded."""
    found, problems = dict(base), dict[Key, str]()
    for obj in sorted(objects, key=key_of, reverse=True):  # each goes before the others: the first one comes last
        try:
            tried = _with(found, obj, secret)
            decode_config(tried)
        except (AlertmanagerMistake, KeyError, ValueError, TypeError, AttributeError) as mistake:
            said = mistake.args[0] if isinstance(mistake, KeyError) and mistake.args else mistake
            problems[key_of(obj)] = _in_the_object(str(said), len(found.get("receivers") or ()))
            continue
        found = tried
    return Merged(found, problems)


def _in_the_object(mistake: str, receivers_before: int) -> str:
    """Paths are those of the object, not of the whole."""
    mistake = re.sub(r"^receivers\[(\d+)\]", lambda m: f"spec.receivers[{int(m[1]) - receivers_before}]", mistake)
    return re.sub(r"^route\.routes\[0\]", "spec.route", mistake)


def _with(base: Mapping[str, Any], obj: Obj, secret: Secret) -> Written:
    key, spec = key_of(obj), spec_of(obj)
    named = f"{key.namespace}/{key.name}/{{}}".format
    own = f'namespace="{key.namespace}"'
    made: Written = dict(base)
    made["receivers"] = [*base.get("receivers", ()), *(
        _receiver(one, named, lambda name, entry: secret(key.namespace, name, entry)) for one in spec.get("receivers") or ())]
    intervals = [*(spec.get("muteTimeIntervals") or ()), *(spec.get("timeIntervals") or ())]
    made["time_intervals"] = [*(base.get("time_intervals") or ()), *(
        {"name": named(one.get("name")), "time_intervals": [_interval(each) for each in one.get("timeIntervals") or ()]}
        for one in intervals)]
    inhibitions = [_inhibition(one, own) for one in spec.get("inhibitRules") or ()]
    made["inhibit_rules"] = [*(base.get("inhibit_rules") or ()), *inhibitions]
    if spec.get("route"):
        route = _route(spec["route"], named)
        route["matchers"] = [own, *route.get("matchers", ())]
        route["continue"] = True
        made["route"] = {**base["route"], "routes": [route, *(base["route"].get("routes") or ())]}
    return made


def _route(written: Mapping[str, Any], named: Callable[[Any], str]) -> Written:
    made: Written = {_snake(name): value for name, value in written.items() if value not in (None, "")}
    if "receiver" in made:
        made["receiver"] = named(made["receiver"])
    for intervals in ("mute_time_intervals", "active_time_intervals"):
        if made.get(intervals):
            made[intervals] = [named(name) for name in made[intervals]]
    if "matchers" in made:
        made["matchers"] = [_matcher(one) for one in made["matchers"]]
    if made.get("routes"):
        made["routes"] = [_route(one, named) for one in made["routes"]]
    return made


def _matcher(written: Mapping[str, Any]) -> str:
    sign = str(written.get("matchType") or ("=~" if written.get("regex") else "="))
    if sign not in ("=", "!=", "=~", "!~"):
        raise AlertmanagerMistake(f"matchType: {sign!r} is not one of =, !=, =~, !~")
    return f"{written['name']}{sign}{json.dumps(str(written.get('value') or ''), ensure_ascii=False)}"


def _inhibition(written: Mapping[str, Any], own: str) -> Written:
    return {"source_matchers": [own, *map(_matcher, written.get("sourceMatch") or ())],
            "target_matchers": [own, *map(_matcher, written.get("targetMatch") or ())],
            "equal": list(written.get("equal") or ())}


def _receiver(written: Mapping[str, Any], named: Callable[[Any], str], secret: Callable[[str, str], str]) -> Written:
    made: Written = {"name": named(written.get("name"))}
    for kind, configs in written.items():
        if kind != "name":
            plain = _snake(kind)
            made[plain] = [_settings(one, plain, secret) for one in configs or ()]
    return made


def _settings(written: Mapping[str, Any], kind: str, secret: Callable[[str, str], str]) -> Written:
    """One way of telling: names as in Alertmanager's file, and references to Secrets replaced by what they hold."""
    made: Written = {}
    for name, value in written.items():
        plain = _snake(name)
        made[_CALLED_OTHERWISE.get((kind, plain), plain)] = _pairs(value) if plain in _PAIRS else _plain(value, secret)
    return made


def _plain(value: Any, secret: Callable[[str, str], str]) -> Any:
    if isinstance(value, Mapping):
        if "key" in value and set(value) <= {"name", "key", "optional"}:
            return secret(str(value.get("name") or ""), str(value["key"]))
        return {_snake(name).replace(_TOKEN, "bearer_token"): _plain(one, secret) for name, one in value.items()}
    return [_plain(one, secret) for one in value] if isinstance(value, list) else value


def _pairs(value: Any) -> Any:
    return {str(one.get("key")): one.get("value") for one in value} if isinstance(value, list) else value


def _interval(written: Mapping[str, Any]) -> Written:
    made: Written = {_snake(name): value for name, value in written.items()}
    if made.get("times"):
        made["times"] = [{_snake(name): text for name, text in span.items()} for span in made["times"]]
    if made.get("days_of_month"):
        made["days_of_month"] = [f"{span['start']}:{span.get('end', span['start'])}" for span in made["days_of_month"]]
    return made


def _snake(name: str) -> str:
    """`groupBy`, `apiURL`, `chatID`: `group_by`, `api_url`, `chat_id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
