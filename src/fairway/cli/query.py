"""`fairway query`: PromQL on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from fairway.cli.output import machine, output_option, table
from fairway.state import StateDir


@click.command()
@click.argument("promql")
@click.option("--time", "moment", metavar="TIME", help="Evaluate at this time (Unix seconds or RFC 3339), not now.")
@output_option
@click.pass_obj
def command(state: StateDir, promql: str, moment: str | None, output: str) -> None:
    """Ask the platform's metrics a PromQL question.

    Example: fairway query 'sum by (pod) (rate(http_requests_total[1m]))'
    """
    from fairway.cli.client import Client

    query = {"query": promql, **({"time": moment} if moment else {})}
    answer = Client.of(state).web("/api/v1/query", query)
    data: dict[str, Any] = answer["data"]
    if machine(data, output):
        return
    rows = _rows(data)
    names = sorted({name for labels, _ in rows for name in labels})
    click.echo(table([*(name.upper() for name in names), "VALUE"],
                     [[*(labels.get(name, "") for name in names), value] for labels, value in rows]))
    for warning in answer.get("warnings") or ():
        click.echo(f"warning: {warning}", err=True)


def _rows(data: Mapping[str, Any]) -> list[tuple[Mapping[str, str], str]]:
    """(labels, value) per series. A range shows its values in the order of time."""
    result = data["result"]
    match data["resultType"]:
        case "scalar" | "string":
            return [({}, str(result[1]))]
        case "matrix":
            return [(row["metric"], " ".join(_shown(point[1]) for point in _points(row))) for row in result]
    return [(row["metric"], _shown((row.get("value") or row["histogram"])[1])) for row in result]


def _points(row: Mapping[str, Any]) -> list[Any]:
    """Numbers and native histograms, in the order of time."""
    return sorted([*row.get("values", ()), *row.get("histograms", ())], key=lambda point: point[0])


def _shown(value: Any) -> str:
    """A number as it is; of a native histogram how many observations it has, and their sum."""
    return str(value) if isinstance(value, str) else f"{{count:{value['count']}, sum:{value['sum']}}}"
