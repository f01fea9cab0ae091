"""What `fairway app actions` can do to a Rollout: the commands of `fairway rollout`, under Argo CD's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from fairway.gitops.actions import Action, Change, Make, Parameters, Refused
from fairway.kube.objects import Obj, dig, status_of
from fairway.kube.resources import ROLLOUTS
from fairway.rollouts import commands


def of_rollouts(obj: Obj) -> Iterator[Action]:
    if obj.get("kind") != ROLLOUTS.kind or obj.get("apiVersion") != ROLLOUTS.api_version:
        return
    status, paused = status_of(obj), bool(dig(obj, "spec", "paused", default=False))
    waiting, aborted = bool(status.get("pauseConditions")), bool(status.get("abort"))
    idle = status.get("currentPodHash") == status.get("stableRS")
    steps = dig(obj, "spec", "strategy", "canary", "steps", default=[])
    yield Action("abort", _made(lambda rollout, now: commands.abort(rollout)), aborted or idle)
    yield Action("pause", _made(lambda rollout, now: commands.pause(rollout)), paused)
    yield Action("promote-full", _made(lambda rollout, now: commands.promote(rollout, full=True)), aborted or idle)
    yield Action("restart", _made(commands.restart))
    yield Action("resume", _made(lambda rollout, now: commands.promote(rollout)), not (waiting or paused))
    yield Action("retry", _made(lambda rollout, now: commands.retry(rollout)), not aborted)
    yield Action("skip-current-step", _made(lambda rollout, now: commands.promote(rollout, skip_step=True)),
                 aborted or idle or not steps)


def _made(command: Callable[[Obj, datetime], commands.Patches]) -> Make:
    def make(rollout: Obj, now: datetime, given: Parameters) -> Change:
        try:
            patches = command(rollout, now)
        except commands.Refused as error:
            raise Refused(str(error)) from error
        return Change(patches.spec, patches.status)

    return make
