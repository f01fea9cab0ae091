"""`fairway app manifests|resources|logs`: the objects of an Application, as git has them and as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.destination import destination_of
from fairway.cli.errors import CommandError
from fairway.cli.output import machine, output_option, table
from fairway.kube.objects import Obj, dig, meta_of, status_of
from fairway.kube.resources import APPLICATIONS, PODS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client

namespace_option = click.option("-N", "--app-namespace", "namespace", default="argocd", show_default=True,
                                help="Where the Application is.")
_CHILDREN = ("ReplicaSet", "Pod", "Job", "AnalysisRun", "EndpointSlice", "ControllerRevision")


def client_of(state: StateDir) -> Client:
    from fairway.cli.client import Client

    return Client.of(state)


def live_objects(client: Client, app: Obj) -> Iterator[tuple[Obj, Obj]]:
    """Each entry of `status.resources` that is live, with the object."""
    there = destination_of(client, app)
    known = there.resources()
    for entry in status_of(app).get("resources") or ():
        resource = known.of_group_kind(entry.get("group", ""), entry["kind"])
        found = there.find(resource, entry["name"], entry.get("namespace", "")) if resource is not None else None
        if found is not None:
            yield entry, found


def children(client: Client, app: Obj) -> dict[str, list[Obj]]:
    """What controllers have made of the Application's objects, by the uid of the owner."""
    from fairway.kube.resources import BUILT_IN, CUSTOM

    there = destination_of(client, app)
    spaces = {entry.get("namespace", "") for entry in status_of(app).get("resources") or ()} - {""}
    found: dict[str, list[Obj]] = {}
    for resource in (row for row in (*BUILT_IN, *CUSTOM) if row.kind in _CHILDREN):
        for obj in (obj for space in sorted(spaces) for obj in there.list(resource, space)):
            for reference in meta_of(obj).get("ownerReferences") or ():
                found.setdefault(str(reference.get("uid")), []).append(obj)
    return found


def tree(client: Client, app: Obj) -> str:
    """The objects, and below each what came of it."""
    from fairway.gitops.health import health

    below = children(client, app)
    live = {(e.get("group", ""), e["kind"], e.get("namespace", ""), e["name"]): obj for e, obj in live_objects(client, app)}
    rows: list[Sequence[object]] = []

    def grow(owner: Obj, prefix: str) -> None:
        made = sorted(below.get(str(meta_of(owner).get("uid")), ()), key=lambda o: (o["kind"], meta_of(o)["name"]))
        for n, obj in enumerate(made):
            last = n == len(made) - 1
            state = health(obj)
            rows.append((f"{prefix}{'└─' if last else '├─'}{obj['kind']}/{meta_of(obj)['name']}", "",
                         state.status if state else "", state.message if state else ""))
            grow(obj, prefix + ("  " if last else "│ "))

    for entry in status_of(app).get("resources") or ():
        rows.append((f"{entry['kind']}/{entry['name']}", entry.get("status", ""), dig(entry, "health", "status", default=""),
                     dig(entry, "health", "message", default="")))
        owner = live.get((entry.get("group", ""), entry["kind"], entry.get("namespace", ""), entry["name"]))
        if owner is not None:
            grow(owner, "")
    return table(("KIND/NAME", "STATUS", "HEALTH", "MESSAGE"), rows)


@click.command()
@click.argument("name")
@click.option("--orphaned", is_flag=True, help="Those in its namespace that belong to no Application.")
@namespace_option
@output_option
@click.pass_obj
def resources(state: StateDir, name: str, orphaned: bool, namespace: str, output: str) -> None:
    """Print the objects of an Application, and what belongs to nobody."""
    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    rows = [{"group": e.get("group", ""), "kind": e["kind"], "namespace": e.get("namespace", ""), "name": e["name"],
             "orphaned": False} for e in status_of(app).get("resources") or ()]
    if orphaned:
        rows = list(_orphans(destination_of(client, app), dig(app, "spec", "destination", "namespace", default="")))
    if not machine(rows, output):
        click.echo(table(("GROUP", "KIND", "NAMESPACE", "NAME", "ORPHANED"), [
            (r["group"], r["kind"], r["namespace"], r["name"], "Yes" if r["orphaned"] else "No") for r in rows]))


def _orphans(client: Client, namespace: str) -> Iterator[dict[str, Any]]:
    from fairway.gitops.live import WATCHED, belongs_to_nobody

    for resource in (row for row in WATCHED if row.namespaced and namespace):
        for obj in client.list(resource, namespace):
            if belongs_to_nobody(obj):
                yield {"group": resource.group, "kind": obj["kind"], "namespace": namespace, "name": meta_of(obj)["name"],
                       "orphaned": True}


@click.command()
@click.argument("name")
@click.option("--source", type=click.Choice(["git", "live"]), default="git", show_default=True, help="Which side.")
@click.option("--revision", default="", help="As this branch, tag or commit has them.")
@namespace_option
@click.pass_obj
def manifests(state: StateDir, name: str, source: str, revision: str, namespace: str) -> None:
    """Print the objects of an Application as YAML: what git describes, or what is live."""
    from fairway.cli.app_diff import rendered
    from fairway.manifests.yaml import dump_all

    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    if source == "live":
        found: list[Obj] = [obj for _, obj in live_objects(client, app)]
    else:
        found = list(rendered(client, state, app, revision, destination_of(client, app).resources())[1])
    click.echo(dump_all([_without_values(obj) for obj in found]), nl=False)


def _without_values(obj: Obj) -> Obj:
    """A Secret is shown without what is secret in it."""
    if obj.get("kind") != "Secret":
        return obj
    return {**obj, **{key: dict.fromkeys(obj[key], "++++++++") for key in ("data", "stringData") if obj.get(key)}}


@click.command()
@click.argument("name")
@click.option("--kind", default="", help="Only pods of objects of this kind.")
@click.option("--name", "of", default="", help="Only pods of the object of this name.")
@click.option("-c", "--container", default="", help="Container, where pods have several.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines of each.")
@click.option("-p", "--previous", is_flag=True, help="The containers before their last restart.")
@click.option("--filter", "words", default="", help="Only lines with these words.")
@namespace_option
@click.pass_obj
def logs(state: StateDir, name: str, kind: str, of: str, container: str, tail: int | None, previous: bool, words: str,
         namespace: str) -> None:
    """Print what the pods of an Application wrote, each line with the pod in front."""
    from fairway.kube.errors import ApiError

    client = client_of(state)
    app = client.get(APPLICATIONS, name, namespace)
    pods = _pods(client, app, kind, of)
    if not pods:
        raise CommandError(f"{name} has no pods" + (f" of {kind or of}" if kind or of else ""),
                           mend=f"see what it has with: fairway app get {name} -o tree")
    there = destination_of(client, app)
    asked = {"container": container, "previous": "true" if previous else "", "tailLines": tail}
    query: dict[str, str | int] = {key: value for key, value in asked.items() if value not in (None, "")}
    for pod in pods:
        meta = meta_of(pod)
        try:
            for line in there.stream(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log", query):
                text = line.decode(errors="replace")
                if words in text:
                    click.echo(f"{meta['name']}: {text}")
        except ApiError as error:
            click.echo(f"{meta['name']}: {error.message}", err=True)


def _pods(client: Client, app: Obj, kind: str, name: str) -> list[Obj]:
    below, found = children(client, app), []

    def walk(obj: Obj) -> None:
        if obj["kind"] == PODS.kind:
            found.append(obj)
        for child in below.get(str(meta_of(obj).get("uid")), ()):
            walk(child)

    for entry, obj in live_objects(client, app):
        if kind in ("", entry["kind"]) and name in ("", entry["name"]):
            walk(obj)
    return found
