"""Alerts: who is told what, as the chat systems want it. A provider's address is a secret: it stands in no message.

Source of the payloads: flagger `pkg/notifier`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fairway.kube.durations import format_duration
from fairway.kube.objects import Key, Obj, dig, spec_of
from fairway.rollouts.flagger.questions import Notice, Severity
from fairway.rollouts.flagger.spec import CanarySpec

_RANK: Mapping[str, int] = {"info": 0, "warn": 1, "error": 2}
_COLOURS: Mapping[str, str] = {"info": "good", "warn": "warning", "error": "danger"}
USERNAME = "flagger"


@dataclass(frozen=True, slots=True)
class Letter:
    """One POST of `body` to `address`; `to` is how it may be called in messages."""

    to: str
    address: str
    body: str


@dataclass(frozen=True, slots=True)
class Undelivered:
    to: str
    why: str


def letters(spec: CanarySpec, notice: Notice, providers: Mapping[Key, Obj], secrets: Mapping[Key, Mapping[str, str]],
            ) -> list[Letter | Undelivered]:
    """One for every alert of the Canary that wants to hear of this. `secrets` are decoded."""
    found: list[Letter | Undelivered] = []
    for alert in spec.checks.alerts:
        if _RANK[notice.severity] < _RANK[alert.severity]:
            continue
        key = Key(alert.provider.namespace or spec.namespace, alert.provider.name)
        to = f"alert provider {key.name}.{key.namespace}"
        provider = providers.get(key)
        if provider is None:
            found.append(Undelivered(to, "it is not there"))
            continue
        address = str(dig(provider, "spec", "address", default=""))
        ref = dig(provider, "spec", "secretRef", "name", default="")
        if ref:
            address = secrets.get(Key(key.namespace, str(ref)), {}).get("address", address)
        if not address:
            found.append(Undelivered(to, "neither spec.address nor a Secret with the key address says where it is"))
            continue
        kind = str(spec_of(provider).get("type"))
        if kind == "discord" and not address.endswith("/slack"):
            address = f"{address.rstrip('/')}/slack"  # Discord's own door for Slack's payload
        found.append(Letter(to, address, json.dumps(_body(spec, notice, spec_of(provider), kind))))
    return found


def facts(spec: CanarySpec) -> list[tuple[str, str]]:
    checks = spec.checks
    if checks.strategy == "ab-testing":
        routing = f"A/B Testing iterations: {checks.iterations}"
    elif checks.strategy == "blue-green":
        routing = f"Blue/Green iterations: {checks.iterations}"
    elif checks.step_weights:
        routing = f"Weight steps: {','.join(str(w) for w in checks.step_weights)} max: {checks.step_weights[-1]}"
    else:
        routing = f"Weight step: {checks.step_weight} max: {checks.max_weight}"
    return [("Target", f"{spec.target.kind}/{spec.target.name}.{spec.namespace}"),
            ("Failed checks threshold", str(checks.threshold)),
            ("Progress deadline", format_duration(spec.progress_deadline)), ("Traffic routing", routing)]


def _body(spec: CanarySpec, notice: Notice, provider: Obj, kind: str) -> Obj:
    title, about = f"{spec.name}.{spec.namespace}", facts(spec) if notice.facts else []
    if kind == "msteams":
        return {"@type": "MessageCard", "@context": "http://schema.org/extensions", "summary": title,
                "themeColor": _hex(notice.severity), "sections": [{
                    "activityTitle": notice.message, "activitySubtitle": title,
                    "facts": [{"name": name, "value": value} for name, value in about]}]}
    if kind == "gchat":
        lines = "\n".join([f"*{title}*", notice.message, *(f"{name}: {value}" for name, value in about)])
        return {"text": lines}
    channel = provider.get("channel")
    return {**({"channel": channel} if channel else {}), "username": provider.get("username") or USERNAME,
            "icon_emoji": ":rocket:",
            "attachments": [{"color": _COLOURS[notice.severity], "author_name": title, "text": notice.message,
                             "mrkdwn_in": ["text"],
                             "fields": [{"title": n, "value": v, "short": False} for n, v in about]}]}


def _hex(severity: Severity) -> str:
    return {"info": "0076D7", "warn": "FFA500", "error": "FF0000"}[severity]
