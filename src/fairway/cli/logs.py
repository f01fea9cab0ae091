"""`fairway logs`: what a pod or a pipeline run wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError
from fairway.kube.objects import Obj, meta_of
from fairway.kube.resources import PODS
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client


@click.command()
@click.argument("name")
@click.option("-n", "--namespace", default="", help="Namespace of the pod.  [default: all are searched]")
@click.option("-c", "--container", default="", help="Container, where the pod has several; job of a run.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="The container before its last restart.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.pass_obj
def command(state: StateDir, name: str, namespace: str, container: str, follow: bool, previous: bool,
            tail: int | None, timestamps: bool) -> None:
    """Print the logs of the pod NAME, or of a pipeline run as run/NAME.

    The name of a workload (a Rollout, a Job) means its newest pod.
    """
    from fairway.cli.client import Client

    client = Client.of(state)
    if name.startswith("run/"):
        from fairway.cli.run_logs import print_run

        print_run(client, name.removeprefix("run/"), container, follow=follow, tail=tail, timestamps=timestamps)
        return
    pod = _pod(client, name.removeprefix("pod/"), namespace)
    meta = meta_of(pod)
    flags = {"follow": follow, "previous": previous, "timestamps": timestamps}
    query: dict[str, str | int] = {key: "true" for key, given in flags.items() if given}
    if container:
        query["container"] = container
    if tail is not None:
        query["tailLines"] = tail
    _print(client.stream(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log", query))


def _pod(client: Client, name: str, namespace: str) -> Obj:
    """The pod of this name, else the newest one whose name begins with it."""
    pods = client.list(PODS, namespace)
    exact = [pod for pod in pods if meta_of(pod)["name"] == name]
    if len(exact) == 1:
        return exact[0]
    if exact:
        spaces = ", ".join(sorted(meta_of(pod)["namespace"] for pod in exact))
        raise CommandError(f"pods called {name!r} are in several namespaces: {spaces}", mend="choose one with -n")
    begun = [pod for pod in pods if meta_of(pod)["name"].startswith(f"{name}-")]
    if not begun:
        where = f"namespace {namespace!r}" if namespace else "any namespace"
        raise CommandError(f"no pod is called {name!r} in {where}", mend="see the pods with: fairway status")
    newest = max(begun, key=lambda pod: (meta_of(pod).get("creationTimestamp", ""), meta_of(pod)["name"]))
    if len(begun) > 1:
        click.echo(f"{len(begun)} pods; this is the newest, {meta_of(newest)['name']}", err=True)
    return newest


def _print(lines: Iterator[bytes]) -> None:
    try:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
    except KeyboardInterrupt:
        pass  # the way to stop following
