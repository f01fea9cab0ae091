"""One job's mapping to a `Job`. Pure; raises `RuleMistake` with the path of the mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.ci.gitlab.durations import DurationError, seconds
from fairway.ci.gitlab.merging import flat
from fairway.ci.gitlab.regexps import RegexpError, compile_re2
from fairway.ci.gitlab.rules import (
    RuleMistake,
    decode_allow_failure,
    decode_needs,
    decode_only,
    decode_rules,
    decode_variables,
)
from fairway.ci.gitlab.spec import (
    DEFAULT_TIMEOUT_S,
    WHENS,
    Artifacts,
    Cache,
    CacheWhen,
    Environment,
    Image,
    Include,
    Inherit,
    Job,
    Release,
    Retry,
    Service,
    Trigger,
)

DEFAULTS = frozenset({"after_script", "artifacts", "before_script", "cache", "hooks", "id_tokens", "image", "interruptible",
                      "retry", "services", "tags", "timeout"})
KEYWORDS = frozenset({
    *DEFAULTS, "allow_failure", "coverage", "dast_configuration", "dependencies", "environment", "except", "extends",
    "identity", "inherit", "inputs", "manual_confirmation", "needs", "only", "pages", "parallel", "publish", "release",
    "resource_group", "rules", "run", "script", "secrets", "stage", "start_in", "trigger", "variables", "when",
})
MOST_LEGS, MOST_RETRIES, MOST_CACHES, DEEPEST_SCRIPT, MOST_NEEDS = 200, 2, 4, 10, 50
_KEPT: dict[str, CacheWhen] = {"on_success": "on_success", "on_failure": "on_failure", "always": "always"}
_RETRY_WHEN = frozenset({
    "always", "unknown_failure", "script_failure", "api_failure", "stuck_or_timeout_failure", "runner_system_failure",
    "runner_unsupported", "stale_schedule", "job_execution_timeout", "archived_failure", "unmet_prerequisites",
    "scheduler_failure", "data_integrity_failure", "runner_provisioning_timeout",
})


def decode_job(name: str, body: Mapping[str, Any], defaults: Mapping[str, Any], *, where: str, line: int) -> Job:
    unknown = [key for key in body if key not in KEYWORDS]
    if unknown:
        raise RuleMistake(f"{name} does not know {unknown[0]!r}; the keywords of a job: {', '.join(sorted(KEYWORDS))}")
    own = {key: value for key, value in body.items() if value is not None}
    inherit = _inherit(own.get("inherit"), name)
    taken = {key: value for key, value in defaults.items() if inherit.default is True or
             (isinstance(inherit.default, tuple) and key in inherit.default)}
    if "trigger" in own:
        taken = {}
    job = {**taken, **own}
    _check_combinations(name, job)
    when = job.get("when", "on_success")
    if when not in WHENS:
        raise RuleMistake(f"{name}:when must be one of {', '.join(WHENS)}, not {when!r}")
    if when == "delayed" and "start_in" not in job:
        raise RuleMistake(f"{name}: `when: delayed` needs `start_in`")
    count, matrix = _parallel(job.get("parallel"), name)
    return Job(
        name=name, where=where, line=line,
        stage=_text(job.get("stage", "test"), f"{name}:stage"),
        script=_script(job.get("script"), f"{name}:script"),
        before_script=_script(job.get("before_script"), f"{name}:before_script"),
        after_script=_script(job.get("after_script"), f"{name}:after_script"),
        pre_get_sources=_script((job.get("hooks") or {}).get("pre_get_sources_script"), f"{name}:hooks"),
        image=_image(job.get("image"), f"{name}:image"),
        services=tuple(_service(entry, f"{name}:services") for entry in flat(job.get("services") or [])),
        variables=decode_variables(job.get("variables"), f"{name}:variables"),
        rules=decode_rules(job["rules"], f"{name}:rules") if "rules" in job else None,
        only=decode_only(job["only"], f"{name}:only") if "only" in job else None,
        exclude=decode_only(job["except"], f"{name}:except") if "except" in job else None,
        when=when,
        start_in_s=_seconds(job.get("start_in", 0), f"{name}:start_in"),
        allow_failure=decode_allow_failure(job["allow_failure"], name) if "allow_failure" in job else None,
        needs=_needs(job, name),
        dependencies=_texts(job["dependencies"], f"{name}:dependencies") if "dependencies" in job else None,
        artifacts=_artifacts(job.get("artifacts"), f"{name}:artifacts"),
        caches=_caches(job.get("cache"), f"{name}:cache"),
        environment=_environment(job.get("environment"), f"{name}:environment"),
        retry=_retry(job.get("retry"), f"{name}:retry"),
        timeout_s=_seconds(job["timeout"], f"{name}:timeout") if "timeout" in job else DEFAULT_TIMEOUT_S,
        interruptible=job.get("interruptible") is True,
        resource_group=str(job.get("resource_group") or ""),
        count=count, matrix=matrix,
        trigger=_trigger(job.get("trigger"), job, f"{name}:trigger") if "trigger" in job else None,
        coverage=_coverage(job.get("coverage"), f"{name}:coverage"),
        release=_release(job.get("release"), f"{name}:release"),
        tags=_texts(job.get("tags") or [], f"{name}:tags"),
        id_tokens={str(key): _audience(value, f"{name}:id_tokens:{key}")
                   for key, value in (job.get("id_tokens") or {}).items()},
        secrets=tuple(map(str, job.get("secrets") or ())),
        inherit=inherit,
    )


def _check_combinations(name: str, job: Mapping[str, Any]) -> None:
    if "run" in job:
        raise RuleMistake(f"{name}:run: CI functions cannot run here; write the steps as `script`")
    if "trigger" in job:
        extra = [key for key in ("script", "before_script", "after_script") if key in job]
        if extra:
            raise RuleMistake(f"{name}: `trigger` and `{extra[0]}` cannot stand together")
    elif "script" not in job:
        raise RuleMistake(f"{name} config should have either `script`, `trigger` or `run`: jobs without a script do nothing")
    elif all(line in ("", None) for line in flat(job["script"])):
        raise RuleMistake(f"{name}:script config can't be blank")
    if "rules" in job and ("only" in job or "except" in job):
        raise RuleMistake(f"{name}: `rules` cannot stand together with `only` or `except`")


def _needs(job: Mapping[str, Any], name: str) -> Any:
    if "needs" not in job:
        return None
    found = decode_needs(job["needs"], f"{name}:needs")
    if len(found) > MOST_NEEDS:
        raise RuleMistake(f"{name}:needs may have at most {MOST_NEEDS} entries")
    return found


def _text(value: Any, path: str) -> str:
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        raise RuleMistake(f"{path} should be a string")
    return str(value)


def _texts(value: Any, path: str) -> tuple[str, ...]:
    found = flat(value)
    if not all(isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in found):
        raise RuleMistake(f"{path} must be an array of strings")
    return tuple(map(str, found))


def _list(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise RuleMistake(f"{path} must be an array of strings")
    return _texts(value, path)


def _seconds(value: Any, path: str) -> float:
    try:
        return seconds(value)
    except DurationError as error:
        raise RuleMistake(f"{path} {error}") from None


def _script(value: Any, path: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if _depth(value) > DEEPEST_SCRIPT:
        raise RuleMistake(f"{path} config should be a string or a nested array of strings up to {DEEPEST_SCRIPT} levels deep")
    found = flat(value)
    if not all(isinstance(line, str) for line in found):
        bad = next(line for line in found if not isinstance(line, str))
        raise RuleMistake(f"{path} config should be a string or a nested array of strings; {bad!r} is "
                          f"{'a mapping: quote a line with `: ` in it' if isinstance(bad, dict) else 'no text'}")
    return tuple(found)


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _image(value: Any, path: str) -> Image:
    if value is None:
        return Image()
    if isinstance(value, str):
        return Image(value)
    if not isinstance(value, dict) or "name" not in value:
        raise RuleMistake(f"{path} must be a name, or a mapping with `name`")
    return Image(str(value["name"]), _texts(value.get("entrypoint") or [], f"{path}:entrypoint"))


def _service(value: Any, path: str) -> Service:
    if isinstance(value, str):
        return Service(value)
    if not isinstance(value, dict) or "name" not in value:
        raise RuleMistake(f"{path}: each service is a name, or a mapping with `name`")
    return Service(
        str(value["name"]), str(value.get("alias") or ""), _texts(value.get("entrypoint") or [], f"{path}:entrypoint"),
        _texts(value.get("command") or [], f"{path}:command"), decode_variables(value.get("variables"), f"{path}:variables"))


def _artifacts(value: Any, path: str) -> Artifacts:
    if value is None:
        return Artifacts()
    if not isinstance(value, dict):
        raise RuleMistake(f"{path} must be a mapping")
    known = ("paths", "exclude", "untracked", "when", "name", "expire_in", "expose_as", "reports", "public", "access")
    for key in value:
        if key not in known:
            raise RuleMistake(f"{path} does not know {key!r}; there are: {', '.join(known)}")
    expire = str(value.get("expire_in") or "")
    if expire and expire != "never":
        _seconds(expire, f"{path}:expire_in")
    return Artifacts(
        _list(value.get("paths") or [], f"{path}:paths"), _list(value.get("exclude") or [], f"{path}:exclude"),
        value.get("untracked") is True, _kept_when(value, path), str(value.get("name") or ""), expire,
        str(value.get("expose_as") or ""),
        _reports(value.get("reports"), f"{path}:reports"))


def _kept_when(value: Mapping[str, Any], path: str) -> CacheWhen:
    when = value.get("when") or "on_success"
    if not isinstance(when, str) or when not in _KEPT:
        raise RuleMistake(f"{path}:when must be one of {', '.join(_KEPT)}, not {when!r}")
    return _KEPT[when]


def _reports(value: Any, path: str) -> dict[str, tuple[str, ...]]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RuleMistake(f"{path} must be a mapping")
    found: dict[str, tuple[str, ...]] = {}
    for kind, entry in value.items():
        if kind == "coverage_report":
            if not isinstance(entry, dict) or "path" not in entry:
                raise RuleMistake(f"{path}:coverage_report needs coverage_format and path")
            entry = entry["path"]
        if not isinstance(entry, (str, list)) or not all(isinstance(item, str) for item in flat(entry)):
            raise RuleMistake(f"{path}:{kind} must be a path or an array of paths")
        found[str(kind)] = tuple(flat(entry))
    return found


def _caches(value: Any, path: str) -> tuple[Cache, ...]:
    if value is None:
        return ()
    entries = flat(value)
    if len(entries) > MOST_CACHES:
        raise RuleMistake(f"{path} may have at most {MOST_CACHES} entries")
    return tuple(_cache(entry, f"{path}[{number}]") for number, entry in enumerate(entries))


def _cache(value: Any, path: str) -> Cache:
    known = ("key", "paths", "policy", "when", "untracked", "unprotect", "fallback_keys")
    if not isinstance(value, dict) or not set(value) <= set(known):
        raise RuleMistake(f"{path} must be a mapping of {', '.join(known)}")
    policy = str(value.get("policy") or "pull-push")
    if policy not in ("pull-push", "pull", "push") and "$" not in policy:
        raise RuleMistake(f"{path}:policy must be pull-push, push or pull, not {policy!r}")
    key = value.get("key", "default")
    files: tuple[str, ...] = ()
    if isinstance(key, dict):
        files = _list(key.get("files") or key.get("files_commits") or [], f"{path}:key:files")
        if not files:
            raise RuleMistake(f"{path}:key: a mapping needs `files`")
        key = key.get("prefix") or ""
    return Cache(str(key), files, _list(value.get("fallback_keys") or [], f"{path}:fallback_keys"),
                 _list(value.get("paths") or [], f"{path}:paths"), value.get("untracked") is True, policy,
                 _kept_when(value, path))


def _environment(value: Any, path: str) -> Environment | None:
    if value is None:
        return None
    if isinstance(value, str):
        return Environment(value)
    if not isinstance(value, dict) or "name" not in value:
        raise RuleMistake(f"{path} must be a name, or a mapping with `name`")
    action = str(value.get("action") or "start")
    if action not in ("start", "prepare", "stop", "verify", "access"):
        raise RuleMistake(f"{path}:action must be start, prepare, stop, verify or access, not {action!r}")
    return Environment(str(value["name"]), str(value.get("url") or ""), action, str(value.get("on_stop") or ""),
                       str(value.get("deployment_tier") or ""), str(value.get("auto_stop_in") or ""))


def _retry(value: Any, path: str) -> Retry:
    if value is None:
        return Retry()
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"max": value}
    if not isinstance(value, dict) or not set(value) <= {"max", "when", "exit_codes"}:
        raise RuleMistake(f"{path} must be a number, or a mapping of max, when, exit_codes")
    most = value.get("max", 0)
    if not isinstance(most, int) or not 0 <= most <= MOST_RETRIES:
        raise RuleMistake(f"{path}:max must be 0, 1 or {MOST_RETRIES}")
    when = tuple(map(str, flat(value.get("when") or []))) or (() if "exit_codes" in value else ("always",))
    unknown = [reason for reason in when if reason not in _RETRY_WHEN]
    if unknown:
        raise RuleMistake(f"{path}:when does not know {unknown[0]!r}")
    return Retry(most, when, tuple(int(code) for code in flat(value.get("exit_codes") or [])))


def _parallel(value: Any, name: str) -> tuple[int, tuple[dict[str, tuple[str, ...]], ...]]:
    if value is None:
        return 0, ()
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_LEGS:
            raise RuleMistake(f"{name}:parallel must be between 1 and {MOST_LEGS}")
        return value, ()
    rows = value.get("matrix") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise RuleMistake(f"{name}:parallel must be a number, or `matrix` with a list of mappings")
    matrix = tuple({str(key): tuple(map(_cell, flat(values))) for key, values in row.items()} for row in rows)
    legs = 0
    for row in matrix:
        size = 1
        for values in row.values():
            size *= len(values)
        legs += size
    if not 1 <= legs <= MOST_LEGS:
        raise RuleMistake(f"{name}:parallel:matrix makes {legs} jobs; there may be 1 to {MOST_LEGS}")
    return 0, matrix


def _cell(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _trigger(value: Any, job: Mapping[str, Any], path: str) -> Trigger:
    if isinstance(value, str):
        return Trigger(project=value)
    if not isinstance(value, dict) or not ("include" in value or "project" in value):
        raise RuleMistake(f"{path} must be a project, or a mapping with `include` or `project`")
    includes = []
    for entry in flat(value.get("include") or []):
        if isinstance(entry, str):
            includes.append(Include(local=entry))
        elif isinstance(entry, dict) and "artifact" in entry:
            includes.append(Include(artifact=str(entry["artifact"]), job=str(entry.get("job") or "")))
        elif isinstance(entry, dict) and "local" in entry:
            includes.append(Include(local=str(entry["local"]), other={"inputs": entry.get("inputs") or {}}))
        elif isinstance(entry, dict):
            includes.append(Include(other=entry))
        else:
            raise RuleMistake(f"{path}:include: each entry is a path or a mapping")
    forward = value.get("forward") or {}
    return Trigger(tuple(includes), str(value.get("project") or ""), str(value.get("branch") or ""),
                   str(value.get("strategy") or ""), forward.get("yaml_variables") is not False,
                   forward.get("pipeline_variables") is True, {**(job.get("inputs") or {}), **(value.get("inputs") or {})})


def _coverage(value: Any, path: str) -> str:
    if value is None:
        return ""
    text = str(value)
    if len(text) < 3 or not text.startswith("/") or not text.endswith("/"):
        raise RuleMistake(f"{path} must be a regular expression between slashes, not {text!r}")
    try:
        compile_re2(text[1:-1])
    except RegexpError as error:
        raise RuleMistake(f"{path}: {error}") from None
    return text[1:-1]


def _release(value: Any, path: str) -> Release | None:
    if value is None:
        return None
    if not isinstance(value, dict) or "tag_name" not in value or "description" not in value:
        raise RuleMistake(f"{path} needs tag_name and description")
    return Release(str(value["tag_name"]), str(value["description"]), str(value.get("name") or ""),
                   str(value.get("ref") or ""), value.get("assets") or {})


def _audience(value: Any, path: str) -> tuple[str, ...]:
    if not isinstance(value, dict) or "aud" not in value:
        raise RuleMistake(f"{path} needs `aud`")
    return tuple(map(str, flat(value["aud"])))


def _inherit(value: Any, name: str) -> Inherit:
    if value is None:
        return Inherit()
    if not isinstance(value, dict):
        raise RuleMistake(f"{name}:inherit must be a mapping of default and variables")

    def chosen(key: str) -> bool | tuple[str, ...]:
        given = value.get(key, True)
        return given if isinstance(given, bool) else tuple(map(str, flat(given)))

    return Inherit(chosen("default"), chosen("variables"))
