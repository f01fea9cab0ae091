"""GitLab pipelines run as processes: from a working tree, and as PipelineRuns of a push."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from click.testing import CliRunner

from fairway.ci.materials import PipelineSettings
from fairway.cli.ci import command
from fairway.kube.api import MergePatch
from fairway.kube.resources import PIPELINE_RUNS
from fairway.state import StateDir
from tests.ci.world import World, jobs, said

PIPELINE = """
variables: {GREETING: hello}
default: {before_script: ['echo "$GREETING from $CI_JOB_NAME"']}
build:
  stage: build
  script:
    - mkdir out; echo "made by $CI_COMMIT_SHORT_SHA" > out/app.txt
    - echo "VERSION=1.2" > build.env
    - mkdir -p deps; date +%s%N >> deps/cached
  artifacts: {paths: [out/**], reports: {dotenv: build.env}}
  cache: {key: {files: [lock], prefix: $CI_JOB_STAGE}, paths: [deps]}
test:
  parallel: {matrix: [{PY: ['3.11', '3.12']}]}
  coverage: '/total: (\\d+)%/'
  script:
    - 'cat out/app.txt; echo "version $VERSION on $PY"; echo "total: 87%"'
    - touch "$CI_PROJECT_DIR/rubbish"
  after_script: ['echo "status $CI_JOB_STATUS"']
flaky:
  retry: 1
  needs: []
  script: ['test -e "$HOME/../../../again" || { touch "$HOME/../../../again"; exit 3; }']
child:
  stage: deploy
  trigger: {include: ci/child.yml, strategy: depend}
  variables: {FROM: parent}
deploy:
  stage: deploy
  environment: {name: production, url: 'https://$VERSION.example.com'}
  when: manual
  script: ['echo deployed']
"""
CHILD = "inner:\n  script: ['echo \"child of $FROM, $CI_PIPELINE_SOURCE\"']\n"


def tree_of(tmp_path: Path, files: Mapping[str, str]) -> Path:
    tree = tmp_path / "tree"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for argv in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)
    return tree


def invoke(tmp_path: Path, *argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*argv], obj=StateDir(tmp_path / "state"), catch_exceptions=False)
    return result.exit_code, result.output


def test_a_pipeline_runs_from_the_working_tree(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {".gitlab-ci.yml": PIPELINE, "ci/child.yml": CHILD, "lock": "1"})
    code, output = invoke(tmp_path, "run", str(tree), "--secret", "TOKEN=hunter2hunter2", "-v", "GREETING=hi $TOKEN")
    assert code == 0, output
    for line in ("build        │ hi *** from build", "test: [3.11] │ version 1.2 on 3.11", "test: [3.12] │ status success",
                 "child of parent, parent_pipeline"):
        assert line in output, output
    assert "hunter2" not in output
    assert not (tree / "rubbish").exists()
    assert "coverage 87 %" in output
    code, output = invoke(tmp_path, "run", str(tree), "--job", "deploy", "--no-needs", "-o", "json")
    [row] = json.loads(output)[0]["jobs"]
    assert (code, row["phase"], row["environment"]) == (0, "Succeeded", "production")
    code, output = invoke(tmp_path, "run", str(tree), "--job", "build")
    assert "Restored cache of key build-" in output


def test_explain_list_and_graph_of_a_pipeline(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {".gitlab-ci.yml": PIPELINE + "tags: {script: x, rules: [{if: $CI_COMMIT_TAG}]}\n",
                              "ci/child.yml": CHILD})
    assert ".gitlab-ci.yml" in invoke(tmp_path, "list", str(tree))[1]
    output = invoke(tmp_path, "explain", str(tree))[1]
    assert "tags          never       no rule applies" in output, output
    assert "tags          on_success" in invoke(tmp_path, "explain", str(tree), "--event", "tag", "--ref", "v1")[1]
    assert "deploy  deploy  after" in invoke(tmp_path, "graph", str(tree))[1]
    assert "j0 --> j1" in invoke(tmp_path, "graph", str(tree), "-f", "mermaid")[1]


def test_a_broken_pipeline_says_where(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {".gitlab-ci.yml": "a: {script: x, needs: [b]}\nb: {script: x, needs: [a]}\n"})
    code, output = invoke(tmp_path, "run", str(tree))
    assert code == 1
    assert ".gitlab-ci.yml:1:1: the needs of job 'a' lead back to itself" in output
    text = "a: {script: x, rules: [{when: manual}]}\nb: {script: x, needs: [a]}\n"
    tree = tree_of(tmp_path / "manual", {".gitlab-ci.yml": text})
    code, output = invoke(tmp_path, "run", str(tree))
    assert (code, "start it with --manual 'a'" in output) == (2, True)


def test_a_push_runs_the_pipeline_and_a_person_starts_the_manual_job(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        world.push("shop/app", {".gitlab-ci.yml": PIPELINE, "ci/child.yml": CHILD, "lock": "1"})
        await world.declare("shop/app")
        async with world.running() as daemon:
            daemon.pushed("shop/app")
            [run] = await daemon.finished()
            assert run["spec"]["workflow"] == ".gitlab-ci.yml"
            assert run["status"]["phase"] == "Succeeded", run["status"]
            deploy = next(id for id in jobs(run) if id.startswith("deploy"))
            assert jobs(run)[deploy] == "Waiting"
            flaky = next(job for job in run["status"]["jobs"] if job["name"] == "flaky")
            assert (flaky["phase"], flaky["attempt"]) == ("Succeeded", 2)
            answers = [{"job": deploy, "approve": True, "by": "ada"}]
            await world.api.patch(PIPELINE_RUNS, run["metadata"]["name"], "fairway", MergePatch({"spec": {"answers": answers}}))
            done = await daemon.until(lambda runs: runs[0]["status"].get("finishedAt") and runs[0] if
                                      jobs(runs[0])[deploy] == "Succeeded" else None)
            assert next(job for job in done["status"]["jobs"] if job["id"] == deploy)["url"] == "https://1.2.example.com"
            assert "deployed" in said(world, done, deploy)

    asyncio.run(main())


UPSTREAM = """
variables: {WHO: upstream}
build: {stage: build, script: [echo built]}
downstream:
  variables: {LEVEL: "3", LEAK: "with $TOKEN"}
  trigger: {project: shop/deploy, branch: main, strategy: depend}
take:
  stage: deploy
  needs: [downstream, {project: shop/deploy, job: bundle, ref: main, artifacts: true}]
  script: [cat bundle.txt]
"""
DOWNSTREAM = """
bundle:
  rules: [{if: '$CI_PIPELINE_SOURCE == "pipeline"'}]
  script: ['echo "for $WHO at $LEVEL [$LEAK] $OWN" | tee bundle.txt; exit ${CODE:-0}']
  artifacts: {paths: [bundle.txt]}
"""


def test_a_pipeline_of_another_project_is_a_run_of_its_own_that_the_job_waits_for(tmp_path: Path) -> None:
    world = World(tmp_path, settings=PipelineSettings(
        secrets=lambda name: {"TOKEN": "s3cr3t-value"} if name == "shop/app" else {},
        variables=lambda name: {"OWN": "of deploy"} if name == "shop/deploy" else {}, places=1))
    world.push("shop/app", {".gitlab-ci.yml": UPSTREAM})
    world.push("shop/deploy", {".gitlab-ci.yml": DOWNSTREAM})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            runs = {run["spec"]["repository"]: run for run in await daemon.finished(2)}
            up, down = runs["shop/app"], runs["shop/deploy"]
            phases = {entry["name"]: entry["phase"] for entry in up["status"]["jobs"]}
            assert phases == {"build": "Succeeded", "downstream": "Succeeded", "take": "Succeeded"}, up["status"]
            assert down["spec"]["event"] == "pipeline" and down["spec"]["upstream"]["run"] == up["metadata"]["name"]
            assert "for upstream at 3 [] of deploy" in said(world, down, down["status"]["jobs"][0]["id"])
            assert "s3cr3t" not in json.dumps(down)
            waiting = next(entry for entry in up["status"]["jobs"] if entry["name"] == "downstream")
            assert waiting["message"].endswith("not handed on, as secrets are in them: LEAK")
            assert "for upstream at 3 [] of deploy" in said(world, up, next(
                entry["id"] for entry in up["status"]["jobs"] if entry["name"] == "take"))

    asyncio.run(main())


def test_what_another_project_cannot_give_fails_the_job_and_says_why(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {".gitlab-ci.yml": """
gone: {trigger: shop/nowhere}
bad: {trigger: {project: shop/deploy, strategy: depend}, variables: {CODE: "7"}}
take: {needs: [{project: shop/deploy, job: bundle, ref: main}], script: [echo never]}
maybe: {needs: [{project: shop/deploy, job: bundle, ref: main, optional: true}], script: [echo went on]}
"""})
    world.push("shop/deploy", {".gitlab-ci.yml": DOWNSTREAM})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            up = await daemon.until(lambda runs: next((
                run for run in runs if run["spec"]["repository"] == "shop/app" and run["status"].get("finishedAt")), None))
            jobs = {entry["name"]: (entry["phase"], entry.get("message", "")) for entry in up["status"]["jobs"]}
            assert jobs["gone"][0] == jobs["bad"][0] == jobs["take"][0] == "Failed" and jobs["maybe"][0] == "Succeeded"
            assert jobs["gone"][1].startswith("downstream pipeline can not be created: ") and "shop/nowhere" in jobs["gone"][1]
            assert "job 'bundle' failed: exit code 7" in jobs["bad"][1]
            assert jobs["take"][1] == "shop/deploy has no good pipeline of main with a job 'bundle'"

    asyncio.run(main())


def test_from_a_working_tree_there_are_no_other_projects(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, {".gitlab-ci.yml": "a: {trigger: shop/deploy}\nb: {script: [echo went on], needs: "
                                                "[{project: shop/x, job: y, ref: main}]}\n"})
    code, output = invoke(tmp_path, "run", str(tree))
    assert code == 1
    assert "pipelines of other projects are started on the platform only" in output
    assert "artifacts of other projects are on the platform only; 'y' is left out" in output and "b │ went on" in output
