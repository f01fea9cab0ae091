"""What joins rooms that do not know each other: each class fills one room's port with another room's piece."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from fairway.ci.repositories import Access
from fairway.ci.tools import package_access
from fairway.git.port import GitPort, UnknownRepository
from fairway.git.remote import Login, RemoteRepository
from fairway.git.repositories import BadName, Repositories
from fairway.gitops.repository_secrets import chart_login_for, login_for
from fairway.gitops.tracking import HOME
from fairway.images.compression import Unpackable
from fairway.images.layout import BadBlob, Layout
from fairway.images.pull_accounts import configurations
from fairway.images.pulling import NotPulled, Policy, PulledImages, Wish
from fairway.images.reference import BadReference, Reference
from fairway.images.signature_policy import PolicyMistake, read_policy, refusal
from fairway.kube.cache import Informers
from fairway.kube.objects import Obj, labels_of, spec_of
from fairway.kube.resources import CONFIG_MAPS, REPOSITORIES, SECRETS
from fairway.manifests.helm.download import Login as ChartLogin
from fairway.manifests.helm.repository import ChartRepository, chart_repository
from fairway.metrics.querier import Querier as MetricsQuerier
from fairway.metrics.querier import RemotePrometheus
from fairway.node.images import AS_IT_IS, HostImage, ImageUnavailable, Pull, UnpackedImage, is_host
from fairway.rollouts.prometheus import Querier, QueryFailed, Server

NAMESPACE = "fairway"
REPOSITORY_LABEL = "fairway.dev/repository"
ENVIRONMENT_LABEL = "fairway.dev/environment"


def must_be_signed(file: Path) -> Callable[[Reference, Layout, str], str]:
    """Why an image may not run by the policy in the file, which is read anew each time: it may change while we run."""

    def refused(reference: Reference, layout: Layout, digest: str) -> str:
        try:
            return refusal(read_policy(file), reference, layout, digest)
        except PolicyMistake as mistake:
            return f"which images must be signed is not known: {mistake}"

    return refused


class NodeImages:
    """The node's images: the pseudo-image `host`, else those of the embedded registry, else those of any other."""

    def __init__(self, images: PulledImages) -> None:
        self._images = images

    async def ensure(self, reference: str, pull: Pull = AS_IT_IS) -> UnpackedImage:
        if is_host(reference):
            return HostImage()
        policy: Policy = "Always" if pull.policy == "Always" else "Never" if pull.policy == "Never" else "IfNotPresent"
        try:
            return await self._images.ensure(reference, Wish(policy, configurations(pull.secrets), pull.tell))
        except NotPulled as error:
            raise ImageUnavailable(str(error), error.reason) from error
        except BadReference as error:
            words = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": {error}'
            raise ImageUnavailable(words, "InvalidImageName") from error
        except (BadBlob, Unpackable) as error:
            raise ImageUnavailable(str(error)) from error


class AnalysisQuerier:
    """Metrics as analysis asks for them, embedded or elsewhere."""

    def __init__(self, querier: MetricsQuerier) -> None:
        self._querier = querier

    async def query(self, text: str, at: datetime) -> float | Sequence[float]:
        answer = await self._querier.query(text, at)
        if answer.kind == "string":
            raise QueryFailed("Prometheus metric type not supported: string")
        values = [value for sample in answer.samples for _, value in sample.points]
        return values[0] if answer.kind == "scalar" else values


class Prometheuses:
    """Every Prometheus elsewhere that somebody asks, each with connections of its own."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], RemotePrometheus] = {}

    def at(self, server: Server) -> Querier:
        key = (server.address, tuple(sorted(server.headers.items())), server.insecure, server.timeout)
        if key not in self._known:
            self._known[key] = RemotePrometheus(server.address, timeout_s=server.timeout.total_seconds(),
                                                headers=server.headers, verify=not server.insecure)
        return AnalysisQuerier(self._known[key])

    async def close(self) -> None:
        for remote in self._known.values():
            await remote.close()


_SCP = re.compile(r"^[^/@\s]+@[^/:\s]+:")  # git@host:path


class KnownRepositories:
    """Embedded repositories by name or by any URL that means them, and any other URL by the network."""

    def __init__(self, informers: Informers, repositories: Repositories, *, web_url: str, cache: Path) -> None:
        self._objects = informers.of(REPOSITORIES)
        self._repositories = repositories
        self._git_url = f"{web_url}/git/"
        self._cache = cache
        self._secrets = informers.of(SECRETS)
        self._remotes: dict[tuple[str, Login | None], RemoteRepository] = {}
        self._charts: dict[tuple[str, str, ChartLogin | None, bool], ChartRepository] = {}

    def name_of(self, name_or_url: str) -> str | None:
        """The embedded repository that is meant, or None."""
        for obj in self._objects.list(NAMESPACE):
            spec = spec_of(obj)
            if name_or_url == spec.get("name") or _plain(name_or_url) in map(_plain, spec.get("urls") or ()):
                return str(spec["name"])
        plain = _plain(name_or_url)
        if plain.startswith(_plain(self._git_url)):
            return plain.removeprefix(_plain(self._git_url)).strip("/")
        return name_or_url if self._exists(name_or_url) else None

    def resolve(self, name_or_url: str) -> Access | None:
        """For jobs: fetched from disk, pushed over smart HTTP, so that a push is seen as one."""
        name = self.name_of(name_or_url)
        if name is None or not self._exists(name):
            return None
        return Access(f"{self._git_url}{name}.git", self._repositories.path(name), name=name, writers=self._writers(name))

    def _writers(self, name: str) -> tuple[str, ...] | None:
        """`spec.writers`: whose jobs may push to it; all, where it says nothing."""
        found = next((spec_of(obj).get("writers") for obj in self._objects.list(NAMESPACE) if spec_of(obj).get("name") == name),
                     None)
        return tuple(map(str, found)) if found is not None else None

    def of(self, name_or_url: str) -> GitPort:
        """For controllers. Raises `GitError`."""
        name = self.name_of(name_or_url)
        if name is not None:
            return self._repositories.open(name)
        if "://" not in name_or_url and not _SCP.match(name_or_url):
            raise UnknownRepository(f"no repository {name_or_url!r}; push to it once and it is made")
        address = (name_or_url, login_for(name_or_url, self._secrets.list(HOME)))
        if address not in self._remotes:
            self._remotes[address] = RemoteRepository(name_or_url, self._cache, address[1])
        return self._remotes[address]

    def chart(self, repo_url: str, chart: str, *, pass_credentials: bool = False) -> ChartRepository:
        """A chart in a Helm repository or registry, for controllers."""
        login = chart_login_for(repo_url, self._secrets.list(HOME))
        address = (repo_url, chart, login, pass_credentials)
        if address not in self._charts:
            self._charts[address] = chart_repository(repo_url, chart, self._cache / "charts", login,
                                                     pass_credentials=pass_credentials)
        return self._charts[address]

    def _exists(self, name: str) -> bool:
        try:
            return self._repositories.exists(name)
        except BadName:
            return False


def _plain(url: str) -> str:
    """A URL without credentials, `.git` and trailing slash, for comparing."""
    parts = urlsplit(url.strip())
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}".removesuffix("/").removesuffix(".git")


class RepositorySettings:
    """What a repository's jobs are given: Secrets and ConfigMaps of the namespace `fairway`, labelled with its name.

    The label's value has `.` for `/` (`shop.app`), because label values have no slashes.
    """

    def __init__(self, informers: Informers) -> None:
        self._secrets = informers.of(SECRETS)
        self._config_maps = informers.of(CONFIG_MAPS)

    def secrets(self, repository: str) -> Mapping[str, str]:
        return self.environment_secrets(repository, "")

    def environment_secrets(self, repository: str, environment: str) -> Mapping[str, str]:
        """Those of Secrets that are labelled with the environment too: jobs see them once they may deploy there."""
        found: dict[str, str] = {}
        for obj in self._labelled(self._secrets.list(NAMESPACE), repository):
            if labels_of(obj).get(ENVIRONMENT_LABEL, "").casefold() != environment.casefold():
                continue
            for name, value in (obj.get("data") or {}).items():
                found[name] = base64.b64decode(value).decode(errors="replace")
        return found

    def variables(self, repository: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for obj in self._labelled(self._config_maps.list(NAMESPACE), repository):
            found.update(obj.get("data") or {})
        return found

    def _labelled(self, objects: Sequence[Obj], repository: str) -> list[Obj]:
        return [obj for obj in objects if labels_of(obj).get(REPOSITORY_LABEL) == repository.replace("/", ".")]


def job_environment(state: Path, caches: Path) -> dict[str, str]:
    """What jobs get besides their clean environment: the state folder, and how this machine reaches its packages."""
    return {"UV_CACHE_DIR": str(caches / "uv"), "PIP_CACHE_DIR": str(caches / "pip"), "UV_PYTHON_DOWNLOADS": "never",
            **package_access(os.environ), "FAIRWAY_STATE": str(state)}
