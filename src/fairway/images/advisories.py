"""Known vulnerabilities of an image's packages, from a folder or zip of OSV records. No network; no data is no clean bill.

A database that is missing, empty or old makes the scan unknown, which fails. Records of several databases about one fault (a
PYSEC and a GHSA of one CVE) are one finding. Source: ossf.github.io/osv-schema.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from fairway.images.cvss import base_score, rating
from fairway.images.packages import Package, normalized
from fairway.images.versions import Incomparable, key_for

_WORDS = {"CRITICAL": "critical", "HIGH": "high", "MODERATE": "medium", "MEDIUM": "medium", "LOW": "low"}
_RANK = ("critical", "high", "medium", "low", "none", "unknown")


class NoDatabase(Exception):
    """The advisories cannot be relied on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """`severity`: critical, high, medium, low, none, or unknown where no record says it. `fixed` is "" without a fix."""

    id: str
    aliases: tuple[str, ...]
    package: Package
    severity: str
    fixed: str
    summary: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Database:
    """Records by (ecosystem, package name). `newest` is the latest change of any record: how fresh the data is."""

    records: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
    newest: datetime
    count: int


def load(path: Path, now: datetime, max_age: timedelta) -> Database:
    """The advisories of a folder or zip. Raises `NoDatabase` where they are missing, unreadable, empty or too old."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    newest, count = datetime.min.replace(tzinfo=UTC), 0
    for name, data in _files(path):
        try:
            record = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise NoDatabase(f"{path}: {name} is not JSON ({error}); fetch the advisories again") from None
        if not isinstance(record, dict) or "id" not in record:
            raise NoDatabase(f"{path}: {name} is no OSV record; give a folder or zip of them")
        count += 1
        newest = max(newest, _moment(record.get("modified")))
        if record.get("withdrawn"):
            continue
        for key in {_key(affected.get("package") or {}) for affected in record.get("affected") or ()}:
            found.setdefault(key, []).append(record)
    if not count:
        raise NoDatabase(f"{path}: there is no OSV record; nothing was checked. Fetch an export of osv.dev")
    if now - newest > max_age:
        raise NoDatabase(f"{path}: the newest record is of {newest:%Y-%m-%d}, {(now - newest).days} days ago; at most "
                         f"{max_age.days} are allowed. Fetch the advisories again, or say --max-age")
    return Database(found, newest, count)


def matches(packages: Sequence[Package], database: Database) -> tuple[Vulnerability, ...]:
    """What is known about these packages, worst first; one finding for each fault and package."""
    found: list[Vulnerability] = []
    for package in packages:
        ecosystem = "PyPI" if package.kind == "pypi" else f"Debian:{package.release.partition('.')[0]}"
        name = package.name if package.kind == "pypi" else package.source
        hits = [hit for record in database.records.get((ecosystem, name), ())
                if (hit := _hit(record, package, ecosystem, name)) is not None]  # fmt: skip
        found.extend(_merged(hits))
    return tuple(sorted(found, key=lambda v: (_RANK.index(v.severity), v.package, v.id)))


def _hit(record: Mapping[str, Any], package: Package, ecosystem: str, name: str) -> Vulnerability | None:
    for affected in record.get("affected") or ():
        if _key(affected.get("package") or {}) != (ecosystem, name):
            continue
        if (fixed := _affects(affected, package, ecosystem)) is not None:
            severity, score = _severity(record, affected)
            return Vulnerability(str(record["id"]), tuple(map(str, record.get("aliases") or ())), package, severity, fixed,
                                 str(record.get("summary") or (record.get("details") or "")[:200]), score)
    return None


def _affects(affected: Mapping[str, Any], package: Package, ecosystem: str) -> str | None:
    """The version that mends it ("" where none does), or None where this version is not affected."""
    key = key_for(ecosystem.partition(":")[0])
    try:
        own = key(package.version)
    except Incomparable:
        return "" if package.version in (affected.get("versions") or ()) else None
    listed = package.version in (affected.get("versions") or ())
    mends: list[str] = []
    for one in affected.get("ranges") or ():
        if one.get("type") not in ("ECOSYSTEM", "SEMVER"):
            continue
        try:
            inside, mend = _inside(one.get("events") or (), own, key)
        except Incomparable:
            continue
        listed = listed or inside
        mends += [mend] if mend else []
    if not listed:
        return None
    return min(mends, key=key) if mends else ""


def _inside(events: Iterable[Mapping[str, str]], own: Any, key: Callable[[str], Any]) -> tuple[bool, str]:
    """Is a version within a range, and the version that ends it ("" where none mends it)? Events in order of version."""
    begun: list[tuple[bool, Any, str, str]] = sorted(
        ((version != "0", key(version) if version != "0" else None, kind, version)
         for event in events for kind, version in event.items() if kind in ("introduced", "fixed", "last_affected")),
        key=lambda it: (it[0], it[1]) if it[0] else (False,))  # fmt: skip
    inside = False
    for comes_later, place, kind, version in begun:
        if kind == "introduced":
            inside = inside or not comes_later or own >= place
        elif own < place or (kind == "last_affected" and own == place):
            return inside, version if inside and kind == "fixed" else ""
        else:
            inside = False
    return inside, ""


def _severity(record: Mapping[str, Any], affected: Mapping[str, Any]) -> tuple[str, float | None]:
    listed = (*(record.get("severity") or ()), *(affected.get("severity") or ()))
    scores = [score for one in listed if (score := base_score(str(one.get("score", "")))) is not None]
    said = str((record.get("database_specific") or {}).get("severity") or "").upper()
    if said in _WORDS:
        return _WORDS[said], max(scores, default=None)
    return (rating(max(scores)), max(scores)) if scores else ("unknown", None)


def _merged(hits: Iterable[Vulnerability]) -> Iterator[Vulnerability]:
    """Records that name each other, or one CVE, are one fault: its worst severity, its earliest mend."""
    groups: list[list[Vulnerability]] = []
    for hit in hits:
        names = {hit.id, *hit.aliases}
        same = [group for group in groups if any(names & {one.id, *one.aliases} for one in group)]
        groups = [group for group in groups if group not in same] + [[hit, *(one for group in same for one in group)]]
    for group in groups:
        ids = sorted({name for one in group for name in (one.id, *one.aliases)})
        chosen = min(group, key=lambda one: _RANK.index(one.severity))
        shown = next((name for name in ids if name.startswith("CVE-")), chosen.id)
        fixed = next((one.fixed for one in group if one.fixed), "")
        yield Vulnerability(shown, tuple(name for name in ids if name != shown), chosen.package, chosen.severity, fixed,
                            next((one.summary for one in group if one.summary), ""), chosen.score)


def _key(package: Mapping[str, Any]) -> tuple[str, str]:
    ecosystem, name = str(package.get("ecosystem") or ""), str(package.get("name") or "")
    return ecosystem, normalized(name) if ecosystem == "PyPI" else name


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.json")):
                yield str(file.relative_to(path)), file.read_bytes()
        else:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        yield name, archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise NoDatabase(f"{path}: {error}; give a folder or zip of OSV records (an export of osv.dev)") from None


def _moment(text: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
