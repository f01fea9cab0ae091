"""What a step says to its runner: commands in its output, and the files of GITHUB_ENV, _OUTPUT, _PATH and _STATE. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_COMMAND = re.compile(r"\s*::([A-Za-z_-]+)(?:\s+([^:]*?(?::(?!:)[^:]*?)*))?::(.*)", re.DOTALL)
_OLD_COMMAND = re.compile(r".*?##\[([A-Za-z_-]+)(?:\s+([^\]]*))?\](.*)", re.DOTALL)

KNOWN = frozenset({
    "debug", "notice", "warning", "error", "group", "endgroup", "add-mask", "add-matcher", "remove-matcher",
    "echo", "stop-commands", "set-output", "save-state", "set-env", "add-path",
})
BLOCKED_ENV = frozenset({"NODE_OPTIONS"})
"""Names that a step may not set for the steps after it: they would run code in them."""


class CommandError(Exception):
    """A command file that cannot be read: the step fails with this message."""


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    value: str
    properties: Mapping[str, str] = field(default_factory=dict)


def parse_command(line: str) -> Command | None:
    """The command that the line is, or None. Names are lower case; percent escapes are undone."""
    old = False
    found = _COMMAND.fullmatch(line)
    if found is None and "##[" in line:
        found, old = _OLD_COMMAND.fullmatch(line), True
    if found is None or found[1].lower() not in KNOWN:
        return None
    properties: dict[str, str] = {}
    for pair in re.split(r"[,;]" if old else ",", found[2] or ""):
        key, equals, value = pair.strip().partition("=")
        if equals and key:
            properties[key] = _unescape_property(value)
    return Command(found[1].lower(), _unescape(found[3]), properties)


def _unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def _unescape_property(text: str) -> str:
    return (text.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",")
            .replace("%25", "%"))


def escape(text: str) -> str:
    """The inverse of what is undone in a command's value."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


@dataclass
class Listener:
    """Which lines are commands: after `::stop-commands::TOKEN` none is, until `::TOKEN::`."""

    stopped_by: str = ""

    def hear(self, line: str) -> Command | None:
        if self.stopped_by:
            if line.strip() == f"::{self.stopped_by}::":
                self.stopped_by = ""
            return None
        command = parse_command(line)
        if command is not None and command.name == "stop-commands":
            self.stopped_by = command.value
        return command


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """`NAME=VALUE` lines and `NAME<<DELIMITER` blocks. Raises `CommandError`."""
    pairs: list[tuple[str, str]] = []
    lines = re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff"))
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line:
            continue
        equals, block = line.find("="), line.find("<<")
        if equals >= 0 and (block < 0 or equals < block):
            name, value = line[:equals], line[equals + 1 :]
        elif block >= 0:
            name, delimiter = line[:block], line[block + 2 :]
            if not name or not delimiter:
                raise CommandError(f"Invalid format '{line}'. Name must not be empty and delimiter must not be empty")
            value, at = _block(lines, at, delimiter)
        else:
            raise CommandError(f"Invalid format '{line}'")
        if not name:
            raise CommandError(f"Invalid format '{line}'. Name must not be empty")
        pairs.append((name, value))
    return pairs


def _block(lines: list[str], at: int, delimiter: str) -> tuple[str, int]:
    taken: list[str] = []
    while at < len(lines):
        if lines[at] == delimiter:
            return "\n".join(taken), at + 1
        taken.append(lines[at])
        at += 1
    raise CommandError(f"Invalid value. Matching delimiter not found '{delimiter}'")


def parse_paths(text: str) -> list[str]:
    """Lines of a GITHUB_PATH file; a later one goes before an earlier one."""
    return [line.strip() for line in text.removeprefix("\ufeff").splitlines() if line.strip()]
