"""docker/metadata-action: tags and labels."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fairway.ci.actions.build_push import build_argv, image_name
from fairway.ci.actions.metadata import Facts, Flavor, RuleError, compute, full_tags, labels_of, parse_flavor, parse_rule

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SHA = "0123456789abcdef0123456789abcdef01234567"


def facts(ref: str = "refs/heads/main", event: str = "push", pull: str = "") -> Facts:
    return Facts(event, ref, SHA, NOW, repository="shop/app", pull_number=pull, url="https://git/shop/app")


def tags(rules: list[str], given: Facts, flavor: Flavor | None = None) -> list[str]:
    used = flavor or Flavor()
    return full_tags([], compute(given, [parse_rule(rule) for rule in rules], used), used)


@pytest.mark.parametrize(("rules", "given", "expected"), [
    (["type=sha"], facts(), ["sha-0123456"]),
    (["type=sha,format=long,prefix="], facts(), [SHA]),
    (["type=ref,event=branch"], facts("refs/heads/feature/a b"), ["feature-a-b"]),
    (["type=ref,event=branch"], facts("refs/tags/v1"), []),
    (["type=ref,event=tag"], facts("refs/tags/v1"), ["v1", "latest"]),
    (["type=ref,event=pr"], facts("refs/pull/7/merge", "pull_request", "7"), ["pr-7"]),
    (["type=semver,pattern={{version}}", "type=semver,pattern={{major}}.{{minor}}", "type=semver,pattern=v{{major}}"],
     facts("refs/tags/v1.2.3"), ["1.2.3", "1.2", "v1", "latest"]),
    (["type=semver,pattern={{major}}.{{minor}}", "type=semver,pattern={{version}}"], facts("refs/tags/v2.0.8-beta.67"),
     ["2.0.8-beta.67"]),
    (["type=semver,pattern={{raw}}"], facts("refs/tags/v1.2.3"), ["v1.2.3", "latest"]),
    (["type=semver,pattern={{version}}"], facts("refs/tags/not-semver"), []),
    (["type=pep440,pattern={{version}}"], facts("refs/tags/1.2.3rc2"), ["1.2.3rc2"]),
    (["type=match,pattern=rel-(.*),group=1"], facts("refs/tags/rel-9"), ["9", "latest"]),
    (["type=raw,value=x,enable={{is_default_branch}}", "type=raw,value=y,enable=false"], facts(), ["x"]),
    (["type=raw,value={{branch}}-{{sha}}-{{date 'YYYYMMDD'}}"], facts(), ["main-0123456-20260304"]),
    (["type=edge"], facts(), ["edge"]),
    (["type=schedule,pattern={{date 'YYYYMMDD'}}"], facts(event="schedule"), ["20260304"]),
    (["type=sha", "type=ref,event=branch", "plain"], facts(), ["main", "plain", "sha-0123456"]),
    (["type=raw,value=same", "type=raw,value=same"], facts(), ["same"]),
])
def test_tags(rules: list[str], given: Facts, expected: list[str]) -> None:
    assert tags(rules, given) == expected


def test_flavor() -> None:
    assert tags(["type=ref,event=branch"], facts(), parse_flavor(["latest=true", "suffix=-slim,onlatest=true"])) == [
        "main-slim", "latest-slim"]
    assert tags(["type=ref,event=tag"], facts("refs/tags/v1"), parse_flavor(["latest=false", "prefix=p-"])) == ["p-v1"]


def test_labels_and_errors() -> None:
    version = compute(facts(), [parse_rule("type=sha")], Flavor())
    labels = labels_of(facts(), version, ["org.opencontainers.image.title=Shop", "a=b=c"])
    assert labels["org.opencontainers.image.revision"] == SHA
    assert labels["org.opencontainers.image.version"] == "sha-0123456"
    assert labels["org.opencontainers.image.created"] == "2026-03-04T05:06:07.000Z"
    assert labels["org.opencontainers.image.title"] == "Shop"
    assert labels["a"] == "b=c"
    for rule in ("type=nope", "type=ref", "type=semver"):
        with pytest.raises(RuleError):
            parse_rule(rule)


def test_the_build_command_is_a_value() -> None:
    argv = build_argv(("fairway",), {"context": ".", "file": "", "target": "", "push": "true"}, ["r/a:1", "r/a:2"], ["x=y z"],
                      ["V=1"], Path("/m.json"))
    assert argv == ["fairway", "image", "build", ".", "-f", "./Dockerfile", "-t", "r/a:1", "-t", "r/a:2", "--label",
                    "x=y z", "--build-arg", "V=1", "--push", "--metadata-file", "/m.json"]
    assert image_name("host:5000/shop/app:1.0@sha256:00") == "host:5000/shop/app"
    assert image_name("app") == "app"
