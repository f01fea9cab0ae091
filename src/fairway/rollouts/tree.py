"""A Rollout as people look at it: its numbers, and the tree of what belongs to it, as `kubectl argo rollouts get` draws it.

Pure: objects in, lines out. Source: argo-rollouts `pkg/kubectl-argo-rollouts/info`, `viewcontroller`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fairway.kube.objects import Obj, annotations_of, dig, is_deleting, labels_of, meta_of, parse_time, spec_of, status_of
from fairway.rollouts.experiment_pods import TEMPLATE_NAME
from fairway.rollouts.keys import HASH_LABEL, REVISION, SCALE_DOWN_DEADLINE
from fairway.rollouts.spec import decode_rollout
from fairway.rollouts.status import Status, read_status
from fairway.rollouts.steps import weight_asked

ICONS = {"Healthy": "✔", "Successful": "✔", "Completed": "✔", "Degraded": "✖", "Failed": "✖", "Error": "⚠",
         "InvalidSpec": "⚠", "Paused": "॥", "Progressing": "◌", "Running": "◌", "Pending": "◷", "ScaledDown": "•",
         "Inconclusive": "?", "Unknown": "?"}  # fmt: skip
POD_ICONS = {"Running": "✔", "Pending": "◌", "ContainerCreating": "◌", "PodInitializing": "◌", "Terminating": "◌"}


@dataclass(frozen=True, slots=True)
class Node:
    icon: str
    name: str
    kind: str = ""
    status: str = ""
    born: datetime | None = None
    info: str = ""
    children: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that the tree shows, gathered by whoever can read objects: what the Rollout owns, what its Experiments own,
    and the Jobs of AnalysisRuns."""

    rollout: Obj
    replica_sets: Sequence[Obj] = ()
    pods: Sequence[Obj] = ()
    runs: Sequence[Obj] = field(default=())
    experiments: Sequence[Obj] = ()
    jobs: Sequence[Obj] = ()


def with_icon(status: str, kind: str = "") -> str:
    """A pod that runs is well; anything else that runs is still on its way."""
    icon = POD_ICONS.get(status) if kind == "Pod" else None
    return f"{icon or ICONS.get(status, '✖')} {status}" if status else ""


def facts(picture: Picture) -> list[tuple[str, str]]:
    """Name and value of each line above the tree; names are indented as they are printed."""
    rollout, status = picture.rollout, status_of(picture.rollout)
    spec, stand = decode_rollout(rollout), read_status(rollout)
    phase, message = phase_shown(rollout)
    found = [("Name:", str(meta_of(rollout).get("name", ""))), ("Namespace:", str(meta_of(rollout).get("namespace", ""))),
             ("Status:", with_icon(phase))]
    found += [("Message:", message)] if message else []
    found.append(("Strategy:", "Canary" if spec.canary else "BlueGreen"))
    if spec.canary is not None:
        count = len(spec.canary.steps)
        index = stand.step_index if stand.step_index is not None else 0
        asked = spec.canary.max_weight if stand.promoted and stand.stable_hash else weight_asked(spec.canary, stand)
        found += [("  Step:", f"{index}/{count}")] if count else []
        found += [("  SetWeight:", str(asked)), ("  ActualWeight:", _actual(picture, asked))]
    images = _images((*picture.replica_sets, *_all_owned(picture.replica_sets, picture.experiments)), stand)
    found += [("Images:" if i == 0 else "", line) for i, line in enumerate(images)]
    found.append(("Replicas:", ""))
    counts = (("Desired", spec.replicas), ("Current", status.get("replicas", 0)), ("Updated", status.get("updatedReplicas", 0)),
              ("Ready", status.get("readyReplicas", 0)), ("Available", status.get("availableReplicas", 0)))
    return [*found, *((f"  {name}:", str(value)) for name, value in counts)]


def experiment_facts(picture: Picture, experiment: Obj) -> list[tuple[str, str]]:
    """The same for an Experiment."""
    meta, status = meta_of(experiment), status_of(experiment)
    found = [("Name:", str(meta.get("name", ""))), ("Namespace:", str(meta.get("namespace", ""))),
             ("Status:", with_icon(str(status.get("phase") or "Pending")))]
    found += [("Message:", str(status["message"]))] if status.get("message") else []
    found += [("Duration:", str(spec_of(experiment)["duration"]))] if spec_of(experiment).get("duration") else []
    images = _images(_owned_by(picture.replica_sets, experiment), Status())
    return [*found, *(("Images:" if i == 0 else "", image) for i, image in enumerate(images))]


def phase_shown(rollout: Obj) -> tuple[str, str]:
    """Phase and message as a client has to read them: what the controller has not seen yet is in progress."""
    status = status_of(rollout)
    generation, observed = meta_of(rollout).get("generation"), str(status.get("observedGeneration") or "")
    if observed.isdigit() and generation is not None and int(observed) < generation:
        return "Progressing", "waiting for rollout spec update to be observed"
    if status.get("controllerPause") and not status.get("pauseConditions"):
        return "Progressing", "waiting for rollout to unpause"
    return str(status.get("phase") or "Unknown"), str(status.get("message") or "")


def _actual(picture: Picture, asked: int) -> str:
    """The weight that is set; without a traffic router the share of pods."""
    stand = read_status(picture.rollout)
    if stand.promoted and stand.stable_hash:
        return str(asked)
    if stand.weights is not None:
        unsure = " (not confirmed)" if stand.weights.verified is False else ""
        return f"{stand.weights.canary.weight}{unsure}"
    return str(100 * stand.updated // stand.available) if stand.available else "0"


def _images(replica_sets: Iterable[Obj], stand: Status) -> list[str]:
    """Each image that runs, and as what: "app:2 (canary, Σ:trial)"."""
    found: dict[str, set[str]] = {}
    for rs in replica_sets:
        if not dig(rs, "spec", "replicas", default=0):
            continue
        trial = annotations_of(rs).get(TEMPLATE_NAME)
        tags = [f"Σ:{trial}"] if trial else _roles(stand, labels_of(rs).get(HASH_LABEL, ""))
        for container in dig(rs, "spec", "template", "spec", "containers", default=[]):
            found.setdefault(str(container.get("image")), set()).update(tags)
    return [f"{image} ({', '.join(sorted(tags))})" if tags else image for image, tags in sorted(found.items())]


def _roles(stand: Status, pod_hash: str) -> list[str]:
    """As upstream tags pods and images: canary or stable, active or preview, ping or pong."""
    green, stable, current = stand.blue_green, pod_hash == stand.stable_hash, pod_hash == stand.current_hash
    if not pod_hash:
        return []
    if green.active or green.preview:
        active = pod_hash == green.active
        holds = {"stable": stable, "active": active, "preview": pod_hash == green.preview and not active}
    else:
        ping, named = stand.stable_ping_pong == "ping", bool(stand.stable_ping_pong) and (stable or current)
        holds = {"canary": current and not stable, "stable": stable, "ping": named and stable == ping,
                 "pong": named and stable != ping}
    return [role for role, held in holds.items() if held]


def _owned_by(objects: Iterable[Obj], owner: Obj) -> list[Obj]:
    uid = meta_of(owner).get("uid")
    return [obj for obj in objects if uid and any(ref.get("uid") == uid for ref in meta_of(obj).get("ownerReferences") or ())]


def _all_owned(objects: Iterable[Obj], owners: Iterable[Obj]) -> list[Obj]:
    listed = list(objects)
    return [obj for owner in owners for obj in _owned_by(listed, owner)]


# --- the tree -----------------------------------------------------------------------------------------------------


def tree(picture: Picture) -> Node:
    """The Rollout, its revisions newest first, in each the ReplicaSet with its pods and the AnalysisRuns."""
    rollout = picture.rollout
    of_experiments = {id(obj) for obj in _all_owned((*picture.replica_sets, *picture.runs), picture.experiments)}
    own = [obj for obj in (*picture.replica_sets, *picture.runs) if id(obj) not in of_experiments]
    revisions = sorted({_revision(obj) for obj in (*own, *picture.experiments)}, reverse=True)
    return Node("⟳", str(meta_of(rollout).get("name", "")), "Rollout", phase_shown(rollout)[0], _born(rollout),
                children=tuple(_revision_node(picture, number) for number in revisions))


def _revision_node(picture: Picture, number: int) -> Node:
    stand = read_status(picture.rollout)
    inner = {id(obj) for obj in _all_owned((*picture.replica_sets, *picture.runs), picture.experiments)}
    sets = tuple(_set_node(picture, rs, stand)
                 for rs in picture.replica_sets if _revision(rs) == number and id(rs) not in inner)
    trials = (e for e in picture.experiments if _revision(e) == number)
    runs = (run for run in picture.runs if _revision(run) == number and id(run) not in inner)
    return Node("#", f"revision:{number}", children=(
        *sets, *(experiment_node(picture, e) for e in _byage(trials)), *(_run_node(picture, run) for run in _byage(runs))))


def _byage(objects: Iterable[Obj]) -> list[Obj]:
    return sorted(objects, key=lambda obj: str(meta_of(obj).get("creationTimestamp", "")))


def experiment_node(picture: Picture, experiment: Obj) -> Node:
    """An Experiment with the ReplicaSets of its templates and its AnalysisRuns."""
    sets = tuple(_set_node(picture, rs, Status()) for rs in _owned_by(picture.replica_sets, experiment))
    runs = tuple(_run_node(picture, run) for run in _byage(_owned_by(picture.runs, experiment)))
    phase = str(status_of(experiment).get("phase") or "Pending")
    return Node("Σ", str(meta_of(experiment).get("name", "")), "Experiment", phase, _born(experiment), "", (*sets, *runs))


def _set_node(picture: Picture, rs: Obj, stand: Status) -> Node:
    wanted, status = dig(rs, "spec", "replicas", default=0), status_of(rs)
    state = "Healthy" if status.get("availableReplicas", 0) >= wanted else "Progressing"
    if wanted == 0:
        state = "ScaledDown"
    info = _roles(stand, labels_of(rs).get(HASH_LABEL, ""))
    deadline = annotations_of(rs).get(SCALE_DOWN_DEADLINE)
    info += [f"delay:until {deadline[11:19]}"] if deadline and wanted else []
    pods = tuple(_pod_node(pod) for pod in _owned_by(picture.pods, rs))
    return Node("⧉", str(meta_of(rs).get("name", "")), "ReplicaSet", state, _born(rs), ",".join(info), pods)


def _pod_node(pod: Obj) -> Node:
    statuses = status_of(pod).get("containerStatuses") or ()
    ready, restarts = sum(1 for c in statuses if c.get("ready")), sum(int(c.get("restartCount") or 0) for c in statuses)
    waiting = next((why for c in statuses if (why := dig(c, "state", "waiting", "reason"))), "")
    state = "Terminating" if is_deleting(pod) else waiting or str(status_of(pod).get("phase") or "Pending")
    total = len(spec_of(pod).get("containers") or ())
    info = f"ready:{ready}/{total}" + (f",restarts:{restarts}" if restarts else "")
    return Node("□", str(meta_of(pod).get("name", "")), "Pod", state, _born(pod), info)


def _run_node(picture: Picture, run: Obj) -> Node:
    totals: dict[str, int] = {"successful": 0, "failed": 0, "inconclusive": 0, "error": 0}
    for result in status_of(run).get("metricResults") or ():
        for name in totals:
            totals[name] += int(result.get(name) or 0)
    icons = {"successful": "✔", "failed": "✖", "inconclusive": "?", "error": "⚠"}
    info = ",".join(f"{icons[name]} {count}" for name, count in totals.items() if count)
    phase = str(status_of(run).get("phase") or "Pending")
    return Node("α", str(meta_of(run).get("name", "")), "AnalysisRun", phase, _born(run), info,
                tuple(_job_node(job) for job in _byage(_owned_by(picture.jobs, run))))


def _job_node(job: Obj) -> Node:
    """A measurement that is a Job."""
    done = {str(c.get("type")) for c in status_of(job).get("conditions") or () if c.get("status") == "True"}
    phase = "Successful" if "Complete" in done else "Failed" if "Failed" in done else "Running"
    return Node("⊞", str(meta_of(job).get("name", "")), "Job", phase, _born(job))


def rows(node: Node, now: datetime, indent: str = "", here: str = "") -> Iterable[tuple[str, str, str, str, str]]:
    """Name with its branches, kind, status, age and info, top down."""
    old = age(now, node.born) if node.born else ""
    yield f"{here}{node.icon} {node.name}", node.kind, with_icon(node.status, node.kind), old, node.info
    for i, child in enumerate(node.children):
        last = i == len(node.children) - 1
        yield from rows(child, now, indent + ("   " if last else "│  "), indent + ("└──" if last else "├──"))


def age(now: datetime, born: datetime) -> str:
    """As kubectl shows it: "12s", "3m", "4h", "2d"."""
    seconds = max(int((now - born).total_seconds()), 0)
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def _revision(obj: Obj) -> int:
    text = annotations_of(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def _born(obj: Obj) -> datetime | None:
    text: Any = meta_of(obj).get("creationTimestamp")
    return parse_time(text) if text else None
