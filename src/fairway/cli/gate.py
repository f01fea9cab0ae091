"""`fairway gate`: judge reports against thresholds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine

if TYPE_CHECKING:
    from fairway.gates.decide import Verdict
    from fairway.gates.spec import Config


@click.command(name="gate")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml", "sarif"]), default="text",
              help="How to print the answer.")
@click.option("--base", metavar="REF",
              help="What new code is new against.  [default: the target branch of the pull request, else the first parent]")
@click.option("--commit-status", is_flag=True, help="Also tell the forge, as a status of the job's commit.")
@click.option("--example", is_flag=True, help="Print a documented example of the file and stop.")
def command(config: Path | None, output: str, base: str | None, commit_status: bool, example: bool) -> None:
    """Judge reports against the thresholds in CONFIG (default: fairway-gates.yaml).

    Reports: coverage, JUnit, SARIF, Trivy, pip-audit, bandit, ESLint, axe, Lighthouse, k6, Locust, radon, jscpd, SonarQube,
    image builds, and any JSON by a jq expression. A report that is missing, unreadable, empty or too old blocks. Exit code 1
    when a gate blocks. In a GitHub job the verdicts are also written to the step summary.
    """
    from datetime import UTC, datetime

    from fairway.gates.decide import judge
    from fairway.gates.gather import gather
    from fairway.gates.show import as_data, as_sarif, as_text
    from fairway.gates.spec import CONFIG_NAME

    if example:
        click.echo(Path(__file__).parent.parent.joinpath("gates", "example.yaml").read_text("utf-8"), nl=False)
        return
    path = config or Path(CONFIG_NAME)
    if path.is_dir():
        path = path / CONFIG_NAME
    found = _decoded(path)
    now, against = datetime.now(UTC), base or _target_branch()
    folder = path.parent.resolve()
    verdicts = [judge(gate, gather(gate, folder, found.waivers, against), now) for gate in found.gates]
    _write_summary(verdicts)
    if output == "sarif":
        click.echo(json.dumps(as_sarif(verdicts, str(path)), indent=2, ensure_ascii=False))
    elif not machine(as_data(verdicts), output):
        click.echo(as_text(verdicts))
    if commit_status:
        _tell_the_forge(verdicts)
    if any(verdict.blocks for verdict in verdicts):
        raise click.exceptions.Exit(1)


def _decoded(path: Path) -> Config:
    from fairway.gates.spec import CONFIG_NAME, ConfigMistakes, decode

    try:
        return decode(path.read_text("utf-8"))
    except ConfigMistakes as wrong:
        lines = "\n".join(f"{path}:{mistake.line}: {str(mistake).partition(': ')[2]}" for mistake in wrong.mistakes)
        raise Misused(f"{path} cannot be used:\n{lines}", mend="`fairway gate --example` prints a documented example") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise Misused(f"{path}: {reason}", mend=f"`fairway gate --example > {CONFIG_NAME}` makes one") from None


def _target_branch() -> str:
    """Of a pull or merge request, "" elsewhere."""
    name = os.environ.get("GITHUB_BASE_REF") or os.environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")
    return f"origin/{name}" if name else ""


def _write_summary(verdicts: Sequence[Verdict]) -> None:
    from fairway.gates.show import as_markdown

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(as_markdown(verdicts))
    except OSError as error:
        raise CommandError(f"the step summary cannot be written: {error}") from None


def _tell_the_forge(verdicts: Sequence[Verdict]) -> None:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    from fairway.gates.commit_status import NoForge, status_request
    from fairway.gates.show import summed

    try:
        wanted = status_request(os.environ, *summed(verdicts))
        with urlopen(Request(wanted.url, wanted.body, dict(wanted.headers)), timeout=30):
            pass
    except NoForge as error:
        raise Misused(f"--commit-status: {error}") from None
    except (URLError, ValueError, OSError) as error:
        raise CommandError(f"the commit status could not be written: {error}",
                           mend="the verdicts above stand; run again, or leave --commit-status out") from None
