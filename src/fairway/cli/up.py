"""`fairway up`: start the platform on this machine."""

from __future__ import annotations

import os

import click

from fairway.cli.output import machine, output_option, table
from fairway.state import StateDir


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
@output_option
@click.pass_obj
def command(state: StateDir, foreground: bool, api_port: int, web_port: int, ingress_port: int, data_plane: str,
            output: str) -> None:
    """Start the platform on this machine and wait until it is ready.

    Pods and traffic that an earlier platform left running are adopted.
    """
    from fairway.cli.client import Addresses
    from fairway.cli.platform_process import daemon_command, start_platform
    from fairway.cli.progress import waiting

    ports = {"api_port": api_port, "web_port": web_port, "ingress_port": ingress_port}
    if foreground:
        state.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        argv = daemon_command(state, data_plane=data_plane, foreground=True, **ports)
        os.execv(argv[0], argv)
    before = Addresses.read(state)
    with waiting("starting the platform") as tick:
        addresses = start_platform(state, tick=tick, data_plane=data_plane, **ports)
    facts = {
        "state": str(state.root), "pid": addresses.pid, "api_url": addresses.api_url, "web_url": addresses.web_url,
        "ingress_url": f"http://127.0.0.1:{addresses.ingress_port}", "kubeconfig": str(state.kubeconfig),
        "data_plane": addresses.data_plane,
    }  # fmt: skip
    if machine(facts, output):
        return
    click.echo("The platform already runs." if before else "The platform runs.")
    click.echo(table(("", ""), [
        ("Kubernetes API", facts["api_url"]), ("kubeconfig", facts["kubeconfig"]), ("git and metrics", facts["web_url"]),
        ("ingress", facts["ingress_url"]), ("traffic", facts["data_plane"]),
    ]).lstrip("\n"))  # fmt: skip
