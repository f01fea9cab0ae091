"""docker/metadata-action: tags and labels of an image, computed from the event. The core is pure.

Rules `type=…,key=value` each give at most one tag; they are ordered by priority (semver 900, raw and ref 600, sha 100
…). The first is the version. `latest=auto` adds `latest` for what stands for a release.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.kube.objects import parse_time

_PRIORITY = {"schedule": 1000, "semver": 900, "pep440": 900, "match": 800, "edge": 700, "ref": 600, "raw": 200,
             "sha": 100}
_DEFAULT_TAGS = ("type=schedule", "type=ref,event=branch", "type=ref,event=tag", "type=ref,event=pr")
_SEMVER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?")
_PEP440 = re.compile(r"v?(?:\d+!)?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.\d+)*((?:a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")


class RuleError(Exception):
    """A rule that cannot be read; the message holds it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules may use. `ref` is full; `now` has a time zone."""

    event_name: str
    ref: str
    sha: str
    now: datetime
    repository: str = ""
    default_branch: str = "main"
    pull_number: str = ""
    head_ref: str = ""
    base_ref: str = ""
    description: str = ""
    licence: str = ""
    url: str = ""
    committed_at: datetime | None = None

    @property
    def branch(self) -> str:
        return self.ref.removeprefix("refs/heads/") if self.ref.startswith("refs/heads/") else ""

    @property
    def tag(self) -> str:
        return self.ref.removeprefix("refs/tags/") if self.ref.startswith("refs/tags/") else ""

    @property
    def is_default_branch(self) -> bool:
        return self.branch == self.default_branch


@dataclass(frozen=True, slots=True)
class Flavor:
    latest: str = "auto"
    prefix: str = ""
    prefix_latest: bool = False
    suffix: str = ""
    suffix_latest: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    type: str
    attributes: Mapping[str, str]
    text: str

    @property
    def priority(self) -> int:
        return int(self.attributes.get("priority") or _PRIORITY[self.type])


@dataclass
class Version:
    """`main` is the first tag; `partial` the others; `latest` whether `latest` is added."""

    main: str = ""
    partial: list[str] = field(default_factory=list)
    latest: bool = False

    def add(self, tag: str, latest: bool) -> None:
        if not self.main:
            self.main, self.latest = tag, latest
        elif tag != self.main and tag not in self.partial:
            self.partial.append(tag)
        else:
            return

    @property
    def tags(self) -> list[str]:
        return [self.main, *self.partial] if self.main else []


def fields_of(text: str) -> dict[str, str]:
    """`key=value` pairs divided by commas; a value may be quoted as in CSV."""
    pairs: dict[str, str] = {}
    for cell in next(csv.reader([text], skipinitialspace=True), []):
        key, equals, value = cell.partition("=")
        pairs[key.strip().lower() if equals else ""] = value.strip() if equals else key.strip()
    return pairs


def parse_rule(text: str) -> Rule:
    pairs = fields_of(text)
    kind = pairs.pop("type", "raw")
    if "" in pairs:
        pairs["value"] = pairs.pop("")
    if kind not in _PRIORITY:
        raise RuleError(f"Unknown tag type attribute: {kind} (in {text!r}); known: {', '.join(_PRIORITY)}")
    if kind == "ref" and pairs.get("event") not in ("branch", "tag", "pr"):
        raise RuleError(f"Missing or invalid event attribute for ref: {text!r} needs event=branch, tag or pr")
    if kind in ("semver", "pep440", "match") and not pairs.get("pattern"):
        raise RuleError(f"Missing pattern attribute for {text!r}")
    return Rule(kind, pairs, text)


def parse_flavor(lines: list[str]) -> Flavor:
    found: dict[str, str] = {}
    one_latest: dict[str, bool] = {}
    for line in lines:
        last = ""
        for key, value in fields_of(line).items():
            if key == "onlatest":
                one_latest[last] = value == "true"
            elif key in ("latest", "prefix", "suffix"):
                found[key], last = value, key
            else:
                raise RuleError(f"Unknown flavor entry: {line}")
    latest = found.get("latest", "auto")
    if latest not in ("auto", "true", "false"):
        raise RuleError(f"Invalid latest flavor entry: {latest}")
    return Flavor(latest, found.get("prefix", ""), one_latest.get("prefix", False), found.get("suffix", ""),
                  one_latest.get("suffix", False))


def compute(facts: Facts, rules: list[Rule], flavor: Flavor) -> Version:
    """All tags, without the image's name."""
    version = Version()
    for rule in sorted(rules, key=lambda rule: -rule.priority):
        if _template(rule.attributes.get("enable", "true"), facts) == "false":
            continue
        found = _tag(rule, facts)
        if found is None:
            continue
        raw, is_release = found
        prefix = _template(rule.attributes.get("prefix", "sha-" if rule.type == "sha" else
                                               "pr-" if rule.attributes.get("event") == "pr" else flavor.prefix), facts)
        suffix = _template(rule.attributes.get("suffix", flavor.suffix), facts)
        clean = sanitize(f"{prefix}{raw}{suffix}")
        if clean:
            latest = flavor.latest == "true" or (flavor.latest == "auto" and is_release)
            version.add(clean, latest)
    return version


def sanitize(tag: str) -> str:
    """Characters that a tag cannot hold become dashes."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", tag).lstrip(".-")


def _tag(rule: Rule, facts: Facts) -> tuple[str, bool] | None:
    """(tag, does it stand for a release?) or None where the rule does not apply."""
    value = _template(rule.attributes.get("value", ""), facts)
    match rule.type:
        case "schedule":
            if facts.event_name != "schedule":
                return None
            return _template(rule.attributes.get("pattern", "nightly"), facts), False
        case "ref":
            return _ref(rule.attributes["event"], facts)
        case "edge":
            branch = rule.attributes.get("branch") or facts.default_branch
            return ("edge", False) if facts.branch and facts.branch == branch else None
        case "sha":
            length = 40 if rule.attributes.get("format") == "long" else 7
            return (facts.sha[:length], False) if facts.sha else None
        case "raw":
            return value, False
        case "semver":
            return _semver(rule, value or facts.tag)
        case "pep440":
            return _pep440(rule, value or facts.tag)
        case _:
            return _matched(rule, value or facts.tag)


def _ref(event: str, facts: Facts) -> tuple[str, bool] | None:
    if event == "branch":
        return (facts.branch, False) if facts.branch else None
    if event == "tag":
        return (facts.tag, True) if facts.tag else None
    return (facts.pull_number, False) if facts.event_name.startswith("pull_request") and facts.pull_number else None


def _semver(rule: Rule, text: str) -> tuple[str, bool] | None:
    match = _SEMVER.fullmatch(text)
    if match is None:
        return None
    major, minor, patch, pre, _ = match.groups()
    pattern = rule.attributes["pattern"]
    full = f"{major}.{minor}.{patch}{f'-{pre}' if pre else ''}"
    if pre and pattern not in ("{{raw}}", "{{version}}"):
        return full, False
    tag = _handlebars(pattern, {"raw": text, "version": full, "major": major, "minor": minor, "patch": patch})
    return tag, not pre


def _pep440(rule: Rule, text: str) -> tuple[str, bool] | None:
    match = _PEP440.fullmatch(text)
    if match is None:
        return None
    major, minor, patch, pre, post, dev = match.groups()
    pattern = rule.attributes["pattern"]
    special = bool(pre or post or dev)
    full = text.removeprefix("v")
    if special and pattern not in ("{{raw}}", "{{version}}"):
        return full, False
    tag = _handlebars(pattern, {"raw": text, "version": full, "major": major, "minor": minor or "", "patch": patch or ""})
    return tag, not special


def _matched(rule: Rule, text: str) -> tuple[str, bool] | None:
    if not text:
        return None
    pattern = rule.attributes["pattern"]
    slashed = re.fullmatch(r"/(.*)/([a-z]*)", pattern, re.DOTALL)
    flags = re.IGNORECASE if slashed and "i" in slashed[2] else 0
    group = int(rule.attributes.get("group") or 0)
    match = re.search(slashed[1] if slashed else pattern, text, flags)
    if match is None:
        return None
    if group > len(match.groups()):
        raise RuleError(f"Group {group} does not exist for regexp {pattern}")
    return match[group], True


def _handlebars(pattern: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: values.get(match[1], ""), pattern)


def _template(text: str, facts: Facts) -> str:
    """Global expressions: `{{branch}}`, `{{tag}}`, `{{sha}}`, `{{base_ref}}`, `{{is_default_branch}}`, `{{date …}}`."""
    if "{{" not in text:
        return text
    values = {"branch": facts.branch, "tag": facts.tag, "sha": facts.sha[:7], "base_ref": facts.base_ref,
              "is_default_branch": str(facts.is_default_branch).lower()}

    def expand(match: re.Match[str]) -> str:
        word = match[1].split()[0]
        if word in ("date", "commit_date"):
            return _date(match[1], facts.committed_at or facts.now if word == "commit_date" else facts.now)
        return values.get(word, match[0])

    return re.sub(r"\{\{\s*([^{}]+?)\s*\}\}", expand, text)


def _date(call: str, now: datetime) -> str:
    """`date 'YYYYMMDD-HHmmss' tz='UTC'` with the usual letters of Moment.js."""
    pattern = re.search(r"date\s+['\"]([^'\"]*)['\"]", call)
    zone = re.search(r"tz=['\"]([^'\"]*)['\"]", call)
    try:
        moment = now.astimezone(ZoneInfo(zone[1]) if zone else UTC)
    except (ZoneInfoNotFoundError, ValueError):
        raise RuleError(f"unknown time zone in {call!r}") from None
    words = {"YYYY": "%Y", "YY": "%y", "MM": "%m", "DD": "%d", "HH": "%H", "mm": "%M", "ss": "%S", "DDDD": "%j",
             "WW": "%V", "X": str(int(moment.timestamp()))}
    text = pattern[1] if pattern else ""
    return re.sub(r"YYYY|YY|MM|DDDD|DD|HH|mm|ss|WW|X", lambda match: moment.strftime(words[match[0]]), text)


def labels_of(facts: Facts, version: Version, extra: list[str]) -> dict[str, str]:
    """OCI labels; what the user gives goes over them.

    `created` is the time of the commit where it is known, not of the build: the same commit gives the same image.
    """
    labels = {
        "org.opencontainers.image.created": (facts.committed_at or facts.now).astimezone(UTC).strftime(
            "%Y-%m-%dT%H:%M:%S.000Z"),
        "org.opencontainers.image.description": facts.description,
        "org.opencontainers.image.licenses": facts.licence,
        "org.opencontainers.image.revision": facts.sha,
        "org.opencontainers.image.source": facts.url,
        "org.opencontainers.image.title": facts.repository.rpartition("/")[2],
        "org.opencontainers.image.url": facts.url,
        "org.opencontainers.image.version": version.main,
    }
    for line in extra:
        key, equals, value = line.partition("=")
        if equals:
            labels[key.strip()] = _template(value.strip().strip('"'), facts)
    return labels


def full_tags(images: list[str], version: Version, flavor: Flavor) -> list[str]:
    """`image:tag` for every image; tags alone where no image is named."""
    tags = version.tags
    if version.latest:
        latest = f"{flavor.prefix if flavor.prefix_latest else ''}latest{flavor.suffix if flavor.suffix_latest else ''}"
        tags = [*tags, *([latest] if latest not in tags else [])]
    return [f"{image}:{tag}" for image in images for tag in tags] if images else tags


def _images(lines: list[str]) -> list[str]:
    names = []
    for line in lines:
        pairs = fields_of(line)
        if pairs.get("enable", "true") != "false":
            names.append((pairs.get("name") or pairs.get("") or "").lower())
    return [name for name in names if name]


async def metadata(use: Use) -> None:
    event = use.github.get("event") or {}
    pull = event.get("pull_request") or {}
    committed = (event.get("head_commit") or {}).get("timestamp")
    url = f"{use.context('server_url')}/{use.context('repository')}"
    facts = Facts(
        event_name=use.context("event_name"),
        ref=use.context("ref"),
        sha=use.context("sha"),
        now=use.run.now(),
        repository=use.context("repository"),
        default_branch=str((event.get("repository") or {}).get("default_branch") or "main"),
        pull_number=f"{float(pull['number']):g}" if pull.get("number") else "",
        head_ref=use.context("head_ref"),
        base_ref=use.context("base_ref"),
        url=url,
        committed_at=parse_time(str(committed)) if committed else None,
    )
    try:
        flavor = parse_flavor(use.lines("flavor"))
        rules = [parse_rule(line) for line in use.lines("tags") or _DEFAULT_TAGS]
        version = compute(facts, rules, flavor)
    except RuleError as error:
        raise ActionFailed(str(error)) from None
    images = _images(use.lines("images"))
    tags = full_tags(images, version, flavor)
    labels = labels_of(facts, version, use.lines("labels"))
    if not tags:
        use.warn("No Docker tag has been generated. Check tags input.")
    separator = use.inputs.get("sep-tags") or "\n"
    label_separator = use.inputs.get("sep-labels") or "\n"
    rows = [f"{key}={value}" for key, value in labels.items()]
    use.output("version", version.main)
    use.output("tags", separator.join(tags))
    use.output("labels", label_separator.join(rows))
    use.output("annotations", "\n".join(f"manifest:{row}" for row in rows))
    use.output("json", json.dumps({"tags": tags, "labels": labels, "annotations": [f"manifest:{r}" for r in rows]}))
    use.set_env("DOCKER_METADATA_OUTPUT_VERSION", version.main)
    use.set_env("DOCKER_METADATA_OUTPUT_TAGS", separator.join(tags))
    use.set_env("DOCKER_METADATA_OUTPUT_LABELS", label_separator.join(rows))
    for tag in tags:
        use.log(tag)


METADATA = BuiltIn(
    "docker/metadata-action",
    {"context": "workflow", "images": "", "tags": "", "flavor": "", "labels": "", "annotations": "", "sep-tags": "\n",
     "sep-labels": "\n", "sep-annotations": "\n", "bake-target": "", "github-token": ""},
    metadata,
)
