"""`fairway dora`: how well delivery goes, by the four figures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.output import Colour, machine, output_option, paint, table
from fairway.kube.objects import spec_of
from fairway.kube.resources import RELEASES
from fairway.state import StateDir

if TYPE_CHECKING:
    from fairway.cli.client import Client

WINDOW_DAYS = 30
_NAMES = {
    "deployment_frequency": "Deployment frequency",
    "lead_time": "Lead time for changes",
    "change_failure_rate": "Change failure rate",
    "time_to_restore": "Time to restore",
}
_COLOURS: dict[str, Colour] = {"elite": "green", "high": "green", "medium": "yellow", "low": "red"}


def figures(client: Client, *, environment: str = "", application: str = "", days: int = WINDOW_DAYS) -> dict[str, Any]:
    """The DORA figures of the platform's releases, as `fairway.releases.dora` gives them."""
    from fairway.releases.dora import dora

    releases = [
        release for release in client.list(RELEASES)
        if environment in ("", spec_of(release).get("environment"))
        and application in ("", spec_of(release).get("application"))
    ]  # fmt: skip
    return dora(releases, datetime.now(UTC), timedelta(days=days)).as_json()


@click.command()
@click.option("--environment", default="", help="Only releases to this environment.")
@click.option("--application", default="", help="Only releases of this Application.")
@click.option("--days", type=click.IntRange(1), default=WINDOW_DAYS, show_default=True, help="How far back to look.")
@output_option
@click.pass_obj
def command(state: StateDir, environment: str, application: str, days: int, output: str) -> None:
    """Print deployment frequency, lead time, change failure rate and time to restore."""
    from fairway.cli.client import Client

    found = figures(Client.of(state), environment=environment, application=application, days=days)
    if machine(found, output):
        return
    rows = [(words, value_text(found[name]), _level(found[name]), f"{found[name]['samples']}")
            for name, words in _NAMES.items()]
    click.echo(table(("FIGURE", "VALUE", "LEVEL", "RELEASES"), rows))
    days = round(found["window_days"])
    click.echo(f"over {days} day{'' if days == 1 else 's'}")
    if found["unrestored"]:
        click.echo(paint(f"{found['unrestored']} failed releases are not restored yet", "red"))


def value_text(figure: Mapping[str, Any]) -> str:
    """A figure in words; what is not known is said to be so."""
    value = figure["value"]
    if value is None:
        return "not known yet"
    match figure["unit"]:
        case "seconds":
            return duration_text(value)
        case "share":
            return f"{value * 100:.0f} %"
    return f"{value:.2g} {figure['unit']}"


def duration_text(seconds: float) -> str:
    for size, unit in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _level(figure: Mapping[str, Any]) -> str:
    level = str(figure["level"] or "-")
    return paint(level, _COLOURS.get(level))
