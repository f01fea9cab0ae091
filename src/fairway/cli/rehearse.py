"""`fairway rehearse`: a rollout in virtual time, with what goes wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option

if TYPE_CHECKING:
    from fairway.kube.objects import Obj
    from fairway.rehearse.asked_series import Asked
    from fairway.rehearse.spec import Scenario
    from fairway.rehearse.subject import Subject


@click.command(name="rehearse")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--scenario", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What goes wrong.  [default: nothing does]")
@click.option("--rollout", "name", metavar="NAME", default="", help="Only this Rollout or Canary of those in the files.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same rehearsal.")
@click.option("--runs", default=1, show_default=True, type=click.IntRange(1), help="So many seeds; says how often, how late.")
@click.option("--svg", "picture", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Draw weight and error rates there.")
@click.option("--all", "every", is_flag=True, help="The timeline with every reason, also those that hold for a moment only.")
@click.option("--prometheus", metavar="URL", default="", help="Ask this Prometheus whether it has the series of the queries.")
@click.option("--example", is_flag=True, help="Print a documented example of a scenario and stop.")
@output_option
def command(paths: tuple[Path, ...], scenario: Path | None, name: str, seed: int, runs: int, picture: Path | None, every: bool,
            prometheus: str, example: bool, output: str) -> None:
    """Rehearse the Rollouts and Canaries in PATHS (Kustomize folders, folders, files): the real controllers, simulated pods
    and users.

    Says what happens and when, how many users meet the new version, and which setting makes it late. Exit code 1 where the
    scenario expects another end, or a promise was broken.
    """
    import shutil

    from fairway.rehearse.report import report_on
    from fairway.rehearse.run import CannotStart
    from fairway.rehearse.shapes import Misshapen, check
    from fairway.rehearse.show import as_data, as_text
    from fairway.rehearse.subject import NothingToRehearse, subjects
    from fairway.rehearse.svg import svg

    if example:
        click.echo(Path(__file__).parent.parent.joinpath("rehearse", "example.yaml").read_text("utf-8"), nl=False)
        return
    if not paths:
        raise Misused("a folder or file with a Rollout or Canary is needed", mend="fairway rehearse deploy/overlays/production")
    play = _scenario(scenario)
    try:
        objects = [obj for path in paths for obj in _objects(path)]
        check(objects)
        found = subjects(objects, name)
        reports = [report_on(subject, play, seed, runs) for subject in found]
    except NothingToRehearse as error:
        raise Misused(str(error), mend="`fairway build PATH` prints what the files hold") from None
    except (CannotStart, Misshapen) as error:
        raise CommandError(str(error)) from None
    if picture is not None:
        for i, report in enumerate(reports):
            path = picture if i == 0 else picture.with_stem(f"{picture.stem}-{report.subject.name}")
            path.write_text(svg(report), "utf-8")
    asked = [_asked(subject, prometheus) for subject in found] if prometheus else [()] * len(found)
    data = [as_data(report) | ({"series": [asdict(one) for one in known]} if prometheus else {})
            for report, known in zip(reports, asked, strict=True)]
    if not machine(data[0] if len(data) == 1 else data, output):
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        texts = [as_text(report, width=width, every=every) + "".join(f"\n{line}" for line in _series(prometheus, known))
                 for report, known in zip(reports, asked, strict=True)]
        click.echo("\n\n".join(texts))
    if not all(report.as_expected for report in reports):
        raise click.exceptions.Exit(1)


def _asked(subject: Subject, address: str) -> tuple[Asked, ...]:
    """What the Prometheus says about the series that this subject's queries look for."""
    import asyncio

    from fairway.kube.clock import WallClock
    from fairway.metrics.querier import RemotePrometheus
    from fairway.rehearse.asked_series import ask, queries_of

    async def asking() -> tuple[Asked, ...]:
        remote = RemotePrometheus(address, timeout_s=10.0)
        try:
            return await ask(queries_of(subject), remote, WallClock().now())
        finally:
            await remote.close()

    return asyncio.run(asking())


def _series(address: str, asked: Sequence[Asked]) -> Iterable[str]:
    from fairway.metrics.querier import without_login
    from fairway.rehearse.asked_series import lines

    return ("", *lines(without_login(address), asked)) if address else ()


def _objects(path: Path) -> list[Obj]:
    from fairway.cli.manifest_tree import tree_around
    from fairway.manifests import ManifestError, render

    tree, inside = tree_around(path)
    try:
        return render(tree, inside)
    except ManifestError as error:
        raise CommandError(f"{error.place}: {error.mistake}", mend=error.mend) from error


def _scenario(path: Path | None) -> Scenario:
    from fairway.manifests import ManifestError
    from fairway.manifests.yaml import load_all
    from fairway.rehearse.spec import Scenario, ScenarioMistake, decode_scenario

    if path is None:
        return Scenario()
    try:
        documents = [document for document, _ in load_all(path.read_bytes(), str(path))]
        return decode_scenario(documents[0] if documents else None)
    except (ScenarioMistake, ManifestError) as error:
        said = str(error) if isinstance(error, ManifestError) else f"{path}: {error}"
        raise Misused(said, mend="`fairway rehearse --example` prints a documented example") from None
