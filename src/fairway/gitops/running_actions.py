"""Doing what a `fairway.dev/run-action` asks for, in the cluster where the object is. Hands.

An action that would change what git says is refused where self-heal would take it back, and done with a warning elsewhere: the
environment is git's to change. What stops exposure says nothing that git says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from fairway.gitops.action_request import ActionRequest, ActionResult
from fairway.gitops.actions import Change, MoreActions, Refused
from fairway.gitops.compare import MANAGER, differing_fields
from fairway.gitops.customizations import Customizations
from fairway.gitops.explain import writers
from fairway.gitops.places import Place
from fairway.gitops.spec import Application
from fairway.gitops.tracking import tracked_app
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.errors import AlreadyExists, ApiError
from fairway.kube.facts import facts
from fairway.kube.objects import Obj, is_deleting, meta_of
from fairway.kube.patches.merge_patch import merge
from fairway.kube.schema import ANY

ACTOR = "argocd-server"
"""The manager under which Argo CD's actions are on record."""
Refuse = Callable[[Obj], str]


async def run(request: ActionRequest, app: Application, place: Place, settings: Customizations, more: MoreActions,
              refuse: Refuse, now: datetime) -> ActionResult:
    """`refuse`: why the Application may not have an object."""
    name = f"{request.kind}/{request.name}"
    try:
        live = await _live(request, app, place)
        action = settings.actions_of(live, more).get(request.action)
        if action is None:
            raise Refused(f"{name} has no action {request.action!r}")
        if action.disabled:
            raise Refused(f"{request.action} is not possible for {name} now")
        change = action.make(live, now, request.parameters)
        for made in change.create:
            if why := refuse(made):
                raise Refused(why)
        against = sorted(set(_against_git(live, change)))
        if against and app.automated is not None and app.automated.self_heal:
            raise Refused(f"git says {', '.join(against)}, and self-heal would take the change back at once; commit it instead")
        await _carry_out(place, live, change)
    except Refused as error:
        return ActionResult(request.id, False, str(error))
    except ApiError as error:
        return ActionResult(request.id, False, error.message)
    note = f"; git says otherwise about {', '.join(against)}: the next sync takes it back" if against else ""
    return ActionResult(request.id, True, f"{request.action} of {name} is done{note}")


async def _live(request: ActionRequest, app: Application, place: Place) -> Obj:
    """The object, where it is the Application's."""
    resource = place.informers.api.resources.of_group_kind(request.group, request.kind)
    stub = {"kind": request.kind, "metadata": {"name": request.name, "namespace": request.namespace}}
    live = await place.comparison.live({"apiVersion": resource.api_version, **stub}) if resource is not None else None
    if live is None or is_deleting(live) or app.tracking.app_of(live) != tracked_app(app.namespace, app.name):
        raise Refused(f"{app.name} has no live {request.kind} called {request.name!r}")
    return live


def _against_git(live: Obj, change: Change) -> Iterator[str]:
    """The fields that the change makes otherwise than git has them."""
    if change.patch is None:
        return
    schema = facts().of_kind(str(live.get("apiVersion") or ""), str(live.get("kind") or "")) or ANY
    for path in differing_fields(live, merge(live, change.patch)):
        if any(manager == MANAGER for manager, _ in writers(path, live, schema)):
            yield path


async def _carry_out(place: Place, live: Obj, change: Change) -> None:
    api, meta, options = place.informers.api, meta_of(live), WriteOptions(manager=ACTOR)
    resource, name, namespace = api.resources.of(live), str(meta["name"]), str(meta.get("namespace") or "")
    for made in change.create:
        try:
            await api.create(made, options)
        except AlreadyExists:
            continue  # made before the platform was killed
    if change.patch is not None:
        await api.patch(resource, name, namespace, MergePatch(change.patch), options)
    if change.status is not None:
        await api.patch(resource, name, namespace, MergePatch(change.status), options,
                        subresource="status" if "status" in resource.subresources else "")
