"""The hands of `Application`: gather what git says and what is live, decide, carry one step out, write the status.

The running operation is in the API before anything is done for it, and every step reads it from there: a process that is
killed at any instant is continued by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from fairway.git import GitError, LostRace, Unreachable
from fairway.git.port import without_credentials
from fairway.gitops import auto_sync, gates, revert, running_actions, status
from fairway.gitops.action_request import REQUEST, RESULT, ActionResult, read_request
from fairway.gitops.actions import MoreActions, none_more
from fairway.gitops.clusters import Cluster, UnknownCluster, is_cluster_secret
from fairway.gitops.compare import MANAGER, Compared, object_key, with_same
from fairway.gitops.customizations import CONFIG_MAP, NONE, Customizations
from fairway.gitops.deletion import hook_finalizers
from fairway.gitops.health import Health
from fairway.gitops.live import WATCHED
from fairway.gitops.operation_state import OperationState, decode_state, revision_in, revision_object, short, started
from fairway.gitops.operator import Circumstances
from fairway.gitops.passes import Pass, Prepared
from fairway.gitops.places import Connect, Place, Places
from fairway.gitops.project import Project
from fairway.gitops.rendering import Renderer, render_source
from fairway.gitops.repository_secrets import is_repository_secret
from fairway.gitops.reverting import NotWritable, Reverting
from fairway.gitops.settings import Settings
from fairway.gitops.sources import RepositoryPort, Sources, split
from fairway.gitops.spec import Application, InvalidSpec, Operation, decode, decode_operation
from fairway.gitops.surroundings import Surroundings, delivered_to, refuse, with_settings
from fairway.gitops.targets import Targets, prepare, unserved
from fairway.gitops.tracking import HOME, tracked_app
from fairway.gitops.webhooks import Push, plain_url
from fairway.kube.api import MergePatch, WriteOptions
from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.cluster import ClusterApi
from fairway.kube.decision import Outcome, Reason, differs, earliest
from fairway.kube.errors import NotFound, Unauthorized, Unavailable
from fairway.kube.events import EventRecorder
from fairway.kube.objects import Key, Obj, annotations_of, dig, is_deleting, key_of, meta_of, parse_time, rfc3339, status_of
from fairway.kube.reconcile import Watch
from fairway.kube.resources import ANALYSIS_RUNS, APP_PROJECTS, APPLICATIONS, CONFIG_MAPS, REPLICA_SETS, REPOSITORIES, SECRETS
from fairway.manifests import ManifestError

REFRESH = "argocd.argoproj.io/refresh"
SKIP = "argocd.argoproj.io/skip-reconcile"
ROLLBACK = "fairway.dev/rollback-to"
"""Id of a history entry whose images a user wants back; answered by a commit."""
_UNREACHABLE_AGAIN = timedelta(seconds=30)
_CONNECTING = timedelta(seconds=5)


class ApplicationController:
    """Make one inside the running loop, give it to a `ControllerLoop`, and `attach` that loop's `look_again`."""

    name = "gitops"
    resource = APPLICATIONS
    workers = 32  # a pass waits for the disk far longer than it computes; waiting passes share a trip to it

    def __init__(self, informers: Informers, clock: Clock, repositories: RepositoryPort,
                 settings: Settings | None = None, renderer: Renderer = render_source,
                 connect: Connect = ClusterApi.connect, more_actions: MoreActions = none_more) -> None:
        settings = settings or Settings()
        self._informers = informers
        self._settings = settings
        self._sources = Sources(repositories, settings, renderer, self._permits_base)
        self.places = Places(informers, settings, self._hooks_for_deletion, connect)
        self.places.changed, self.places.seen = self._cluster_changed, self._seen_elsewhere
        self._reverting = Reverting(self._sources, settings)
        self._more_actions = more_actions
        self._events = EventRecorder(informers.api, clock, MANAGER)
        self._around = Surroundings(informers)
        self._last_settings: Customizations = NONE
        self._prepared: dict[Key, list[Prepared]] = {}
        self._waiting: dict[Key, Obj] = {}  # the spec with which an operation failed that waits for its next attempt
        self._look_again: Callable[[Key], None] = lambda key: None

    def _permits_base(self, app: Application, repo_url: str) -> bool:
        return self._around.project(app)[0].permits_source(repo_url)

    def attach(self, look_again: Callable[[Key], None]) -> None:
        self._look_again = look_again

    @property
    def renders(self) -> int:
        """How often something was rendered, for the benchmarks."""
        return self._sources.renders

    def refresh(self, repository: str = "") -> None:
        """Look at the Applications now: `repository` (a name or URL, "" for any) has changed."""
        for obj in self._informers.of(APPLICATIONS).list():
            spec = obj.get("spec") or {}
            urls = [str(source.get("repoURL") or "") for source in spec.get("sources") or [spec.get("source") or {}]]
            urls += self._sources.built_on(key_of(obj))
            if not repository or any(repository in url or (url and url in repository) for url in urls):
                self._sources.forget(key_of(obj))
            self._look_again(key_of(obj))

    def pushed(self, push: Push) -> None:
        """A webhook told of a push: the Applications of that repository look now."""
        pushed = {plain_url(url) for url in push.urls}
        for obj in self._informers.of(APPLICATIONS).list():
            spec = obj.get("spec") or {}
            urls = [str(s.get("repoURL") or "") for s in spec.get("sources") or [spec.get("source") or {}]]
            told = [url for url in (*urls, *self._sources.built_on(key_of(obj))) if plain_url(url) in pushed]
            for url in told:
                self._sources.moved(without_credentials(url))
            if told:
                self._sources.forget(key_of(obj))
                self._look_again(key_of(obj))

    def watches(self) -> Sequence[Watch]:
        special = (APPLICATIONS, REPOSITORIES, APP_PROJECTS, CONFIG_MAPS, SECRETS)
        tracked = [Watch(row, self._owners_key) for row in WATCHED if row not in special]
        return [*tracked, Watch(REPLICA_SETS, lambda obj: ()), Watch(ANALYSIS_RUNS, lambda obj: ()),
                Watch(REPOSITORIES, lambda obj: self._around.all_applications()),
                Watch(APP_PROJECTS, lambda obj: [*self._owners_key(obj), *self._around.of_project(obj)]),
                Watch(CONFIG_MAPS, self._config_map_changed), Watch(SECRETS, self._secret_changed)]

    def _owners_key(self, obj: Obj) -> Iterable[Key]:
        app = self._last_settings.tracking.app_of(obj)
        if app is not None:
            namespace, underscore, name = app.partition("_")
            yield Key(namespace, name) if underscore else Key(HOME, app)

    def _config_map_changed(self, obj: Obj) -> Iterable[Key]:
        if key_of(obj) == Key(HOME, CONFIG_MAP):
            return self._around.all_applications()
        return self._owners_key(obj)

    def _cluster_changed(self, cluster: Cluster) -> None:
        for obj in self._informers.of(APPLICATIONS).list():
            if dig(obj, "spec", "destination", "server") or dig(obj, "spec", "destination", "name"):
                self._look_again(key_of(obj))

    def _seen_elsewhere(self, obj: Obj) -> None:
        for key in self._owners_key(obj):
            self._look_again(key)

    def _secret_changed(self, obj: Obj) -> Iterable[Key]:
        if is_cluster_secret(obj):
            return self._around.all_applications()
        if not is_repository_secret(obj):
            return self._owners_key(obj)
        for key in (found := self._around.all_applications()):  # what could not be read may be read now
            self._sources.forget(key)
        return found

    # --- a pass -------------------------------------------------------------------------------------------------------

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        obj = self._informers.of(APPLICATIONS).get(key)
        if obj is None:
            self._sources.forget(key)
            for place in self.places.all():
                place.comparison.forget(key)
            self._prepared.pop(key, None)
            self._waiting.pop(key, None)
            return Outcome()
        if is_deleting(obj):
            return await self._delete(obj, now)
        if annotations_of(obj).get(SKIP) == "true":
            return Outcome(reasons=(Reason("SkipReconcile", f"the annotation {SKIP} says to leave it alone"),))
        settings = self._settings_now()
        try:
            app = with_settings(decode(obj), settings)
            cluster = self.places.cluster(app, here=settings.in_cluster)
        except (InvalidSpec, UnknownCluster) as error:
            health = str(error) if isinstance(error, UnknownCluster) else ""
            return await self._unusable(obj, [Reason("InvalidSpecError", str(error))], now, health=health)
        app = delivered_to(app, cluster)
        project, refused = self._around.project(app, cluster)
        if app.depends_on and (circle := gates.dependency_cycle((key.namespace, key.name), self._around.application)):
            refused.append(Reason("InvalidSpecError", "Applications depend on each other in a circle: " + " -> ".join(circle)))
        where = self.places.at(cluster, now)
        if REQUEST in annotations_of(obj) and not (isinstance(where, Reason) and where.code == "Connecting"):
            return await self._act(obj, app, where if not refused else refused[0], project, now)
        if refused:
            return await self._unusable(obj, refused, now)
        if isinstance(where, Reason):
            return await self._without_cluster(obj, where, now)
        this = Pass(obj, app, where, now, state=decode_state(status_of(obj).get("operationState")), project=project,
                     settings=settings)
        try:
            return await self._pass(this)
        except (Unavailable, Unauthorized):
            self.places.doubt(cluster)
            raise

    async def _act(self, obj: Obj, app: Application, where: Place | Reason, project: Project, now: datetime) -> Outcome:
        """Do what somebody wants done to one object, whatever git says or whether it can be read, and answer."""
        request = read_request(annotations_of(obj)[REQUEST])
        if request is None:
            result = ActionResult("", False, f"the annotation {REQUEST} is no request of an action")
        elif isinstance(where, Reason):
            result = ActionResult(request.id, False, where.message)
        else:
            resources = where.informers.api.resources
            result = await running_actions.run(
                request, app, where, self._last_settings, self._more_actions,
                lambda made: refuse(project, app, where.cluster, made, resources), now)
        await self._events.event(obj, "Normal" if result.done else "Warning", "ResourceActionRan", result.message)
        await self._patch(obj, {"metadata": {"annotations": {REQUEST: None, RESULT: result.text()}}})
        return Outcome(now, (Reason("ResourceActionRan", result.message),))

    async def _pass(self, this: Pass) -> Outcome:
        obj, now = this.obj, this.now
        try:
            await self._gather(this)
            if this.state is not None and not this.state.completed:
                await self._go_on(this)
        except (ManifestError, GitError) as error:
            return await self._unusable(obj, [Reason("ComparisonError", str(error))], now,
                                        wake=now + _UNREACHABLE_AGAIN if isinstance(error, Unreachable) else None)
        await self._correct_git(this)
        if self._just_ended(this):
            this.wake.append(now)
        elif this.state is None or this.state.completed:
            await self._begin(this)
        return await self._write(this)

    def _settings_now(self) -> Customizations:
        """The settings of all Applications; when they change, every comparison starts anew."""
        found = self._around.customizations()
        if found is not self._last_settings:
            self._last_settings = found
            for place in self.places.all():
                place.track_by(found.tracking)
                place.comparison.forget_all()
            self._prepared.clear()
        return found

    async def _delete(self, obj: Obj, now: datetime) -> Outcome:
        """On a cluster that cannot be reached nothing is deleted, so the Application stays until it can; one that is no longer
        registered holds nobody back."""
        key, settings = key_of(obj), self._settings_now()
        try:
            where = self._place_of(obj, settings, now)
        except (InvalidSpec, UnknownCluster) as error:
            return await self.places.home.deletion.give_up(obj, str(error))
        if isinstance(where, Reason):
            return await self._without_cluster(obj, where, now)
        owned = where.live(settings.tracking).of(tracked_app(key.namespace, key.name))
        return await where.deletion.step(obj, owned, now, settings)

    def _place_of(self, obj: Obj, settings: Customizations, now: datetime) -> Place | Reason:
        return self.places.at(self.places.cluster(decode(obj), here=settings.in_cluster), now)

    async def _hooks_for_deletion(self, obj: Obj) -> Sequence[Obj]:
        """The hooks of the revision that was compared last; git's present one where none was."""
        app, key = decode(obj), key_of(obj)
        revision = revision_in(status_of(obj).get("sync") or {})
        if not revision:
            since = parse_time(meta_of(obj)["deletionTimestamp"])
            revision, _ = await self._sources.resolve(key, app.sources, since, force=True)
        place = self._place_of(obj, self._last_settings, parse_time(meta_of(obj)["deletionTimestamp"]))
        if isinstance(place, Reason):
            return ()
        return prepare(app, await self._sources.objects(app, revision), place.informers.api.resources).hooks

    async def _gather(self, this: Pass) -> None:
        force = REFRESH in annotations_of(this.obj)
        if force:
            this.clear_annotations.append(REFRESH)
            this.place.comparison.forget(this.key)
        this.revision, look_at = await self._sources.resolve(this.key, this.app.sources, this.now, force=force)
        this.wake.append(look_at)
        this.targets = await self._targets(this, this.revision)
        this.conditions += [*this.settings.mistakes, *this.targets.warnings]
        this.compared = await self._compare(this, this.targets)
        this.conditions += [*this.place.comparison.shared(this.app, this.compared), *self._orphans(this)]
        synced = all(entry.status != "OutOfSync" for entry in this.compared)
        this.reasons += [Reason("SourceMoved", note) for note in self._sources.moved_without_us(this.app, synced=synced)]
        refused = [f"{entry.key}: {entry.error}" for entry in this.compared if entry.error]
        if refused:
            this.conditions.append(Reason("ComparisonError", "the API refuses what git describes: " + "; ".join(refused)))

    def _orphans(self, this: Pass) -> list[Reason]:
        """What lies in the destination's namespace and belongs to nobody, where the project wants to know."""
        wanted = this.project.orphaned
        if wanted is None or not wanted.warn or not this.app.destination_namespace:
            return []
        found = this.place.live(this.settings.tracking).orphans(this.app.destination_namespace, lambda key: any(
            rule.fits(key.group, key.kind, key.name) for rule in wanted.ignore))
        return [Reason("OrphanedResourceWarning", f"Application has {len(found)} orphaned resources")] if found else []

    async def _targets(self, this: Pass, revision: str) -> Targets:
        """The prepared objects of a commit: the same ones as long as neither commit nor Application changes."""
        rendered = await self._sources.objects(this.app, revision)
        spec = {"spec": this.obj.get("spec"), "project": this.project, "cluster": this.place.cluster}
        known = self._prepared.setdefault(this.key, [])
        resources = this.place.informers.api.resources
        same = next((one for one in known if one.rendered is rendered and one.spec == spec
                     and one.strange == unserved(one.strange, resources)), None)
        if same is None:
            cluster = this.place.cluster
            targets = prepare(this.app, rendered, resources,
                              excluded=lambda obj: this.settings.excluded(obj, cluster.server),
                              refuse=lambda obj: refuse(this.project, this.app, cluster, obj, resources))
            before = next((one.targets.objects for one in reversed(known) if one.spec == spec), ())
            targets = replace(targets, objects=tuple(with_same(targets.objects, before)))
            same = Prepared(spec, rendered, unserved(rendered, resources), targets)
            del known[:-1]  # the live revision's and a running operation's
            known.append(same)
        return same.targets

    async def _compare(self, this: Pass, targets: Targets) -> list[Compared]:
        place = this.place
        resources = place.informers.api.resources
        owned = {key: live for key, live in place.live(this.settings.tracking).of(tracked_app(*this.key)).items()
                 if not refuse(this.project, this.app, place.cluster, live, resources)}
        return await place.comparison.of(this.app, targets, owned)

    # --- the running operation ----------------------------------------------------------------------------------------

    async def _go_on(self, this: Pass) -> None:
        state = this.state
        assert state is not None
        operation = decode_operation(state.operation, this.app)
        failed_with = self._waiting.pop(this.key, this.obj["spec"])
        targets = this.targets if state.revision == this.revision else await self._targets(this, state.revision)
        late = gates.overdue(this.app, state.started_at, this.now, self._settings.operation_limit)
        if state.phase == "Terminating" or late is not None:
            this.state = await this.place.operator.terminate(this.app, state, targets, this.now)
            if late is not None:
                this.state = replace(this.state, message=late.message)
                this.reasons.append(late)
            return
        this.wake.append(gates.deadline(this.app, state.started_at, self._settings.operation_limit))
        if self._superseded(this, state, operation):
            text = f"superseded by {short(this.revision)}: {state.message}"
            this.state = state.ended("Failed", text, this.now)
            this.reasons.append(Reason("Superseded", f"{short(state.revision)} gives way to {short(this.revision)}"))
            return
        if state.waits_for_retry:
            due = this.place.operator.retry_due(state, operation)
            if this.now < due and failed_with == this.obj["spec"]:  # an edit may be the mend: tried at once
                self._waiting[this.key] = failed_with
                this.wake.append(due)
                this.reasons.append(Reason("WaitingForRetry", state.message))
                return
            anew = operation.retry.refresh and not operation.revision
            this.state = this.place.operator.retried(replace(state, revision=this.revision) if anew else state)
            this.wake.append(this.now)
            return
        held = gates.window_gate(this.app, this.project, manual=not operation.automated, now=this.now,
                                 started=state.started_at if state.results else None)
        if held is None and not state.results and not operation.partial:
            held = self._dependencies(this, state.revision)
        if held is not None:
            this.state = replace(state, message=held.reason.message)
            this.wake.append(held.wake_at)
            this.reasons.append(held.reason)
            return
        compared = this.compared if targets is this.targets else await self._compare(this, targets)
        shared = tuple(this.place.comparison.shared(this.app, compared))
        confirmed = gates.approved(annotations_of(this.obj), state.started_at)
        this.state, wake = await this.place.operator.advance(this.app, state, operation, targets, compared, this.now,
                                                        Circumstances(this.settings.health, confirmed, shared))
        this.wake.append(wake)
        if not this.state.completed:
            this.reasons.append(Reason("OperationRunning", this.state.message))

    def _superseded(self, this: Pass, state: OperationState, operation: Operation) -> bool:
        """A newer commit takes over from an automated sync that waits, but never from a hook in the middle of its work."""
        if not operation.automated or state.revision == this.revision:
            return False
        return not any(result.hook_type and result.phase == "Running" for result in state.results.values())

    # --- a new one ----------------------------------------------------------------------------------------------------

    async def _begin(self, this: Pass) -> None:
        """Start what was asked for, or what the automation wants."""
        asked = this.obj.get("operation")
        if asked:
            await self._begin_asked(this, asked)
            return
        if ROLLBACK in annotations_of(this.obj):
            await self._roll_back(this)
            return
        decision = auto_sync.decide(this.app, this.compared, this.revision, this.state, this.now)
        if isinstance(decision, auto_sync.Start):
            held = gates.window_gate(this.app, this.project, manual=False, now=this.now)
            if held is None and not decision.operation["sync"].get("resources"):  # drift is healed whatever others do
                held = self._dependencies(this, this.revision)
            if held is not None:
                decision = auto_sync.Hold(held.reason, held.wake_at)
        match decision:
            case auto_sync.Start(operation, reason):
                this.request = operation
                this.state = started(operation, this.revision, this.app, this.now)
                this.reasons.append(reason)
                await self._events.event(this.obj, "Normal", "OperationStarted", f"automated sync: {reason.message}")
                this.wake.append(this.now)
            case auto_sync.Hold(reason, wake_at, error):
                this.reasons.append(reason)
                this.wake.append(wake_at)
                if error:
                    this.conditions.append(reason)

    def _dependencies(self, this: Pass, revision: str) -> gates.Held | None:
        return gates.dependency_gate(this.app, revision, self._around.application) if this.app.depends_on else None

    def _just_ended(self, this: Pass) -> bool:
        """The operation in the object is the one that has ended in this very pass."""
        before = decode_state(status_of(this.obj).get("operationState"))
        return this.state is not None and before is not None and this.state.completed and not before.completed

    async def _begin_asked(self, this: Pass, asked: Obj) -> None:
        operation = decode_operation(asked, this.app)
        revision = this.revision
        try:
            revision = await self._asked_revision(this, operation)
        except GitError as error:
            this.state = started(asked, operation.revision, this.app, this.now).ended("Error", str(error), this.now)
            return
        this.state = started(asked, revision, this.app, this.now)
        this.reasons.append(Reason("SyncStarted", f"asked for by {operation.username or 'a user'}"))
        who = operation.username or "a user"
        await self._events.event(this.obj, "Normal", "OperationStarted", f"{who} initiated sync to {short(revision)}")
        this.wake.append(this.now)

    async def _asked_revision(self, this: Pass, operation: Operation) -> str:
        """The commits of the sources, with those that the operation names instead."""
        found = split(this.revision)
        asked = list(operation.revisions) or [operation.revision]
        for n, (source, text) in enumerate(zip(this.app.sources, asked, strict=False)):
            if text and text not in ("HEAD", source.target_revision):
                found[n] = await self._sources.revision_of(self._sources.port(source), text)
        return ",".join(found)

    # --- git is corrected -----------------------------------------------------------------------------------------------

    async def _correct_git(self, this: Pass) -> None:
        """Commit the revert of the images of a workload that was stopped or is to be taken back, once, with the evidence."""
        state = this.state
        if state is None or not state.revision:
            return
        stopped = [entry for entry in this.compared if entry.live is not None and (
            revert.is_noted(entry.live) or (entry.key.kind == "Rollout" and revert.is_aborted(entry.live)))]
        if not stopped:
            return
        synced = {object_key(o): o for o in (await self._targets(this, state.revision)).objects}
        for entry in stopped:
            assert entry.live is not None
            owner, app = this.app.tracking.app_of(entry.live), tracked_app(*this.key)
            if revert.is_noted(entry.live):
                found = revert.find_noted(owner, app, entry.live, synced.get(entry.key), state.revision)
            else:
                found = revert.find_revert(
                    owner, app, entry.live, synced.get(entry.key), this.place.stable(entry.live), state.revision,
                    this.place.objects(ANALYSIS_RUNS, entry.key.namespace))
            if isinstance(found, Reason):
                this.reasons.append(found)
                continue
            await self._commit_revert(this, found)

    async def _commit_revert(self, this: Pass, found: revert.Revert) -> None:
        good = revert.good_revision(status.history_of(this.obj), found.bad_revision)
        by_hand = ", ".join(f"{old} back to {new}" for old, new in found.images)
        try:
            made = await self._reverting.commit(this.app, found, good, this.now)
        except (LostRace, Unreachable) as error:
            this.conditions.append(Reason("RevertError", f"the revert is tried again: {error}"))
            this.wake.append(this.now + _UNREACHABLE_AGAIN)
            return
        except (NotWritable, GitError, ManifestError) as error:
            this.conditions.append(Reason("RevertError", f"Fairway cannot take {short(found.bad_revision)} back: {error}; "
                                          f"commit by hand: {by_hand}"))
            return
        if isinstance(made, Reason):
            this.reasons.append(made)
            return
        text = f"{short(made)} takes {short(found.bad_revision)} back: {found.evidence.text}"
        this.reasons.append(Reason("Reverted", text))
        await self._events.event(this.obj, "Warning", "Reverted", text)
        self._sources.forget(this.key)
        this.wake.append(this.now)

    async def _roll_back(self, this: Pass) -> None:
        this.clear_annotations.append(ROLLBACK)
        wanted = annotations_of(this.obj)[ROLLBACK]
        entry = next((h for h in status.history_of(this.obj) if str(h.get("id")) == wanted), None)
        if entry is None:
            this.conditions.append(Reason("SyncError", f"rollback: history has no id {wanted}"))
            return
        try:
            made = await self._reverting.rollback(this.app, entry, "", this.now)
        except (NotWritable, GitError, ManifestError) as error:
            made = Reason("RollbackRefused", str(error))
        if isinstance(made, Reason):
            await self._events.event(this.obj, "Warning", "RollbackRefused", made.message)
            this.reasons.append(made)
            return
        await self._events.event(this.obj, "Normal", "RolledBack", f"{short(made)} sets the images of history id {wanted}")
        self._sources.forget(this.key)
        this.wake.append(this.now)

    # --- the status -----------------------------------------------------------------------------------------------------

    async def _write(self, this: Pass) -> Outcome:
        old = status_of(this.obj)
        sync, check = status.app_sync(this.compared), this.settings.health
        said = this.app.source_object()
        found: Obj = {
            "sync": status.replacing(old.get("sync"), {
                "status": sync, **revision_object(this.revision),
                "comparedTo": {**(said if this.app.several else {"source": said}),
                               "destination": dig(this.obj, "spec", "destination", default={})}}),
            "health": status.with_health(old.get("health") or {}, status.app_health(this.compared, check), this.now),
            "resources": status.resource_objects(this.compared, check), "summary": status.summary(this.compared),
            "conditions": status.conditions(old.get("conditions") or (), this.conditions, this.now) or None,
            "reasons": status.reasons(this.reasons), "sourceType": self._sources.kind_of(this.app),
            "controllerNamespace": HOME,
        }
        body: Obj = {"status": found}
        if this.state is not None:
            found["operationState"] = status.replacing(old.get("operationState"), this.state.as_object())
            if this.state.completed:
                operation = decode_operation(this.state.operation, this.app)
                found["history"] = status.with_history(this.app, status.history_of(this.obj), this.state, operation)
                if this.obj.get("operation") == this.state.operation:
                    body["operation"] = None
        if this.request is not None:
            body["operation"] = status.replacing(this.obj.get("operation"), this.request)
        finalizers = meta_of(this.obj).get("finalizers") or []
        wanted = hook_finalizers(finalizers, this.targets.hooks)
        if wanted != finalizers:
            body["metadata"] = {"finalizers": wanted or None}
        if this.clear_annotations:
            body["metadata"] = {**body.get("metadata", {}), "annotations": dict.fromkeys(this.clear_annotations)}
        if differs(this.obj, body):
            found["reconciledAt"] = rfc3339(this.now)
            await self._announce(this, old)
            await self._patch(this.obj, body)
            for other in self._around.dependents(this.key):
                self._look_again(other)
        return Outcome(earliest(*this.wake), tuple(this.reasons))

    async def _announce(self, this: Pass, old: Obj) -> None:
        before = decode_state(old.get("operationState"))
        if this.state is not None and this.state.completed and before is not None and not before.completed:
            good = this.state.phase == "Succeeded"
            await self._events.event(this.obj, "Normal" if good else "Warning", "OperationCompleted",
                                     f"Sync operation to {short(this.state.revision)} {this.state.phase.lower()}: "
                                     f"{this.state.message}")
        for reason in this.conditions:
            if not any(c.get("type") == reason.code and c.get("message") == reason.message
                       for c in old.get("conditions") or ()):
                await self._events.event(this.obj, "Warning", reason.code, reason.message)

    async def _without_cluster(self, obj: Obj, reason: Reason, now: datetime) -> Outcome:
        """Where the objects are nobody can be asked: what is known of them counts no longer, and nothing is done."""
        if reason.code == "Connecting":
            return Outcome(now + _CONNECTING, (reason,))
        if is_deleting(obj):
            return await self._unusable(obj, [Reason("DeletionError", f"nothing is deleted: {reason.message}")], now)
        return await self._unusable(obj, [Reason("ComparisonError", reason.message)], now, health=reason.message)

    async def _unusable(self, obj: Obj, reasons: Sequence[Reason], now: datetime, *,
                        wake: datetime | None = None, health: str = "") -> Outcome:
        """Git cannot be read or is wrong: nothing is applied and nothing deleted, what runs goes on. `health`: why it is not
        known either."""
        old, reason = status_of(obj), reasons[0]
        found: Obj = {
            "sync": {**(old.get("sync") or {}), "status": "Unknown"},
            "conditions": status.conditions(old.get("conditions") or (), reasons, now), "reasons": None,
        }
        if health:
            unknown = {"status": "Unknown", "health": {"status": "Unknown"}}
            found["resources"] = [{**entry, **unknown} for entry in old.get("resources") or ()]
            found["health"] = status.with_health(old.get("health") or {}, Health("Unknown", health), now)
        body: Obj = {"status": found}
        if REFRESH in annotations_of(obj):
            body["metadata"] = {"annotations": {REFRESH: None}}
        state = decode_state(old.get("operationState"))
        if state is not None and not state.completed:
            waiting = replace(state, message=f"waiting: {reason.message}").as_object()
            found["operationState"] = status.replacing(old.get("operationState"), waiting)
        if differs(obj, body):
            await self._events.event(obj, "Warning", reason.code, reason.message)
            await self._patch(obj, body)
        return Outcome(wake, tuple(reasons))

    async def _patch(self, obj: Obj, body: Obj) -> None:
        key = key_of(obj)
        with suppress(NotFound):
            await self._informers.api.patch(APPLICATIONS, key.name, key.namespace, MergePatch(body),
                                            WriteOptions(manager=MANAGER))
