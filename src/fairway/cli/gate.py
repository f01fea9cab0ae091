"""`fairway gate`: judge reports against thresholds."""

from __future__ import annotations

from pathlib import Path

import click

from fairway.cli.errors import CommandError, Misused
from fairway.cli.output import machine, output_option


@click.command(name="gate")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@output_option
@click.option("--example", is_flag=True, help="Print a documented example of the file and stop.")
def command(config: Path | None, output: str, example: bool) -> None:
    """Judge reports (coverage, JUnit, SARIF) against the thresholds in CONFIG (default: fairway-gates.yaml).

    A report that is missing, unreadable, empty or too old blocks. Exit code 1 when a gate blocks. In a GitHub job the
    verdicts are also written to the step summary.
    """
    import os
    from datetime import UTC, datetime

    from fairway.gates.decide import judge
    from fairway.gates.gather import gather
    from fairway.gates.show import as_data, as_markdown, as_text
    from fairway.gates.spec import CONFIG_NAME, ConfigMistakes, decode

    if example:
        click.echo(Path(__file__).parent.parent.joinpath("gates", "example.yaml").read_text("utf-8"), nl=False)
        return
    path = config or Path(CONFIG_NAME)
    if path.is_dir():
        path = path / CONFIG_NAME
    try:
        gates = decode(path.read_text("utf-8"))
    except ConfigMistakes as wrong:
        lines = "\n".join(f"{path}:{mistake.line}: {str(mistake).partition(': ')[2]}" for mistake in wrong.mistakes)
        raise Misused(f"{path} cannot be used:\n{lines}", mend="`fairway gate --example` prints a documented example") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise Misused(f"{path}: {reason}", mend=f"`fairway gate --example > {CONFIG_NAME}` makes one") from None
    now = datetime.now(UTC)
    verdicts = [judge(gate, gather(gate, path.parent.resolve()), now) for gate in gates]
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(as_markdown(verdicts))
        except OSError as error:
            raise CommandError(f"the step summary cannot be written: {error}") from None
    if not machine(as_data(verdicts), output):
        click.echo(as_text(verdicts))
    if any(verdict.blocks for verdict in verdicts):
        raise click.exceptions.Exit(1)
