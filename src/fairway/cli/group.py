"""The `fairway` command: a static table of names, so that `--help` imports no command."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from fairway import __version__
from fairway.cli.errors import translated
from fairway.state import StateDir

COMMANDS: dict[str, tuple[str, str]] = {
    # name: (module with a click command called `command`, help in one line)
    "app": ("fairway.cli.app", "Applications: list, get, diff, sync, history, rollback, wait."),
    "approve": ("fairway.cli.approve", "Let a job of a pipeline run that waits for a person go on."),
    "build": ("fairway.cli.build", "Render Kustomize or plain manifests to YAML."),
    "ci": ("fairway.cli.ci", "Run workflows here, from the working tree: run, list, explain, graph."),
    "cluster": ("fairway.cli.cluster", "Clusters that Applications are delivered to: list, get, add, rm."),
    "demo": ("fairway.cli.demo", "Three commits of an example service to production."),
    "doctor": ("fairway.cli.doctor", "What this machine can give a platform, and what could be better."),
    "dora": ("fairway.cli.dora", "Deployment frequency, lead time, failure rate, time to restore."),
    "down": ("fairway.cli.down", "Stop the platform and all that it runs."),
    "gate": ("fairway.cli.gate", "Judge reports against thresholds."),
    "image": ("fairway.cli.image", "OCI images without a daemon: build, push, inspect."),
    "kubeconfig": ("fairway.cli.kubeconfig", "Where the kubeconfig of the platform is."),
    "logs": ("fairway.cli.logs", "Logs of a pod, or of a pipeline run."),
    "proj": ("fairway.cli.proj", "AppProjects: list, get; their roles and tokens; their sync windows."),
    "query": ("fairway.cli.query", "Ask the metrics a PromQL question."),
    "account": ("fairway.cli.account", "Who I am to the platform, and what I may do: get-user-info, can-i."),
    "alerts": ("fairway.cli.alerts", "Alerts that fire, rules, and silences."),
    "reject": ("fairway.cli.reject", "End a job of a pipeline run that waits for approval."),
    "rehearse": ("fairway.cli.rehearse", "A rollout in virtual time, with what goes wrong, before anyone meets it."),
    "releases": ("fairway.cli.releases", "What was deployed, when, from which commit, and how it ended."),
    "repo": ("fairway.cli.repo", "Git repositories of the platform: create, list."),
    "rollout": ("fairway.cli.rollout", "Rollouts and Experiments: get, list, status, promote, abort, retry, undo, lint."),
    "set": ("fairway.cli.set_image", "Change one image of a kustomization and keep the rest."),
    "status": ("fairway.cli.status", "What runs, on which ports, and what is broken."),
    "up": ("fairway.cli.up", "Start the platform on this machine."),
    "watch": ("fairway.cli.watch", "Follow a promoted version until it has passed or was taken back."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        command: click.Command = importlib.import_module(row[0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command is called {args[0]!r}{_nearest(args[0], sorted(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            ctx.exit(0)  # `fairway logs x | head`: the reader has what it wanted
        except Exception as error:
            better = translated(error)
            if better is error:
                raise
            raise better from error


def _nearest(word: str, known: Sequence[str]) -> str:
    import difflib

    found = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--state", "folder", metavar="DIR", envvar="FAIRWAY_STATE", type=click.Path(path_type=Path),
              help="State folder of the platform.  [default: ~/.local/share/fairway]")
@click.version_option(__version__, "--version", message="fairway %(version)s")
@click.pass_context
def cli(ctx: click.Context, folder: Path | None) -> None:
    """Takes a commit to production traffic, on this machine or on a Kubernetes cluster."""
    ctx.obj = StateDir(folder.absolute()) if folder is not None else StateDir.default()
