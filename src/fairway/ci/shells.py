"""Which command runs a script: the table of shells. Pure.

Without `shell`, bash runs as `bash -e` (no pipefail); `shell: bash` is stricter.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shell:
    """`command` holds `{0}` for the script's path; `extension` is the script's."""

    command: tuple[str, ...]
    extension: str
    prologue: str = ""
    epilogue: str = ""

    def argv(self, script: str) -> list[str]:
        return [word.replace("{0}", script) for word in self.command]

    def __str__(self) -> str:
        return " ".join(self.command)


class UnknownShell(Exception):
    """A `shell` that is neither known nor a command with {0}."""


DEFAULT = Shell(("bash", "-e", "{0}"), ".sh")
SHELLS: dict[str, Shell] = {
    "bash": Shell(("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "{0}"), ".sh"),
    "sh": Shell(("sh", "-e", "{0}"), ".sh"),
    "python": Shell(("python", "{0}"), ".py"),
    "pwsh": Shell(("pwsh", "-command", ". '{0}'"), ".ps1", "$ErrorActionPreference = 'stop'",
                  "if ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }"),
}


def shell_named(name: str, *, has_bash: bool) -> Shell:
    """The shell of a step; "" is the default of this machine."""
    if not name:
        return DEFAULT if has_bash else SHELLS["sh"]
    known = SHELLS.get(name)
    if known is not None:
        return known
    if "{0}" not in name:
        raise UnknownShell(f"shell {name!r} is not known; use one of {', '.join(SHELLS)}, or a command with {{0}} where "
                           "the script's path belongs")
    return Shell(tuple(shlex.split(name)), "")
