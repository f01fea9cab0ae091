"""Charts of a Helm repository as commits of a git repository: a version is a revision, a package the tree of one.

So an Application whose source is a `chart:` goes the way of every other: the version constraint is resolved against the
versions that exist, the tree is read, what was rendered is kept. Two kinds of repositories: a folder behind https with an
`index.yaml`, and an OCI registry. A package whose bytes are not those that the index (or the manifest) names by digest is
refused; packages are kept on disk by their digest, so that the same one is fetched once.

A version may be published again with other contents. Whoever looks at a repository again learns of it: `exact` says which
package a version is now, and `read_tree` takes both.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from fairway.git.port import Change, Commit, ReadOnly, UnknownRepository, UnknownRevision, Unreachable, without_credentials
from fairway.manifests import yaml
from fairway.manifests.errors import ManifestError
from fairway.manifests.helm.download import Login, get
from fairway.manifests.helm.oci import Registry
from fairway.manifests.helm.package import ChartTree, unpacked

MAX_INDEX = 64 * 2**20
"""Bytes. The index of the largest public repositories is some 20 MB."""
MAX_PACKAGE = 32 * 2**20
"""Bytes. Helm's own limit for a chart is 20 MB."""
_TAG = "refs/tags/"
_IS_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_NOT_MODIFIED = 304
_RELEASE = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)(?:\+[0-9A-Za-z.-]+)?$")


@dataclass(frozen=True, slots=True)
class Package:
    """Where a version lies, and the digest that it must have ("" where the repository names none)."""

    url: str
    digest: str


class ChartStore(Protocol):
    """One chart of one repository."""

    url: str

    def versions(self) -> Mapping[str, Package]:
        """Every version that exists now; one round trip. `Unreachable`, `UnknownRepository`."""
        ...

    def find(self, version: str) -> Package | None:
        """One version as it is now, with its digest; one round trip."""
        ...

    def fetch(self, version: str, package: Package) -> bytes: ...


class ChartRepository:
    """The git port over a chart: reads only."""

    remote = True

    def __init__(self, store: ChartStore, cache: Path) -> None:
        self.url = store.url
        self._store = store
        self._cache = cache
        self._versions: dict[str, Package] = {}
        self._trees: dict[str, ChartTree] = {}

    def refs(self) -> dict[str, str]:
        """The versions as tags."""
        found = self._store.versions()
        for version, package in found.items():  # a registry's list of tags names no digests
            known = self._versions.get(version)
            if package.digest or known is None:
                self._versions[version] = package
        for version in self._versions.keys() - found.keys():
            del self._versions[version]
        return {f"{_TAG}{version}": version for version in self._versions}

    def resolve(self, revision: str) -> str:
        """The version of that name, as it is now; the newest release for HEAD, which stands where an Application names none."""
        wanted = revision.removeprefix(_TAG)
        if wanted != "HEAD" and (package := self._store.find(wanted)) is not None:
            self._versions[wanted] = package
            return wanted
        self.refs()
        if wanted == "HEAD":
            releases = [(tuple(map(int, found.groups())), text) for text in self._versions if (found := _RELEASE.match(text))]
            if releases:
                return max(releases)[1]
        known = ", ".join(list(self._versions)[:5]) or "none"
        raise UnknownRevision(f"{self.url}: no version {wanted!r} of the chart; there are {known}")

    def exact(self, version: str) -> str:
        """`<version>@<digest>` as it was when it was last looked at; the version where nobody names a digest."""
        package = self._versions.get(version)
        return f"{version}@{package.digest}" if package is not None and package.digest else version

    def branch_of(self, revision: str) -> str | None:
        return None

    def read_tree(self, sha: str, path: str = "") -> ChartTree:
        """The chart of a version, or of exactly one package of it; its digest is checked. `ManifestError` where it is none."""
        version, _, digest = sha.partition("@")
        if version not in self._versions:
            found = self._store.find(version)
            if found is None:
                raise UnknownRevision(f"{self.url}: the version {version} of the chart is gone")
            self._versions[version] = found
        exact = sha if digest else self.exact(version)
        if exact not in self._trees:
            package = self._versions[version]
            if digest and digest != package.digest:
                package = Package("", digest)
            self._trees[exact] = unpacked(self._package(version, package), f"{self.url} {version}")
            while len(self._trees) > 8:  # what is live, what is wanted, and some to compare with
                del self._trees[next(iter(self._trees))]
        return self._trees[exact]

    def _package(self, version: str, package: Package) -> bytes:
        kept = self._cache / f"{package.digest.removeprefix('sha256:')}.tgz" if package.digest else None
        if kept is not None and kept.is_file():
            data = kept.read_bytes()
            if _digest(data) == package.digest:
                return data
        if not package.url:
            raise UnknownRevision(f"{self.url}: {version} was published again, and the package {package.digest} is gone")
        data = self._store.fetch(version, package)
        if package.digest and _digest(data) != package.digest:
            raise Unreachable(f"{self.url}: the package of {version} is not the one that the repository names "
                              f"({_digest(data)} instead of {package.digest}); it is not used")
        if kept is not None:
            self._cache.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(".part")
            part.write_bytes(data)
            part.replace(kept)
        return data

    def changed_paths(self, before: str, after: str) -> frozenset[str]:
        old, new = (self.read_tree(before) if before else ChartTree({})), self.read_tree(after)
        return frozenset(path for path in {*old, *new} if path not in old or path not in new or old[path] != new[path])

    def log(self, revision: str, *, limit: int = 50, path: str = "") -> list[Commit]:
        return []

    def commit(self, branch: str, change: Change, *, expected_head: str) -> NoReturn:
        raise ReadOnly(f"{self.url}: a chart repository takes no commits; keep the values in git, in a source of their own")


def chart_repository(repo_url: str, chart: str, cache: Path, login: Login | None = None, *,
                     pass_credentials: bool = False) -> ChartRepository:
    """The chart of that name. `oci://registry/path`, or an address without a scheme, is a registry; all else has an index."""
    named = urlsplit(repo_url)
    if named.username and named.password:  # in the URL, as git has it
        login = login or Login(unquote(named.username), unquote(named.password))
        repo_url = without_credentials(repo_url)
    if repo_url.startswith("oci://") or "://" not in repo_url:
        return ChartRepository(RegistryStore(repo_url, chart, login), cache)
    return ChartRepository(IndexStore(repo_url, chart, login, pass_credentials), cache)


class IndexStore:
    """A repository with an `index.yaml`. The login is sent to its own host only, unless the user passes it on."""

    def __init__(self, repo_url: str, chart: str, login: Login | None, pass_credentials: bool) -> None:
        self._base = repo_url.rstrip("/") + "/"
        self._chart = chart
        self._login = login
        self._pass = pass_credentials
        self._headers: Mapping[str, str] = {}
        self._read: Mapping[str, Package] = {}
        self.url = f"{self._base}{chart}"

    def versions(self) -> Mapping[str, Package]:
        address = urljoin(self._base, "index.yaml")
        answer = get(address, limit=MAX_INDEX, authorization=self._authorization(address), known=self._headers)
        if answer.status == _NOT_MODIFIED and self._headers:
            return self._read
        _check(answer.status, address)
        try:
            index = yaml.load(_section(answer.body, self._chart), address)
        except ManifestError as error:
            raise UnknownRepository(f"{address}: not an index of charts: {error.mistake}") from error
        entries = index.get("entries") if isinstance(index, dict) else None
        if not isinstance(entries, dict):
            raise UnknownRepository(f"{address}: not an index of charts: it has no `entries`")
        if self._chart not in entries:
            names = ", ".join(sorted(map(str, entries))[:8]) or "none"
            raise UnknownRevision(f"{self.url}: this repository has no such chart; there are {names}")
        found = (self._package(entry) for entry in entries[self._chart] or () if isinstance(entry, dict))
        self._read = {version: package for version, package in found if version and package.url}
        self._headers = {name: answer.headers[name] for name in ("etag", "last-modified") if name in answer.headers}
        return self._read

    def find(self, version: str) -> Package | None:
        return self.versions().get(version)

    def _package(self, entry: Mapping[str, Any]) -> tuple[str, Package]:
        urls: Sequence[Any] = entry.get("urls") or ()
        digest = str(entry.get("digest") or "")
        return str(entry.get("version") or ""), Package(
            urljoin(self._base, str(urls[0])) if urls else "", f"sha256:{digest.removeprefix('sha256:')}" if digest else "")

    def fetch(self, version: str, package: Package) -> bytes:
        answer = get(package.url, limit=MAX_PACKAGE, authorization=self._authorization(package.url))
        _check(answer.status, package.url)
        return answer.body

    def _authorization(self, url: str) -> str:
        if self._login is None:
            return ""
        own, asked = urlsplit(self._base), urlsplit(url)
        here = (own.scheme, own.hostname, own.port) == (asked.scheme, asked.hostname, asked.port)
        return self._login.header() if here or self._pass else ""


class RegistryStore:
    """A chart in an OCI registry: versions are tags (`_` for `+`), a package is the one layer of the manifest."""

    def __init__(self, repo_url: str, chart: str, login: Login | None) -> None:
        address = posixpath.join(repo_url.removeprefix("oci://"), chart) if chart else repo_url.removeprefix("oci://")
        host, _, name = address.partition("/")
        if not name:
            raise UnknownRepository(f"{repo_url}: a registry and the path of a chart are needed, such as oci://host/charts")
        self.url = f"oci://{host}/{name}"
        self._registry = Registry(host, name, login)

    def versions(self) -> Mapping[str, Package]:
        return {tag.replace("_", "+"): Package(tag, "") for tag in self._registry.tags()}

    def find(self, version: str) -> Package | None:
        tag = version.replace("+", "_")
        if not _IS_TAG.fullmatch(tag):
            return None
        try:
            return Package(tag, self._registry.digest(tag))
        except UnknownRepository:
            return None

    def fetch(self, version: str, package: Package) -> bytes:
        return self._registry.chart(package.url, package.digest or self._registry.digest(package.url), limit=MAX_PACKAGE)


def _section(index: bytes, chart: str) -> bytes:
    """The part of an index that speaks of one chart, where it is laid out as Helm writes it; else the whole of it.

    An index has all versions of all charts: reading 20 MB of YAML for the few kilobytes of one takes half a minute.
    """
    begin = index.find(b"\n  %s:\n" % chart.encode())
    if not index.startswith(b"apiVersion:") or b"\nentries:\n" not in index or begin < 0:
        return index
    end = re.compile(rb"\n(?:  )?[^\s#-]").search(index, begin + 1)
    return b"entries:" + index[begin : end.start() + 1 if end else len(index)]


def _check(status: int, url: str) -> None:
    if status in (401, 403):
        raise Unreachable(f"{url}: the server asks for credentials ({status}); put them into a Secret of the repository")
    if status == 404:
        raise UnknownRepository(f"{url}: there is nothing (404); correct repoURL")
    if status != 200:
        raise Unreachable(f"{url}: the server answered {status}")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
