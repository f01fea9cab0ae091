"""The commands. `--help` imports no command: the group is a static table of names and one-line helps."""

import gc


def main() -> None:
    """Entry point of the `fairway` script; commands arrive with `fairway.cli.commands`."""
    gc.set_threshold(100_000, 20, 20)  # loading makes no garbage, but looking for it takes a tenth of a short command
    from fairway.cli.group import cli

    try:
        cli()
    finally:
        gc.freeze()  # the process ends, and what it has need not be looked through once more
