"""Workflow commands, command files and masking."""

from __future__ import annotations

import pytest

from fairway.ci.commands import Command, CommandError, Listener, parse_command, parse_pairs, parse_paths


@pytest.mark.parametrize(("line", "expected"), [
    ("::set-output name=a::b%0Ac", Command("set-output", "b\nc", {"name": "a"})),
    ("  ::error file=a.py,line=3,title=x%2Cy::bad: %25",
     Command("error", "bad: %", {"file": "a.py", "line": "3", "title": "x,y"})),
    ("::group::one::two", Command("group", "one::two", {})),
    ("::endgroup::", Command("endgroup", "", {})),
    ("::nonsense::x", None),
    ("a ::error::x", None),
    ("##[warning]old", Command("warning", "old", {})),
    ("std::vector::x", None),
])
def test_commands(line: str, expected: Command | None) -> None:
    assert parse_command(line) == expected


def test_stop_commands_until_its_token() -> None:
    listener = Listener()
    heard = [listener.hear(line) for line in ("::stop-commands::t0k", "::error::x", "::other::", "::t0k::", "::error::y")]
    assert [command.value if command else None for command in heard] == ["t0k", None, None, None, "y"]


def test_pairs() -> None:
    assert parse_pairs("a=1\r\nb=x=y\n\nc<<END\nl1\n\nl2=3\nEND\nd=<<no\n") == [
        ("a", "1"), ("b", "x=y"), ("c", "l1\n\nl2=3"), ("d", "<<no")]
    assert parse_paths("/a\n\n/b \n") == ["/a", "/b"]


@pytest.mark.parametrize("text", ["novalue\n", "a<<END\nx\n", "=x\n", "<<END\nEND\n"])
def test_broken_files_are_refused(text: str) -> None:
    with pytest.raises(CommandError):
        parse_pairs(text)
