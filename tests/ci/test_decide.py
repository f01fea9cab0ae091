"""What happens next in a run, as a pure function."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fairway.ci.course import Look, RunDecision
from fairway.ci.decide import Seen, decide
from fairway.ci.plan import first_rows
from fairway.ci.spec import Workflow
from fairway.ci.states import JobRow, Phase, from_status, to_status
from fairway.ci.workflow import decode_workflow

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def workflow(jobs: str) -> Workflow:
    return decode_workflow("on: push\njobs:\n" + "".join(f"  {line}\n" for line in jobs.strip().splitlines()), "ci.yml")


def job(name: str, more: str = "") -> str:
    return f"{name}: {{runs-on: ubuntu-latest, steps: [{{run: x}}]{', ' + more if more else ''}}}\n"


class Run:
    """A run that is decided again and again while its jobs end as the test says."""

    def __init__(self, text: str, *, free: int = 8, busy: frozenset[str] = frozenset()) -> None:
        self.seen = Seen(workflow(text), Look((), free=free, busy_groups=busy), {"github": {}, "inputs": {}, "vars": {}})
        self.rows: tuple[JobRow, ...] = first_rows(self.seen.workflow)
        self.alive: set[str] = set()
        self.cancelled = False

    def look(self) -> RunDecision:
        look = replace(self.seen.look, rows=self.rows, alive=frozenset(self.alive), cancel=self.cancelled,
                       free=self.seen.look.free - len(self.alive))
        decision = decide(replace(self.seen, look=look), NOW)
        again = replace(look, rows=decision.rows, alive=look.alive | {*decision.start}, free=look.free - len(decision.start))
        assert decide(replace(self.seen, look=again), NOW).start == ()
        self.rows = decision.rows
        self.alive |= {*decision.start}
        return decision

    def end(self, leg: str, phase: Phase = "Succeeded", **outputs: str) -> RunDecision:
        self.alive.discard(leg)
        self.rows = tuple(replace(row, phase=phase, outputs=outputs, finished_at=NOW) if row.id == leg else row
                          for row in self.rows)
        return self.look()

    def phases(self) -> dict[str, str]:
        return {row.id: row.phase for row in self.rows}


def test_each_job_starts_when_its_own_needs_are_done() -> None:
    run = Run(job("a") + job("b") + job("c", "needs: a") + job("d", "needs: [b, c]"))
    assert run.look().start == ("a", "b")
    assert run.end("a").start == ("c",)
    assert run.end("c").start == ()
    assert [reason.message for reason in run.look().reasons] == ["d waits for b"]
    assert run.end("b").start == ("d",)
    assert run.end("d").phase == "Succeeded"


def test_what_waits_is_said_once() -> None:
    run = Run(job("a") + job("b", "needs: a") + job("c", "needs: b") + job("d", "needs: c"))
    run.look()
    assert [reason.message for reason in run.end("a", "Failed").reasons] == []
    run = Run(job("a") + job("b", "needs: a") + job("c", "needs: b"))
    assert [reason.message for reason in run.look().reasons] == ["b waits for a", "c waits for b"]


def test_a_failure_or_a_skip_is_passed_on_unless_the_if_says_otherwise() -> None:
    run = Run(job("a") + job("b", "needs: a") + job("c", "needs: b, if: always()") + job("d", "needs: c")
              + job("e", "needs: [a], if: failure()"))
    run.look()
    decision = run.end("a", "Failed")
    assert decision.start == ("c", "e")
    run.end("e")
    assert run.end("c").phase == "Failed"
    assert run.phases() == {"a": "Failed", "b": "Skipped", "c": "Succeeded", "d": "Skipped", "e": "Succeeded"}


def test_an_allowed_failure_counts_as_success() -> None:
    run = Run(job("a", "continue-on-error: true") + job("b", "needs: a, if: needs.a.result == 'success'"))
    run.look()
    assert run.end("a", "Failed").start == ("b",)
    assert run.end("b").phase == "Succeeded"


def test_a_matrix_from_the_outputs_of_a_need() -> None:
    run = Run(job("plan") + job("legs", "needs: plan, name: 'leg ${{ matrix.n }}', strategy: {matrix: "
                                "'${{ fromJSON(needs.plan.outputs.m) }}'}"))
    run.look()
    decision = run.end("plan", m='{"n": ["x", "y/z"]}')
    assert decision.start == ("legs-1-x", "legs-2-y-z")
    assert [row.name for row in decision.rows] == ["plan", "leg x", "leg y/z"]


def test_a_matrix_that_cannot_be_expanded_fails_the_job_with_its_line() -> None:
    run = Run(job("a", "strategy: {matrix: '${{ fromJSON(vars.nothing) }}'}"))
    decision = run.look()
    assert decision.phase == "Failed"
    assert "line 3: Error parsing fromJson" in decision.message


def test_fail_fast_spares_those_that_are_done_and_cancels_those_that_wait() -> None:
    run = Run(job("m", "strategy: {max-parallel: 2, matrix: {n: [1, 2, 3, 4]}}"))
    assert run.look().start == ("m-1-1", "m-2-2")
    assert run.end("m-1-1").start == ("m-3-3",)
    decision = run.end("m-2-2", "Failed")
    assert (decision.start, decision.cancel) == ((), ("m-3-3",))
    assert run.end("m-3-3", "Cancelled").phase == "Failed"
    assert run.phases() == {"m-1-1": "Succeeded", "m-2-2": "Failed", "m-3-3": "Cancelled", "m-4-4": "Cancelled"}


def test_places_and_concurrency_groups_hold_jobs_back() -> None:
    run = Run(job("a") + job("b") + job("c"), free=2)
    assert run.look().start == ("a", "b")
    assert run.end("a").start == ("c",)
    held = Run(job("a", "concurrency: Deploy"), busy=frozenset({"deploy"})).look()
    assert held.start == ()
    assert held.reasons[0].code == "WaitingForConcurrencyGroup"
    two = Run(job("a", "concurrency: g") + job("b", "concurrency: g"))
    assert two.look().start == ("a",)
    assert two.end("a").start == ("b",)


def test_a_leg_that_nobody_runs_any_more_starts_again() -> None:
    run = Run(job("a") + job("b"))
    run.look()
    run.end("b")
    run.alive.clear()
    decision = run.look()
    assert decision.start == ("a",)
    assert [row.attempt for row in decision.rows] == [2, 1]


def test_a_cancelled_run_stops_what_runs_and_starts_only_what_is_always_to_be_done() -> None:
    run = Run(job("a") + job("b", "needs: a") + job("tidy", "needs: a, if: always()"))
    run.look()
    run.cancelled = True
    assert run.look().cancel == ("a",)
    decision = run.end("a", "Cancelled")
    assert decision.start == ("tidy",)
    assert run.look().cancel == ()
    assert run.end("tidy").phase == "Cancelled"
    assert run.phases() == {"a": "Cancelled", "b": "Cancelled", "tidy": "Succeeded"}


def test_rows_survive_the_status() -> None:
    run = Run(job("m", "strategy: {matrix: {n: [1, {a: b}]}}, continue-on-error: true, concurrency: g"))
    run.look()
    run.end("m-1-1", "Failed", x="1")
    rows = tuple(replace(row, started_at=NOW + timedelta(milliseconds=5), images=({"name": "i", "digest": "d"},))
                 for row in run.rows)
    assert tuple(from_status(to_status(row)) for row in rows) == rows
