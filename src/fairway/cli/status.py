"""`fairway status`: what runs, where, and what is broken."""

from __future__ import annotations

import shutil
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import CommandError, NoPlatform
from fairway.cli.health import Finding, findings
from fairway.cli.output import ago, machine, output_option, paint, table
from fairway.kube.objects import Obj, dig, meta_of, parse_time, spec_of, status_of
from fairway.kube.resources import APPLICATIONS, DEPLOYMENTS, JOBS, LEASES, PIPELINE_RUNS, PODS, ROLLOUTS, Resource
from fairway.parts import leading
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client

_KINDS: tuple[Resource, ...] = (APPLICATIONS, ROLLOUTS, DEPLOYMENTS, PODS, JOBS, PIPELINE_RUNS)
_MARK = {"ok": "green", "not answering": "red"}


@click.command()
@output_option
@click.pass_obj
@click.pass_context
def command(ctx: click.Context, state: StateDir, output: str) -> None:
    """Print what runs, on which ports, and what is broken first. Exit code 1 where something is."""
    from fairway.cli.client import Client

    client = Client.of(state)
    parts = _parts(client)
    objects = {resource.kind: _listed(client, resource) for resource in _KINDS}
    broken = findings(objects)
    if not machine(_as_json(state, client, parts, objects, broken), output):
        _print(state, client, parts, objects, broken)
    if broken or any(part["state"] != "ok" for part in parts if part["part"] != "leadership"):
        ctx.exit(1)


def _parts(client: Client) -> list[dict[str, str]]:
    """The listeners, and whether each of them answers."""
    addresses = client.addresses
    ingress = {"part": "ingress", "address": addresses.ingress_url}
    return [
        {"part": "Kubernetes API", "address": addresses.api_url, "state": _answers(lambda: client.raw("GET", "/readyz"))},
        {"part": "git and metrics", "address": addresses.web_url, "state": _answers(lambda: client.web("/healthz"))},
        *([{**ingress, "state": _listens(addresses.ingress_port)}] if addresses.ingress_port else []),
        *([{"part": "leadership", "address": addresses.identity, "state": _leads(client)}] if addresses.identity else []),
    ]


def _leads(client: Client) -> str:
    """ok, or who else holds what this process was told to run."""
    leases = {meta_of(lease)["name"]: spec_of(lease).get("holderIdentity") for lease in client.list(LEASES, "fairway")}
    for part in leading(frozenset(client.addresses.without)):
        holder = leases.get(f"fairway-{part}")
        if holder != client.addresses.identity:
            return f"standing by: {part} is run by {holder}" if holder else "standing by: an election is under way"
    return "ok"


def _answers(ask: Any) -> str:
    try:
        ask()
    except (CommandError, NoPlatform):
        return "not answering"
    return "ok"


def _listens(port: int) -> str:
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return "not answering"
    return "ok"


def _listed(client: Client, resource: Resource) -> list[Obj]:
    from fairway.kube.errors import NotFound

    try:
        return client.list(resource)
    except NotFound:
        return []  # a kind whose definition is not installed


def _as_json(state: StateDir, client: Client, parts: list[dict[str, str]], objects: dict[str, list[Obj]],
             broken: list[Finding]) -> dict[str, Any]:
    return {
        "state": str(state.root),
        "pid": client.addresses.pid,
        "parts": parts,
        "broken": [finding.as_json() for finding in broken],
        "applications": [
            {"namespace": meta_of(app)["namespace"], "name": meta_of(app)["name"],
             "sync": dig(app, "status", "sync", "status", default="Unknown"),
             "health": dig(app, "status", "health", "status", default="Unknown"),
             "revision": dig(app, "status", "sync", "revision", default="")}
            for app in objects["Application"]
        ],
        "rollouts": [
            {"namespace": meta_of(ro)["namespace"], "name": meta_of(ro)["name"], "phase": status_of(ro).get("phase", ""),
             "step": status_of(ro).get("currentStepIndex"), "steps": _steps(ro), "message": status_of(ro).get("message", "")}
            for ro in objects["Rollout"]
        ],
        "pods": dict(zip(("ready", "total"), _pods(objects["Pod"]), strict=True)),
    }  # fmt: skip


def _steps(rollout: Obj) -> int:
    return len(dig(rollout, "spec", "strategy", "canary", "steps", default=[]))


def _pods(pods: list[Obj]) -> tuple[int, int]:
    """How many are ready, of how many that did not end."""
    running = [pod for pod in pods if status_of(pod).get("phase") not in ("Succeeded", "Failed")]
    return sum(map(_is_ready, running)), len(running)


def _is_ready(pod: Obj) -> bool:
    rows = status_of(pod).get("conditions") or ()
    return any(row.get("type") == "Ready" and row.get("status") == "True" for row in rows)


def _print(state: StateDir, client: Client, parts: list[dict[str, str]], objects: dict[str, list[Obj]],
           broken: list[Finding]) -> None:
    now = datetime.now(UTC)
    if broken:
        click.echo(paint("Broken:", "red"))
        for finding in broken:
            click.echo(_described(finding))
        click.echo()
    click.echo(table(("PART", "ADDRESS", "STATE"), [(p["part"], p["address"], p["state"]) for p in parts]))
    click.echo(f"daemon {client.addresses.pid}, state in {state.root}\ntraffic by {client.addresses.data_plane}"
               + (f"\nmetrics asked at {client.addresses.prometheus}" if client.addresses.prometheus else ""))
    if objects["Application"]:
        click.echo("\n" + table(("APPLICATION", "SYNC", "HEALTH", "REVISION"), [
            (meta_of(app)["name"], dig(app, "status", "sync", "status", default="Unknown"),
             dig(app, "status", "health", "status", default="Unknown"),
             str(dig(app, "status", "sync", "revision", default=""))[:7])
            for app in objects["Application"]
        ]))  # fmt: skip
    if objects["Rollout"]:
        click.echo("\n" + table(("ROLLOUT", "NAMESPACE", "PHASE", "STEP", "MESSAGE"), [
            (meta_of(ro)["name"], meta_of(ro)["namespace"], status_of(ro).get("phase", ""),
             f"{status_of(ro).get('currentStepIndex', 0)}/{_steps(ro)}", _short(status_of(ro).get("message", "")))
            for ro in objects["Rollout"]
        ]))  # fmt: skip
    runs = sorted(objects["PipelineRun"], key=lambda run: str(meta_of(run).get("creationTimestamp", "")), reverse=True)
    if runs:
        click.echo("\n" + table(("PIPELINE RUN", "REPOSITORY", "COMMIT", "PHASE", "AGE"), [
            (meta_of(run)["name"], spec_of(run).get("repository", ""), str(spec_of(run).get("sha", ""))[:7],
             status_of(run).get("phase", "Pending"), ago(_created(run), now))
            for run in runs[:5]
        ]))  # fmt: skip
    ready, total = _pods(objects["Pod"])
    click.echo(f"\n{ready} of {total} pods ready")


def _created(obj: Obj) -> datetime | None:
    text = meta_of(obj).get("creationTimestamp")
    return parse_time(text) if text else None


def _described(finding: Finding) -> str:
    """What is broken on one line, why below it in full: the mend often stands at the end."""
    where = f" ({finding.namespace})" if finding.namespace else ""
    width = shutil.get_terminal_size((120, 24)).columns
    why = textwrap.fill(finding.message, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False,
                        break_on_hyphens=False)
    return f"  {finding.kind}/{finding.name}{where}  {paint(finding.state, 'red')}" + (f"\n{why}" if why else "")


def _short(message: str, most: int = 100) -> str:
    return message if len(message) <= most else message[: most - 1] + "…"
