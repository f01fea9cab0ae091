"""Webhooks that hold or stop: confirm-rollout, pre-rollout, confirm-traffic-increase, confirm-promotion, rollback."""

from __future__ import annotations

from fairway.rollouts.flagger.seen import View
from fairway.rollouts.flagger.tick import Tick


def may_start(tick: Tick, view: View, *, waited: bool) -> bool:
    for hook in tick.hooks("confirm-rollout"):
        if tick.ask(hook, "Progressing"):
            if not waited:
                tick.move(view, "Waiting")
                tick.warn("WaitingForApproval", f"Halt {_who(tick)} advancement waiting for approval {hook.name}")
                if not hook.mute_alert:
                    tick.tell("Canary is waiting for approval.", "warn")
            return False
        if waited:
            tick.say("GatePassed", f"Confirm-rollout check {hook.name} passed")
    return True


def prepared(tick: Tick) -> bool:
    """pre-rollout: before the first request."""
    for hook in tick.hooks("pre-rollout"):
        error = tick.ask(hook, "Progressing")
        if error:
            tick.warn("Halted", f"Halt {_who(tick)} advancement pre-rollout check {hook.name} failed {error}")
            return False
        tick.say("GatePassed", f"Pre-rollout check {hook.name} passed")
    return True


def may_increase(tick: Tick) -> bool:
    for hook in tick.hooks("confirm-traffic-increase"):
        if tick.ask(hook, "Progressing"):
            tick.warn("WaitingForApproval", f"Halt {_who(tick)} advancement waiting for traffic increase approval {hook.name}")
            if not hook.mute_alert:
                tick.tell("Canary traffic increase is waiting for approval.", "warn")
            return False
        tick.say("GatePassed", f"Confirm-traffic-increase check {hook.name} passed")
    return True


def may_promote(tick: Tick, view: View) -> bool:
    for hook in tick.hooks("confirm-promotion"):
        if tick.ask(hook, "Progressing"):
            if tick.status.phase != "WaitingPromotion":
                tick.move(view, "WaitingPromotion")
                tick.warn("WaitingForApproval", f"Halt {_who(tick)} advancement waiting for promotion approval {hook.name}")
                if not hook.mute_alert:
                    tick.tell("Canary promotion is waiting for approval.", "warn")
            return False
        tick.say("GatePassed", f"Confirm-promotion check {hook.name} passed")
    return True


def wants_rollback(tick: Tick) -> bool:
    """rollback: an answer of success is the wish to go back."""
    for hook in tick.hooks("rollback"):
        if tick.ask(hook, tick.status.phase):
            tick.say("NoRollback", f"Rollback hook {hook.name} not signaling a rollback")
            continue
        tick.warn("RollbackAsked", f"Rollback check {hook.name} passed")
        return True
    return False


def _who(tick: Tick) -> str:
    return f"{tick.spec.name}.{tick.spec.namespace}"
