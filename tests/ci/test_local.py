"""`fairway ci`: workflows from a working tree, which is not changed; logs over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import aiohttp
from aiohttp import web
from click.testing import CliRunner

from fairway.ci.logs import Standing, jobs_of, routes
from fairway.cli.ci import command
from fairway.state import StateDir

CI = """
name: Checks
on: [push, workflow_dispatch]
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: cat new.txt; git status --short; echo changed > new.txt; touch rubbish
  two:
    needs: one
    runs-on: ubuntu-latest
    steps: [{run: 'echo "${{ secrets.S }}"; exit ${{ vars.CODE || 0 }}'}]
"""


def working_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / ".github/workflows").mkdir(parents=True)
    (tree / ".github/workflows/ci.yml").write_text(CI)
    (tree / ".gitignore").write_text("ignored\n")
    (tree / "ignored").write_text("x")
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@example.com"]
    for argv in (["init", "-q", "-b", "topic"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *argv], cwd=tree, check=True)
    (tree / "new.txt").write_text("not committed\n")
    return tree


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def invoke(tmp_path: Path, *argv: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, [*argv], obj=StateDir(tmp_path / "state"), catch_exceptions=False)
    return result.exit_code, result.output


def test_run_sees_the_working_tree_and_leaves_it_alone(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    before = files_of(tree)
    code, output = invoke(tmp_path, "run", str(tree), "-s", "S=hunter2hunter2")
    assert code == 0, output
    assert "one │ not committed" in output
    assert "two │ ***" in output
    assert "hunter2" not in output
    assert files_of(tree) == before


def test_run_fails_with_its_jobs_and_says_it_as_json(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    code, output = invoke(tmp_path, "run", str(tree), "-v", "CODE=3", "-o", "json")
    assert code == 1
    [run] = json.loads(output)
    assert (run["workflow"], run["phase"]) == (".github/workflows/ci.yml", "Failed")
    assert [(job["id"], job["phase"]) for job in run["jobs"]] == [("one", "Succeeded"), ("two", "Failed")]


def test_a_linked_work_tree_with_tags_and_what_its_owner_excludes(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    (tree / ".git/info/exclude").write_text("scratch\n")
    (tree / ".github/workflows/ci.yml").write_text("""
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/checkout@v4, with: {fetch-depth: 0}}
      - run: git describe --tags; ls; git log --oneline | wc -l; git branch --all
""")
    for argv in (["tag", "v1.2"], ["worktree", "add", "-q", "-b", "other", "../linked"]):
        subprocess.run(["git", *argv], cwd=tree, check=True)
    linked = tmp_path / "linked"
    (linked / "scratch").write_text("x")
    (linked / ".github/workflows/ci.yml").write_text((tree / ".github/workflows/ci.yml").read_text())
    before = files_of(tree / ".git")
    code, output = invoke(tmp_path, "run", str(linked))
    assert code == 0, output
    said = [line.partition("│ ")[2] for line in output.splitlines()]
    assert any(line.startswith("v1.2-1-g") for line in said), "tags are there"
    assert "scratch" not in said and "ignored" not in said
    assert "2" in said and "* other" in said and "  remotes/origin/topic" in said
    assert files_of(tree / ".git") == before


def test_one_job_and_what_it_needs(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    _, output = invoke(tmp_path, "run", str(tree), "--job", "one", "-o", "json")
    assert [job["id"] for job in json.loads(output)[0]["jobs"]] == ["one"]
    code, output = invoke(tmp_path, "run", str(tree), "--job", "three")
    assert code == 2
    assert "has a job 'three'" in output


def test_an_event_that_starts_nothing_says_why(tmp_path: Path) -> None:
    code, output = invoke(tmp_path, "run", str(working_tree(tmp_path)), "--event", "release")
    assert code == 0
    assert "runs on push, workflow_dispatch, not on release" in output


def test_list_and_graph(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    code, output = invoke(tmp_path, "list", str(tree))
    assert code == 0
    assert ".github/workflows/ci.yml  Checks  push, workflow_dispatch  one, two" in output
    assert "  2  two  after one" in invoke(tmp_path, "graph", str(tree))[1]
    (tree / ".github/workflows/bad.yml").write_text(
        "on: push\njobs:\n  a: {runs-on: x, strategy: {matrix: {n: [1, 2, 3], exclude: [{n: 2}]}}, steps: []}\n"
        "  b: {runs-on: x, steps: [], needs: a}\n  c: {runs-on: x, steps: [], needs: [a, b]}\n")
    drawn = invoke(tmp_path, "graph", str(tree), "-w", "bad.yml", "-f", "mermaid")[1].splitlines()
    assert drawn[1:] == ['    j0["a (matrix of 2)"]', '    j1["b"]', '    j2["c"]', "    j0 --> j1", "    j1 --> j2"]
    (tree / ".github/workflows/bad.yml").write_text("on: push\njobs: {a: {}}\n")
    code, output = invoke(tmp_path, "list", str(tree))
    assert code == 1
    assert ".github/workflows/bad.yml:2:11: Required property is missing: runs-on" in output


def test_logs_over_http(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "r1" / "jobs" / "a" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("2026-01-01T00:00:00Z first\n")
    standing = {"r1": Standing(False, {})}

    async def main() -> None:
        app = web.Application()
        app.add_routes(routes(tmp_path, token="sesame", standing_of=standing.get))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}/logs/runs"
        try:
            async with aiohttp.ClientSession() as stranger, stranger.get(f"{base}/r1") as answer:
                assert answer.status == 401
            async with aiohttp.ClientSession(headers={"Authorization": "Bearer sesame"}) as session:
                async with session.get(f"{base}/r1") as answer:
                    assert await answer.text() == "=== a\n2026-01-01T00:00:00Z first\n"
                async with session.get(f"{base}/r1", params={"job": "a", "follow": "true"}) as answer:
                    assert await answer.content.readline() == b"2026-01-01T00:00:00Z first\n"
                    with log.open("a") as file:
                        file.write("2026-01-01T00:00:01Z second\n2026-01-01T00:00:02Z ##[end]\n")
                    standing["r1"] = Standing(True, {})
                    assert await answer.text() == "2026-01-01T00:00:01Z second\n"
                standing["r1"] = Standing(False, {"deploy": "waits for ada"})
                async with session.get(f"{base}/r1", params={"follow": "true"}) as answer:
                    assert await answer.content.readline() == b"=== a\n"
                    await answer.content.readuntil(b"second\n")
                    assert await answer.content.readuntil(b"approve r1\n") == \
                        b"=== deploy\n- ##[notice]waits for ada; answer it: fairway approve r1\n"
                    later = tmp_path / "runs" / "r1" / "jobs" / "z" / "log.txt"  # a job that waited for the other
                    later.parent.mkdir()
                    later.write_text("2026-01-01T00:00:03Z third\n")
                    standing["r1"] = Standing(True, {})
                    assert await answer.text() == "=== z\n2026-01-01T00:00:03Z third\n"
                standing["r1"] = Standing(False, {"deploy": "waits for ada"})
                async with session.get(f"{base}/r2") as answer:
                    assert answer.status == 404
                quiet = tmp_path / "runs" / "r1" / "jobs" / "b" / "log.txt"
                quiet.parent.mkdir()
                quiet.write_text("2026-01-01T00:00:00Z says nothing more\n")
                served = asyncio.all_tasks()
                async with session.get(f"{base}/r1", params={"job": "b", "follow": "true"}) as answer:
                    await answer.content.readline()
                    assert asyncio.all_tasks() - served, "somebody waits for more"
                    answer.close()  # the reader leaves
                async with asyncio.timeout(10):
                    while asyncio.all_tasks() - served:  # noqa: ASYNC110 (nobody is told)
                        await asyncio.sleep(0.01)
                async with session.get(f"{base}/r1", params={"job": "../.."}) as answer:
                    assert answer.status == 404
        finally:
            await runner.cleanup()

    asyncio.run(main())
    assert jobs_of(tmp_path, "r1") == ["a", "b", "z"]
