"""`fairway ci start`: a run on the platform by hand."""

from __future__ import annotations

import secrets

import click

from fairway.cli.ci.files import pairs
from fairway.cli.output import machine, output_option
from fairway.state import StateDir


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
    from fairway.kube.resources import PIPELINE_RUNS

    path = workflow if "/" in workflow or workflow == ".gitlab-ci.yml" else f".github/workflows/{workflow}"
    stem = path.rpartition("/")[2].rpartition(".")[0].removeprefix(".") or "pipeline"
    spec = {"repository": repository, "workflow": path, "event": "web" if path.endswith(".gitlab-ci.yml") and
            event == "workflow_dispatch" else event, "inputs": pairs(inputs)}
    if ref:
        spec["ref"] = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
    made = Client.of(state).create(PIPELINE_RUNS, {
        "apiVersion": PIPELINE_RUNS.api_version, "kind": PIPELINE_RUNS.kind, "spec": spec, "metadata": {
            "namespace": "fairway", "name": f"{repository.replace('/', '-').lower()}-{stem.lower()}-{secrets.token_hex(3)}"}})
    if not machine(made, output):
        click.echo(f"started {made['metadata']['name']}; follow it: fairway logs -f run/{made['metadata']['name']}")
