"""`fairway releases`: the record of what was deployed."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from fairway.cli.output import ago, machine, output_option, table
from fairway.kube.objects import Obj, meta_of, parse_time, spec_of, status_of
from fairway.kube.resources import RELEASES
from fairway.state import StateDir


@click.command()
@click.option("-n", "--namespace", default="", help="Only this namespace.")
@click.option("--application", default="", help="Only this Application.")
@click.option("--environment", default="", help="Only this environment.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest N.")
@output_option
@click.pass_obj
def command(state: StateDir, namespace: str, application: str, environment: str, limit: int, output: str) -> None:
    """Print what was deployed, when, from which commit, and how it ended; the newest first."""
    from fairway.cli.client import Client

    found = [
        release for release in Client.of(state).list(RELEASES, namespace)
        if application in ("", spec_of(release).get("application"))
        and environment in ("", spec_of(release).get("environment"))
    ]  # fmt: skip
    newest = sorted(found, key=_when, reverse=True)[:limit]
    if machine(newest, output):
        return
    now = datetime.now(UTC)
    click.echo(table(("APPLICATION", "ENVIRONMENT", "COMMIT", "DIGEST", "OUTCOME", "TOOK", "AGE"),
                     [_row(release, now) for release in newest]))


def _when(release: Obj) -> str:
    return str(meta_of(release).get("creationTimestamp", ""))


def _row(release: Obj, now: datetime) -> tuple[str, ...]:
    spec, status = spec_of(release), status_of(release)
    committed, finished = _time(status.get("committedAt")), _time(status.get("finishedAt"))
    took = f"{(finished - committed).total_seconds():.0f}s" if committed and finished else "-"
    return (
        spec.get("application", ""), spec.get("environment", ""), str(spec.get("sha", ""))[:7] or "-",
        str(spec.get("digest", "")).removeprefix("sha256:")[:12] or "-", status.get("outcome", "InProgress"), took,
        ago(finished or _time(_when(release)), now),
    )  # fmt: skip


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None
