"""The configuration as one YAML document: includes, `extends`, references and defaults in place. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.ci.gitlab.decoding import resolved
from fairway.ci.gitlab.includes import Whole
from fairway.ci.gitlab.job_decoding import DEFAULTS
from fairway.ci.gitlab.merging import flat
from fairway.ci.gitlab.spec import Configuration

_NOT_JOBS = ("default", "stages", "variables", "workflow", "image", "services", "cache", "before_script", "after_script")
_LISTS = ("script", "before_script", "after_script", "needs", "rules", "cache")


def preview(whole: Whole, configuration: Configuration) -> dict[str, Any]:
    config = resolved(whole, configuration.path)
    defaults = {**{key: config[key] for key in _NOT_JOBS[4:] if key in config}, **(config.get("default") or {})}
    found: dict[str, Any] = {"stages": list(configuration.stages)}
    for key in ("workflow", "variables"):
        if config.get(key) is not None:
            found[key] = config[key]
    for name in configuration.jobs:
        found[name] = _job(config[name], defaults)
    return found


def _job(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    inherit = (body.get("inherit") or {}).get("default", True)
    taken = {key: value for key, value in defaults.items() if key in DEFAULTS and
             (inherit is True or (isinstance(inherit, list) and key in inherit)) and "trigger" not in body}
    job = {**taken, **{key: value for key, value in body.items() if value is not None and key not in ("extends", "inherit")}}
    for key in _LISTS:
        if key in job:
            job[key] = flat(job[key])
    if "needs" in job:
        job["needs"] = [_need(entry) for entry in job["needs"]]
    return job


def _need(entry: Any) -> Any:
    if isinstance(entry, str):
        return {"job": entry, "artifacts": True, "optional": False}
    if not isinstance(entry, dict):
        return entry
    return {"artifacts": True, "optional": False, **entry}
