"""How jobs run in a cluster: `jobs.yaml` of the state folder. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from fairway.ci.gitlab.durations import DurationError, seconds

ANY = "*"
Services = Literal["sidecars", "runner"]


class JobSettingsMistake(ValueError):
    """What is wrong in the file, where, and the mend."""


@dataclass(frozen=True)
class JobSettings:
    """`images` gives the runner's image by label of `runs-on` (or GitLab's tag), `*` for all others; `command` is what starts
    the runner in it. `portable` is the folder of the runner's image that holds a Python which runs in other images too: it is
    copied beside jobs that name an image of their own. `url` is where pods reach this Fairway; `most` jobs run at a
    time. `pod` and `container` are laid into the spec of the pod and of its containers. Times are seconds.
    """

    images: Mapping[str, str]
    command: tuple[str, ...] = ("python3", "-m", "fairway.job_pod")
    portable: str = ""
    namespace: str = "fairway"
    url: str = ""
    service_account: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    resources: Mapping[str, Any] = field(default_factory=dict)
    pull_secrets: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)
    services: Services = "sidecars"
    keep_s: int = 24 * 3600
    grace_s: int = 120
    start_s: int = 600
    most: int = 20

    def image_for(self, labels: list[str]) -> str | None:
        found = next((self.images[label] for label in labels if label in self.images), None)
        return found if found is not None else self.images.get(ANY)


_KEYS = ("images", "command", "portable", "namespace", "url", "serviceAccount", "nodeSelector", "tolerations", "resources",
         "imagePullSecrets", "env", "pod", "container", "services", "keep", "grace", "startWithin", "atOnce")


_OWN_OF_PODS = ("containers", "initContainers", "volumes", "restartPolicy", "terminationGracePeriodSeconds")
_OWN_OF_CONTAINERS = ("name", "image", "command", "args", "env", "volumeMounts")
"""What Fairway itself has to say."""


def decode_job_settings(text: str, where: str) -> JobSettings:
    """Raises `JobSettingsMistake`."""
    try:
        written = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        mend = "correct it, or remove the file, and jobs run on this machine"
        raise JobSettingsMistake(f"{place}: it is no YAML; {mend}") from None
    reader = _Reader(written, where)
    reader.only(_KEYS)
    images = reader.texts("images")
    if not images:
        raise JobSettingsMistake(f'{where}: images: name the runner\'s image, such as {{"*": registry.example.com/runner:1}}')
    services = reader.text("services", "sidecars")
    if services not in ("sidecars", "runner"):
        raise JobSettingsMistake(f"{where}: services: {services!r} is neither sidecars nor runner")
    default = JobSettings(images)
    return JobSettings(
        images, reader.words("command") or default.command, reader.text("portable", ""),
        reader.text("namespace", default.namespace), reader.text("url", "").rstrip("/"), reader.text("serviceAccount", ""),
        reader.texts("nodeSelector"), tuple(reader.mappings("tolerations")), reader.mapping("resources"),
        reader.words("imagePullSecrets"), reader.texts("env"), reader.spec("pod", _OWN_OF_PODS),
        reader.spec("container", _OWN_OF_CONTAINERS), "runner" if services == "runner" else "sidecars",
        reader.time("keep", default.keep_s), reader.time("grace", default.grace_s), reader.time("startWithin", default.start_s),
        int(reader.time("atOnce", default.most)))


class _Reader:
    def __init__(self, written: Any, where: str) -> None:
        if not isinstance(written, dict):
            raise JobSettingsMistake(f"{where}: a mapping with the key images is needed")
        self._written, self._where = written, where

    def only(self, keys: tuple[str, ...]) -> None:
        for key in self._written:
            if key not in keys:
                raise JobSettingsMistake(f"{self._where}: unknown key {key!r}; known are {', '.join(keys)}")

    def text(self, key: str, default: str) -> str:
        found = self._written.get(key, default)
        return str(found) if isinstance(found, str | int) else self._wrong(key, "a text")

    def mapping(self, key: str) -> dict[str, Any]:
        found = self._written.get(key) or {}
        return found if isinstance(found, dict) else self._wrong(key, "a mapping")

    def spec(self, key: str, own: tuple[str, ...]) -> dict[str, Any]:
        found = self.mapping(key)
        for name in found:
            if name in own:
                raise JobSettingsMistake(f"{self._where}: {key}.{name}: that is for Fairway to say; leave it out")
        return found

    def texts(self, key: str) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.mapping(key).items()}

    def words(self, key: str) -> tuple[str, ...]:
        found = self._written.get(key) or []
        return tuple(map(str, found)) if isinstance(found, list) else self._wrong(key, "a list")

    def mappings(self, key: str) -> list[Mapping[str, Any]]:
        found = self._written.get(key) or []
        good = isinstance(found, list) and all(isinstance(entry, dict) for entry in found)
        return found if good else self._wrong(key, "a list of mappings")

    def time(self, key: str, default: int) -> int:
        if key not in self._written:
            return default
        try:
            return int(seconds(str(self._written[key])))
        except DurationError:
            raise self._mistake(key, "a time such as 30s, 5m or 1 hour") from None

    def _wrong(self, key: str, what: str) -> Any:
        raise self._mistake(key, what)

    def _mistake(self, key: str, what: str) -> JobSettingsMistake:
        return JobSettingsMistake(f"{self._where}: {key}: {what} is needed, not {self._written[key]!r}")
