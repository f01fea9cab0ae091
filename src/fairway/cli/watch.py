"""`fairway watch`: follow a RollbackPolicy until its watch is over. Scripts read the exit code."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option
from fairway.kube.objects import dig, meta_of, status_of
from fairway.kube.resources import ROLLBACK_POLICIES

if TYPE_CHECKING:
    from fairway.cli.client import Client
    from fairway.kube.objects import Obj

LOOK_EVERY_S = 1.0
EXIT = {"Passed": 0, "Idle": 0, "RolledBack": 1, "Failed": 2}
NOTHING_KNOWN = 3
"""The watch is over and nothing was ever measured: that is no success."""


@click.command(name="watch")
@click.argument("name")
@click.option("-n", "--namespace", default="", help="Namespace.  [default: where the name is found]")
@click.option("--timeout", default="0s", show_default=True, help="Give up after this (0s: never).")
@output_option
@click.pass_context
def command(ctx: click.Context, name: str, namespace: str, timeout: str, output: str) -> None:
    """Follow the RollbackPolicy NAME until the version that it watches has passed or was taken back.

    Exit codes: 0 good, 1 rolled back, 2 the rollback failed or the time is over, 3 nothing was known.
    """
    from fairway.cli.client import Client

    client = Client.of(ctx.obj)
    policy, limit = _find(client, name, namespace), _seconds(timeout)
    end = time.monotonic() + limit if limit else None
    said = ""
    while True:
        policy = client.get(ROLLBACK_POLICIES, name, str(meta_of(policy)["namespace"]))
        phase, line = _standing(policy)
        if line != said and output == "text":
            click.echo(line)
            said = line
        if phase in EXIT:
            break
        if end is not None and time.monotonic() >= end:
            click.echo(f"still {phase} after {timeout}", err=True)
            ctx.exit(2)
        time.sleep(LOOK_EVERY_S)
    machine(policy, output)
    ctx.exit(exit_code(policy))


def exit_code(policy: Obj) -> int:
    status = status_of(policy)
    phase = str(status.get("phase") or "")
    unknown = all(c.get("state") in ("unknown", "waiting") for c in status.get("criteria") or ())
    return NOTHING_KNOWN if phase == "Passed" and unknown else EXIT.get(phase, 2)


def _standing(policy: Obj) -> tuple[str, str]:
    phase, message = str(status_of(policy).get("phase") or "Waiting"), str(status_of(policy).get("message") or "")
    return phase, f"{phase}: {message}" if message else phase


def _find(client: Client, name: str, namespace: str) -> Obj:
    if namespace:
        return client.get(ROLLBACK_POLICIES, name, namespace)
    found = client.list(ROLLBACK_POLICIES, fields=f"metadata.name={name}")
    if len(found) > 1:
        raise Misused(f"several namespaces have a RollbackPolicy {name!r}; say which with -n")
    if not found:
        known = ", ".join(sorted(str(dig(p, "metadata", "name")) for p in client.list(ROLLBACK_POLICIES)))
        raise CommandError(f"no RollbackPolicy is called {name!r}", mend=f"there are: {known}" if known else "there is none")
    return found[0]


def _seconds(text: str) -> float:
    from fairway.kube.durations import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise Misused(str(error)) from error
