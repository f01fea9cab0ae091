"""The commands. `--help` imports no command: the group is a static table of names and one-line helps."""


def main() -> None:
    """Entry point of the `fairway` script; commands arrive with `fairway.cli.commands`."""
    from fairway.cli.group import cli

    cli()
