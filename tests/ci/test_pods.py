"""What a job becomes in a cluster, as values: settings, objects, orders, reports, and the log at home."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairway.ci.course import JobResult
from fairway.ci.environment import RunFacts
from fairway.ci.events import Event
from fairway.ci.pods import objects, report, serving
from fairway.ci.pods.copied_log import CopiedLog
from fairway.ci.pods.home import AtHome
from fairway.ci.pods.objects import NoImage, Wanted
from fairway.ci.pods.order import BadOrder, GithubWork, Home, Order, decode_order, encode_order
from fairway.ci.pods.runner import Guest
from fairway.ci.pods.settings import JobSettings, JobSettingsMistake, decode_job_settings
from fairway.ci.repositories import Access
from fairway.ci.services import ServiceError, ServiceWish
from fairway.ci.shelf import ShelfError
from fairway.ci.states import Annotation, StepRow
from fairway.ci.tokens import JobTokens

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WANTED = Wanted("ci-1", "build", 1, ("ubuntu-latest",), 30)
SETTINGS = JobSettings({"*": "registry.example.com/runner:1", "gpu": "registry.example.com/gpu:1"})


@pytest.mark.parametrize(("text", "mistake"), [
    ("[]", "jobs.yaml: a mapping with the key images is needed"),
    ("{}", "jobs.yaml: images: name the runner's image"),
    ("images: {'*': a}\nimage: b", "jobs.yaml: unknown key 'image'; known are images, command"),
    ("images: {'*': a}\nkeep: long", "jobs.yaml: keep: a time such as 30s, 5m or 1 hour is needed, not 'long'"),
    ("images: {'*': a}\nservices: outside", "jobs.yaml: services: 'outside' is neither sidecars nor runner"),
    ("images: {'*': a}\ntolerations: [x]", "jobs.yaml: tolerations: a list of mappings is needed"),
    ("images: {'*': a\n", "jobs.yaml:2: it is no YAML"),
    ("images: {'*': a}\npod: {containers: []}", "jobs.yaml: pod.containers: that is for Fairway to say; leave it out"),
])
def test_settings_that_are_wrong(text: str, mistake: str) -> None:
    with pytest.raises(JobSettingsMistake) as raised:
        decode_job_settings(text, "jobs.yaml")
    assert str(raised.value).startswith(mistake)


def test_a_job_becomes_a_pod_with_what_the_settings_say() -> None:
    settings = decode_job_settings("""
images: {"*": registry.example.com/runner:1, gpu: registry.example.com/gpu:1}
namespace: ci
serviceAccount: builder
nodeSelector: {pool: ci}
tolerations: [{key: ci, operator: Exists}]
resources: {requests: {cpu: 1}, limits: {memory: 2Gi}}
imagePullSecrets: [pull]
grace: 1m
keep: 1 hour
pod: {priorityClassName: low, securityContext: {runAsNonRoot: true, runAsUser: 1000}}
container: {securityContext: {allowPrivilegeEscalation: false}}
""", "jobs.yaml")
    made = objects.job(replace(WANTED, labels=("self-hosted", "gpu")), settings)
    pod = made["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert made["metadata"]["namespace"] == "ci"
    spec = {name: made["spec"][name] for name in ("backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds")}
    assert list(spec.values()) == [0, 3600, 30 * 60 + 600 + 60]
    assert (pod["serviceAccountName"], pod["nodeSelector"]) == ("builder", {"pool": "ci"})
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert (pod["priorityClassName"], pod["securityContext"]["runAsUser"]) == ("low", 1000)
    assert container["securityContext"] == {"allowPrivilegeEscalation": False}
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 60)
    assert (container["image"], container["resources"]["limits"]) == ("registry.example.com/gpu:1", {"memory": "2Gi"})
    assert container["command"][-2:] == ["/fairway/order/order.json", "/fairway/job"]


def test_services_are_sidecars_with_their_secrets_in_the_secret() -> None:
    wish = ServiceWish("postgres:16", ("db",), {"POSTGRES_PASSWORD": "hunter2"}, ("5432:5432",),
                       options='--health-cmd "pg_isready -q"')
    plain = ServiceWish("redis:7", ("cache",))
    wanted = replace(WANTED, services=(wish, plain))
    made, secret = objects.job(wanted, SETTINGS), objects.secret(wanted, b"{}", SETTINGS)
    pod = made["spec"]["template"]["spec"]
    _, first, second = pod["initContainers"]
    assert (first["name"], first["restartPolicy"]) == ("service-db", "Always")
    assert first["startupProbe"]["exec"]["command"] == ["sh", "-c", "pg_isready -q"]
    assert second["startupProbe"]["tcpSocket"] == {"port": 6379}
    assert "hunter2" not in str(made)
    key = first["env"][0]["valueFrom"]["secretKeyRef"]
    assert key["name"] == secret["metadata"]["name"]
    assert key["key"] in secret["data"]
    assert pod["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": ["cache", "db"]}]
    inside = objects.job(wanted, replace(SETTINGS, services="runner"))
    assert [one["name"] for one in inside["spec"]["template"]["spec"]["initContainers"]] == ["layout"]
    with pytest.raises(ServiceError, match="a quote is not closed"):
        objects.job(replace(WANTED, services=(replace(wish, options='--health-cmd "x'),)), SETTINGS)


def test_a_job_with_an_image_of_its_own() -> None:
    wanted = replace(WANTED, image="golang:1.26")
    with pytest.raises(NoImage, match=r"asks for the image golang:1\.26, in which there is no Fairway: set `portable`"):
        objects.job(wanted, SETTINGS)
    pod = objects.job(wanted, replace(SETTINGS, portable="/opt/portable/"))["spec"]["template"]["spec"]
    [copying], [container] = pod["initContainers"], pod["containers"]
    assert copying["command"][-1].endswith(" && cp -a /opt/portable/. /fairway/runner/")
    assert "secret" not in [mount["name"] for mount in container["volumeMounts"]], "no step may read the order"
    assert (copying["image"], container["image"]) == ("registry.example.com/runner:1", "golang:1.26")
    assert container["command"][0] == "/fairway/runner/bin/python3"
    with pytest.raises(NoImage, match="no image for runs-on ubuntu-latest"):
        objects.job(WANTED, JobSettings({"gpu": "a"}))


def test_names_are_those_of_the_attempt_and_fit() -> None:
    long = "x" * 200
    names = {objects.name_of(run, job, attempt) for run in ("a", long) for job in ("b", "b..c", long) for attempt in (1, 2)}
    assert len(names) == 12
    assert max(map(len, names)) <= 63


def order() -> Order:
    event = Event("push", "shop/app", "refs/heads/main", "a" * 40, changed=frozenset({"x"}), payload={"number": 1.0})
    work = GithubWork(RunFacts("ci-1"), {"name": "b"}, "ci.yml", "on: push", event, {"needs": {"a": [1.0, None]}}, {"S": "s"})
    return Order(Home("http://127.0.0.1:1", "fwj_x", "shop/app", "write"), "ci-1", "build", work)


def test_an_order_comes_as_it_was_sent() -> None:
    assert decode_order(encode_order(order())) == order()
    with pytest.raises(BadOrder, match="has the format 2, this runner reads 1: use the runner's image of the same version"):
        decode_order(encode_order(replace(order(), format=2)))
    with pytest.raises(BadOrder, match="a Secret at most"):
        encode_order(replace(order(), environment={"X": "x" * 1_000_000}))


def test_what_a_pod_says_is_read_back() -> None:
    rows = (StepRow("Run x", "Succeeded", NOW, NOW),)
    result = JobResult("Failed", "it broke", {"a": "b"}, rows, ({"name": "i", "digest": "d"},), (Annotation("error", "no"),), 3)
    assert report.read_line(report.ended(result).strip()) == report.Ended(result)
    assert report.read_line(report.steps(rows).strip()) == report.Steps(rows)
    assert report.read_line(report.said(NOW, "hi").strip()) == report.Said("2026-01-01T00:00:00.000000Z", "hi")
    assert report.read_line(b"sh: python: not found") == report.Said("", "sh: python: not found")
    assert report.read_line(b'{"result": {"phase": "Odd"}}') == report.Said("", '{"result": {"phase": "Odd"}}')
    many = replace(result, steps=rows * 500, message="m" * 9000)
    short = report.read_line(report.last_words(many))
    assert isinstance(short, report.Ended)
    assert (short.result.phase, short.result.exit_code, len(short.result.message)) == ("Failed", 3, 500)


def test_a_log_that_is_read_again_from_its_start_holds_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    first = CopiedLog(path)
    for text in ("one", "two"):
        first.line("t", text, NOW)
    first.remark("the pod waits", NOW)
    first.close()
    path.write_bytes(path.read_bytes() + b"t thr")  # killed while it wrote
    second = CopiedLog(path)
    for _ in range(2):  # and its connection breaks once
        second.rewind()
        for text in ("one", "two", "three"):
            second.line("t", text, NOW)
    second.remark("the pod waits", NOW)
    second.line("t", "four", NOW)
    second.close(NOW)
    third = CopiedLog(path)
    for text in ("one", "two", "three", "four"):
        third.line("t", text, NOW)
    third.close(NOW)
    said = [line.partition(" ")[2] for line in path.read_text().splitlines()]
    assert said == ["one", "two", "##[cluster]the pod waits", "three", "four", "##[end]"]


# --- what pods ask of home ------------------------------------------------------------------------------------------


class Two:
    """Two repositories; jobs of others may not push to `shop/closed`."""

    def resolve(self, name_or_url: str) -> Access | None:
        if name_or_url not in ("shop/app", "shop/closed"):
            return None
        return Access("file", Path("/"), name=name_or_url, writers=() if name_or_url == "shop/closed" else None)


def at_home(root: Path, work: Callable[[Callable[[str], AtHome], JobTokens], Any]) -> Any:
    """`work(door, tokens)` in a thread, while the routes are served; `door(token)` is a pod's way in."""

    async def main() -> Any:
        tokens = JobTokens()

        def guest(token: str) -> Guest | None:
            owner = tokens.owner_of(token)
            return Guest(owner, "ci-1", "build", "shop/app") if owner == "me" else None

        app = web.Application()
        app.add_routes(serving.routes(root, guest, Two(), tokens, lambda name: f"http://git/{name}.git"))
        served = web.AppRunner(app)
        await served.setup()
        site = web.TCPSite(served, "127.0.0.1", 0)
        await site.start()
        port = served.addresses[0][1]

        def door(token: str) -> AtHome:
            folder = root.parent / f"pod-{token[-6:]}"
            folder.mkdir(exist_ok=True)
            home = Home(f"http://127.0.0.1:{port}", token, "shop/app", "write")
            return AtHome(home, folder, "ci-1", "build", patience_s=0.0)

        try:
            return await asyncio.to_thread(work, door, tokens)
        finally:
            await served.cleanup()

    return asyncio.run(main())


def test_files_go_home_and_come_back(tmp_path: Path) -> None:
    root = tmp_path / "home"

    def work(door: Callable[[str], AtHome], tokens: JobTokens) -> None:
        token = tokens.issue("me", "shop/app", "write")
        one, pod = door(token), tmp_path / f"pod-{token[-6:]}"
        made = pod / "runs" / "ci-1" / "artifacts" / "report"
        (made / "sub").mkdir(parents=True)
        (made / "sub" / "a.txt").write_text("a")
        (pod / "cache" / "shop%2Fapp" / "v").mkdir(parents=True)
        (pod / "cache" / "shop%2Fapp" / "v" / "k.tar").write_text("kept")
        assert one.send_back() == 2
        other_token = tokens.issue("me", "shop/app", "write")
        other, place = door(other_token), tmp_path / f"pod-{other_token[-6:]}" / "runs" / "ci-1" / "artifacts"
        assert set(other.listing(place)) == {"report"}
        other.bring(place / "report")
        assert (place / "report" / "sub" / "a.txt").read_text() == "a"
        assert other.send_back() == 0, "what was brought does not go back"

    at_home(root, work)
    assert (root / "runs" / "ci-1" / "artifacts" / "report" / "sub" / "a.txt").read_text() == "a"
    assert (root / "cache" / "shop%2Fapp" / "v" / "k.tar").read_text() == "kept"


def test_a_job_gets_no_further_than_its_own(tmp_path: Path) -> None:
    root = tmp_path / "home"
    (root / "cache" / "other%2Fapp").mkdir(parents=True)

    def work(door: Callable[[str], AtHome], tokens: JobTokens) -> None:
        token = tokens.issue("me", "shop/app", "write")
        one, pod = door(token), tmp_path / f"pod-{token[-6:]}"
        with pytest.raises(ShelfError, match="not a job's to read or write"):
            one.listing(pod / "cache" / "other%2Fapp")
        with pytest.raises(ShelfError, match="not a job's to read or write"):
            one.bring(pod / "runs" / "ci-1" / "artifacts" / ".." / ".." / "ci-2")
        one.reach()
        own = one.resolve("shop/app")
        assert own is not None
        assert own.url.endswith("/git/shop/app.git")
        assert one.resolve("shop/nothing") is None
        closed = one.resolve("shop/closed")
        assert closed is not None
        assert (closed.url, closed.path, closed.writers) == ("http://git/shop/closed.git", None, ())
        assert tokens.allows(one.issue("me", "shop/closed", "read"), "shop/closed", write=False)
        with pytest.raises(ShelfError, match="no token to write shop/closed for jobs of shop/app"):
            one.issue("me", "shop/closed", "write")
        assert one.issue("me", "shop/app", "write") == token
        tokens.revoke("me")
        with pytest.raises(ShelfError, match=r"the Fairway at .* that sent this job is not reached"):
            one.reach()

    at_home(root, work)
