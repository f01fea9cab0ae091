"""Events tell the story of a pod and of its owners."""

from __future__ import annotations

from pathlib import Path

from fairway.kube.resources import CORE_EVENTS, PODS
from tests.node.machine import Machine, shell
from tests.node.test_pods import play
from tests.workloads import world as virtual


async def _told(m: Machine, name: str) -> list[tuple[str, str]]:
    events = (await m.api.list(CORE_EVENTS, "default", fields=f"involvedObject.name={name}")).items
    return [(event["reason"], event["message"]) for event in events]


def test_a_pod_tells_of_its_life(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("web", "trap 'exit 0' TERM; while :; do sleep 0.02; done"))
        await m.ready("web")
        await m.api.delete(PODS, "web", "default")
        await m.gone("web")
        told = await _told(m, "web")
        assert ("Scheduled", "Successfully assigned default/web to fairway") in told
        assert ("Pulled", 'Container image "host" already present on machine') in told
        assert {("Created", "Created container: main"), ("Started", "Started container main")} <= {*told}
        assert ("Killing", "Stopping container main") in told

    play(tmp_path, story)


def test_trouble_is_told_once(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        await m.api.create(shell("loops", "exit 1", {"restartPolicy": "Always"}))
        await m.waiting("loops", "CrashLoopBackOff")
        await m.api.create(shell("pulls", "true", image="none:1"))
        await m.waiting("pulls", "ErrImagePull")

        async def told() -> bool:
            back_offs = [reason for reason, _ in await _told(m, "loops") if reason == "BackOff"]
            return len(back_offs) == 1 and any(reason == "Failed" for reason, _ in await _told(m, "pulls"))

        await m.until(told, "the events")

    play(tmp_path, story)


def test_probes_tell_what_they_miss(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        gate, fails = tmp_path / "gate", {"exec": {"command": ["sh", "-c", "echo not yet; exit 1"]}, "failureThreshold": 1}
        await m.api.create(shell("slow", "sleep 60", {"terminationGracePeriodSeconds": 0}, readinessProbe=fails))
        alive = {"exec": {"command": ["test", "-e", str(gate)]}, "failureThreshold": 1, "periodSeconds": 1}
        await m.api.create(shell("dead", "sleep 60", {"terminationGracePeriodSeconds": 0}, livenessProbe=alive))

        async def told() -> bool:
            unready, killing = "Readiness probe failed: not yet", "Container main failed liveness probe, will be restarted"
            return ("Unhealthy", unready) in await _told(m, "slow") and ("Killing", killing) in await _told(m, "dead")

        await m.until(told, "the events")

    play(tmp_path, story)


def test_a_volume_without_its_source_is_told(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        volumes = [{"name": "conf", "configMap": {"name": "absent"}}]
        await m.api.create(shell("waits", "sleep 60", {"volumes": volumes}, volumeMounts=[{"name": "conf", "mountPath": "/c"}]))

        async def told() -> bool:
            return ("FailedMount", 'MountVolume.SetUp failed for volume "conf" : configmap "absent" not found') in await _told(
                m, "waits")

        await m.until(told, "the event")

    play(tmp_path, story)


def test_owners_tell_what_they_made() -> None:
    async def story(world: virtual.World) -> None:
        await world.api.create(virtual.deployment(replicas=2))
        await world.until(lambda: world.rolled_out("web"))
        events = (await world.api.list(CORE_EVENTS, "default")).items
        reasons = [(event["involvedObject"]["kind"], event["reason"]) for event in events]
        assert reasons.count(("ReplicaSet", "SuccessfulCreate")) == 2
        scaling = [event["message"] for event in events if event["reason"] == "ScalingReplicaSet"]
        assert len(scaling) == 1 and scaling[0].endswith("from 0 to 2")

    virtual.play(story)
