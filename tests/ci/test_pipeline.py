"""Pushes to finished runs, with real repositories and real processes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fairway.ci.materials import PipelineSettings
from fairway.kube.resources import PIPELINE_RUNS
from tests.ci.world import World, is_alive, job, jobs, log_of, said

CI = ".github/workflows/ci.yml"


def test_a_push_runs_jobs_in_the_order_of_their_needs(tmp_path: Path) -> None:
    world = World(tmp_path)
    sha = world.push("shop/app", {"hello.txt": "hi", CI: """
on: {push: {branches: [main]}}
jobs:
  first:
    runs-on: ubuntu-latest
    outputs: {word: "${{ steps.say.outputs.word }}"}
    steps:
      - uses: actions/checkout@v4
      - id: say
        run: echo "word=$(cat hello.txt)" >> "$GITHUB_OUTPUT"
  legs:
    needs: first
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [1, 2]}}
    steps: [{run: 'echo "${{ needs.first.outputs.word }} ${{ matrix.n }}"'}]
  last:
    needs: legs
    if: needs.legs.result == 'success'
    runs-on: ubuntu-latest
    steps: [{run: echo done}]
  never:
    needs: legs
    if: failure()
    runs-on: ubuntu-latest
    steps: [{run: exit 1}]
"""}, "first\n\nbody")

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert run["metadata"]["name"] == f"shop-app-ci-{sha[:7]}"
        assert run["metadata"]["labels"]["fairway.dev/sha"] == sha
        assert run["status"]["phase"] == "Succeeded"
        assert jobs(run) == {"first": "Succeeded", "legs-1-1": "Succeeded", "legs-2-2": "Succeeded",
                             "last": "Succeeded", "never": "Skipped"}
        assert job(run, "first")["outputs"] == {"word": "hi"}
        assert job(run, "legs-2-2")["name"] == "legs (2)"
        assert "hi 2" in said(world, run, "legs-2-2")
        assert [step["phase"] for step in job(run, "first")["steps"]] == ["Succeeded", "Succeeded"]
        assert run["status"]["commit"]["message"] == "first"
        assert run["status"]["commit"]["author"] == "Ada"
        repository = await world.api.get(world.api.resources.of_kind("fairway.dev/v1alpha1", "Repository"), "shop-app",
                                         "fairway")
        assert repository["status"]["refs"] == {"refs/heads/main": sha}

    asyncio.run(main())


def test_a_push_whose_event_got_lost_runs_at_the_next_look(tmp_path: Path) -> None:
    world = World(tmp_path)
    workflow = "on: push\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}\n"
    world.push("shop/app", {CI: workflow})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            await daemon.finished(1)
        world.push("shop/app", {"a": "1"}, "while nobody looked")
        world.push("shop/app", {"a": "2"}, "not this one [skip ci]", branch="other")
        async with world.running() as daemon:
            runs = await daemon.finished(2)
            assert [run["status"]["phase"] for run in runs] == ["Succeeded", "Succeeded"]
            # The same head again asks for nothing.
            daemon.pushed("shop/app")
            await daemon.settled()
            assert len((await world.api.list(PIPELINE_RUNS)).items) == 2

    asyncio.run(main())


def test_a_workflow_that_does_not_parse_gives_a_failed_run_with_the_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    stepz: []\n"})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert run["status"]["phase"] == "Failed"
        assert run["status"]["message"] == f"{CI}:5:5: Unexpected value 'stepz'"

    asyncio.run(main())


def test_a_killed_daemon_runs_again_what_ran_and_not_what_was_done(tmp_path: Path) -> None:
    world = World(tmp_path, job_env={"MARKS": str(tmp_path)})
    world.push("shop/app", {CI: """
on: push
jobs:
  done:
    runs-on: ubuntu-latest
    outputs: {x: "${{ steps.s.outputs.x }}"}
    steps: [{id: s, run: 'echo once >> $MARKS/done; echo x=7 >> $GITHUB_OUTPUT'}]
  long:
    needs: done
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo $$ >> $MARKS/long
          if [ "$(wc -l < $MARKS/long)" = 1 ]; then sleep 600; fi
          echo "x is ${{ needs.done.outputs.x }}"
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            await daemon.until(lambda runs: runs and jobs_or_none(runs[0]).get("long") == "Running")
            async with asyncio.timeout(20):
                mark = tmp_path / "long"
                while not (mark.exists() and mark.read_text()):  # noqa: ASYNC110 (another process writes it)
                    await asyncio.sleep(0.01)
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert jobs(run) == {"done": "Succeeded", "long": "Succeeded"}
        assert job(run, "long")["attempt"] == 2
        assert job(run, "done")["attempt"] == 1
        assert (tmp_path / "done").read_text() == "once\n"
        assert "x is 7" in said(world, run, "long")
        first = (tmp_path / "long").read_text().split()[0]
        assert not is_alive(int(first))

    asyncio.run(main())


def jobs_or_none(run: dict[str, object]) -> dict[str, str]:
    return jobs(run) if run.get("status", {}).get("jobs") else {}  # type: ignore[attr-defined]


def test_cancelling_stops_the_processes_and_still_runs_what_is_always_to_be_done(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
jobs:
  long:
    runs-on: ubuntu-latest
    steps:
      - run: exec python3 -c "import time; print('started', flush=True); time.sleep(600)"
      - run: echo not this
      - if: always()
        run: echo tidy up
  after:
    needs: long
    runs-on: ubuntu-latest
    steps: [{run: echo no}]
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            run = await daemon.until(lambda runs: next((r for r in runs if jobs_or_none(r).get("long") == "Running"), None))
            from fairway.kube.api import MergePatch

            await world.api.patch(PIPELINE_RUNS, run["metadata"]["name"], "fairway", MergePatch({"spec": {"cancel": True}}))
            [run] = await daemon.finished()
        assert run["status"]["phase"] == "Cancelled"
        assert jobs(run) == {"long": "Cancelled", "after": "Cancelled"}
        assert "tidy up" in said(world, run, "long")
        assert "not this" not in said(world, run, "long")

    asyncio.run(main())


def test_fail_fast_cancels_siblings_and_max_parallel_holds_them_back(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
jobs:
  fast:
    runs-on: ubuntu-latest
    strategy: {matrix: {n: [bad, slow]}}
    steps:
      - run: if [ ${{ matrix.n }} = bad ]; then exit 1; else exec sleep 600; fi
  single:
    runs-on: ubuntu-latest
    strategy: {fail-fast: false, max-parallel: 1, matrix: {n: [1, 2, 3]}}
    steps: [{run: 'exit ${{ matrix.n == 2 && 1 || 0 }}'}]
"""})

    async def main() -> None:
        await world.declare("shop/app")
        most = 0

        async with world.running() as daemon:
            def count(runs: list[dict[str, object]]) -> bool:
                nonlocal most
                for run in runs:
                    running = [name for name, phase in jobs_or_none(run).items() if name.startswith("single") and
                               phase == "Running"]
                    most = max(most, len(running))
                return bool(runs and runs[0].get("status", {}).get("finishedAt"))  # type: ignore[attr-defined]

            await daemon.until(count)
            [run] = await daemon.finished()
        assert most == 1
        assert jobs(run) == {"fast-1-bad": "Failed", "fast-2-slow": "Cancelled", "single-1-1": "Succeeded",
                             "single-2-2": "Failed", "single-3-3": "Succeeded"}
        assert run["status"]["phase"] == "Failed"

    asyncio.run(main())


def test_a_newer_run_of_a_concurrency_group_cancels_the_older_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
concurrency: {group: "ci-${{ github.ref }}", cancel-in-progress: true}
jobs:
  a:
    runs-on: ubuntu-latest
    steps: [{uses: actions/checkout@v4}, {run: 'if [ ! -e quick ]; then exec sleep 600; fi'}]
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            await daemon.until(lambda runs: runs and jobs_or_none(runs[0]).get("a") == "Running")
            world.push("shop/app", {"quick": ""})
            daemon.pushed("shop/app")
            runs = await daemon.finished(2)
        phases = {run["spec"]["sha"][:3]: run["status"]["phase"] for run in runs}
        assert sorted(phases.values()) == ["Cancelled", "Succeeded"]

    asyncio.run(main())


def test_a_job_calls_another_workflow_of_the_repository(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
env: {NOT_PASSED: x}
jobs:
  call:
    uses: ./.github/workflows/build.yml
    with: {who: Ada, times: 2}
  use:
    needs: call
    runs-on: ubuntu-latest
    steps: [{run: 'echo "got ${{ needs.call.outputs.text }}"'}]
  elsewhere:
    uses: shop/shared/.github/workflows/say.yml@main
  nowhere:
    uses: shop/unknown/.github/workflows/say.yml@v1
""", ".github/workflows/build.yml": """
on:
  workflow_call:
    inputs: {who: {type: string, required: true}, times: {type: number}}
    outputs: {text: {value: "${{ jobs.second.outputs.text }}"}}
jobs:
  first:
    runs-on: ubuntu-latest
    steps: [{run: 'test -z "$NOT_PASSED"'}]
  second:
    needs: first
    runs-on: ubuntu-latest
    outputs: {text: "${{ steps.s.outputs.t }}"}
    steps: [{id: s, run: 'echo "t=${{ inputs.who }} ${{ inputs.times + 0 == 2 }}" >> $GITHUB_OUTPUT'}]
""".replace(" + 0", "")})
    world.push("shop/shared", {
        ".github/workflows/say.yml": "on: workflow_call\njobs: {inner: {uses: ./.github/workflows/inner.yml}}\n",
        ".github/workflows/inner.yml":
            "on: workflow_call\njobs: {say: {runs-on: ubuntu-latest, steps: [{run: 'echo from ${{ github.repository }}'}]}}\n"})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert jobs(run) == {"call": "Succeeded", "use": "Succeeded", "elsewhere": "Succeeded", "nowhere": "Failed"}
        assert "got Ada true" in said(world, run, "use")
        assert [step["name"] for step in job(run, "call")["steps"]] == ["first", "second"]
        assert job(run, "nowhere")["message"].startswith("repository 'shop/unknown' is not here, or has no .github/workflows/"
                                                         "say.yml at 'v1': push it to the platform")
        assert "from shop/app" in said(world, run, "elsewhere..inner..say"), "a called workflow sees its caller's repository"
        assert "Job second" in log_of(world, run, "call..second")

    asyncio.run(main())


def test_a_call_that_cannot_be_made_is_refused_before_anything_runs(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.push("shop/app", {CI: """
on: push
jobs:
  first: {runs-on: ubuntu-latest, steps: [{run: echo ran}]}
  call: {uses: ./.github/workflows/build.yml, with: {whom: Ada}}
  gone: {uses: ./.github/workflows/gone.yml}
""", ".github/workflows/build.yml": """
on: {workflow_call: {inputs: {who: {type: string, required: true}}}}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: true}]}}
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert run["status"]["phase"] == "Failed" and not run["status"].get("jobs"), "nothing has run"
        assert run["status"]["message"].splitlines() == [
            f"{CI}:5:16: Input who is required, but not provided while calling: add it below `with`",
            f"{CI}:5:60: Invalid input, whom is not defined in the referenced workflow, which takes: who",
            f"{CI}:6:16: .github/workflows/gone.yml does not exist in this commit",
        ]

    asyncio.run(main())


def test_a_secret_in_a_steps_name_or_failure_does_not_reach_the_status(tmp_path: Path) -> None:
    world = World(tmp_path, PipelineSettings(places=4, secrets=lambda repository: {"TOKEN": "hunter2-hunter2"}))
    world.push("shop/app", {CI: """
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - name: Deploy as ${{ secrets.TOKEN }}
        run: "true"
      - run: ls
        working-directory: no/${{ secrets.TOKEN }}
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        first, second = job(run, "a")["steps"]
        assert first["name"] == "Deploy as ***"
        assert second["message"] == "working-directory 'no/***' does not exist in the work tree"
        assert "hunter2" not in str(run) and "hunter2" not in log_of(world, run, "a")

    asyncio.run(main())


def test_the_password_of_a_package_index_does_not_reach_a_log(tmp_path: Path) -> None:
    index = "https://ada:s%40crets@packages.example.com/simple"
    world = World(tmp_path, job_env={"PIP_INDEX_URL": index, "UV_PUBLISH_TOKEN": "tok-12345", "PIP_NO_INDEX": "1"})
    world.push("shop/app", {CI: """
on: push
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'echo "$PIP_INDEX_URL $UV_PUBLISH_TOKEN s@crets $PIP_NO_INDEX"'}]}}
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [run] = await daemon.finished()
        assert "https://ada:***@packages.example.com/simple *** *** 1" in said(world, run, "a")

    asyncio.run(main())


def test_a_run_that_waits_for_a_place_gets_that_of_a_deleted_one_and_what_that_called_ends(tmp_path: Path) -> None:
    world = World(tmp_path, PipelineSettings(places=1))
    world.push("shop/app", {CI: """
on: push
jobs:
  call:
    uses: ./.github/workflows/slow.yml
""", ".github/workflows/slow.yml": f"""
on: workflow_call
jobs:
  sleep:
    runs-on: ubuntu-latest
    steps: [{{run: 'echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; echo sleeping; exec sleep 600'}}]
"""})

    async def main() -> None:
        await world.declare("shop/app")
        async with world.running() as daemon:
            [first] = await daemon.until(lambda runs: runs if runs and jobs_or_none(runs[0]).get("call") == "Running" else None)
            world.push("shop/app", {CI: "on: push\njobs: {b: {runs-on: ubuntu-latest, steps: [{run: 'true'}]}}"})
            daemon.pushed("shop/app")
            await daemon.until(lambda runs: len(runs) == 2 and any(jobs_or_none(run).get("b") == "Pending" for run in runs))
            async with asyncio.timeout(30):
                while not (tmp_path / "pid").exists():  # noqa: ASYNC110 (another process makes it)
                    await asyncio.sleep(0.01)
            await world.api.delete(PIPELINE_RUNS, first["metadata"]["name"], "fairway")
            [second] = await daemon.finished()
            assert jobs(second) == {"b": "Succeeded"}
            assert not is_alive(int((tmp_path / "pid").read_text()))

    asyncio.run(main())
