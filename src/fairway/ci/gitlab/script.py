"""The shell script that a job's lines become, and what its output says besides text. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_SECTION = re.compile(r"section_(start|end):\d+:([\w.-]+)(?:\[[^\]]*\])?\r?")


def script_of(lines: Iterable[str], *, bash: bool) -> str:
    """Each line is shown before it runs; the first that fails ends the script with its code."""
    head = ["set -eo pipefail" if bash else "set -e", "set +o noclobber", 'cd "$CI_PROJECT_DIR"']
    body = (part for line in lines for part in (f"printf '%s\\n' {shlex.quote(_shown(line))}", line))
    return "\n".join([*head, *body]) + "\n"


def _shown(line: str) -> str:
    first, *rest = line.strip("\n").split("\n")
    return f"$ {first}{' # collapsed multi-line command' if rest else ''}"


def plain(line: str) -> str:
    """The line without colours."""
    return _ANSI.sub("", line) if "\x1b" in line else line


def sections(line: str) -> list[str]:
    """A line of output as lines of the log: section markers become groups."""
    if "section_" not in line:
        return [line]
    marked = _SECTION.search(line)
    if marked is None:
        return [line]
    if marked[1] == "end":
        return ["##[endgroup]"]
    title = plain(line[marked.end() :]).strip("\r ")
    return [f"##[group]{title or marked[2]}"]


def coverage_of(match: re.Match[str]) -> float | None:
    """The number in what a coverage pattern found: the last group's, or the whole match's."""
    groups = [group for group in match.groups() if group]
    found = re.search(r"\d+(\.\d+)?", groups[-1] if groups else match[0])
    return float(found[0]) if found else None


def parse_dotenv(text: str) -> dict[str, str]:
    """`NAME=value` lines of a dotenv report; blank lines and comments aside."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            found[name.strip()] = value.strip()
    return found


def exported(variables: Mapping[str, str]) -> dict[str, str]:
    """What can be a process's environment: names that shells take, values without NUL."""
    return {name: value.replace("\0", "") for name, value in variables.items() if name and "=" not in name and "\0" not in name}
