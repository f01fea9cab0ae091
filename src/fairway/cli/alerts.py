"""`fairway alerts`: what fires, which rules there are and how they fare, and silences."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from fairway.cli.errors import CommandError
from fairway.cli.output import machine, output_option, table
from fairway.state import StateDir


@click.group(invoke_without_command=True)
@output_option
@click.option("--all", "everything", is_flag=True, help="Pending alerts too.")
@click.pass_context
def command(context: click.Context, output: str, everything: bool) -> None:
    """Print the alerts that fire."""
    if context.invoked_subcommand is not None:
        return
    client = _client(context.obj)
    alerts = [one for one in client.web("/api/v1/alerts")["data"]["alerts"] if everything or one["state"] == "firing"]
    if machine(alerts, output):
        return
    quiet = {_key(one["labels"]): one["status"] for one in client.web("/api/v2/alerts")}
    rows = [_row(one, quiet.get(_key(one["labels"]), {})) for one in alerts]
    click.echo(table(("ALERT", "STATE", "SINCE", "VALUE", "LABELS", "SUMMARY"), rows) if rows else "no alert fires")
    _tell_of_rules(client.web("/api/v1/rules")["data"]["groups"])


def _client(state: StateDir) -> Any:
    from fairway.cli.client import Client

    return Client.of(state)


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _row(alert: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, ...]:
    labels, notes = dict(alert["labels"]), alert["annotations"]
    name = labels.pop("alertname", "")
    state = alert["state"]
    state += " (silenced)" if status.get("silencedBy") else " (inhibited)" if status.get("inhibitedBy") else ""
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    return name, state, alert["activeAt"][:19], alert["value"], shown, notes.get("summary") or notes.get("description") or ""


def _tell_of_rules(groups: list[Mapping[str, Any]]) -> None:
    """Rules that say nothing, and why: their silence is no good news."""
    for group in groups:
        for rule in group["rules"]:
            if rule["health"] == "err":
                click.echo(f"warning: rule {rule['name']} of {group['name']} fails: {rule['lastError']}", err=True)
            elif rule.get("noData") and rule["type"] == "alerting" and "absent" not in rule["query"]:
                missing = ", ".join(rule["noData"])
                click.echo(f"warning: rule {rule['name']} of {group['name']} sees no data: {missing}", err=True)


@command.command("rules")
@output_option
@click.pass_obj
def rules(state: StateDir, output: str) -> None:
    """Print the rules and how their last evaluation went."""
    groups = _client(state).web("/api/v1/rules")["data"]["groups"]
    if machine(groups, output):
        return
    rows = [(group["name"], *_rule(rule)) for group in groups for rule in group["rules"]]
    click.echo(table(("GROUP", "KIND", "RULE", "HEALTH", "STATE", "ALERTS", "WHY"), rows))


def _rule(rule: Mapping[str, Any]) -> tuple[str, ...]:
    missing = rule.get("noData", ())
    health = f"{rule['health']}, no data" if missing else rule["health"]
    why = rule.get("lastError", "") or ", ".join(missing)
    return rule["type"], rule["name"], health, rule.get("state", "-"), str(len(rule.get("alerts", ()))), why


@command.command("silences")
@output_option
@click.pass_obj
def silences(state: StateDir, output: str) -> None:
    """Print the silences that have not ended."""
    found = [one for one in _client(state).web("/api/v2/silences") if one["status"]["state"] != "expired"]
    if machine(found, output):
        return
    rows = [(one["id"], one["status"]["state"], ",".join(map(_matcher, one["matchers"])), one["endsAt"][:19], one["createdBy"],
             one["comment"]) for one in found]  # fmt: skip
    click.echo(table(("ID", "STATE", "MATCHERS", "UNTIL", "BY", "COMMENT"), rows))


def _matcher(one: Mapping[str, Any]) -> str:
    op = ("=" if one["isEqual"] else "!") + ("~" if one["isRegex"] else "" if one["isEqual"] else "=")
    return f'{one["name"]}{op}"{one["value"]}"'


@command.command("silence")
@click.argument("matchers", nargs=-1, required=True)
@click.option("--for", "duration", default="2h", show_default=True, help="How long, such as 30m or 2h.")
@click.option("--comment", required=True, help="Why.")
@click.option("--by", default=None, help="Who; you, where nothing is said.")
@click.pass_obj
def silence(state: StateDir, matchers: tuple[str, ...], duration: str, comment: str, by: str | None) -> None:
    """Keep alerts quiet that fulfil every matcher: name=value, name!=value, name=~regex, name!~regex.

    Example: fairway alerts silence alertname=HighErrorRate namespace=shop --for 1h --comment "known, being mended"
    """
    now = datetime.now(UTC)
    body = {
        "matchers": [_written(text) for text in matchers], "startsAt": _stamp(now), "endsAt": _stamp(now + _length(duration)),
        "createdBy": by or getpass.getuser(), "comment": comment,
    }  # fmt: skip
    click.echo(_client(state).web("/api/v2/silences", method="POST", body=body)["silenceID"])


@command.command("expire")
@click.argument("id")
@click.pass_obj
def expire(state: StateDir, id: str) -> None:
    """End a silence now."""
    _client(state).web(f"/api/v2/silence/{id}", method="DELETE")
    click.echo(f"silence {id} has ended")


def _written(text: str) -> dict[str, Any]:
    for op in ("!~", "=~", "!=", "="):
        name, found, value = text.partition(op)
        if found and name.isidentifier():
            return {"name": name, "value": value.strip('"'), "isRegex": "~" in op, "isEqual": op[0] == "="}
    raise CommandError(f"{text!r} is no matcher; write name=value, name!=value, name=~regex or name!~regex")


def _length(text: str) -> timedelta:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    if len(text) > 1 and text[:-1].isdecimal() and text[-1] in units:
        return timedelta(seconds=int(text[:-1]) * units[text[-1]])
    raise CommandError(f"{text!r} is no duration; write a number with s, m, h or d, such as 2h")


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
