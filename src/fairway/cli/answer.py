"""`fairway approve` and `fairway reject`: what a person says to a job that waits."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.kube.objects import Obj


@click.command("approve")
@click.argument("run")
@click.option("-j", "--job", default="", help="The job that waits, where several do.")
@click.option("--environment", default="", help="All jobs that wait for this environment.")
@click.option("--as", "person", default="", help="Who approves.  [default: the user here]")
@click.option("-m", "--comment", default="")
@output_option
@click.pass_obj
def approve(state: StateDir, run: str, job: str, environment: str, person: str, comment: str, output: str) -> None:
    """Let a job of RUN go on: an environment with reviewers, or a manual job of a GitLab pipeline."""
    _answer(state, run, job, environment, person or getpass.getuser(), comment, output, approved=True)


@click.command("reject")
@click.argument("run")
@click.option("-j", "--job", default="", help="The job that waits, where several do.")
@click.option("--environment", default="", help="All jobs that wait for this environment.")
@click.option("--as", "person", default="", help="Who rejects.  [default: the user here]")
@click.option("-m", "--comment", default="", help="Why.")
@output_option
@click.pass_obj
def reject(state: StateDir, run: str, job: str, environment: str, person: str, comment: str, output: str) -> None:
    """End a job of RUN that waits for approval."""
    _answer(state, run, job, environment, person or getpass.getuser(), comment, output, approved=False)


def _answer(state: StateDir, name: str, job: str, environment: str, person: str, comment: str, output: str, *,
            approved: bool) -> None:
    from fairway.cli.client import Client
    from fairway.kube.resources import PIPELINE_RUNS

    client = Client.of(state)
    run = client.find(PIPELINE_RUNS, name, "fairway")
    if run is None:
        raise CommandError(f"no run is called {name!r}", mend="see them with: kubectl get pipelineruns -n fairway")
    waiting = [entry for entry in (run.get("status") or {}).get("jobs") or () if entry["phase"] == "Waiting"]
    picked = _picked(waiting, job, environment, name)
    said = [{"job": entry["id"], "approve": approved, "by": person, **({"comment": comment} if comment else {})}
            for entry in picked]
    for entry in picked:
        _check_reviewer(client, run, str(entry.get("environment") or ""), person)
    answers = [*((run.get("spec") or {}).get("answers") or ()), *said]
    client.patch(PIPELINE_RUNS, name, "fairway", {"metadata": {"resourceVersion": run["metadata"]["resourceVersion"]},
                                                  "spec": {"answers": answers}})
    if not machine(said, output):
        word = "approved" if approved else "rejected"
        click.echo(f"{word}: {', '.join(entry['name'] for entry in picked)}")


def _check_reviewer(client: Client, run: Obj, environment: str, person: str) -> None:
    """The platform would wait on, as if nobody had said anything; this says it to who said it."""
    from fairway.ci.course import Answer
    from fairway.ci.environments import decode_protection, may_review
    from fairway.kube.resources import ENVIRONMENTS

    repository = run["spec"].get("repository")
    guards = [decode_protection(obj) for obj in client.list(ENVIRONMENTS, "fairway")
              if environment and obj["spec"].get("repository") in (None, "", repository)]
    guard = next((guard for guard in guards if guard.name.casefold() == environment.casefold()), None)
    actor = run["spec"].get("actor") or ((run.get("status") or {}).get("commit") or {}).get("author", "")
    if guard is not None and guard.reviewers and not may_review(Answer(True, person), guard, actor):
        others = [name for name in guard.reviewers if not guard.prevent_self_review or name.casefold() != actor.casefold()]
        raise CommandError(f"{person} may not review environment {guard.name}",
                           mend=f"these may: {', '.join(others) or 'nobody'}; --as says who you are")


def _picked(waiting: list[Obj], job: str, environment: str, run: str) -> list[dict[str, Any]]:
    if not waiting:
        raise CommandError(f"no job of {run} waits for anybody")
    names = ", ".join(entry["name"] for entry in waiting)
    if environment:
        found = [entry for entry in waiting if str(entry.get("environment", "")).casefold() == environment.casefold()]
    elif job:
        found = [entry for entry in waiting if job in (entry["id"], entry["name"], entry.get("job"))]
    else:
        if len(waiting) > 1:
            raise Misused("several jobs wait", mend=f"choose with --job: {names}")
        found = waiting
    if not found:
        raise Misused("no such job waits", mend=f"these do: {names}")
    return found
