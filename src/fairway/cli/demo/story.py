"""Three commits to production, told as it happens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from fairway.cli.client import Client
from fairway.cli.demo import timeline
from fairway.cli.demo.figures import Answer, Delivery
from fairway.cli.demo.load import Load, Tail
from fairway.cli.demo.recorder import Recorder
from fairway.cli.demo.shop import (
    APP_URL,
    DEPLOY_URL,
    MESSAGES,
    VERSIONS,
    Developer,
    example_folder,
    lay_out,
    lay_out_deployment,
)
from fairway.cli.demo.stage import Stage
from fairway.cli.errors import CommandError
from fairway.kube.objects import Obj, annotations_of, dig, spec_of, status_of
from fairway.kube.resources import (
    APP_PROJECTS,
    APPLICATIONS,
    INGRESSES,
    PIPELINE_RUNS,
    RELEASES,
    REPOSITORIES,
    ROLLOUTS,
    Resource,
)
from fairway.state import StateDir

PIPELINE_LIMIT_S, DELIVERY_LIMIT_S = 180.0, 300.0
TERMINAL = ("Promoted", "RolledBack", "Failed")
OUTCOMES = {"Promoted": "promoted", "RolledBack": "rolled-back", "Failed": "failed"}


@dataclass
class Told:
    """What the story left behind for the report."""

    deliveries: list[Delivery] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    git_head_digest: str = ""


class Story:
    def __init__(self, state: StateDir, stage: Stage, *, rate: int, pauses: bool, work: Path) -> None:
        self._client = Client.of(state)
        self._stage = stage
        self._pauses = pauses
        self._recorder = Recorder(state)
        git_url = self._client.addresses.web_url + "/git/"
        token = state.token.read_text().strip()
        self._app = Developer(work / "app", git_url + "shop/app.git", token)
        self._deploy = Developer(work / "deploy", git_url + "shop/deploy.git", token)
        self._load = Load(self._client.addresses.ingress_port, rate, work / "answers.jsonl")
        self._tail = Tail(self._load.record)

    def tell(self) -> Told:
        told = Told()
        self._recorder.start()
        self._prepare()
        try:
            for version in VERSIONS:
                told.deliveries.append(self._deliver(version))
                if not self._load.running:
                    self._load.start()
        finally:
            self._load.stop()
        told.answers = self._load.answers()
        told.git_head_digest = self._digest_in_git()
        return told

    # --- set-up -------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        for name, url in (("shop/app", APP_URL), ("shop/deploy", DEPLOY_URL)):
            self._client.apply(REPOSITORIES, {
                "apiVersion": REPOSITORIES.api_version, "kind": "Repository",
                "metadata": {"name": name.replace("/", "-"), "namespace": "fairway"},
                "spec": {"name": name, "urls": [url]},
            })  # fmt: skip
        lay_out_deployment(self._deploy.tree, pauses=self._pauses)
        self._deploy.begin()
        self._deploy.commit_and_push("The shop's deployment")
        self._stage.say("deployment repository pushed: shop/deploy")
        self._apply("project.yaml", APP_PROJECTS)
        self._apply("shop-data.yaml", APPLICATIONS)
        self._app.tree.mkdir(parents=True, exist_ok=True)
        self._app.begin()

    def _apply(self, name: str, resource: Resource) -> None:
        self._client.apply(resource, yaml.safe_load((example_folder() / "deploy" / "argocd" / name).read_text()))

    # --- one commit ---------------------------------------------------------------------------------------------------

    def _deliver(self, version: str) -> Delivery:
        lay_out(version, self._app.tree)
        pushed = time.time()
        sha = self._app.commit_and_push(MESSAGES[version])
        self._stage.begin(version, sha, MESSAGES[version])
        self._wait_for_pipeline(sha)
        if version == VERSIONS[0]:
            self._apply("shop.yaml", APPLICATIONS)
        release = self._wait_for_release(sha)
        self._wait_for_rest(sha)
        ended = time.time()
        events = self._recorder.events
        outcome = OUTCOMES[status_of(release)["outcome"]]
        self._stage.end(outcome, str(dig(release, "status", "evidence", default="")))
        return Delivery(
            sha=sha, version=version, digest=str(spec_of(release).get("digest", "")), outcome=outcome, pushed=pushed,
            ended=ended, phases=dict(status_of(release).get("phases") or {}),
            steps=timeline.step_spans(events, pushed, ended), users_time=timeline.users_time(events, pushed, ended),
        )  # fmt: skip

    def _wait_for_pipeline(self, sha: str) -> None:
        def finished() -> bool:
            return dig(self._run_of(sha), "status", "phase", default="") in ("Succeeded", "Failed", "Cancelled")

        if not self._recorder.wait(finished, until=time.time() + PIPELINE_LIMIT_S, tick=lambda: self._tick(sha)):
            raise CommandError(f"the pipeline of {sha[:7]} did not finish within {PIPELINE_LIMIT_S:.0f} s",
                               mend="see: fairway logs, and logs/daemon.log in the state folder")
        run = self._run_of(sha) or {}
        if dig(run, "status", "phase") != "Succeeded":
            raise CommandError(f"the pipeline of {sha[:7]} failed: {dig(run, 'status', 'message', default='')}",
                               mend=f"see: fairway logs run/{dig(run, 'metadata', 'name')}")

    def _wait_for_release(self, sha: str) -> Obj:
        def finished() -> bool:
            return dig(self._release_of(sha), "status", "outcome", default="") in TERMINAL

        if not self._recorder.wait(finished, until=time.time() + DELIVERY_LIMIT_S, tick=lambda: self._tick(sha)):
            raise CommandError(f"the delivery of {sha[:7]} did not end within {DELIVERY_LIMIT_S:.0f} s",
                               mend="see: fairway status, fairway app get shop, fairway rollout get shop -n shop")
        release = self._release_of(sha)
        assert release is not None
        return release

    def _wait_for_rest(self, sha: str) -> None:
        """Until the Application is synced and healthy and its last operation is over: also after a revert."""

        def at_rest() -> bool:
            app = next((a for a in self._recorder.objects(APPLICATIONS) if a["metadata"]["name"] == "shop"), None)
            found = (dig(app, "status", "sync", "status"), dig(app, "status", "health", "status"),
                     dig(app, "status", "operationState", "phase"))
            return found == ("Synced", "Healthy", "Succeeded")

        if not self._recorder.wait(at_rest, until=time.time() + DELIVERY_LIMIT_S, tick=lambda: self._tick(sha)):
            raise CommandError("the Application shop did not come to rest after the delivery", mend="see: fairway app get shop")

    def _run_of(self, sha: str) -> Obj | None:
        return next((r for r in self._recorder.objects(PIPELINE_RUNS) if spec_of(r).get("sha") == sha), None)

    def _release_of(self, sha: str) -> Obj | None:
        return next((r for r in self._recorder.objects(RELEASES) if spec_of(r).get("sha") == sha), None)

    def _digest_in_git(self) -> str:
        """The digest that the deployment repository's head names now."""
        self._deploy.pull()
        overlay = yaml.safe_load((self._deploy.tree / "overlays" / "production" / "kustomization.yaml").read_text())
        return str(overlay["images"][0]["digest"])

    # --- progress -----------------------------------------------------------------------------------------------------

    def _tick(self, sha: str) -> None:
        self._stage.traffic(self._tail.new_answers())
        run = self._run_of(sha)
        if run is not None:
            for job in status_of(run).get("jobs") or ():
                self._stage.job(str(job["name"]), str(job.get("phase", "")))
        for app in self._recorder.objects(APPLICATIONS):
            if app["metadata"]["name"] == "shop":
                self._stage.application(str(dig(app, "status", "operationState", "message", default="")))
        for rollout in self._recorder.objects(ROLLOUTS):
            self._stage.rollout(str(dig(rollout, "status", "phase", default="")),
                                str(dig(rollout, "status", "message", default="")))
        for ingress in self._recorder.objects(INGRESSES):
            if applied := annotations_of(ingress).get(timeline.APPLIED_WEIGHT):
                self._stage.weight(int(applied))
