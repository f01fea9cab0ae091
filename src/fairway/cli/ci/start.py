"""`fairway ci start`, `rerun` and `cancel`: runs on the platform by hand."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.ci.files import pairs
from fairway.cli.errors import CommandError
from fairway.cli.output import machine, output_option
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.kube.objects import Obj

_PATIENCE_S = 5
"""A platform that is there looks at a run within milliseconds; one whose CI is switched off never does."""


@click.command("start")
@click.argument("repository")
@click.argument("workflow")
@click.option("--ref", default="", help="Branch, tag or commit.  [default: the default branch]")
@click.option("-e", "--event", default="workflow_dispatch", show_default=True)
@click.option("-i", "--input", "inputs", multiple=True, metavar="NAME=VALUE", help="Input of a workflow_dispatch; "
              "variable of a GitLab pipeline.")
@output_option
@click.pass_obj
def start_command(state: StateDir, repository: str, workflow: str, ref: str, event: str, inputs: tuple[str, ...],
                  output: str) -> None:
    """Start WORKFLOW (its path or file name) of REPOSITORY on the platform, as a person would by hand."""
    from fairway.cli.client import Client

    path = workflow if "/" in workflow or workflow == ".gitlab-ci.yml" else f".github/workflows/{workflow}"
    stem = path.rpartition("/")[2].rpartition(".")[0].removeprefix(".") or "pipeline"
    spec = {"repository": repository, "workflow": path, "event": "web" if path.endswith(".gitlab-ci.yml") and
            event == "workflow_dispatch" else event, "inputs": pairs(inputs)}
    if ref:
        spec["ref"] = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
    made = _begin(Client.of(state), f"{repository.replace('/', '-').lower()}-{stem.lower()}", spec)
    if not machine(made, output):
        _say(made)


@click.command("rerun")
@click.argument("run")
@output_option
@click.pass_obj
def rerun_command(state: StateDir, run: str, output: str) -> None:
    """Run the commit, event and inputs of RUN once more, as a run of its own."""
    from fairway.cli.client import Client

    client = Client.of(state)
    old = _found(client, run)
    spec = {key: value for key, value in old["spec"].items() if key not in ("answers", "cancel")}
    stem = re.sub(r"-again-[0-9a-f]{6}$", "", run)
    made = _begin(client, f"{stem}-again", spec, labels=old["metadata"].get("labels") or {})
    if not machine(made, output):
        _say(made)


@click.command("cancel")
@click.argument("run")
@output_option
@click.pass_obj
def cancel_command(state: StateDir, run: str, output: str) -> None:
    """Cancel RUN: its jobs are stopped, and what is to run always still does."""
    from fairway.cli.client import Client
    from fairway.kube.resources import PIPELINE_RUNS

    client = Client.of(state)
    if (_found(client, run).get("status") or {}).get("finishedAt"):
        raise CommandError(f"{run} is over")
    changed = client.patch(PIPELINE_RUNS, run, "fairway", {"spec": {"cancel": True}})
    if not machine(changed, output):
        click.echo(f"cancelling {run}")


def _found(client: Client, name: str) -> Obj:
    from fairway.kube.resources import PIPELINE_RUNS

    run = client.find(PIPELINE_RUNS, name, "fairway")
    if run is None:
        raise CommandError(f"no run is called {name!r}", mend="see them with: kubectl get pipelineruns -n fairway")
    return run


def _begin(client: Client, stem: str, spec: dict[str, Any], labels: Mapping[str, str] | None = None) -> Obj:
    """The run, once the platform has looked at it. `CommandError` where it refuses to run it at all."""
    from fairway.kube.resources import PIPELINE_RUNS

    name = f"{stem}-{os.urandom(3).hex()}"
    made = client.create(PIPELINE_RUNS, {
        "apiVersion": PIPELINE_RUNS.api_version, "kind": PIPELINE_RUNS.kind, "spec": spec,
        "metadata": {"namespace": "fairway", "name": name, **({"labels": dict(labels)} if labels else {})}})
    for _, seen in client.watch(PIPELINE_RUNS, "fairway", fields=f"metadata.name={name}", timeout_s=_PATIENCE_S):
        status = seen.get("status") or {}
        if status.get("phase") == "Failed" and not status.get("jobs"):
            raise CommandError(status.get("message") or "the platform refuses to run it")
        if status.get("phase"):
            return seen
    return made


def _say(run: Obj) -> None:
    click.echo(f"started {run['metadata']['name']}; follow it: fairway logs -f run/{run['metadata']['name']}")
