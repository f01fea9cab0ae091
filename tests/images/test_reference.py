from __future__ import annotations

import pytest

from fairway.images.ignore import Ignore
from fairway.images.reference import BadReference, parse_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("team/app:1.2", "docker.io/team/app:1.2"),
        ("registry.example.com/shop/app:1.2", "registry.example.com/shop/app:1.2"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        (f"registry.example.com/shop@{DIGEST}", f"registry.example.com/shop@{DIGEST}"),
        (f"registry.example.com/shop:1.2@{DIGEST}", f"registry.example.com/shop:1.2@{DIGEST}"),
    ],
)
def test_references_are_made_whole(text: str, whole: str) -> None:
    assert str(parse_reference(text)) == whole
    assert str(parse_reference(whole)) == whole


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("registry.example.com/Shop/app", "names of images are lower case"),
        ("app@sha256:123", "64 hexadecimal digits"),
        ("app:with space", "is not a tag"),
        ("registry.example.com/", "cannot be part"),
    ],
)
def test_what_is_no_reference_is_explained(text: str, part: str) -> None:
    with pytest.raises(BadReference, match=part):
        parse_reference(text)


def test_the_last_rule_that_matches_decides() -> None:
    ignore = Ignore(["# a comment", "**", "!shop", "!requirements.txt", "**/__pycache__", "docs/*.md"])
    assert not ignore.excludes("shop/main.py")
    assert not ignore.excludes("requirements.txt")
    assert ignore.excludes("shop/__pycache__/x.pyc")
    assert ignore.excludes("README.md")
    assert not Ignore(["*.md"]).excludes("docs/a.md")
    assert Ignore(["**/*.md"]).excludes("docs/a.md")
