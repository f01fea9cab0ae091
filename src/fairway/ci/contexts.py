"""Which contexts and functions an expression may use, by the key under which it stands. Facts, no logic.

A job's condition may not read `env`, `matrix` or `secrets`, because it is decided before the job has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.ci.expressions import GLOBAL, Arity, names_of

_STATUS_OF_JOB = {"always": Arity(0, 0), "cancelled": Arity(0, 0), "failure": Arity(0, 255), "success": Arity(0, 255)}
_STATUS_OF_STEP = {"always": Arity(0, 0), "cancelled": Arity(0, 0), "failure": Arity(0, 0), "success": Arity(0, 0)}
_HASH_FILES = {"hashfiles": Arity(1, 255)}

STATUS_FUNCTIONS = frozenset(_STATUS_OF_JOB)


@dataclass(frozen=True, slots=True)
class Availability:
    names: frozenset[str]
    functions: tuple[tuple[str, Arity], ...]


def _available(names: str, **functions: Arity) -> Availability:
    known = {**{name: f.arity for name, f in GLOBAL.items()}, **functions}
    return Availability(names_of(*names.split()), tuple(sorted(known.items())))


_ALL = "github inputs vars needs strategy matrix steps job runner env secrets"

WORKFLOW = _available("github inputs vars")
WORKFLOW_ENV = _available("github inputs vars secrets")
JOB_IF = _available("github inputs vars needs", **_STATUS_OF_JOB)
STRATEGY = _available("github inputs vars needs")
JOB = _available("github inputs vars needs strategy matrix")
JOB_ENV = _available("github inputs vars needs strategy matrix secrets")
JOB_DEFAULTS = _available("github inputs vars needs strategy matrix env")
CREDENTIALS = _available("github inputs vars secrets env")
CONTAINER_ENV = _available("github inputs vars needs strategy matrix secrets env job runner")
ENVIRONMENT_URL = _available("github inputs vars needs strategy matrix steps job runner env")
STEP_IF = _available("github inputs vars needs strategy matrix steps job runner env", **_STATUS_OF_STEP, **_HASH_FILES)
STEP = _available(_ALL, **_HASH_FILES)
JOB_OUTPUTS = _available(_ALL)
CALL_OUTPUTS = _available("github inputs vars jobs")
ACTION = _available("github inputs strategy matrix steps job runner env", **_HASH_FILES)
ACTION_IF = _available("github inputs strategy matrix steps job runner env", **_STATUS_OF_STEP, **_HASH_FILES)
