"""The hands of Canaries: gather, decide, ask what the decision has to know, carry out, and tell.

A tick is due an interval after the last one that moved anything (the status says when), so a restarted controller neither
hurries nor forgets. Where nothing is under way a change is looked at when it happens.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from fairway.kube.cache import Informers
from fairway.kube.clock import Clock
from fairway.kube.decision import Decision, Outcome, Reason, carry_out, carry_out_decision
from fairway.kube.errors import BadRequest, Invalid
from fairway.kube.events import EventKind, EventRecorder
from fairway.kube.objects import Key, Obj, dig, is_deleting, key_of, spec_of
from fairway.kube.reconcile import Watch, owner_keys
from fairway.kube.resources import (
    ALERT_PROVIDERS,
    CANARIES,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    DESTINATION_RULES,
    HORIZONTAL_POD_AUTOSCALERS,
    HTTP_ROUTES,
    INGRESSES,
    METRIC_TEMPLATES,
    SCALED_OBJECTS,
    SECRETS,
    SERVICES,
    VIRTUAL_SERVICES,
)
from fairway.rollouts.fields import SpecError
from fairway.rollouts.flagger.alerts import Letter, letters
from fairway.rollouts.flagger.configs import Config
from fairway.rollouts.flagger.decide import decide
from fairway.rollouts.flagger.finalize import FINALIZER, revert, wants_finalizer
from fairway.rollouts.flagger.posting import Post
from fairway.rollouts.flagger.questions import Answer, Answers, Call, Notice, Query, Question
from fairway.rollouts.flagger.seen import Seen
from fairway.rollouts.flagger.spec import CanarySpec, decode_canary
from fairway.rollouts.flagger.status import UNDER_WAY, read_status, write_status
from fairway.rollouts.flagger.tick import Ticked, call_of
from fairway.rollouts.flagger.workload import KINDS
from fairway.rollouts.prometheus import Querier

MANAGER = "flagger"
LOOK_AGAIN = timedelta(seconds=10)
"""Upstream's control loop, where something is waited for that no event tells."""
_ROUTES = (VIRTUAL_SERVICES, DESTINATION_RULES, HTTP_ROUTES, INGRESSES)

log = logging.getLogger("fairway.flagger")


class CanaryController:
    """One tick per Canary at a time. `query(address)` gives whoever answers PromQL; "" is this platform's own.

    `provider`: who routes where the Canary names none; "" is whoever leads to its Service now. `own_metrics`: built-in
    checks ask this platform's data plane. `verify_weights`: the proxy says on canary Ingresses what is in force.
    """

    name = "canaries"
    resource = CANARIES
    workers = 4

    def __init__(self, informers: Informers, clock: Clock, *, query: Callable[[str], Querier], post: Post,
                 provider: str = "", own_metrics: bool = False, verify_weights: bool = False) -> None:
        self._api, self._clock = informers.api, clock
        self._query, self._post = query, post
        self._provider, self._own_metrics, self._verify_weights = provider, own_metrics, verify_weights
        self._events = EventRecorder(informers.api, clock, MANAGER)
        self._ticked: dict[Key, datetime] = {}
        self._caches = {r: informers.of(r) for r in (
            CANARIES, DEPLOYMENTS, DAEMON_SETS, SERVICES, CONFIG_MAPS, SECRETS, HORIZONTAL_POD_AUTOSCALERS, SCALED_OBJECTS,
            METRIC_TEMPLATES, ALERT_PROVIDERS, *_ROUTES)}

    def watches(self) -> Sequence[Watch]:
        targets = [Watch(resource, self._of_target) for resource in (DEPLOYMENTS, DAEMON_SETS, SERVICES)]
        configs = [Watch(resource, self._all_in_namespace) for resource in (CONFIG_MAPS, SECRETS)]
        owned = owner_keys(CANARIES.kind)
        return (*targets, *configs, *(Watch(r, owned) for r in (DEPLOYMENTS, DAEMON_SETS, INGRESSES)))

    async def reconcile(self, key: Key, now: datetime) -> Outcome:
        canary = self._caches[CANARIES].get(key)
        if canary is None:
            self._ticked.pop(key, None)
            return Outcome()
        if is_deleting(canary):
            return await self._goes(canary, now)
        due = self._due(canary, key)
        if due is not None and due > now:
            return Outcome(due, (Reason("WaitsForTick", f"the next check is due at {due:%H:%M:%S}"),))
        return await self.tick(key, now)

    async def tick(self, key: Key, now: datetime) -> Outcome:
        """Advance the Canary once, whether it is time or not."""
        canary = self._caches[CANARIES].get(key)
        if canary is None:
            return Outcome()
        try:
            spec = decode_canary(canary)
        except SpecError as mistake:
            await self._events.event(canary, "Warning", "Synced", str(mistake))
            return Outcome(None, (Reason("Invalid", str(mistake)),))
        found = await self._decided(self._gather(canary, spec), now)
        before = read_status(canary)
        status = write_status(found.status, before) if found.status is not None and found.status != before else None
        finalizer = wants_finalizer(canary, spec)
        try:
            if finalizer is not None:
                await carry_out(self._api, [finalizer], manager=MANAGER)
            await carry_out_decision(self._api, Decision(found.actions, status), CANARIES, canary, manager=MANAGER)
        except (BadRequest, Invalid) as refusal:  # as it is, trying again cannot help: the user acts next
            await self._events.event(canary, "Warning", "Synced", refusal.message)
            return Outcome(now + LOOK_AGAIN, (Reason("Refused", refusal.message),))
        self._ticked[key] = now
        await self._tell(canary, spec, found)
        phase = found.status.phase if found.status is not None else before.phase
        wait = spec.checks.interval if phase in UNDER_WAY or phase in ("", "Initializing") else None
        return Outcome(now + wait if wait else None, tuple(said.reason for said in found.said))

    def _due(self, canary: Obj, key: Key) -> datetime | None:
        """None: at once."""
        status = read_status(canary)
        if status.phase not in UNDER_WAY:
            return None
        try:
            interval = decode_canary(canary).checks.interval
        except SpecError:
            return None
        last = max((moment for moment in (status.moved, self._ticked.get(key)) if moment is not None), default=None)
        return last + interval if last is not None else None

    async def _decided(self, seen: Seen, now: datetime) -> Ticked:
        answers = Answers()
        while True:
            found = decide(seen, answers, now)
            if isinstance(found, Ticked):
                return found
            answers = answers.also(found, await self._answer(found, now))

    async def _answer(self, question: Question, now: datetime) -> Answer:
        match question:
            case Call():
                return Answer(error=await self._called(question))
            case Query(text, address):
                try:
                    values = await self._query(address).query(text, now)
                except Exception as error:  # whatever a querier raises is this check's failure, never the tick's end
                    return Answer(error=str(error) or type(error).__name__)
                listed = [values] if isinstance(values, (int, float)) else values
                last = float(listed[-1]) if len(listed) else math.nan  # upstream: the last series wins
                return Answer(value=None if math.isnan(last) else last)  # a share of no requests is no value

    async def _called(self, call: Call) -> str:
        error = ""
        for _ in range(call.retries + 1):
            error = await self._post(call.url, call.body, timeout=call.timeout, insecure=call.insecure, name=call.hook,
                                     kind=call.kind)
            if not error:
                break
        return error

    # --- telling ------------------------------------------------------------------------------------------------------

    async def _tell(self, canary: Obj, spec: CanarySpec, found: Ticked) -> None:
        for said in found.said:
            await self._say(canary, spec, found, said.kind, said.reason.message)
        for after in found.after:
            error = await self._called(after.call)
            kind: EventKind = "Warning" if error else "Normal"
            await self._say(canary, spec, found, kind, f"Post-rollout hook {after.hook.name} failed {error}" if error else
                            f"Post-rollout check {after.hook.name} passed")
        for notice in found.notices:
            await self._alert(canary, spec, notice)

    async def _say(self, canary: Obj, spec: CanarySpec, found: Ticked, kind: EventKind, message: str) -> None:
        await self._events.event(canary, kind, "Synced", message)
        hooks = [hook for hook in spec.checks.webhooks if hook.type == "event"]
        status = found.status or read_status(canary)
        for hook in hooks:
            call = call_of(spec, status, hook, status.phase)
            body = json.loads(call.body)
            body["metadata"] = {"eventMessage": message, "eventType": kind,
                                "timestamp": str(int(self._clock.now().timestamp() * 1000)), **body["metadata"]}
            error = await self._post(hook.url, json.dumps(body, sort_keys=True), timeout=hook.timeout, insecure=hook.insecure,
                                     name=hook.name, kind="event")
            if error:
                log.warning("%s: the event webhook %s failed: %s", key_of(canary), hook.name, error)

    async def _alert(self, canary: Obj, spec: CanarySpec, notice: Notice) -> None:
        if not spec.checks.alerts:
            return
        providers = {key_of(p): p for p in self._caches[ALERT_PROVIDERS].list()}
        secrets: dict[Key, Mapping[str, str]] = {}
        for key, provider in providers.items():
            ref = dig(provider, "spec", "secretRef", "name")
            secret = self._caches[SECRETS].get(Key(key.namespace, str(ref))) if ref else None
            if secret is not None:
                secrets[key_of(secret)] = {k: base64.b64decode(v).decode(errors="replace").strip()
                                           for k, v in (secret.get("data") or {}).items()}
        sent = letters(spec, notice, providers, secrets)
        errors = await asyncio.gather(*(self._post(one.address, one.body, timeout=timedelta(seconds=10), name=one.to,
                                                   kind="alert") for one in sent if isinstance(one, Letter)))
        failed = [(one.to, error) for one, error in zip([s for s in sent if isinstance(s, Letter)], errors, strict=True)
                  if error] + [(one.to, one.why) for one in sent if not isinstance(one, Letter)]
        for to, why in failed:
            await self._events.event(canary, "Warning", "Synced", f"{to} was not told: {why}")

    async def _goes(self, canary: Obj, now: datetime) -> Outcome:
        """`revertOnDeletion`: first the target serves again."""
        if FINALIZER not in (canary["metadata"].get("finalizers") or ()):
            return Outcome()
        try:
            spec = decode_canary(canary)
        except SpecError:
            spec = CanarySpec(canary["metadata"]["name"], canary["metadata"]["namespace"], decode_canary({
                "metadata": canary["metadata"], "spec": {}}).target)
        actions, waits = revert(self._gather(canary, spec), spec, now)
        status = {"phase": "Terminating"} if waits else None
        await carry_out_decision(self._api, Decision(actions, status), CANARIES, canary, manager=MANAGER)
        return Outcome(now + LOOK_AGAIN, (Reason("Terminating", waits),)) if waits else Outcome()

    # --- gathering ----------------------------------------------------------------------------------------------------

    def _gather(self, canary: Obj, spec: CanarySpec) -> Seen:
        ns = spec.namespace
        workloads = self._caches.get(KINDS[spec.target.kind]) if spec.target.kind in KINDS else None
        scaler = SCALED_OBJECTS if spec.autoscaler and spec.autoscaler.kind == "ScaledObject" else HORIZONTAL_POD_AUTOSCALERS
        return Seen(
            canary=canary,
            target=workloads.get(Key(ns, spec.target.name)) if workloads else None,
            primary=workloads.get(Key(ns, spec.primary)) if workloads else None,
            services={key_of(s).name: s for s in self._caches[SERVICES].list(ns)},
            configs={Config(kind, key_of(o).name): o for kind, resource in (("ConfigMap", CONFIG_MAPS), ("Secret", SECRETS))
                     for o in self._caches[resource].list(ns)},
            scalers={key_of(s).name: s for s in self._caches[scaler].list(ns)},
            routes={(r.kind, key_of(o).name): o for r in _ROUTES for o in self._caches[r].list(ns)},
            templates={key_of(t): t for t in self._caches[METRIC_TEMPLATES].list()},
            provider=self._provider, own_metrics=self._own_metrics and not spec.metrics_server,
            verify_weights=self._verify_weights,
        )

    # --- whom a change concerns ---------------------------------------------------------------------------------------

    def _of_target(self, obj: Obj) -> Iterable[Key]:
        key = key_of(obj)
        for canary in self._caches[CANARIES].list(key.namespace):
            ref = spec_of(canary).get("targetRef") or {}
            if (ref.get("kind"), ref.get("name")) == (obj.get("kind"), key.name):
                yield key_of(canary)

    def _all_in_namespace(self, obj: Obj) -> Iterable[Key]:
        for canary in self._caches[CANARIES].list(key_of(obj).namespace):
            yield key_of(canary)
