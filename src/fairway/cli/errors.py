"""What a command says when it cannot go on: one line of what happened, one of what to do about it.

Exit codes are part of the interface: 0 ok, 1 the thing failed, 2 wrong usage, 3 no platform is running.
"""

from __future__ import annotations

import sys
from typing import IO, Any

import click

FAILED, USAGE, NO_PLATFORM = 1, 2, 3


class CommandError(click.ClickException):
    """`message` says what is wrong, `mend` what helps; the exit code says which kind of failure it is."""

    exit_code = FAILED

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"error: {self.message}", file=file or sys.stderr)
        if self.mend:
            click.echo(f"  {self.mend}", file=file or sys.stderr)


class Misused(CommandError):
    """The command line asks for something that does not make sense."""

    exit_code = USAGE


class NoPlatform(CommandError):
    """Nothing runs over this state folder."""

    exit_code = NO_PLATFORM


def translated(error: Exception) -> Exception:
    """A refusal by the API as a command error; anything else unchanged.

    The API's errors are looked up only where they are loaded: `--help` must not import them.
    """
    kube = sys.modules.get("fairway.kube.errors")
    if kube is not None and isinstance(error, kube.ApiError):
        kind = NoPlatform if isinstance(error, kube.Unavailable) else CommandError
        return kind(str(error))
    return error
