"""What containers say about their ends, and the token by which a pod speaks to the API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.kube.errors import NotFound
from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import CORE_EVENTS
from fairway.kube.tokens import Token
from fairway.node.tokens import PodTokens
from tests.node.machine import Machine, machine, shell

BOTH = pytest.mark.parametrize("isolation", ["paths", "auto"])


def play(tmp_path: Path, story: Any, **options: Any) -> None:
    async def main() -> None:
        async with machine(tmp_path, **options) as made:
            await story(made)

    asyncio.run(main())


def _message(pod: Obj) -> str:
    found: str = dig(status_of(pod), "containerStatuses", 0, "state", "terminated", "message", default="")
    return found


WORDS: list[tuple[str, Obj, str]] = [
    ("echo why > /dev/termination-log; exit 3", {}, "why\n"),
    ("echo fine > /dev/termination-log", {}, "fine\n"),
    ("echo elsewhere > /work/end; exit 1", {"terminationMessagePath": "/work/end"}, "elsewhere\n"),
    ("echo one; echo two; exit 1", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "one\ntwo\n"),
    ("echo one; echo said > /dev/termination-log; exit 1", {"terminationMessagePolicy": "FallbackToLogsOnError"}, "said\n"),
    ("echo one", {"terminationMessagePolicy": "FallbackToLogsOnError"}, ""),
    ("echo one; exit 1", {}, ""),
]


@BOTH
def test_last_words(tmp_path: Path, isolation: str) -> None:
    async def story(m: Machine) -> None:
        for i, (script, more, _) in enumerate(WORDS):
            await m.api.create(shell(f"p{i}", script, {"volumes": [{"name": "e", "emptyDir": {}}]}, **more,
                                     volumeMounts=[{"name": "e", "mountPath": "/data"}]))
        for i, (script, _, expected) in enumerate(WORDS):
            assert _message(await m.phase(f"p{i}", "Succeeded", "Failed")) == expected, script

    play(tmp_path, story, isolation=isolation)


def test_each_run_has_last_words_of_its_own(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        script = "test -e $HOME/again && exec sleep 60; touch $HOME/again; echo first > /dev/termination-log; exit 9"
        await m.api.create(shell("p", script, {"restartPolicy": "Always"}))

        async def again() -> bool:
            return bool(dig(status_of(await m.pod("p")), "containerStatuses", 0, "restartCount") == 1)

        await m.until(again, "a restart")
        status = status_of(await m.ready("p"))["containerStatuses"][0]
        assert (status["lastState"]["terminated"]["message"], status["lastState"]["terminated"]["exitCode"]) == ("first\n", 9)

    play(tmp_path, story)


class _Issuer:
    """Counts; each token lives as long as it was asked to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, int]] = []

    def for_pod(self, pod: Obj, *, audience: str = "", seconds: int = 3600) -> Token:
        if pod["spec"].get("serviceAccountName") == "gone":
            raise NotFound('serviceaccounts "gone" not found')
        self.asked.append((pod["metadata"]["name"], audience, seconds))
        return Token(f"token-{len(self.asked)}", datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


PROJECTED = {"volumes": [{"name": "api", "projected": {"sources": [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}]}
MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@BOTH
def test_a_pod_finds_its_token_where_every_client_looks(tmp_path: Path, isolation: str) -> None:
    issuer = _Issuer()

    async def story(m: Machine) -> None:
        meta = {"name": "kube-root-ca.crt", "namespace": "default"}
        await m.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": "CA"}})
        await m.api.create(shell("p", f"cd {MOUNT}; cat ca.crt namespace token vault", PROJECTED,
                                 volumeMounts=[{"name": "api", "mountPath": MOUNT, "readOnly": True}]))
        await m.phase("p", "Succeeded")
        said = await m.log("p")
        assert said.startswith("CAdefaulttoken-")
        assert issuer.asked[:2] == [("p", "", 3607), ("p", "vault", 3600)] and len(issuer.asked) == 2

    play(tmp_path, story, isolation=isolation, tokens=issuer)


def test_a_pod_of_an_account_that_is_not_there_waits_for_it(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        projected = {"sources": [{"serviceAccountToken": {"path": "token"}}]}
        spec = {"serviceAccountName": "gone", "volumes": [{"name": "api", "projected": projected}]}
        await m.api.create(shell("p", "true", spec, volumeMounts=[{"name": "api", "mountPath": MOUNT}]))
        found = await m.waiting("p", "ContainerCreating")
        assert 'failed to fetch token: serviceaccounts "gone" not found' in found["state"]["waiting"].get("message", "")

    play(tmp_path, story, tokens=_Issuer())


def test_a_token_is_made_anew_when_most_of_its_life_is_over() -> None:
    issuer, start = _Issuer(), datetime(2030, 1, 1, tzinfo=UTC)
    tokens, pod = PodTokens(issuer), {"metadata": {"name": "p"}, "spec": {}}
    told = [(tokens.is_due(at), tokens.text(pod, "", 1000, at)) for at in (
        start, start + timedelta(seconds=799), start + timedelta(seconds=800))]
    assert told == [(False, "token-1"), (False, "token-1"), (True, "token-2")]
    assert PodTokens(None).text(pod, "", 1000, start) is None


def test_what_of_a_security_context_is_not_enforced_is_said_once(tmp_path: Path) -> None:
    async def story(m: Machine) -> None:
        context = {"securityContext": {"runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}}
        own = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
        first = {"name": "other", "image": "host", "command": ["true"], "securityContext": own}
        await m.api.create(shell("p", "true", {**context, "initContainers": [first]}, securityContext=own))
        await m.phase("p", "Succeeded")
        said = [event["message"] for event in (await m.api.list(CORE_EVENTS, "default")).items
                if event["reason"] == "SecurityContextNotEnforced"]
        assert said == ["This node does not enforce these fields of the securityContext: runAsUser, seccompProfile, "
                        "readOnlyRootFilesystem, allowPrivilegeEscalation"]

    play(tmp_path, story, isolation="paths")
