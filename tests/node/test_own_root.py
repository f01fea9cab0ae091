"""Containers with a root of their own: absolute paths in a program's code mean the image, the volumes and the pod."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fairway.kube.clock import WallClock
from fairway.kube.embedded import EmbeddedApi
from fairway.kube.objects import Obj, condition, dig, status_of
from fairway.kube.resources import NODES, PODS
from fairway.node import own_root
from fairway.node.folder import PodFolder
from fairway.node.images import AS_IT_IS, Pull, UnpackedImage
from fairway.node.isolation import Isolation, mend, probe
from fairway.node.settings import NodeSettings
from fairway.node.shims import compiled
from tests.node.machine import Machine, alive, machine, pod, shell


def _possible() -> bool:
    """Asked of the kernel, not of ourselves."""
    flags = ["-m"] if os.geteuid() == 0 else ["-Um"]
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, *flags, "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _possible(), reason="this machine refuses namespaces")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root's rights")


@dataclass(frozen=True)
class _Image:
    root: Path
    digest: str = "sha256:" + "0" * 64
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/local/bin:/usr/bin:/bin"})
    working_dir: str = "/app"
    labels: Mapping[str, str] = field(default_factory=dict)


class _Source:
    def __init__(self, image: _Image) -> None:
        self._image = image

    async def ensure(self, reference: str, pull: Pull = AS_IT_IS) -> UnpackedImage:
        return self._image


def _shop(folder: Path) -> _Image:
    """As Fairway builds an image: packages and the application, and no operating system."""
    packages = folder / "usr/local/lib/python3.11/site-packages/shoplib"
    packages.mkdir(parents=True)
    (packages / "__init__.py").write_text("")
    script = folder / "usr/local/bin/shop"
    script.parent.mkdir(parents=True)
    script.write_text("#!/usr/local/bin/python3\nimport shoplib, sys\nprint(shoplib.__file__, sys.argv[0])\n")
    script.chmod(0o755)
    (folder / "app").mkdir()
    (folder / "app/a.ini").write_text("original\n")
    return _Image(folder)


def play(tmp_path: Path, story: Callable[[Machine], Awaitable[None]], image: _Image | None = None) -> None:
    async def main() -> None:
        source = _Source(image or _shop(tmp_path / "image"))
        async with machine(tmp_path, source, isolation="auto") as made:
            await story(made)

    asyncio.run(main())


async def _says(m: Machine, script: str, spec: Obj | None = None, **container: object) -> str:
    await m.api.create(shell("p", script, spec, image="shop:1", **container))
    await m.phase("p", "Succeeded", "Failed")
    return await m.log("p")


def test_a_program_finds_the_image_at_its_absolute_paths_and_shares_nothing(tmp_path: Path) -> None:
    image = _shop(tmp_path / "image")

    async def story(m: Machine) -> None:
        script = ("shop; python3 -c \"print(open('/app/a.ini').read(), end='')\"; echo changed > /app/a.ini; "
                  "rm /usr/local/bin/shop; "
                  "mkdir /data; touch /data/x; touch /tmp/mine; pwd; echo $HOME $TMPDIR; ls /tmp; "
                  "ls -d /root/* /home/* 2>&1 | wc -l")
        assert await _says(m, script) == ("/usr/local/lib/python3.11/site-packages/shoplib/__init__.py /usr/local/bin/shop\n"
                                          "original\n/app\n/pod /tmp\nmine\n2\n")
        assert (image.root / "app/a.ini").read_text() == "original\n"
        assert (image.root / "usr/local/bin/shop").exists() and not (image.root / "data").exists()
        assert not Path("/tmp/mine").exists()
        node = await m.api.get(NODES, "fairway", "")
        assert node["metadata"]["annotations"]["fairway.dev/isolation"] == "own-root"
        assert (condition(node, "IsolatedRoot") or {})["status"] == "True"
        found = await m.pod("p")
        await m.api.delete(PODS, "p", "default")
        await m.gone("p")

        async def removed() -> bool:
            return not m.folder(found).path.exists()

        await m.until(removed, "every layer is removed")

    play(tmp_path, story, image)


def test_services_answer_to_their_names_those_of_later_too(tmp_path: Path) -> None:
    def service(name: str, namespace: str = "default") -> Obj:
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}

    async def story(m: Machine) -> None:
        await m.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
        early = await m.api.create(service("early"))
        elsewhere = await m.api.create(service("db", "other"))
        script = ("getent hosts early db.other.svc.cluster.local alias localhost | awk '{print $1}'; echo asking; "
                  "until getent hosts later | awk '{print $1}' | grep .; do sleep 0.02; done")
        aliases = [{"ip": "127.9.9.9", "hostnames": ["alias"]}]
        await m.api.create(shell("p", script, {"hostAliases": aliases}, image="shop:1"))

        async def asks() -> bool:
            return "asking" in await m.log("p") if await _started(m, "p") else False

        await m.until(asks, "the pod asks for a Service that is not there yet")
        later = await m.api.create(service("later"))
        await m.phase("p", "Succeeded", "Failed")
        lines = (await m.log("p")).split()
        assert lines[:3] == [early["spec"]["clusterIP"], elsewhere["spec"]["clusterIP"], "127.9.9.9"]
        assert lines[3] in ("127.0.0.1", "::1") and lines[4:] == ["asking", later["spec"]["clusterIP"]]

    play(tmp_path, story)


async def _started(m: Machine, name: str) -> bool:
    return bool(status_of(await m.pod(name)).get("containerStatuses")) and m.folder(await m.pod(name)).log("main", 0).exists()


def test_volumes_lie_at_their_paths_and_what_comes_from_the_api_is_read_only(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"},
                            "data": {"a.ini": "mounted\n", "b": "b\n"}})
        volumes = [{"name": "c", "configMap": {"name": "c"}}, {"name": "e", "emptyDir": {}}]
        mounts = [{"name": "c", "mountPath": "/etc/shop"}, {"name": "c", "mountPath": "/app/a.ini", "subPath": "a.ini"},
                  {"name": "e", "mountPath": "/var/lib/shop"}, {"name": "e", "mountPath": "/etc/shop-e/deep", "readOnly": True}]
        script = ("cat /etc/shop/b /app/a.ini; echo kept > /var/lib/shop/f; cat /etc/shop-e/deep/f; "
                  "(echo x > /etc/shop/b) 2>/dev/null || echo sealed; (echo x > /etc/shop-e/deep/f) 2>/dev/null || echo sealed;"
                  "readlink -f /etc/shop/b | cut -c1-10; test -e /etc/passwd && echo host")
        assert await _says(m, script, {"volumes": volumes}, volumeMounts=mounts) == (
            "b\nmounted\nkept\nsealed\nsealed\n/etc/shop/\nhost\n")

    play(tmp_path, story)


def test_the_host_image_sees_the_host_and_its_volumes(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("host file\n")

    async def story(m: Machine) -> None:
        volumes = [{"name": "e", "emptyDir": {}}]
        mounts = [{"name": "e", "mountPath": path} for path in ("/data", "/etc/shop", "/var/run/shop/deep")]
        script = f"echo one > /data/f; cat /etc/shop/f /var/run/shop/deep/f {tmp_path}/seen; touch $HOME/h $TMPDIR/t here; pwd"
        await m.api.create(shell("p", script, {"volumes": volumes}, volumeMounts=mounts))
        found = await m.phase("p", "Succeeded")
        assert await m.log("p") == "one\none\nhost file\n/\n"
        folder = m.folder(found)
        assert (folder.home / "h").exists() and (folder.root / "tmp/t").exists() and (folder.root / "main/here").exists()
        assert not Path("/etc/shop").exists() and not Path("/data").exists()

    play(tmp_path, story)


def test_probes_and_hooks_run_where_the_container_is(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        check = {"exec": {"command": ["cat", "/app/ready"]}, "periodSeconds": 1}
        hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo hooked > /data"]}}}
        script = "touch /app/ready; until cat /data 2>/dev/null; do sleep 0.02; done; sleep 60"
        await m.api.create(shell("p", script, image="shop:1", readinessProbe=check, lifecycle=hook))
        await m.ready("p")

        async def told() -> bool:
            return await m.log("p") == "hooked\n"

        await m.until(told, "the hook's file is seen")

    play(tmp_path, story)


@AS_ROOT
def test_rights_are_what_the_security_context_says(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        context = {"runAsUser": 10001, "runAsGroup": 20001, "fsGroup": 30001, "seccompProfile": {"type": "RuntimeDefault"}}
        own = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec = {"securityContext": context, "volumes": [{"name": "e", "emptyDir": {}}]}
        script = ("id -u; id -g; id -G; echo x > /data/f && stat -c %g /data/f; touch /app/b 2>&1 | grep -o 'Read-only'; "
                  "touch /usr/b 2>&1 | grep -o 'Read-only'; touch $HOME/f && echo home; grep NoNewPrivs /proc/self/status;"
                  "grep CapBnd /proc/self/status; echo > /dev/stdout")
        said = await _says(m, script, spec, volumeMounts=[{"name": "e", "mountPath": "/data"}], securityContext=own)
        assert said.splitlines() == ["10001", "20001", "20001 30001", "30001", "Read-only", "Read-only", "home",
                                     "NoNewPrivs:\t1", "CapBnd:\t0000000000000000", ""]

    play(tmp_path, story)


def test_a_container_that_must_not_be_root_but_says_so_is_not_started(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("p", "id -u", {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}))
        found = await m.waiting("p", "CreateContainerConfigError")
        assert found["state"]["waiting"]["message"].startswith(
            "container's runAsUser breaks non-root policy (pod: \"p_default(")

    play(tmp_path, story)


def test_an_image_with_its_own_c_library_needs_nothing_of_the_host(tmp_path: Path) -> None:
    root = tmp_path / "image"
    shell_path = Path("/bin/sh").resolve()
    listed = subprocess.run(["ldd", str(shell_path)], capture_output=True, text=True, check=False).stdout.split()
    libraries = [Path(word) for word in listed if word.startswith("/")]
    if not libraries or not any(str(one).lstrip("/") in own_root._LOADERS for one in libraries):
        pytest.skip("a C library that is laid out otherwise")
    for one in libraries:
        (root / str(one.parent).lstrip("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(one.resolve(), root / str(one).lstrip("/"))
    (root / "bin").mkdir(exist_ok=True)
    shutil.copy(shell_path, root / "bin/sh")

    async def story(m: Machine) -> None:
        said = await _says(m, "echo /*; test -e /usr/bin/env || echo alone")
        assert said == "/app /bin /dev /etc /lib /lib64 /pod /proc /sys /tmp\nalone\n"

    play(tmp_path, story, _Image(root))


def test_what_cannot_be_mounted_is_mapped_instead(tmp_path: Path) -> None:
    """A volume beside the state folder itself: it cannot lie over it, so this one container has its paths mapped."""

    async def story(m: Machine) -> None:
        spec = {"volumes": [{"name": "e", "emptyDir": {}}]}
        path = f"{tmp_path}/volume"
        await m.api.create(shell("p", f"touch {path}/f && pwd", spec, volumeMounts=[{"name": "e", "mountPath": path}]))
        found = await m.phase("p", "Succeeded")
        assert await m.log("p") == f"{m.folder(found).root / 'main'}\n"
        assert (m.folder(found).volumes / "e/f").exists()

    play(tmp_path, story)


def test_the_next_control_plane_goes_on_inside(tmp_path: Path) -> None:
    """A probe after adoption runs in the same root; a new start has a fresh one; nothing is left."""
    image = _shop(tmp_path / "image")

    async def main() -> None:
        api = EmbeddedApi.in_memory(WallClock())
        check = {"exec": {"command": ["cat", "/app/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
        async with machine(tmp_path, _Source(image), api=api, isolation="auto", leave=True) as m:
            await api.create(shell("p", "touch /app/ready; sleep 300", {"restartPolicy": "Always"}, image="shop:1",
                                   readinessProbe=check, livenessProbe=check))
            (before,) = m.folder(await m.ready("p")).attempts()["main"]
        async with machine(tmp_path, _Source(image), api=api) as m:
            await asyncio.sleep(1.2)
            found = await m.ready("p")
            (after,) = m.folder(found).attempts()["main"]
            assert (after.pid, dig(status_of(found), "containerStatuses", 0, "restartCount")) == (before.pid, 0)
        assert not alive(before.pid)

    asyncio.run(main())


def test_in_a_user_namespace_the_root_is_the_same(tmp_path: Path) -> None:
    """As without root's rights; root may have one too, so that it is tried everywhere."""
    settings = NodeSettings(tmp_path, isolation="auto")
    (settings.interpreter / "local/bin").mkdir(parents=True)
    image, folder = _shop(tmp_path / "image"), PodFolder(tmp_path / "pod")
    folder.create("default", "p", "u", "127.0.0.1")
    base = own_root.Base(settings.python.parent.parent, settings.interpreter)
    steps = own_root.over_image(folder, "main", image.root, "/app", base, ())
    own_root.write(folder, "main", [("user", "4711", "4712"), *steps, ("seal",), ("bound",)])
    program = compiled(tmp_path)
    module = "enter_" + program.stem.partition("-")[2].replace("-", "_")
    code = (f"import os, sys; sys.path.insert(0, {str(tmp_path)!r}); import {module} as e; "
            f"e.begin({str(folder.plan('main'))!r}); "
            "os.execv('/bin/sh', ['sh', '-c', 'id -u; id -g; cat /app/a.ini; touch /app/b 2>/dev/null || echo sealed; "
            "touch /tmp/t && echo tmp'])")
    said = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    if "a user namespace" in said.stderr:
        pytest.skip("user namespaces are refused here")
    assert (said.stdout, said.stderr) == ("4711\n4712\noriginal\nsealed\ntmp\n", "")
    folder.remove()
    assert not folder.path.exists()


def test_isolation_can_be_switched_off(tmp_path: Path) -> None:
    found = asyncio.run(probe(NodeSettings(tmp_path, isolation="paths"), tmp_path / "shim.pyc"))
    assert (found.own_root, found.level, found.mend) == (False, "paths", "set isolation to auto")
    assert Isolation().level == "paths"


@pytest.mark.parametrize(("number", "text", "settings", "expected"), [
    (1, "own root: overlay on /x", {"kernel/apparmor_restrict_unprivileged_userns": "1"},
     "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    (1, "own root: a user namespace", {"kernel/unprivileged_userns_clone": "0"}, "kernel.unprivileged_userns_clone=1"),
    (28, "own root: a user namespace", {"user/max_user_namespaces": "0"}, "user.max_user_namespaces=10000"),
    (1, "own root: a user namespace", {}, "--cap-add SYS_ADMIN"),
    (22, "own root: overlay on /x: Invalid argument", {}, "Linux 5.11"),
])  # fmt: skip
def test_a_refusal_names_its_mend(number: int, text: str, settings: dict[str, str], expected: str) -> None:
    assert expected in mend(number, text, lambda name: settings.get(name, ""))


def test_the_pod_template_of_a_program_without_volumes_runs_as_before(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(pod("p", "pwd"))
        found = await m.phase("p", "Succeeded")
        assert await m.log("p") == f"{m.folder(found).root / 'main'}\n"

    play(tmp_path, story)
