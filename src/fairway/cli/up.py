"""`fairway up`: start the platform on this machine."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import click

from fairway.cli.errors import Misused
from fairway.cli.output import machine, output_option, table
from fairway.parts import DELIVERY, EMBEDDED, UnknownPart, parse_without
from fairway.state import PROMETHEUS, StateDir


@click.command()
@click.option("--foreground", is_flag=True, help="Stay in this terminal and log to it; Ctrl-C stops the control plane.")
@click.option("--api-port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Port of the Kubernetes API.  [default: the last one, else a free one]")
@click.option("--web-port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Port of git, metrics and health.")
@click.option("--ingress-port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Port on which Ingresses answer.")
@click.option("--data-plane", type=click.Choice(["auto", "envoy", "proxy"]), default="auto", show_default=True,
              help="What moves requests: Envoy, or the slow built-in proxy where there is none.")
@click.option("--prometheus", metavar="URL", default="", envvar=PROMETHEUS,
              callback=lambda ctx, option, text: _prometheus(text),
              help="Ask this Prometheus, not the platform's own metrics: analyses, rollback policies, queries. "
                   f"With a password: in the variable {PROMETHEUS}.")
@click.option("--without", default="", metavar="PARTS", callback=lambda ctx, option, text: _parts(text),
              help=f"Parts to switch off, with commas: {', '.join(EMBEDDED | DELIVERY)}.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, resolve_path=True), metavar="FILE",
              help="Embed nothing: run the delivery controllers against this cluster.")
@click.option("--context", default="", metavar="NAME", help="Context of the kubeconfig.  [default: its current one]")
@output_option
@click.pass_obj
def command(state: StateDir, /, foreground: bool, output: str, **asked: Any) -> None:
    """Start the platform on this machine and wait until it is ready.

    Pods and traffic that an earlier platform left running are adopted.
    """
    from fairway.cli.client import Addresses
    from fairway.cli.platform_process import Wanted, start_platform
    from fairway.cli.progress import waiting

    wanted = Wanted(**{name: value for name, value in asked.items() if value is not None})
    if wanted.context and not wanted.kubeconfig:
        raise Misused("--context names a context of a kubeconfig", mend="name the file, too: --kubeconfig FILE")
    if foreground:
        state.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        argv = wanted.command(state, foreground=True)
        os.execve(argv[0], argv, wanted.environment())
    before = Addresses.read(state)
    with waiting("starting the platform") as tick:
        addresses = start_platform(state, wanted, tick=tick)
    facts = {
        "state": str(state.root), "pid": addresses.pid, "api_url": addresses.api_url, "web_url": addresses.web_url,
        "ingress_url": addresses.ingress_url, "kubeconfig": addresses.kubeconfig or str(state.kubeconfig),
        "context": addresses.context, "data_plane": addresses.data_plane, "prometheus": addresses.prometheus,
        "without": list(addresses.without),
    }  # fmt: skip
    if machine(facts, output):
        return
    click.echo("The platform already runs." if before else "The platform runs.")
    rows = [
        ("Kubernetes API", facts["api_url"]), ("kubeconfig", facts["kubeconfig"]), ("context", facts["context"]),
        ("git and metrics", facts["web_url"]), ("ingress", facts["ingress_url"]), ("traffic", facts["data_plane"]),
        ("metrics asked at", facts["prometheus"]),
        ("switched off", ", ".join(addresses.without)),
    ]  # fmt: skip
    click.echo(table(("", ""), [row for row in rows if row[1]]).lstrip("\n"))


def _prometheus(text: str) -> str:
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise Misused(f"--prometheus: {text!r} is no address", mend="write it with its scheme: http://prometheus.example.com:9090")
    return text.rstrip("/")


def _parts(text: str) -> str:
    try:
        parse_without(text)
    except UnknownPart as mistake:
        raise Misused(f"--without: {mistake}") from None
    return text
