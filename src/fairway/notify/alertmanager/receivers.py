"""What each kind of receiver is told: an HTTP request or a mail, as a value. Pure.

Texts may be Go templates with Alertmanager's data and functions; where the configuration says nothing, ours is used, which
says the same as Alertmanager's own.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from fairway.manifests.go_format import printf
from fairway.manifests.go_template import Language, TemplateError, render
from fairway.notify.alertmanager.alert import Alert, Labels
from fairway.notify.alertmanager.silences import stamp
from fairway.notify.alertmanager.spec import Integration

_LONGEST = 3000


@dataclass(frozen=True, slots=True)
class Request:
    """`url` and `headers` are secrets."""

    url: str = field(repr=False)
    body: Mapping[str, Any]
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """`host` is host:port. `login`: user and password, "" for none."""

    host: str
    message: EmailMessage
    login: tuple[str, str] = field(default=("", ""), repr=False)
    tls: bool = True


@dataclass(frozen=True, slots=True)
class News:
    """One message: the alerts of a group, and for whom."""

    receiver: str
    group_key: str
    group_labels: Labels
    alerts: tuple[Alert, ...]
    now: datetime
    url: str = ""
    library: tuple[str, ...] = ()

    @property
    def firing(self) -> list[Alert]:
        return [alert for alert in self.alerts if not alert.resolved(self.now)]

    @property
    def status(self) -> str:
        return "firing" if self.firing else "resolved"

    @property
    def title(self) -> str:
        count = f":{len(self.firing)}" if self.firing else ""
        common = common_of([alert.labels for alert in self.alerts])
        rest = [text for name, text in common if (name, text) not in self.group_labels]
        values = " ".join(text for _, text in self.group_labels)
        return f"[{self.status.upper()}{count}] {values}" + (f" ({' '.join(rest)})" if rest else "")

    @property
    def text(self) -> str:
        lines = []
        for alert in self.alerts:
            notes = dict(alert.annotations)
            mark = "🟢" if alert.resolved(self.now) else "🔴"
            said = notes.get("summary") or notes.get("description") or notes.get("message") or alert.label("alertname")
            lines.append(f"{mark} {said}")
            if notes.get("summary") and notes.get("description"):
                lines.append(notes["description"])
        return "\n".join(lines)


def common_of(many: Sequence[Labels]) -> Labels:
    """What all have alike."""
    if not many:
        return ()
    shared = set(many[0]).intersection(*many[1:])
    return tuple(sorted(shared))


# --- templates --------------------------------------------------------------------------------------------------------


class KV(dict[str, str]):
    """Labels or annotations, as templates see them."""

    @property
    def SortedPairs(self) -> list[dict[str, str]]:
        names = sorted(self, key=lambda name: (name != "alertname", name))
        return [{"Name": name, "Value": self[name]} for name in names]

    @property
    def Names(self) -> list[str]:
        return [pair["Name"] for pair in self.SortedPairs]

    @property
    def Values(self) -> list[str]:
        return [pair["Value"] for pair in self.SortedPairs]

    @property
    def Remove(self) -> Callable[[Sequence[str]], KV]:
        return lambda names: KV({name: text for name, text in self.items() if name not in names})


class _Alerts(list[dict[str, Any]]):
    @property
    def Firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self if alert["Status"] == "firing"]

    @property
    def Resolved(self) -> list[dict[str, Any]]:
        return [alert for alert in self if alert["Status"] == "resolved"]


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "toUpper": str.upper, "toLower": str.lower, "title": str.title, "join": lambda sep, values: sep.join(map(_show, values)),
    "match": lambda regex, text: re.search(regex, text) is not None, "safeHtml": lambda v: v, "trimSpace": str.strip,
    "reReplaceAll": lambda regex, by, text: re.sub(regex, re.sub(r"\$\{?(\w+)\}?", r"\\g<1>", by), text),
    "stringSlice": lambda *v: list(v), "len": len, "printf": lambda form, *v: printf(form, v, _show),
    "print": lambda *v: "".join(map(_show, v)), "eq": lambda a, *rest: a in rest, "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "not": lambda v: not v, "and": lambda *v: next((one for one in v if not one), v[-1]),
    "or": lambda *v: next((one for one in v if one), v[-1]), "urlquery": lambda v: v, "html": lambda v: html.escape(v),
    "index": lambda value, step: value.get(step, "") if isinstance(value, Mapping) else value[step],
    "toJson": lambda v: json.dumps(v, ensure_ascii=False),
}  # fmt: skip
_LANGUAGE = Language(_FUNCTIONS, _show, missing="", methods={
    KV: frozenset({"SortedPairs", "Names", "Values", "Remove"}), _Alerts: frozenset({"Firing", "Resolved"}),
})  # fmt: skip
_TITLES = ("__subject", "slack.default.title", "email.default.subject", "pagerduty.default.description",
           "msteams.default.title", "discord.default.title")  # fmt: skip
_TEXTS = ("slack.default.text", "msteams.default.text", "discord.default.message", "telegram.default.message")
_OURS = "".join(f'{{{{ define "{name}" }}}}{{{{ .FairwayTitle }}}}{{{{ end }}}}' for name in _TITLES) + "".join(
    f'{{{{ define "{name}" }}}}{{{{ .FairwayText }}}}{{{{ end }}}}' for name in _TEXTS
)
"""The names of Alertmanager's own templates that people refer to."""


def data_of(news: News) -> dict[str, Any]:
    """What templates get as `.`."""
    alerts = _Alerts(
        {
            "Status": "resolved" if alert.resolved(news.now) else "firing", "Labels": KV(alert.labels),
            "Annotations": KV(alert.annotations), "StartsAt": stamp(alert.starts_at), "EndsAt": stamp(alert.ends_at),
            "GeneratorURL": alert.generator_url, "Fingerprint": alert.fingerprint,
        }
        for alert in news.alerts
    )  # fmt: skip
    return {
        "Receiver": news.receiver, "Status": news.status, "Alerts": alerts, "GroupLabels": KV(news.group_labels),
        "CommonLabels": KV(common_of([alert.labels for alert in news.alerts])),
        "CommonAnnotations": KV(common_of([alert.annotations for alert in news.alerts])), "ExternalURL": news.url,
        "FairwayTitle": news.title, "FairwayText": news.text,
    }  # fmt: skip


def filled(text: Any, news: News, fallback: str = "") -> str:
    """A setting with its template filled in; one that cannot be says why, and the message still goes out."""
    if text in (None, ""):
        return fallback
    if "{{" not in str(text):
        return str(text)
    try:
        return render(str(text), data_of(news), _LANGUAGE, library=(_OURS, *news.library))
    except TemplateError as error:
        return f"{fallback} (template error: {error})"


# --- messages ---------------------------------------------------------------------------------------------------------


def message(integration: Integration, news: News) -> Request | Mail:
    """The request or mail of one integration. Raises KeyError and ValueError where its settings do not do."""
    return _BUILDERS[integration.kind](integration.settings, news)


def webhook_body(news: News) -> dict[str, Any]:
    """Alertmanager's webhook message, version 4."""
    return {
        "version": "4", "groupKey": news.group_key, "truncatedAlerts": 0, "status": news.status, "receiver": news.receiver,
        "groupLabels": dict(news.group_labels), "commonLabels": dict(common_of([a.labels for a in news.alerts])),
        "commonAnnotations": dict(common_of([a.annotations for a in news.alerts])), "externalURL": news.url,
        "alerts": [
            {
                "status": "resolved" if alert.resolved(news.now) else "firing", "labels": dict(alert.labels),
                "annotations": dict(alert.annotations), "startsAt": stamp(alert.starts_at),
                "endsAt": stamp(alert.ends_at) if alert.resolved(news.now) else "0001-01-01T00:00:00Z",
                "generatorURL": alert.generator_url, "fingerprint": alert.fingerprint,
            }
            for alert in news.alerts
        ],
    }  # fmt: skip


def _webhook(settings: Mapping[str, Any], news: News) -> Request:
    return Request(_secret(settings, "url"), webhook_body(news), _auth(settings))


def _slack(settings: Mapping[str, Any], news: News) -> Request:
    title, text = filled(settings.get("title"), news, news.title), filled(settings.get("text"), news, news.text)
    attachment = {
        "title": title, "title_link": filled(settings.get("title_link"), news, news.url), "text": text[:_LONGEST],
        "fallback": filled(settings.get("fallback"), news, title), "mrkdwn_in": ["fallback", "pretext", "text"],
        "pretext": filled(settings.get("pretext"), news),
        "color": filled(settings.get("color"), news, "danger" if news.firing else "good"),
    }  # fmt: skip
    body = {"attachments": [{name: value for name, value in attachment.items() if value}]}
    for name in ("channel", "username", "icon_emoji", "icon_url"):
        if settings.get(name):
            body[name] = filled(settings[name], news)  # type: ignore[assignment]
    return Request(_secret(settings, "api_url", "slack_api_url"), body, _auth(settings))


def _email(settings: Mapping[str, Any], news: News) -> Mail:
    mail = EmailMessage()
    headers = {str(name).title(): filled(text, news) for name, text in (settings.get("headers") or {}).items()}
    mail["Subject"] = " ".join(headers.get("Subject", news.title).split())
    mail["From"], mail["To"] = settings.get("from") or settings["smtp_from"], filled(settings["to"], news)
    for name, text in headers.items():
        if name not in ("Subject", "From", "To"):
            mail[name] = text
    mail.set_content(filled(settings.get("text"), news, news.text) + "\n")
    if settings.get("html"):
        mail.add_alternative(filled(settings["html"], news, html.escape(news.text)), subtype="html")
    user = settings.get("auth_username") or settings.get("smtp_auth_username") or ""
    password = _secret(settings, "auth_password", "smtp_auth_password") if user else ""
    tls = settings.get("require_tls", settings.get("smtp_require_tls", True))
    return Mail(str(settings.get("smarthost") or settings["smtp_smarthost"]), mail, (str(user), password), bool(tls))


def _pagerduty(settings: Mapping[str, Any], news: News) -> Request:
    url = settings.get("url") or settings.get("pagerduty_url") or "https://events.pagerduty.com/v2/enqueue"
    payload = {
        "summary": filled(settings.get("description"), news, news.title)[:1024],
        "source": filled(settings.get("source"), news, "fairway"),
        "severity": filled(settings.get("severity"), news, "error"), "custom_details": {"firing": news.text},
    }  # fmt: skip
    return Request(str(url), {
        "routing_key": _secret(settings, "routing_key", "service_key"), "dedup_key": news.group_key,
        "event_action": "trigger" if news.firing else "resolve", "payload": payload, "client": "Fairway",
    })  # fmt: skip


def _msteams(settings: Mapping[str, Any], news: News) -> Request:
    return Request(_secret(settings, "webhook_url"), {
        "@context": "http://schema.org/extensions", "type": "MessageCard",
        "title": filled(settings.get("title"), news, news.title),
        "summary": filled(settings.get("summary"), news, news.title), "text": filled(settings.get("text"), news, news.text),
        "themeColor": "8C1A1A" if news.firing else "2DC72D",
    }, _auth(settings))  # fmt: skip


def _discord(settings: Mapping[str, Any], news: News) -> Request:
    embed = {"title": filled(settings.get("title"), news, news.title)[:256],
             "description": filled(settings.get("message"), news, news.text)[:2000],
             "color": 0x992D22 if news.firing else 0x2ECC71}  # fmt: skip
    return Request(_secret(settings, "webhook_url"), {"content": filled(settings.get("content"), news), "embeds": [embed]},
                   _auth(settings))  # fmt: skip


def _telegram(settings: Mapping[str, Any], news: News) -> Request:
    base = str(settings.get("api_url") or settings.get("telegram_api_url") or "https://api.telegram.org").rstrip("/")
    text = filled(settings.get("message"), news, f"{news.title}\n{news.text}")[:4096]
    return Request(f"{base}/bot{_secret(settings, 'bot_token')}/sendMessage", {
        "chat_id": settings["chat_id"], "text": text, "disable_notification": bool(settings.get("disable_notifications")),
    })  # fmt: skip


def _opsgenie(settings: Mapping[str, Any], news: News) -> Request:
    base = str(settings.get("api_url") or settings.get("opsgenie_api_url") or "https://api.opsgenie.com/").rstrip("/")
    headers = (("Authorization", f"GenieKey {_secret(settings, 'api_key', 'opsgenie_api_key')}"),)
    alias = re.sub(r"[^\w.-]", "_", news.group_key)[:512]
    if not news.firing:
        return Request(f"{base}/v2/alerts/{alias}/close?identifierType=alias", {"source": "fairway"}, headers)
    return Request(f"{base}/v2/alerts", {
        "alias": alias, "message": filled(settings.get("message"), news, news.title)[:130],
        "description": filled(settings.get("description"), news, news.text), "source": "fairway",
    }, headers)  # fmt: skip


_BUILDERS: Mapping[str, Callable[[Mapping[str, Any], News], Request | Mail]] = {
    "webhook": _webhook, "slack": _slack, "email": _email, "pagerduty": _pagerduty, "msteams": _msteams, "discord": _discord,
    "telegram": _telegram, "opsgenie": _opsgenie,
}  # fmt: skip


def _secret(settings: Mapping[str, Any], *names: str) -> str:
    for name in names:
        if settings.get(name):
            return str(settings[name])
    raise KeyError(names[0])


def _auth(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """`http_config`: bearer token, authorization, or user and password."""
    http = settings.get("http_config") or {}
    if http.get("authorization"):
        kind = http["authorization"].get("type") or "Bearer"
        return (("Authorization", f"{kind} {http['authorization'].get('credentials', '')}"),)
    if http.get("bearer_token"):
        return (("Authorization", f"Bearer {http['bearer_token']}"),)
    if http.get("basic_auth"):
        pair = f"{http['basic_auth'].get('username', '')}:{http['basic_auth'].get('password', '')}"
        return (("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"),)
    return ()
