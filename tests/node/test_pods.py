"""Pods as real processes on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fairway.kube.objects import Obj, condition, dig, key_of, status_of
from fairway.kube.resources import CONFIG_MAPS, PODS
from fairway.node.environment import Facts, field_value, resource_value
from tests.node.machine import Machine, alive, machine, pod, shell

SERVE = ("python3", "-m", "http.server", "--bind", "0.0.0.0", "8000")


def play(tmp_path: Path, story: Any, **options: Any) -> None:
    async def main() -> None:
        async with machine(tmp_path, **options) as made:
            await story(made)

    asyncio.run(main())


def _state(found: Obj, container: int = 0) -> Obj:
    state: Obj = status_of(found)["containerStatuses"][container]["state"]
    return state


def test_a_pod_that_ends_reports_how(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("good", "echo out; echo err >&2"))
        await m.api.create(shell("bad", "exit 3"))
        await m.api.create(pod("missing", "no-such-program"))
        good = await m.phase("good", "Succeeded")
        assert _state(good)["terminated"]["reason"] == "Completed"
        assert sorted((await m.log("good")).splitlines()) == ["err", "out"]
        bad = await m.phase("bad", "Failed")
        assert (_state(bad)["terminated"]["exitCode"], _state(bad)["terminated"]["reason"]) == (3, "Error")
        missing = await m.phase("missing", "Failed")
        assert _state(missing)["terminated"]["reason"] == "StartError"
        assert "executable file not found in $PATH" in _state(missing)["terminated"]["message"]

    play(tmp_path, story)


def test_two_pods_listen_on_the_same_port_at_their_own_addresses(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        probe = {"httpGet": {"port": 8000}, "periodSeconds": 1}
        for name in ("one", "two"):
            await m.api.create(pod(name, *SERVE, readinessProbe=probe))
        addresses = {status_of(await m.ready(name))["podIP"] for name in ("one", "two")}
        assert len(addresses) == 2
        for address in addresses:
            reader, writer = await asyncio.open_connection(address, 8000)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            assert (await reader.readline()).split()[1] == b"200"
            writer.close()

    play(tmp_path, story)


def test_init_containers_run_one_after_the_other_and_share_volumes(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        mount = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
        inits = [{"name": name, "image": "host", "command": ["sh", "-c", f"echo {name} >> /work/order"], **mount}
                 for name in ("first", "second")]
        spec = {"initContainers": inits, "volumes": [{"name": "work", "emptyDir": {}}]}
        await m.api.create(shell("ordered", "cat /work/order", spec, **mount))
        found = await m.phase("ordered", "Succeeded")
        assert await m.log("ordered") == "first\nsecond\n"
        assert [one["ready"] for one in status_of(found)["initContainerStatuses"]] == [True, True]

    play(tmp_path, story)


def test_an_init_container_that_fails_ends_the_pod(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        spec = {"initContainers": [{"name": "migrate", "image": "host", "command": ["false"]}]}
        await m.api.create(shell("blocked", "echo never", spec))
        found = await m.phase("blocked", "Failed")
        assert _state(found) == {"waiting": {"reason": "PodInitializing"}}
        assert condition(found, "Initialized")["status"] == "False"  # type: ignore[index]

    play(tmp_path, story)


def test_configuration_reaches_a_container_as_variables_and_files(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        meta = {"name": "settings", "namespace": "default"}
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta,
                            "data": {"COLOUR": "blue", "app.ini": "[app]\nport=1\n"}})
        await m.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta,
                            "stringData": {"PASSWORD": "s3cret"}})
        env = [
            {"name": "PLAIN", "value": "a"}, {"name": "BOTH", "value": "$(PLAIN)-$(COLOUR)-$$(PLAIN)-$(NONE)"},
            {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "settings", "key": "PASSWORD"}}},
            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ]
        volumes = [{"name": "config", "configMap": {"name": "settings", "items": [{"key": "app.ini", "path": "x/a.ini"}]}},
                   {"name": "mixed", "projected": {"sources": [
                       {"secret": {"name": "settings"}},
                       {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]
        mounts = [{"name": "config", "mountPath": "/etc/app"}, {"name": "mixed", "mountPath": "/run/mixed"}]
        script = ('echo "$BOTH|$PW|$ME|$CPU|$FROM_COLOUR"; cat /etc/app/x/a.ini; '
                  'echo "$(cat /run/mixed/PASSWORD) $(cat /run/mixed/labels)"')
        await m.api.create(shell("configured", script, {"volumes": volumes}, env=env, volumeMounts=mounts,
                                 envFrom=[{"prefix": "FROM_", "configMapRef": {"name": "settings"}},
                                          {"configMapRef": {"name": "settings"}}],
                                 resources={"limits": {"cpu": "250m"}}))
        await m.phase("configured", "Succeeded")
        assert await m.log("configured") == (
            'a-blue-$(PLAIN)-$(NONE)|s3cret|configured|250|blue\n[app]\nport=1\ns3cret app="configured"\n')

    play(tmp_path, story)


def test_missing_configuration_waits_with_the_reason_until_it_is_there(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("waits", "echo $A", env=[
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}]))
        found = await m.waiting("waits", "CreateContainerConfigError")
        assert found["state"]["waiting"]["message"] == 'configmap "later" not found'
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later", "namespace": "default"},
                            "data": {"a": "here"}})
        await m.phase("waits", "Succeeded")
        assert await m.log("waits") == "here\n"

    play(tmp_path, story)


def test_an_image_that_cannot_be_had_says_so_and_its_mend(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("pulls", "true", image="registry.example/app:1"))
        found = await m.waiting("pulls", "ErrImagePull")
        assert "registry.example/app:1" in found["state"]["waiting"]["message"]
        assert 'use the image "host"' in found["state"]["waiting"]["message"]

    play(tmp_path, story)


def test_a_crash_is_answered_at_once_and_the_next_one_after_a_pause(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("crashes", "echo run; exit 7", {"restartPolicy": "Always"}))
        found = await m.waiting("crashes", "CrashLoopBackOff")
        assert found["restartCount"] == 1
        assert found["lastState"]["terminated"]["exitCode"] == 7
        assert found["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=main pod=crashes_")
        assert await m.log("crashes", previous=True) == "run\n"

    play(tmp_path, story)


def test_a_liveness_probe_restarts_and_a_readiness_probe_does_not(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        probe = {"exec": {"command": ["sh", "-c", "test ! -e $HOME/broken"]}, "periodSeconds": 1, "failureThreshold": 1}
        await m.api.create(shell("sick", "rm -f $HOME/broken; trap 'exit 0' TERM; while :; do sleep 0.05; done",
                                 {"restartPolicy": "Always"}, livenessProbe=probe, readinessProbe=probe))
        found = await m.ready("sick")
        (m.folder(found).home / "broken").touch()

        async def restarted() -> bool:
            return bool(status_of(await m.pod("sick"))["containerStatuses"][0]["restartCount"] == 1)

        await m.until(restarted, "a restart")
        found = await m.ready("sick")
        last = status_of(found)["containerStatuses"][0]["lastState"]["terminated"]
        assert last["exitCode"] == 0

    play(tmp_path, story)


def test_a_startup_probe_holds_the_others_back(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        touch = {"exec": {"command": ["sh", "-c", "test -e $HOME/up"]}, "periodSeconds": 1, "failureThreshold": 30}
        never = {"exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1}
        await m.api.create(shell("slow", "sleep 60", {"restartPolicy": "Always"}, startupProbe=touch, livenessProbe=never))
        found = await m.phase("slow", "Running")
        await asyncio.sleep(1.2)
        status = status_of(await m.pod("slow"))["containerStatuses"][0]
        assert (status["started"], status["ready"], status["restartCount"]) == (False, False, 0)
        (m.folder(found).home / "up").touch()

        async def killed() -> bool:
            return bool(status_of(await m.pod("slow"))["containerStatuses"][0]["restartCount"])

        await m.until(killed, "the liveness probe began after the startup probe")

    play(tmp_path, story)


def test_deletion_runs_the_hook_then_asks_then_removes(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        trace = tmp_path / "trace"
        script = f"trap 'echo term >> {trace}; exit 0' TERM; echo up; while :; do sleep 0.02; done"
        hook = {"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {trace}"]}}}
        await m.api.create(shell("polite", script, lifecycle=hook, readinessProbe={"exec": {"command": ["true"]}}))
        found = await m.ready("polite")
        (attempt,) = m.folder(found).attempts()["main"]
        await m.api.delete(PODS, "polite", "default")
        await m.gone("polite")
        assert trace.read_text() == "hook\nterm\n"
        assert not alive(attempt.pid)
        await m.until(_path_gone(m.folder(found).path), "the folder is removed")

    play(tmp_path, story)


def _path_gone(path: Path) -> Any:
    async def check() -> bool:
        return not path.exists()

    return check


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_with_all_its_children(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        script = "trap '' TERM; sleep 300 & echo $! > $HOME/child; while :; do sleep 0.05; done"
        spec = {"terminationGracePeriodSeconds": 1}
        await m.api.create(shell("stubborn", script, spec))
        found = await m.phase("stubborn", "Running")
        child = m.folder(found).home / "child"

        async def written() -> bool:
            return child.exists() and bool(child.read_text().strip())

        await m.until(written)
        pid = int(child.read_text())
        await m.api.delete(PODS, "stubborn", "default")
        await m.gone("stubborn")
        assert not alive(pid)

    play(tmp_path, story)


def test_a_pod_is_stopped_only_when_nobody_sends_it_traffic(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        from fairway.kube.resources import ENDPOINT_SLICES

        await m.api.create(shell("served", "trap 'exit 0' TERM; while :; do sleep 0.02; done"))
        found = await m.ready("served")
        address = status_of(found)["podIP"]
        await m.api.create({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
            "ports": [],
            "metadata": {"name": "web-x", "namespace": "default",
                         "annotations": {"fairway.dev/serving": f"127.0.0.9,{address}"}}})
        await m.api.delete(PODS, "served", "default")
        await asyncio.sleep(0.5)
        (attempt,) = m.folder(found).attempts()["main"]
        assert alive(attempt.pid)
        await m.patch(ENDPOINT_SLICES, "web-x", {"metadata": {"annotations": {"fairway.dev/serving": "127.0.0.9"}}})
        await m.gone("served")
        assert not alive(attempt.pid)

    play(tmp_path, story)


def test_active_deadline_ends_a_pod(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("late", "sleep 300", {"activeDeadlineSeconds": 1}))
        found = await m.phase("late", "Failed")
        assert status_of(found)["reason"] == "DeadlineExceeded"

    play(tmp_path, story)


def test_a_container_over_its_memory_limit_is_ended_as_by_the_kernel(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        command = ("python3", "-c", "import time; held = b'x' * (80 << 20); time.sleep(300)")
        await m.api.create(pod("big", *command, resources={"limits": {"memory": "40Mi"}}))
        await m.api.create(pod("fits", *command, resources={"limits": {"memory": "200Mi"}}))
        terminated = _state(await m.phase("big", "Failed"))["terminated"]
        assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)
        assert status_of(await m.pod("fits"))["phase"] == "Running"

    play(tmp_path, story)


def test_logs_can_be_followed_to_the_end_and_cut(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("talks", "for i in 1 2 3 4; do echo line $i; sleep 0.05; done; printf end"))
        await m.phase("talks", "Running", "Succeeded")
        assert await m.log("talks", follow=True) == "line 1\nline 2\nline 3\nline 4\nend\n"
        assert await m.log("talks", tail_lines=2) == "line 4\nend\n"
        assert await m.log("talks", limit_bytes=8) == "line 1\nl"
        stamped = (await m.log("talks", tail_lines=1, timestamps=True)).split(" ")
        assert stamped[0].endswith("Z") and stamped[1] == "end\n"
        assert await m.log("talks", since_s=0.0) == ""

    play(tmp_path, story)


def test_a_claim_keeps_its_files_when_pods_come_and_go(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                            "metadata": {"name": "data", "namespace": "default"},
                            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        spec = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
        mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        await m.api.create(shell("writer", "echo kept > /data/file", spec, **mount))
        await m.phase("writer", "Succeeded")
        await m.api.delete(PODS, "writer", "default")
        await m.gone("writer")
        url = [{"name": "URL", "value": "sqlite:////data/file"}]
        await m.api.create(shell("reader", "cat /data/file; echo $URL", spec, env=url, **mount))
        found = await m.phase("reader", "Succeeded")
        root = m.folder(found).root / "main"
        assert await m.log("reader") == f"kept\nsqlite:///{root}/data/file\n"

    play(tmp_path, story, isolation="paths")


def test_a_changed_config_map_reaches_the_files_of_a_running_pod(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"},
                            "data": {"f": "old"}})
        script = "until grep -q new /etc/c/f; do sleep 0.05; done; echo seen"
        await m.api.create(shell("reloads", script, {"volumes": [{"name": "c", "configMap": {"name": "c"}}]},
                                 volumeMounts=[{"name": "c", "mountPath": "/etc/c"}]))
        await m.phase("reloads", "Running")
        await m.patch(CONFIG_MAPS, "c", {"data": {"f": "new"}})
        await m.phase("reloads", "Succeeded")
        assert await m.log("reloads") == "seen\n"

    play(tmp_path, story)


def test_a_restart_policy_on_failure_repeats_until_success(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        script = "test -e $HOME/second || { touch $HOME/second; exit 1; }"
        await m.api.create(shell("again", script, {"restartPolicy": "OnFailure"}))
        found = await m.phase("again", "Succeeded")
        assert dig(status_of(found), "containerStatuses", 0, "restartCount") == 1

    play(tmp_path, story)


def test_a_volume_over_its_size_evicts_the_pod(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        volumes = [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}]
        script = "head -c 3000000 /dev/zero > $SCRATCH/big; touch $SCRATCH/done; sleep 60"
        mount, env = {"name": "scratch", "mountPath": "/scratch"}, {"name": "SCRATCH", "value": "/scratch"}
        made = shell("fat", script, {"volumes": volumes, "restartPolicy": "Always"}, env=[env], volumeMounts=[mount])
        await m.api.create(made)
        pod = await m.ready("fat")
        await m.until(_written(m.folder(pod).volumes / "scratch/done"), "the file")
        known = m.node.pod(key_of(pod))
        assert known is not None
        await known.look_at_disk()
        found = await m.phase("fat", "Failed")
        assert status_of(found)["reason"] == "Evicted"
        assert status_of(found)["message"] == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi".'

    play(tmp_path, story)


def _written(path: Path) -> Any:
    async def check() -> bool:
        return path.exists()

    return check


def test_a_part_of_a_volume_named_by_a_variable(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
        spec = {"volumes": [{"name": "data", "emptyDir": {}}]}
        mount = {"name": "data", "mountPath": "/data", "subPathExpr": "logs/$(POD_NAME)"}
        await m.api.create(shell("web", "echo here > /data/file", spec, env=[name], volumeMounts=[mount]))
        found = await m.phase("web", "Succeeded")
        assert (m.folder(found).volumes / "data/logs/web/file").read_text() == "here\n"
        await m.api.create(shell("lost", "true", spec, volumeMounts=[mount]))
        waiting = (await m.waiting("lost", "CreateContainerConfigError"))["state"]["waiting"]
        assert "no variable POD_NAME is set" in waiting["message"]

    play(tmp_path, story)


def test_limits_that_nobody_names_are_the_nodes() -> None:
    pod = {"metadata": {"name": "p", "labels": {"say": 'a "b"'}},
           "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "250m"}}}]}}
    facts = Facts(pod, "", "", "", lambda name: None, lambda name: None, {}, allocatable={"cpu": 4.0, "memory": 2.0**30})

    def value(resource: str, divisor: str = "0") -> str:
        return resource_value(facts, {"containerName": "app", "resource": resource, "divisor": divisor}, {})

    assert [value("requests.cpu", "1m"), value("limits.cpu"), value("limits.memory", "1Mi"), value("requests.memory")] == [
        "250", "4", "1024", "0"]
    assert field_value(facts, "metadata.labels") == 'say="a \\"b\\""'
