"""Argo CD's behaviour as cases: health of live objects, order of a sync, retries, diffs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fairway.gitops import hooks, masking, rbac, strategies, tasks, windows
from fairway.gitops.compare import differing_fields, normalised
from fairway.gitops.health import built_in, kind_health, own_health
from fairway.gitops.retry import SelfHealBackoff
from fairway.gitops.spec import decode_retry
from fairway.gitops.tasks import Task
from fairway.kube.durations import parse_duration
from fairway.manifests import yaml
from tests.conformance.result import CaseResult

Case = dict[str, Any]
NOT_YET = "a room of a later version"


def suites(root: Path) -> dict[str, Callable[[], Iterable[CaseResult]]]:
    folder = root / "gitops"
    return {
        "gitops/health-builtin": lambda: _judged(_rows(folder / "health-builtin"), _health),
        "gitops/health-crd": lambda: _judged(_rows(folder / "health-crd"), _health_with_message),
        "gitops/ordering": lambda: _judged(_rows(folder / "ordering"), _ordering),
        "gitops/retry": lambda: _judged(_rows(folder / "retry"), _retry),
        "gitops/diff": lambda: _diff_cases(folder / "diff"),
        "gitops/windows": lambda: _judged(_rows(folder / "windows"), _windows),
        "gitops/rbac": lambda: _judged(_rows(folder / "rbac"), _rbac),
    }


def _rows(folder: Path) -> Iterator[Case]:
    for file in sorted(folder.rglob("*.jsonl")):
        for line in file.read_text().splitlines():
            if line.strip():
                yield json.loads(line)


def _judged(rows: Iterable[Case], answer: Callable[[Case], str]) -> Iterator[CaseResult]:
    for row in rows:
        try:
            reason = answer(row)
        except Exception as error:  # a defect of ours is this case's result, not the suite's end
            reason = f"{type(error).__name__}: {error}"
        yield CaseResult(row["id"], "failed" if reason else "passed", reason)


def _differs(found: object, wanted: object) -> str:
    return "" if found == wanted else f"{found!r} instead of {wanted!r}"


# --- health ---------------------------------------------------------------------------------------------------------


def _health(case: Case) -> str:
    found, want = own_health(case["object"], built_in), case["want"]  # these cases are judged without customisations
    if "message" in want and found is not None and found.message != want["message"]:
        return _differs(found.message, want["message"])
    return _differs(found.status if found else None, want["status"])


def _health_with_message(case: Case) -> str:
    found, want = kind_health(case["object"]), case["want"]
    if found is None:
        return f"no check for {case['object'].get('kind')}"
    return _differs((found.status, found.message), (want["status"], want.get("message") or ""))


# --- ordering ---------------------------------------------------------------------------------------------------------


def _task(row: Case) -> Task:
    return Task(row.get("phase") or "Sync", row.get("target"), row.get("live"))


def _ordering(case: Case) -> str:
    want, obj = case["want"], case.get("object") or {}
    match case["op"]:
        case "kind-order":
            return _differs(tasks.KIND_ORDER.get(case["kind"], 0), want)
        case "sort":
            return _sorted(case)
        case "phases":
            return _differs(set(hooks.phases_of(obj)), set(want or ()))
        case "is-hook":
            return _differs(hooks.is_hook(obj), want)
        case "skip":
            return _differs(hooks.is_skipped(obj), want)
        case "hook-types":
            return _differs(set(hooks.hook_types(obj)), set(want or ()))
        case "hook-type":
            return _differs(Task(case["phase"], obj, None).hook_type, want)
        case "delete-policies":
            return _differs(set(hooks.delete_policies(obj)), set(want or ()))
        case "helm-is-hook":
            return _differs(hooks.is_helm_hook(obj), want)
        case "helm-types":
            return _differs(set(hooks.helm_types(obj)), set(want or ()))
        case "helm-delete-policies":
            return _differs(set(hooks.helm_delete_policies(obj)), set(want or ()))
        case "helm-weight":
            return _differs(hooks.helm_weight(obj), want)
        case "has-delete-policy":
            return _differs(_task(case["task"]).has_delete_policy(case["policy"]), want)
        case "delete-on-completion":
            succeeded = case["task"].get("operationState") == "Succeeded"
            return _differs(_task(case["task"]).deleted_when(succeeded), want)
        case "delete-before-creation":
            return _differs(_task(case["task"]).deleted_before_creation(), want)
        case "wave":
            return _differs(_task(case["task"]).wave, want)
        case "task-set":
            return _task_set(case)
        case "prune-waves":
            found = tasks.prune_waves([Task("Sync", p["target"], p["live"]) for p in case["pairs"]],
                                      prune_last=case["prune_last"])
            return _differs({task.key.name: task.wave for task in found}, want["waves"])
        case "delete-batch":
            objects = [{"metadata": {"annotations": {hooks.SYNC_WAVE: wave}}} for wave in case["waves"]]
            found_waves = [o["metadata"]["annotations"][hooks.SYNC_WAVE] for o in tasks.delete_batch(objects)]
            return _differs(found_waves, want["delete"])
    return f"unknown question {case['op']!r}"


def _sorted(case: Case) -> str:
    given = [_task(row) for row in case["tasks"]]
    place = {id(task.obj): n for n, task in enumerate(given)}
    numbered = [Task(t.phase, t.target if t.target is not None else {}, t.live) for t in given]
    place = {id(task.target): n for n, task in enumerate(numbered)}
    found = tasks.order(numbered)
    if case["pull_forward"]:
        found = tasks.pull_forward(found)
    wrong = _differs([place[id(task.target)] for task in found], case["want"]["order"])
    placed = [[place[id(t.target)], t.phase, t.wave] for t in found]
    return wrong or next((f"{p} is not placed so" for p in case["want"].get("placed") or () if list(p) not in placed), "")


def _task_set(case: Case) -> str:
    found, want = [_task(row) for row in case["tasks"]], case["want"]
    answer = {"multiStep": tasks.is_multi_step(found)}
    if found:
        answer |= {"phase": found[0].phase, "wave": found[0].wave, "lastPhase": found[-1].phase, "lastWave": found[-1].wave}
    return _differs({key: answer.get(key) for key in want}, want)


# --- retry ------------------------------------------------------------------------------------------------------------


def _retry(case: Case) -> str:
    want = case["want"]
    if case["op"] == "next-retry":
        policy = decode_retry(case["retry"], "retry")
        assert policy is not None
        wait = policy.wait(case["retries"])
        return _differs(wait.total_seconds(), want["after_seconds"])
    backoff = case["backoff"]
    healing = SelfHealBackoff(_length(backoff.get("duration")), int(backoff.get("factor") or 1),
                              _length(backoff.get("cap")) or timedelta.max)
    now, ago = datetime(2030, 1, 1, tzinfo=UTC), case["finished_ago_seconds"]
    due = healing.due(case["attempts"], None if ago is None else now - timedelta(seconds=ago), now)
    remaining = max((due - now).total_seconds(), 0) if due is not None else 0.0
    if abs(remaining - want["remaining_seconds"]) > 1:
        return _differs(remaining, want["remaining_seconds"])
    return _differs(remaining <= 0, want["heal_now"])


def _length(text: Any) -> timedelta:
    return parse_duration(text) if isinstance(text, str) else timedelta(seconds=float(text or 0))


# --- windows and access -----------------------------------------------------------------------------------------------


def _windows(case: Case) -> str:
    want = case["want"]
    try:
        found = _window_answer(case)
    except windows.InvalidWindow as error:
        missing = [part for part in want.get("error_has") or () if part not in f"invalid sync windows: {error}"]
        if not want.get("error"):
            return f"an error: {error}"
        return f"{error} does not say {missing}" if missing else ""
    if want.get("error"):
        return "no error"
    return _differs({key: found[key] for key in want if key in found}, {k: v for k, v in want.items() if k in found})


def _window_answer(case: Case) -> dict[str, Any]:
    now = datetime.fromisoformat(case["now"].replace("Z", "+00:00")).astimezone(UTC) if "now" in case else datetime.now(UTC)
    given = [windows.decode_window(window) for window in case.get("windows") or ()]
    one = windows.decode_window(case.get("window") or {})
    match case["op"]:
        case "active" | "inactive-allows":
            chosen = (windows.active if case["op"] == "active" else windows.inactive_allows)(given, now)
            return {"count": len(chosen), "index": given.index(chosen[0]) if len(chosen) == 1 else None}
        case "window-active":
            return {"value": one.active(now)}
        case "can-sync":
            began = case.get("operation_start")
            started = datetime.fromisoformat(began.replace("Z", "+00:00")).astimezone(UTC) if began else None
            return {"value": windows.can_sync(given, manual=case["manual"], now=now, started=started)}
        case "matches":
            app = case["app"]
            return {"count": sum(w.applies_to(app["name"], app["namespace"], app["server"], app["cluster"]) for w in given)}
        case "has-deny":
            value, manual = windows.has_deny(given)
            return {"value": value, "manual": manual}
        case "has-allow":
            return {"value": windows.has_allow(given)}
        case "deny-allows-overrun":
            return {"value": windows.denies_allow_overrun(given)}
        case "validate":
            one.check()
        case "add":
            windows.may_be_added(one)
    return {}


def _rbac(case: Case) -> str:
    given, want = case.get("policy"), case["want"]
    if case["op"] == "enforce":
        return _differs(_allowed(given, *case["request"]), want["allowed"])
    try:
        (rbac.parse if case["op"] == "validate" else rbac.parse_line)(given if case["op"] == "validate" else case["line"])
    except rbac.InvalidPolicy:
        return _differs(False, want["valid"])
    return _differs(True, want["valid"])


def _allowed(given: dict[str, Any], subject: str | None, resource: str, action: str, obj: str) -> bool:
    policy = rbac.Policy()
    for part in ("builtin", "user", "runtime"):
        text = given.get(part) or ""
        with suppress(rbac.InvalidPolicy):  # a project's bad policy counts for nothing
            policy += rbac.BUILTIN if text == "argocd" else rbac.parse(text)
    enforcer = rbac.Enforcer(policy, given.get("default_role") or "", given["match_mode"], given["enabled"])
    return enforcer.allows(subject, resource, action, obj)


# --- diff -------------------------------------------------------------------------------------------------------------


def _diff_cases(folder: Path) -> Iterator[CaseResult]:
    for case_file in sorted(folder.glob("*/case.yaml")):
        case = yaml.load(case_file.read_text(), str(case_file))
        yield next(iter(_judged([{**case, "folder": case_file.parent}], _diff)))


def _diff(case: Case) -> str:
    folder = case["folder"]
    config, live = (yaml.load(file.read_text()) if (file := folder / name).exists() else None
                    for name in ("config.yaml", "live.yaml"))
    match case["strategy"]:
        case "hide-secret":
            target, hidden = masking.masked(config, live, case.get("hide_annotations") or ())
            found = {name: side["data"] for name, side in (("target", target), ("live", hidden)) if side and side.get("data")}
            return _differs(found, {name: data for name, data in case["want"].items() if data})
        case "server-side":
            answer = folder / "predicted-live.json"  # absent: no webhook changed what was applied
            predicted = json.loads(answer.read_text()) if answer.exists() else {**live, **config}
            return _differs(bool(differing_fields(normalised(live), normalised(predicted))), case["modified"])
        case "structured-merge":
            return _differs(bool(strategies.structured_merge(config, live, "argocd-controller")), case["modified"])
    ignore = bool((case.get("options") or {}).get("ignoreAggregatedRoles"))
    return _differs(bool(strategies.three_way(config, live, ignore_aggregated=ignore)), case["modified"])
