"""What happens next in a pipeline, as a pure function."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from fairway.ci.course import Answer, Look, RunDecision
from fairway.ci.gitlab.decide import Seen, decide, first_rows
from fairway.ci.states import Phase, from_status, to_status
from tests.ci.gitlab.test_plan import pipeline

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Run:
    def __init__(self, text: str, *, attended: bool = True, overtaken: bool = False) -> None:
        self.pipeline = pipeline(text)
        self.look = Look(first_rows(self.pipeline), free=8, overtaken=overtaken)
        self.attended = attended
        self.now = NOW

    def decide(self) -> RunDecision:
        decision = decide(Seen(self.pipeline, self.look, attended=self.attended), self.now)
        rows = tuple(from_status(to_status(row)) for row in decision.rows)  # as it goes through the API
        self.look = replace(self.look, rows=rows, alive=self.look.alive | {*decision.start})
        return decision

    def started(self) -> list[str]:
        started = self.decide().start
        return [row.name for row in self.look.rows if row.id in started]

    def end(self, name: str, phase: Phase = "Succeeded", code: int = 0, failure: str = "") -> None:
        rows = tuple(replace(row, phase=phase, exit_code=code, failure=failure or ("script_failure" if code else ""),
                             finished_at=self.now) if row.name == name else row for row in self.look.rows)
        gone = {row.id for row in rows if row.name == name}
        self.look = replace(self.look, rows=rows, alive=self.look.alive - gone)

    def answer(self, name: str, approved: bool) -> None:
        row = next(row for row in self.look.rows if row.name == name)
        self.look = replace(self.look, answers={**self.look.answers, row.id: Answer(approved, "ada")})

    def phases(self) -> dict[str, str]:
        return {row.name: row.phase for row in self.look.rows}


def test_stages_wait_for_each_other_and_needs_do_not() -> None:
    run = Run("b: {stage: build, script: x}\nslow: {stage: build, script: x}\nt: {script: x}\n"
              "early: {script: x, needs: [b]}\nlone: {stage: deploy, script: x, needs: []}")
    assert run.started() == ["b", "slow", "lone"]
    run.end("b")
    assert run.started() == ["early"]
    run.end("slow")
    assert run.started() == ["t"]


def test_when_says_which_status_starts_a_job() -> None:
    run = Run("b: {stage: build, script: x}\nok: {script: x}\nbad: {script: x, when: on_failure}\n"
              "any: {script: x, when: always}\nafter: {stage: deploy, script: x, needs: [ok]}")
    run.started()
    run.end("b", "Failed", 1)
    assert run.started() == ["bad", "any"]
    run.end("bad")
    run.end("any")
    decision = run.decide()
    assert (decision.phase, decision.message) == ("Failed", "job 'b' failed")
    assert (run.phases()["ok"], run.phases()["after"]) == ("Skipped", "Skipped")


def test_a_failure_that_is_allowed_is_a_warning() -> None:
    run = Run("b: {stage: build, script: x, allow_failure: {exit_codes: [7]}}\nt: {script: x}")
    run.started()
    run.end("b", "Failed", 7)
    assert run.started() == ["t"]
    run.end("t")
    assert run.decide().message == "passed with warnings: b failed and may"
    other = Run("b: {stage: build, script: x, allow_failure: {exit_codes: [7]}}\nt: {script: x}")
    other.started()
    other.end("b", "Failed", 1)
    assert other.decide().phase == "Failed"


def test_retry_tries_again_for_the_listed_reasons_only() -> None:
    run = Run("a: {script: x, retry: {max: 1, when: [job_execution_timeout], exit_codes: [5]}}")
    assert run.started() == ["a"]
    run.end("a", "Failed", 5)
    assert run.started() == ["a"]
    run.end("a", "Failed", 5)
    assert run.decide().phase == "Failed"
    other = Run("a: {script: x, retry: {max: 2, when: [job_execution_timeout]}}")
    other.started()
    other.end("a", "Failed", 1)
    assert other.decide().phase == "Failed"


def test_manual_jobs_wait_for_a_person_and_hold_up_what_they_block() -> None:
    run = Run("gate: {stage: build, script: x, rules: [{when: manual}]}\nt: {script: x}\nextra: {script: x, when: manual}")
    assert run.started() == []
    assert run.phases() == {"gate": "Waiting", "t": "Pending", "extra": "Pending"}
    assert run.decide().message == "waits for manual job gate"
    run.answer("gate", True)
    assert run.started() == ["gate"]
    run.end("gate")
    assert run.started() == ["t"]
    run.end("t")
    assert run.decide().phase == "Succeeded"  # an optional manual job keeps nothing open
    run.answer("extra", True)
    assert run.started() == ["extra"]
    assert run.decide().phase == "Running"


def test_a_refused_manual_job_is_skipped_and_one_that_nobody_can_start_is_left_out() -> None:
    run = Run("gate: {stage: build, script: x, rules: [{when: manual}]}\nt: {script: x}")
    run.decide()
    run.answer("gate", False)
    run.decide()
    assert run.phases()["gate"] == "Skipped"
    alone = Run("gate: {stage: build, script: x, rules: [{when: manual}]}\nt: {script: x}", attended=False)
    assert alone.started() == ["t"]


def test_delayed_jobs_wake_when_their_time_has_come() -> None:
    run = Run("a: {script: x, when: delayed, start_in: 30 minutes}")
    decision = run.decide()
    assert (decision.start, decision.wake_at) == ((), NOW + timedelta(minutes=30))
    run.now = NOW + timedelta(minutes=30)
    assert run.started() == ["a"]


def test_one_job_of_a_resource_group_at_a_time() -> None:
    run = Run("a: {script: x, resource_group: prod}\nb: {script: x, resource_group: PROD}")
    assert run.started() == ["a"]
    run.end("a")
    assert run.started() == ["b"]


def test_a_newer_pipeline_ends_one_that_may_be_interrupted() -> None:
    text = "a: {script: x, interruptible: true}\nb: {stage: deploy, script: x}"
    run = Run(text, overtaken=False)
    run.started()
    run.look = replace(run.look, overtaken=True)
    assert len(run.decide().cancel) == 1
    kept = Run("a: {script: x}\nb: {stage: deploy, script: x}")
    kept.started()
    kept.look = replace(kept.look, overtaken=True)
    assert kept.decide().cancel == ()


def test_a_job_that_was_lost_with_its_process_runs_again() -> None:
    run = Run("a: {script: x}")
    run.started()
    run.look = replace(run.look, alive=frozenset())
    assert run.started() == ["a"]
    assert run.look.rows[0].attempt == 2
