"""`ApplicationSet`: which Applications there should be, and what to do about those that are. Pure.

Nothing is deleted on doubt. A generator that fails changes nothing at all. One that answers with nothing, where there was
something, is held until somebody says that it is meant (`fairway.dev/allow-empty: "true"`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fairway.gitops import go_template
from fairway.gitops.generators import Engine, Generated
from fairway.gitops.ignoring import IgnoreRule, with_live_ignored
from fairway.gitops.rolling_sync import Rolling, RollingStep, decode_steps, without_automation
from fairway.gitops.spec import InvalidSpec
from fairway.gitops.status import replacing
from fairway.kube.decision import Reason, differs
from fairway.kube.objects import Obj, annotations_of, dig, meta_of, owner_reference, rfc3339, spec_of
from fairway.kube.patches import merge_patch
from fairway.manifests import yaml

ALLOW_EMPTY = "fairway.dev/allow-empty"
RESOURCES_FINALIZER = "resources-finalizer.argocd.argoproj.io"
Policy = Literal["create-only", "create-update", "create-delete", "sync"]
_GIT_AGAIN_S, _FORGE_AGAIN_S = 180, 1800  # where `requeueAfterSeconds` says nothing; Argo CD's own
_POLICIES = ("create-only", "create-update", "create-delete", "sync")


@dataclass(frozen=True, slots=True)
class ApplicationSet:
    name: str
    namespace: str
    generators: tuple[Mapping[str, Any], ...]
    template: Mapping[str, Any]
    template_patch: str
    engine: Engine
    policy: Policy
    preserve: bool
    ignore: tuple[IgnoreRule, ...]
    allow_empty: bool
    requeue_seconds: int
    steps: tuple[RollingStep, ...] = ()
    delete_in_reverse: bool = False
    preserved_labels: tuple[str, ...] = ()
    preserved_annotations: tuple[str, ...] = ()


def decode_set(obj: Obj) -> ApplicationSet:
    """The set, or `InvalidSpec` with the path of the mistake."""
    spec, policy = spec_of(obj), spec_of(obj).get("syncPolicy") or {}
    generators = spec.get("generators")
    if not isinstance(generators, list) or not generators:
        raise InvalidSpec("spec.generators: at least one generator is needed")
    if not isinstance(spec.get("template"), dict):
        raise InvalidSpec("spec.template: is missing; it is the Application to be made from each set of parameters")
    wanted = str(policy.get("applicationsSync") or "sync")
    if wanted not in _POLICIES:
        raise InvalidSpec(f"spec.syncPolicy.applicationsSync: {wanted!r} is none of {', '.join(_POLICIES)}")
    go = bool(spec.get("goTemplate"))
    if spec.get("templatePatch") and not go:
        raise InvalidSpec("spec.templatePatch: needs goTemplate: true")
    rules = tuple(IgnoreRule("Application", "argoproj.io", str(r.get("name") or ""), "", tuple(r.get("jsonPointers") or ()),
                             tuple(r.get("jqPathExpressions") or ())) for r in spec.get("ignoreApplicationDifferences") or ())
    waits = [int(body["requeueAfterSeconds"]) for g in generators for body in g.values()
             if isinstance(body, dict) and body.get("requeueAfterSeconds")]
    return ApplicationSet(
        str(meta_of(obj)["name"]), str(meta_of(obj).get("namespace") or ""), tuple(generators), spec["template"],
        str(spec.get("templatePatch") or ""), Engine(go, "missingkey=error" in (spec.get("goTemplateOptions") or ())),
        wanted, bool(policy.get("preserveResourcesOnDeletion")), rules,  # type: ignore[arg-type]
        annotations_of(obj).get(ALLOW_EMPTY) == "true",
        min(waits, default=_GIT_AGAIN_S if "git" in str(generators) else _FORGE_AGAIN_S), decode_steps(spec.get("strategy")),
        dig(spec, "strategy", "deletionOrder") == "Reverse",
        tuple(dig(spec, "preservedFields", "labels", default=())),
        tuple(dig(spec, "preservedFields", "annotations", default=())))


# --- from parameters to Applications ------------------------------------------------------------------------------------------


def applications(found: ApplicationSet, owner: Obj, generated: Iterable[Generated]) -> list[Obj]:
    """The Applications that there should be. `InvalidSpec`, `TemplateError` where one cannot be made."""
    made: dict[str, Obj] = {}
    for one in generated:
        template = merge_patch.merge(dict(found.template), dict(one.template)) if one.template else dict(found.template)
        app = _application(found, owner, found.engine.fill(template, one.params))
        if found.template_patch:
            patch = yaml.load(go_template.render(found.template_patch, one.params, strict=found.engine.strict), "templatePatch")
            app = merge_patch.merge(app, patch or {})
        name = str(meta_of(app).get("name") or "")
        if not name:
            raise InvalidSpec("spec.template.metadata.name: is missing")
        if name in made:
            raise InvalidSpec(f"ApplicationSet {found.name} contains applications with duplicate name: {name}")
        made[name] = without_automation(app) if found.steps else app
    return list(made.values())


def _application(found: ApplicationSet, owner: Obj, template: Obj) -> Obj:
    meta = meta_of(template)
    finalizers = list(meta.get("finalizers") or ())
    if found.preserve:
        finalizers = [f for f in finalizers if not f.startswith(RESOURCES_FINALIZER)]
    elif not finalizers:
        finalizers = [RESOURCES_FINALIZER]
    metadata: Obj = {"name": meta.get("name"), "namespace": found.namespace, "ownerReferences": [owner_reference(owner)]}
    for key in ("labels", "annotations"):
        if meta.get(key):
            metadata[key] = dict(meta[key])
    if finalizers:
        metadata["finalizers"] = finalizers
    spec = dict(template.get("spec") or {})
    spec.setdefault("project", "default")
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec}


# --- what to do ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Plan:
    """`patches` are merge patches by name; `held` says why something is not done."""

    create: tuple[Obj, ...] = ()
    patches: tuple[tuple[str, Obj], ...] = ()
    delete: tuple[Obj, ...] = ()
    held: tuple[Reason, ...] = ()
    failed: tuple[Reason, ...] = field(default=())


def plan(found: ApplicationSet, owner: Obj, wanted: Sequence[Obj], present: Mapping[str, Obj]) -> Plan:
    """`present` are the Applications of the namespace by name."""
    mine = {name: app for name, app in present.items() if _is_owned(app, owner)}
    names = {str(meta_of(app)["name"]) for app in wanted}
    foreign = [name for name in names if name in present and name not in mine]
    create = [app for app in wanted if meta_of(app)["name"] not in present]
    patches = []
    if found.policy in ("create-update", "sync"):
        for app in wanted:
            name = str(meta_of(app)["name"])
            if name in mine and (patch := _patch(found, mine[name], app)) is not None:
                patches.append((name, patch))
    gone = [app for name, app in mine.items() if name not in names and "deletionTimestamp" not in meta_of(app)]
    held: list[Reason] = []
    if gone and found.policy in ("create-only", "create-update"):
        held.append(Reason("DeletionOff", f"{_names(gone)} would go, but applicationsSync is {found.policy}"))
        gone = []
    if gone and not wanted and not found.allow_empty:
        held.append(Reason("EmptyResult", f"the generators answer with nothing, so {_names(gone)} would all go; if that is "
                           f"meant, set the annotation {ALLOW_EMPTY}: \"true\""))
        gone = []
    failed = tuple(Reason("ApplicationExists", f"Application {name} exists and belongs to somebody else; rename it, or delete "
                          "it with --cascade=false") for name in sorted(foreign))
    return Plan(tuple(create), tuple(patches), tuple(gone), tuple(held), failed)


def _names(apps: Sequence[Obj]) -> str:
    shown = ", ".join(str(meta_of(app)["name"]) for app in apps[:5])
    return f"{shown} and {len(apps) - 5} more" if len(apps) > 5 else shown


def _is_owned(app: Obj, owner: Obj) -> bool:
    return any(ref.get("uid") == meta_of(owner).get("uid") for ref in meta_of(app).get("ownerReferences") or ())


_OURS = ("argocd.argoproj.io/refresh", "argocd.argoproj.io/hydrate", "argocd.argoproj.io/deletion-approved",
         "notified.notifications.argoproj.io", "kubectl.kubernetes.io/last-applied-configuration")
_OUR_PREFIX = "fairway.dev/"
"""Annotations that users and controllers put on an Application to ask for something, or to remember it: never taken away."""


def _patch(found: ApplicationSet, live: Obj, wanted: Obj) -> Obj | None:
    """The merge patch that makes `live` as wanted: spec, labels and annotations exactly so, but for what is preserved."""
    if found.ignore:
        wanted = with_live_ignored(wanted, live, found.ignore)
    meta, patch = meta_of(wanted), dict[str, Any]()
    if live.get("spec") != wanted.get("spec") and differs(live, spec := {"spec": replacing(live.get("spec"), wanted["spec"])}):
        patch |= spec
    changed: Obj = {}
    for key, kept in (("labels", found.preserved_labels), ("annotations", (*found.preserved_annotations, *_OURS))):
        now, then = meta_of(live).get(key) or {}, meta.get(key) or {}
        entries = {name: None for name in now if name not in then and name not in kept and not name.startswith(_OUR_PREFIX)}
        entries |= {name: value for name, value in then.items() if now.get(name) != value}
        if entries:
            changed[key] = entries
    own = [f for f in meta_of(live).get("finalizers") or () if not f.startswith(RESOURCES_FINALIZER)]
    finalizers = [*(meta.get("finalizers") or ()), *(f for f in own if f not in (meta.get("finalizers") or ()))]
    if finalizers != list(meta_of(live).get("finalizers") or ()):
        changed["finalizers"] = finalizers or None
    if changed:
        patch["metadata"] = changed
    return patch or None


# --- the status ---------------------------------------------------------------------------------------------------------------


def set_conditions(present: Sequence[Obj], failed: Sequence[Reason], rolling: Rolling | None, now: datetime) -> list[Obj]:
    """The three conditions of every set, and how far a rolling sync is; those that do not change keep their time."""
    text = "; ".join(reason.message for reason in failed)
    generated = not failed or failed[0].code != "ApplicationGenerationError"
    good = not failed
    rows = [("ErrorOccurred", not good, failed[0].code if failed else "ApplicationSetUpToDate",
             text or "Successfully generated parameters for all Applications"),
            ("ParametersGenerated", generated, "ParametersGenerated" if generated else "ErrorOccurred",
             "Successfully generated parameters for all Applications" if generated else text),
            ("ResourcesUpToDate", good, "ApplicationSetUpToDate" if good else failed[0].code,
             "All applications have been generated successfully" if good else text)]
    if rolling is not None:
        at = rolling.underway
        done = ("RolloutProgressing", False, "ApplicationSetRolloutComplete", "ApplicationSet Rollout has completed")
        rows.append(done if at is None else ("RolloutProgressing", True, "ApplicationSetModified",
                                             f"ApplicationSet is performing rollout of step {at + 1}"))
    old = {c.get("type"): c for c in present}
    found = []
    for kind, holds, reason, message in rows:
        entry = {"type": kind, "status": "True" if holds else "False", "reason": reason, "message": message}
        before = old.get(kind) or {}
        same = before.get("status") == entry["status"]
        found.append({**entry, "lastTransitionTime": before["lastTransitionTime"] if same else rfc3339(now)})
    return found
