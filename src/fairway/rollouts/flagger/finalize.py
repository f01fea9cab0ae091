"""A Canary that goes: its target gets its pods back, the users' Service leads to it again (`revertOnDeletion`).

Without `revertOnDeletion` the API's garbage collection takes primary and Services with the Canary, as upstream documents; the
target stays as it is, scaled to nothing.
"""

from __future__ import annotations

from datetime import datetime

from fairway.kube.api import JsonPatch
from fairway.kube.decision import Action, Change
from fairway.kube.objects import Obj, is_controlled_by, meta_of, spec_of
from fairway.kube.resources import CANARIES
from fairway.rollouts.flagger.ready import readiness
from fairway.rollouts.flagger.seen import Seen
from fairway.rollouts.flagger.services import point_apex
from fairway.rollouts.flagger.spec import CanarySpec
from fairway.rollouts.flagger.workload import from_nothing, selector_label

FINALIZER = "finalizer.flagger.app"


def wants_finalizer(canary: Obj, spec: CanarySpec) -> Action | None:
    """Added while `revertOnDeletion` is set, taken away when it no longer is."""
    present = list(meta_of(canary).get("finalizers") or ())
    if spec.revert_on_deletion and FINALIZER not in present:
        return _finalizers(spec, [*present, FINALIZER])
    if not spec.revert_on_deletion and FINALIZER in present:
        return _finalizers(spec, [f for f in present if f != FINALIZER])
    return None


def revert(seen: Seen, spec: CanarySpec, now: datetime) -> tuple[tuple[Action, ...], str]:
    """What to do now, and what is waited for ("" where it is done and the Canary may go)."""
    target = seen.target
    let_go = _finalizers(spec, [f for f in meta_of(seen.canary).get("finalizers") or () if f != FINALIZER])
    if target is None or target["kind"] == "Service":
        return (let_go,), ""
    replicas = int(spec_of(seen.primary).get("replicas") or 1) if seen.primary is not None else 1
    up = from_nothing(spec, target, replicas)
    if up is not None:
        return (up,), "the target gets its pods back"
    waits = readiness(target, spec, 100, None, now)
    if waits.waits and not waits.hopeless:
        return (), waits.waits
    label, value = selector_label(target, spec)
    apex = seen.services.get(spec.apex)
    actions: list[Action] = []
    if apex is not None and not is_controlled_by(apex, seen.canary) and spec_of(apex).get("selector") != {label: value}:
        actions.append(point_apex(spec, label, value))
    return (*actions, let_go), ""


def _finalizers(spec: CanarySpec, names: list[str]) -> Change:
    return Change(CANARIES, spec.namespace, spec.name,
                  JsonPatch([{"op": "add", "path": "/metadata/finalizers", "value": names}]))
