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


def test_problem_matchers_of_one_line_and_of_several() -> None:
    from fairway.ci.matchers import decode_matchers

    [flake, eslint] = decode_matchers("""{"problemMatcher": [
      {"owner": "flake8", "pattern": [{"regexp": "^(.+?):(\\\\d+):(\\\\d+): ([EW]\\\\d+) (.+)$", "file": 1, "line": 2,
                                       "column": 3, "code": 4, "message": 5}]},
      {"owner": "eslint", "pattern": [{"regexp": "^([^\\\\s].*)$", "file": 1},
        {"regexp": "^\\\\s+(\\\\d+):(\\\\d+)\\\\s+(error|warning)\\\\s+(.*)$", "line": 1, "column": 2, "severity": 3,
         "message": 4, "loop": true}]}]}""")
    note = flake.hear("app/a.py:3:7: E501 too long")
    assert note is not None
    assert (note.level, note.file, note.line, note.column, note.title, note.message) == (
        "error", "app/a.py", 3, 7, "E501", "too long")
    lines = ("a.js", "  1:2  error  first", "  3:4  warning  second", "b.js", "  5:6  error  third")
    heard = [eslint.hear(line) for line in lines]
    assert [(note.file, note.line, note.level, note.message) for note in heard if note] == [
        ("a.js", 1, "error", "first"), ("a.js", 3, "warning", "second"), ("b.js", 5, "error", "third")]
