"""Which events start a workflow, by filters and globs."""

from __future__ import annotations

import pytest

from fairway.ci import globs
from fairway.ci.events import Event, why_not
from fairway.ci.trigger import Move, moves, refs_patch, run_name
from fairway.ci.workflow import decode_workflow

JOBS = "\njobs: {a: {runs-on: x, steps: []}}\n"


def push(ref: str = "refs/heads/main", changed: set[str] | None = None, message: str = "") -> Event:
    return Event("push", "o/r", ref, "1" * 40, message=message,
                 changed=None if changed is None else frozenset(changed))


@pytest.mark.parametrize(("on", "event", "code"), [
    ("on: push", push(), None),
    ("on: pull_request", push(), "OtherEvent"),
    ("on: {push: {branches: [main]}}", push("refs/heads/dev"), "OtherRef"),
    ("on: {push: {branches: ['release/**', '!release/old']}}", push("refs/heads/release/old"), "OtherRef"),
    ("on: {push: {branches: ['release/**', '!release/old']}}", push("refs/heads/release/a/b"), None),
    ("on: {push: {branches: [main]}}", push("refs/tags/v1"), "OtherRef"),
    ("on: {push: {tags: ['v*']}}", push("refs/tags/v1"), None),
    ("on: {push: {tags: ['v*']}}", push("refs/heads/v1"), "OtherRef"),
    ("on: {push: {tags: ['v*'], branches: [main]}}", push(), None),
    ("on: {push: {paths: ['src/**']}}", push(changed={"docs/a.md"}), "OtherPaths"),
    ("on: {push: {paths: ['src/**']}}", push(changed={"docs/a.md", "src/a.py"}), None),
    ("on: {push: {paths-ignore: ['docs/**']}}", push(changed={"docs/a.md"}), "OtherPaths"),
    ("on: {push: {paths-ignore: ['docs/**']}}", push("refs/tags/v1", changed={"docs/a.md"}), None),
    ("on: push", push(message="wip [skip ci]"), "SkipMark"),
])
def test_filters(on: str, event: Event, code: str | None) -> None:
    refused = why_not(decode_workflow(on + JOBS, "ci.yml"), event)
    assert (refused.code if refused else None) == code


@pytest.mark.parametrize(("pattern", "text", "expected"), [
    ("*", "a/b", False), ("**", "a/b", True), ("*.jsx?", "page.js", True), ("v[12].[0-9]+", "v1.10", True),
    ("docs/**/*.md", "docs/a.md", True), ("**/docs/**", "docs/x", True), (r"\!a", "!a", True), ("a+", "aaa", True),
    ("A", "a", False),
])
def test_globs(pattern: str, text: str, expected: bool) -> None:
    assert globs.matches(pattern, text) is expected


def test_the_difference_of_refs_is_what_was_pushed() -> None:
    handled = {"refs/heads/a": "1", "refs/heads/gone": "2", "refs/heads/same": "3"}
    refs = {"refs/heads/a": "9", "refs/heads/new": "4", "refs/heads/same": "3"}
    assert moves(handled, refs) == (
        Move("refs/heads/a", "1", "9"), Move("refs/heads/gone", "2", ""), Move("refs/heads/new", "", "4"))
    assert refs_patch(handled, refs) == {"refs/heads/a": "9", "refs/heads/gone": None, "refs/heads/new": "4"}


def test_run_names_are_fit_for_kubernetes_and_tell_refs_apart() -> None:
    main = run_name("Shop/App_1", ".github/workflows/Build & Test.yml", "abcdef0123", "refs/heads/main", "main")
    other = run_name("Shop/App_1", ".github/workflows/Build & Test.yml", "abcdef0123", "refs/heads/x", "main")
    assert main == "shop-app-1-build-test-abcdef0"
    assert other.startswith(main + "-")
