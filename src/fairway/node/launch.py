"""From a container of a pod to the process that runs it: argv, environment, folder. Pure: nothing is looked up here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairway.kube.objects import Obj, key_of
from fairway.node.environment import ConfigProblem, Facts, command_line, variables
from fairway.node.images import UnpackedImage
from fairway.node.paths import PathMap, ServiceNames, with_address

_NOT_REWRITTEN = frozenset({"PATH", "PYTHONPATH", "POD_IP", "HOME", "TMPDIR", "HOSTNAME"})


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a container finds what it needs. `root` is put before an image's paths. `search`: folders of PATH after the
    image's own."""

    paths: PathMap
    root: str
    home: str
    temporary: str
    working_dir: str
    search: Sequence[str]
    site_packages: Sequence[str]
    own_root: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the node gives to every container of the pod."""

    facts: Facts
    stand: Stand
    names: ServiceNames
    host_env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Launch:
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


def compose(container: Obj, image: UnpackedImage, around: Surroundings) -> Launch:
    """Raises `ConfigProblem` where the container cannot be started as it is configured."""
    pod = around.facts.pod
    address = around.facts.pod_ip
    base = {"POD_IP": address, "HOST": address, "HOSTNAME": key_of(pod).name}
    env = variables(container, around.facts, {**base, **image.env})
    argv = command_line(container, image.entrypoint, image.cmd, env)
    if not argv:
        raise ConfigProblem(f'no command: neither the image "{container.get("image")}" nor the container names one; '
                            "set command in the container", "CreateContainerError")
    stand, paths = around.stand, around.stand.paths

    def place(text: str) -> str:
        return around.names.rewrite(paths.rewrite(with_address(text, address)))

    placed = {name: value if name in _NOT_REWRITTEN else
              around.names.rewrite_variable(name, paths.rewrite(with_address(value, address)))
              for name, value in env.items()}
    argv = [place(word) for word in argv]
    placed.update(_search_paths(env, image, stand))
    own = {"HOME": stand.home, "TMPDIR": stand.temporary}
    written = {entry["name"] for entry in container.get("env") or ()}
    for name, value in {**around.host_env, **own, "PYTHONNOUSERSITE": "1"}.items():
        if name not in written:
            placed[name] = value if name in own else placed.get(name, value)
    folder = container.get("workingDir") or image.working_dir
    cwd = paths.place(folder) if folder and paths.is_ours(folder.rstrip("/")) else (
        folder if folder and (image.root is None or stand.own_root) else stand.working_dir)
    return Launch(tuple(argv), placed, cwd)


def _search_paths(env: Mapping[str, str], image: UnpackedImage, stand: Stand) -> dict[str, str]:
    """PATH: the image's folders, then, where the container has no root of its own, our interpreter and the host's."""
    if image.root is None:
        found = {"PATH": env.get("PATH") or ":".join(reversed(stand.search))}
        return found if "PYTHONPATH" not in env else {**found, "PYTHONPATH": stand.paths.rewrite(env["PYTHONPATH"])}
    inside = [folder for folder in (env.get("PATH") or "/usr/local/bin:/usr/bin:/bin").split(":") if folder]
    folders = [stand.root + folder for folder in inside if folder.startswith("/")]
    packages = [*(stand.paths.rewrite(part) for part in env.get("PYTHONPATH", "").split(":") if part),
                *stand.site_packages]
    found = {"PATH": ":".join([*folders, *stand.search])}
    if packages:
        found["PYTHONPATH"] = ":".join(packages)
    return found
