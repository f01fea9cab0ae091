"""What a person sees while the demo runs: one line a change, and on a terminal one live line of traffic below."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Sequence

import click

from fairway.cli.demo.figures import Answer

_ICONS = {"Succeeded": "✓", "Failed": "✗", "Running": "…", "Cancelled": "–", "Skipped": "–"}
_HOOK = re.compile(r"waiting for completion of hook \S+/(\S+)")
_WINDOW_S = 2.0


class Stage:
    """Writes to standard error, so that `-o json` on standard output stays clean."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._start = time.time()
        self._version = ""
        self._told: dict[str, str] = {}
        self._recent: deque[Answer] = deque()
        self._step: list[Answer] = []
        self._weight = 0

    def say(self, text: str) -> None:
        clear = "\r\x1b[K" if self._live else ""
        click.echo(f"{clear}{time.time() - self._start:6.1f} s  {text}", err=True)

    def begin(self, version: str, sha: str, message: str) -> None:
        self._version = version
        self._told = {what: text for what, text in self._told.items() if not what.startswith("job ")}
        self.say(click.style(f"{version}  {sha[:7]}  {message}", bold=True) + "  git push")

    def end(self, outcome: str, evidence: str) -> None:
        colour = {"promoted": "green", "rolled-back": "yellow"}.get(outcome, "red")
        self.say(f"  {self._version}  {click.style(outcome, fg=colour, bold=True)}" + (f"  {evidence}" if evidence else ""))

    def job(self, name: str, phase: str) -> None:
        if phase in _ICONS:
            self._line(f"job {name}", f"pipeline  {_ICONS[phase]} {name} {phase.lower()}")

    def application(self, message: str) -> None:
        """What the running sync says; that it waits for the rollout is told by the rollout's own lines."""
        if hook := _HOOK.match(message):
            self._line("git", f"git       hook {hook[1]} runs")
        elif message.startswith(("syncing to", "successfully synced")):
            self._line("git", f"git       {message}")

    def rollout(self, phase: str, message: str) -> None:
        """Only what ends an update: its steps are told by the traffic."""
        if phase in ("Healthy", "Degraded"):
            self._line("rollout", f"rollout   {phase}" + (f"  {message}" if message else ""))
        elif phase:
            self._told["rollout"] = ""

    def weight(self, weight: int) -> None:
        """The weight that the data plane has confirmed; what the step before it got is said with it."""
        if weight == self._weight:
            return
        got = ""
        if self._step and 0 < self._weight < 100:
            mine = 100 * sum(a.version == self._version for a in self._step) / len(self._step)
            errors = 100 * sum(a.failed for a in self._step) / len(self._step)
            got = f"  ({self._weight} % got {mine:.1f} % of {len(self._step)} requests, {errors:.1f} % errors)"
        self.say(f"  {self._version}  traffic   {weight} % to the canary{got}")
        self._weight, self._step = weight, []

    def traffic(self, new: Sequence[Answer]) -> None:
        """The load's newest answers; the last two seconds are shown live."""
        self._step.extend(new)
        self._recent.extend(new)
        while self._recent and self._recent[0].at < time.time() - _WINDOW_S:
            self._recent.popleft()
        if not self._live or not self._recent:
            return
        total = len(self._recent)
        failed, mine = sum(a.failed for a in self._recent), sum(a.version == self._version for a in self._recent)
        click.echo(f"\r\x1b[K          {total / _WINDOW_S:.0f} requests/s  {100 * failed / total:.1f} % errors  "
                   f"{100 * mine / total:.0f} % on {self._version}", err=True, nl=False)

    def _line(self, what: str, text: str) -> None:
        if self._told.get(what) != text:
            self._told[what] = text
            self.say(f"  {self._version}  {text}")
