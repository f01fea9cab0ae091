"""CI in cluster mode: a pipeline's jobs are Jobs of the cluster, and mean what they mean on one machine."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fairway
from fairway.kube.objects import Obj
from fairway.kube.resources import JOBS, PIPELINE_RUNS, PODS, SECRETS
from fairway.parts import DELIVERY
from tests.platform.running import Repository, Running, platform

SETTINGS = {
    "images": {"*": "host"}, "command": [sys.executable, "-P", "-m", "fairway.job_pod"], "grace": "20s",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with platform(tmp_path_factory.mktemp("cluster"), "--without", ",".join(DELIVERY)) as made:
        yield made


@pytest.fixture(scope="module")
def delivering(cluster: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("delivering")
    (folder / "state").mkdir()
    portable(folder / "portable")
    (folder / "state" / "jobs.yaml").write_text(json.dumps({**SETTINGS, "portable": str(folder / "portable")}))
    with platform(folder, "--kubeconfig", str(cluster.state.kubeconfig)) as made:
        yield made


def portable(folder: Path) -> None:
    """A Python that brings Fairway along. The interpreter itself is in every image of this cluster: there, in a folder of the
    runner's image, it would be a relocatable one."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python3").write_text('#!/bin/sh\nPYTHONPATH=/fairway/runner/site exec /usr/local/bin/python3 "$@"\n')
    (folder / "bin" / "python3").chmod(0o755)
    program = ("import json, sys, fairway.job_pod, fairway.cli.image; "
               "print(json.dumps(sorted({m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)})))")
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for root in {Path(fairway.__file__).parent.parent, *map(Path, site.getsitepackages())}:
        names = {Path(file).relative_to(root).parts[0] for file in json.loads(loaded) if Path(file).is_relative_to(root)}
        for name in names - {"_virtualenv.py"}:
            copy = shutil.copytree if (root / name).is_dir() else shutil.copy
            (folder / "site").mkdir(exist_ok=True)
            copy(root / name, folder / "site" / name)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One machine: jobs are its processes."""
    with platform(tmp_path_factory.mktemp("here"), "--data-plane", "proxy") as made:
        yield made


@pytest.fixture(params=["here", "delivering"])
def anywhere(request: pytest.FixtureRequest) -> Running:
    """What is tested with this is the same in both places."""
    found: Running = request.getfixturevalue(request.param)
    return found


def pushed(on: Running, tree: Path, name: str, files: dict[str, str]) -> str:
    """The name of the run that the push starts."""
    if tree.exists():
        token = on.state.token.read_text().strip()
        base = on.addresses.web_url.replace("http://", f"http://dev:{token}@")
        repository = Repository(tree, f"{base}/git/{name}.git")
    else:
        repository = Repository.begin(on, tree, name)
    repository.write(files)
    sha = repository.push("a change")
    return on.until(lambda: next((run["metadata"]["name"] for run in runs(on, name) if run["spec"]["sha"] == sha), None),
                    "the push starts a run")


def runs(on: Running, repository: str) -> list[Obj]:
    return [run for run in on.client.list(PIPELINE_RUNS, "fairway") if run["spec"]["repository"] == repository]


def ended(on: Running, run: str) -> Obj:
    return on.until_object(PIPELINE_RUNS, run, "fairway", lambda obj: obj.get("status", {}).get("finishedAt"), f"{run} ends")


def job(run: Obj, id: str) -> dict[str, Any]:
    return next(entry for entry in run["status"]["jobs"] if entry["id"] == id)


def log_of(on: Running, run: str, id: str) -> list[str]:
    file = on.state.ci / "runs" / run / "jobs" / id / "log.txt"
    return [line.partition(" ")[2] for line in file.read_text().splitlines()] if file.is_file() else []


def jobs_of(cluster: Running, run: str) -> list[Obj]:
    return [found for found in cluster.client.list(JOBS, "fairway")
            if found["metadata"]["annotations"]["fairway.dev/run"] == run]


WORKFLOW = """
on: push
env: {LEVEL: workflow}
jobs:
  build:
    runs-on: ubuntu-latest
    outputs: {answer: "${{ steps.think.outputs.answer }}"}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/cache@v4
        with: {path: kept, key: "k-${{ hashFiles('source.txt') }}"}
      - id: think
        env: {SECRET: "${{ secrets.PASSWORD }}"}
        run: |
          cat source.txt
          echo "the secret is $SECRET at $LEVEL"
          echo "answer=42" >> $GITHUB_OUTPUT
          mkdir -p kept out && date > kept/when && echo made > out/made.txt
          echo "## Done" >> $GITHUB_STEP_SUMMARY
          echo "::warning file=source.txt,line=1::look here"
      - uses: actions/upload-artifact@v4
        with: {name: made, path: out}
  use:
    needs: build
    runs-on: [self-hosted, linux]
    strategy: {matrix: {n: [1, 2]}}
    steps:
      - uses: actions/download-artifact@v4
        with: {name: made, path: got}
      - run: echo "got $(cat got/made.txt) and ${{ needs.build.outputs.answer }} in leg ${{ matrix.n }}"
      - run: |
          order=$(tr '\\0' '\\n' < /proc/$PPID/cmdline | grep '/order.json$' || true)
          test ! -e "${order:-/nowhere}" && echo "no order is left"
  bad:
    runs-on: ubuntu-latest
    continue-on-error: true
    steps:
      - run: exit 3
      - if: failure()
        run: echo "and yet"
  calls:
    uses: ./.github/workflows/called.yml
    with: {greeting: hello}
"""
CALLED = """
on: {workflow_call: {inputs: {greeting: {type: string}}}}
jobs:
  greet:
    runs-on: ubuntu-latest
    steps:
      - run: echo "${{ inputs.greeting }} from inside"
"""


def test_a_github_workflow(anywhere: Running, tmp_path: Path) -> None:
    anywhere.apply({"apiVersion": "v1", "kind": "Secret", "stringData": {"PASSWORD": "hunter2-hunter2"},
                    "metadata": {"name": "shop", "namespace": "fairway", "labels": {"fairway.dev/repository": "shop.app"}}})
    name = pushed(anywhere, tmp_path / "tree", "shop/app", {
        ".github/workflows/ci.yml": WORKFLOW, ".github/workflows/called.yml": CALLED, "source.txt": "text\n"})
    run = ended(anywhere, name)
    assert run["status"]["phase"] == "Succeeded", json.dumps(run["status"], indent=1)
    build = job(run, "build")
    assert build["outputs"] == {"answer": "42"}
    assert [step["phase"] for step in build["steps"]] == ["Succeeded"] * 5, "four steps and the saving of the cache"
    assert build["annotations"] == [{"level": "warning", "message": "look here", "file": "source.txt", "line": 1}]
    lines = log_of(anywhere, name, "build")
    assert {"text", "the secret is *** at workflow"} <= set(lines)
    assert "hunter2-hunter2" not in "\n".join(lines)
    assert lines[-1] == "##[end]"
    assert {"got made and 42 in leg 2", "no order is left"} <= set(log_of(anywhere, name, "use-2-2"))
    assert job(run, "bad")["message"] == "step 'Run exit 3': Process completed with exit code 3."
    assert "and yet" in log_of(anywhere, name, "bad")
    assert "hello from inside" in log_of(anywhere, name, "calls..greet")
    folder = anywhere.state.ci / "runs" / name
    assert (folder / "jobs" / "build" / "summary.md").read_text().strip() == "## Done"
    assert (folder / "artifacts" / "made" / "made.txt").read_text() == "made\n"
    again = pushed(anywhere, tmp_path / "tree", "shop/app", {"more.txt": "more"})
    ended(anywhere, again)
    assert any("Cache restored from key: k-" in line for line in log_of(anywhere, again, "build"))


PIPELINE = """
stages: [build, test]
variables: {WHO: world}
make:
  stage: build
  script:
    - echo "hello $WHO" > made.txt
    - echo "VERSION=7" > about.env
    - mkdir -p kept && date > kept/then
  cache: {key: always, paths: [kept]}
  artifacts: {paths: [made.txt], reports: {dotenv: about.env}}
use:
  stage: test
  retry: 1
  script:
    - cat made.txt
    - echo "version $VERSION of $CI_COMMIT_SHORT_SHA"
    - test -e .git && git log --format=%s
  after_script: [echo "status is $CI_JOB_STATUS"]
flaky:
  stage: test
  allow_failure: true
  retry: 1
  script: [echo trying, exit 7]
"""


def test_a_gitlab_pipeline(anywhere: Running, tmp_path: Path) -> None:
    name = pushed(anywhere, tmp_path / "tree", "lab/app", {".gitlab-ci.yml": PIPELINE})
    run = ended(anywhere, name)
    assert run["status"]["phase"] == "Succeeded", json.dumps(run["status"], indent=1)
    by_job = {entry["job"]: entry for entry in run["status"]["jobs"]}
    lines = log_of(anywhere, name, by_job["use"]["id"])
    assert {"hello world", f"version 7 of {run['spec']['sha'][:8]}", "a change", "status is success"} <= set(lines)
    assert by_job["make"]["outputs"] == {"VERSION": "7"}
    assert (by_job["flaky"]["attempt"], by_job["flaky"]["exitCode"], by_job["flaky"]["phase"]) == (2, 7, "Failed")
    again = pushed(anywhere, tmp_path / "tree", "lab/app", {"more.txt": "more"})
    made = {entry["job"]: entry for entry in ended(anywhere, again)["status"]["jobs"]}["make"]
    assert "Restored cache of key always" in log_of(anywhere, again, made["id"])


LONG = """
on: push
jobs:
  long:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo begun
          while [ ! -e {gate} ]; do sleep 0.05; done
          echo done
      - if: always()
        run: echo "always, ${{ job.status }}"
"""


def test_a_cancelled_run(anywhere: Running, tmp_path: Path) -> None:
    name = pushed(anywhere, tmp_path / "tree", "shop/long", {
        ".github/workflows/ci.yml": LONG.replace("{gate}", str(tmp_path / "never"))})
    anywhere.until(lambda: "begun" in log_of(anywhere, name, "long"), "the step runs, and its log is here")
    anywhere.client.patch(PIPELINE_RUNS, name, "fairway", {"spec": {"cancel": True}})
    run = ended(anywhere, name)
    assert (run["status"]["phase"], job(run, "long")["phase"]) == ("Cancelled", "Cancelled")
    assert "always, cancelled" in log_of(anywhere, name, "long")
    assert "done" not in log_of(anywhere, name, "long")


def test_a_job_in_a_pod_outlives_the_controller(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    """The log goes on where it was, nothing runs twice, and the token still opens what it opened."""
    text = LONG.replace("{gate}", str(tmp_path / "gate")) + """
      - uses: actions/checkout@v4
      - run: cat .github/workflows/ci.yml | head -2
"""
    name = pushed(delivering, tmp_path / "tree", "shop/adopted", {".github/workflows/ci.yml": text})
    delivering.until(lambda: "begun" in log_of(delivering, name, "long"), "the step runs")
    delivering.kill_9()
    (tmp_path / "gate").touch()
    delivering.up()
    run = ended(delivering, name)
    assert run["status"]["phase"] == "Succeeded", json.dumps(run["status"], indent=1)
    assert job(run, "long")["attempt"] == 1
    lines = log_of(delivering, name, "long")
    once = ["begun", "done", "on: push", "##[end]"]
    assert [line for line in lines if line in once] == once
    assert len(jobs_of(cluster, name)) == 1


def test_a_job_that_ended_while_nobody_looked(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    name = pushed(delivering, tmp_path / "tree", "shop/ended", {
        ".github/workflows/ci.yml": LONG.replace("{gate}", str(tmp_path / "gate"))})
    delivering.until(lambda: "begun" in log_of(delivering, name, "long"), "the step runs")
    delivering.kill_9()
    (tmp_path / "gate").touch()
    cluster.until(lambda: jobs_of(cluster, name)[0].get("status", {}).get("succeeded"), "the Job is done")
    delivering.up()
    run = ended(delivering, name)
    assert (run["status"]["phase"], job(run, "long")["attempt"]) == ("Succeeded", 1)
    assert [line for line in log_of(delivering, name, "long") if line in ("begun", "done")] == ["begun", "done"]


def test_a_pod_that_somebody_deletes_fails_its_job(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    """As when a node is drained: GitLab's `retry` for failures of the runner's system makes another pod."""
    name = pushed(delivering, tmp_path / "tree", "lab/drained", {".gitlab-ci.yml": f"""
long:
  retry: {{max: 1, when: runner_system_failure}}
  script: [echo begun, 'while [ ! -e {tmp_path}/gate ]; do sleep 0.05; done']
"""})
    delivering.until(lambda: "begun" in log_of(delivering, name, "long-1"), "the script runs")
    [pod] = cluster.client.list(PODS, "fairway", labels=f"job-name={jobs_of(cluster, name)[0]['metadata']['name']}")
    cluster.client.delete(PODS, pod["metadata"]["name"], "fairway")
    delivering.until(lambda: len(jobs_of(cluster, name)) == 2, "a second Job is made")
    (tmp_path / "gate").touch()
    run = ended(delivering, name)
    assert (run["status"]["phase"], job(run, "long-1")["attempt"]) == ("Succeeded", 2)


def test_what_a_pod_holds_and_what_goes_with_the_run(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    name = pushed(delivering, tmp_path / "tree", "shop/gone", {
        ".github/workflows/ci.yml": LONG.replace("{gate}", str(tmp_path / "never"))})
    delivering.until(lambda: "begun" in log_of(delivering, name, "long"), "the step runs")
    [made] = jobs_of(cluster, name)
    [pod] = cluster.client.list(PODS, "fairway", labels=f"job-name={made['metadata']['name']}")
    assert "fwj_" not in json.dumps(pod), "the job's token is in its Secret alone"
    assert cluster.client.find(SECRETS, made["metadata"]["name"], "fairway") is not None
    delivering.client.delete(PIPELINE_RUNS, name, "fairway")
    cluster.until(lambda: not jobs_of(cluster, name), "its Job goes")
    cluster.until(lambda: cluster.client.find(SECRETS, made["metadata"]["name"], "fairway") is None, "and its order")
    cluster.until(lambda: cluster.client.find(PODS, pod["metadata"]["name"], "fairway") is None, "and its pod")


SERVER = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["GREETING"].encode())
http.server.HTTPServer((os.environ["POD_IP"], 8099), Answer).serve_forever()
"""
DOCKERFILE = """
FROM python:3
WORKDIR /app
COPY server.py .
CMD ["python", "server.py"]
"""
ASK = 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())'


def image(cluster: Running, folder: Path, name: str) -> None:
    """In the cluster's registry."""
    folder.mkdir()
    (folder / "server.py").write_text(SERVER)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    cluster.fairway("image", "build", str(folder), "-t", name, "--push")


def test_services_run_beside_the_job_and_images_go_home(cluster: Running, delivering: Running, tmp_path: Path) -> None:
    image(cluster, tmp_path / "service", "registry.example.com/team/server:1")
    workflow = f"""
on: push
env: {{WORDS: hello beside}}
jobs:
  use:
    runs-on: ubuntu-latest
    container: registry.example.com/team/server:1
    services:
      greeter:
        image: registry.example.com/team/server:1
        ports: [8099]
        env: {{GREETING: "${{{{ secrets.WORDS || env.WORDS }}}}"}}
    env: {{URL: "http://greeter:8099/"}}
    steps:
      - run: python3 -c '{ASK}' "$URL"
      - run: ls /app
  image:
    runs-on: ubuntu-latest
    outputs: {{digest: "${{{{ steps.build.outputs.digest }}}}"}}
    steps:
      - uses: actions/checkout@v4
      - id: build
        uses: docker/build-push-action@v6
        with: {{push: true, tags: "registry.example.com/team/made:1"}}
      - run: docker build -t registry.example.com/team/shell:1 . && docker push registry.example.com/team/shell:1
"""
    name = pushed(delivering, tmp_path / "tree", "team/beside", {
        ".github/workflows/ci.yml": workflow, "Dockerfile": DOCKERFILE, "server.py": SERVER})
    run = ended(delivering, name)
    lines = log_of(delivering, name, "use")
    assert run["status"]["phase"] == "Succeeded", "\n".join([json.dumps(run["status"], indent=1), *lines])
    assert {"hello beside", "server.py"} <= set(lines)
    made, by_script = run["status"]["images"]
    assert by_script["digest"] in delivering.fairway("image", "inspect", "registry.example.com/team/shell:1").stdout
    assert made["digest"] == job(run, "image")["outputs"]["digest"]
    assert made["digest"] in delivering.fairway("image", "inspect", "registry.example.com/team/made:1").stdout


def test_a_job_that_cannot_be_a_pod_says_why(delivering: Running, tmp_path: Path) -> None:
    workflow = """
on: push
jobs:
  inside:
    runs-on: ubuntu-latest
    container: registry.invalid/nobody/nothing:3
    steps: [{run: echo no}]
  elsewhere:
    runs-on: windows-2025
    steps: [{run: echo no}]
"""
    name = pushed(delivering, tmp_path / "tree", "shop/odd", {".github/workflows/ci.yml": workflow})
    delivering.until(lambda: any("##[cluster]the pod waits: job: " in line for line in log_of(delivering, name, "inside")),
                     "the log says what the pod waits for")
    delivering.client.patch(PIPELINE_RUNS, name, "fairway", {"spec": {"cancel": True}})
    run = ended(delivering, name)
    assert job(run, "inside")["phase"] == "Cancelled", json.dumps(job(run, "inside"))
    assert "no runner with the label 'windows-2025'" in job(run, "elsewhere")["message"]
