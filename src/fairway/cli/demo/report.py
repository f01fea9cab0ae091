"""The demo's last page: a table a person reads, or one object a machine reads."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.cli.demo.figures import commit_row
from fairway.cli.demo.story import Told


def answer_of(told: Told, dora: Mapping[str, Any]) -> dict[str, Any]:
    """The object that `-o json` prints."""
    commits = [commit_row(delivery, told.answers) for delivery in told.deliveries]
    return {
        "commits": commits,
        "platform_share_s": round(sum(float(str(c["platform_share_s"])) for c in commits), 2),
        "lost_requests": sum(a.lost for a in told.answers),
        "requests": len(told.answers),
        "git_head_digest": told.git_head_digest,
        "dora": dict(dora),
    }


def as_expected(answer: Mapping[str, Any]) -> list[str]:
    """What did not go as the demo promises; empty where all did."""
    commits: Sequence[Mapping[str, Any]] = answer["commits"]
    wrong = []
    for commit, outcome in zip(commits, ("promoted", "promoted", "rolled-back"), strict=True):
        if commit["outcome"] != outcome:
            wrong.append(f"{commit['version']} ended {commit['outcome']}, not {outcome}")
    if answer["lost_requests"]:
        wrong.append(f"{answer['lost_requests']} requests got no answer")
    if commits[1]["failed"]:
        wrong.append(f"{commits[1]['failed']} requests failed during the good rollout")
    if answer["git_head_digest"] != commits[1]["digest"]:
        wrong.append("the deployment repository does not name the good digest at the end")
    return wrong


def print_page(answer: Mapping[str, Any], state: str, *, kept: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title="Three commits to production", title_justify="left", show_edge=False)
    for heading, justify in (("commit", "left"), ("version", "left"), ("outcome", "left"),
                             ("push to end", "right"), ("requests", "right"), ("failed", "right"),
                             ("on this version", "right"), ("platform's own", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for commit in answer["commits"]:
        colour = "green" if commit["outcome"] == "promoted" else "yellow"
        table.add_row(commit["sha"][:7], commit["version"], f"[{colour}]{commit['outcome']}[/]",
                      f"{commit['commit_to_production_s']:.1f} s", str(commit["requests"]), str(commit["failed"]),
                      _with_percent(commit), f"{commit['platform_share_s']:.1f} s")
    console.print()
    console.print(table)
    console.print()
    for commit in answer["commits"]:
        parts = "  ".join(f"{name} {seconds:.1f} s" for name, seconds in commit["phases_s"].items())
        console.print(f"{commit['version']}  {parts}", highlight=False)
        if commit["shares"]:
            steps = "  ".join(f"{s['weight']} % got {s['share']:.1f} %" for s in commit["shares"])
            console.print(f"       weights: {steps}", highlight=False)
    console.print(f"\nlost requests: {answer['lost_requests']} of {answer['requests']}", highlight=False)
    _print_dora(console, answer["dora"])
    if kept:
        console.print(f"\nThe platform goes on running. Look further:\n"
                      f"  fairway --state {state} status\n"
                      f"  fairway --state {state} rollout get shop -n shop\n"
                      f"  fairway --state {state} app history shop\n"
                      f"  fairway --state {state} releases\n"
                      f"  KUBECONFIG={state}/kubeconfig kubectl get all -n shop\n"
                      f"Stop it:\n  fairway --state {state} down", highlight=False, soft_wrap=True)
    else:
        console.print("\nTo look around afterwards, keep it running: fairway demo --keep", highlight=False)


def _with_percent(commit: Mapping[str, Any]) -> str:
    total = commit["requests"]
    share = f" ({100 * commit['on_this_version'] / total:.1f} %)" if total else ""
    return f"{commit['on_this_version']}{share}"


def _print_dora(console: Any, dora: Mapping[str, Any]) -> None:
    if dora:
        console.print("\nDelivery metrics (DORA)", style="bold")
        for name, figure in dora.items():
            if isinstance(figure, Mapping):
                console.print(f"  {name.replace('_', ' '):<22} {_shown(figure)}", highlight=False)


def _shown(figure: Mapping[str, Any]) -> str:
    """A figure in its unit, with what it rests on; unknown is said, not shown as zero."""
    value, unit = figure["value"], figure["unit"]
    if value is None:
        return "unknown"
    text = f"{100 * value:.0f} %" if unit == "share" else f"{value:.1f} {unit}"
    releases = "release" if figure["samples"] == 1 else "releases"
    return f"{text}  ({figure['level'] or 'no level'}; {figure['samples']} {releases})"
