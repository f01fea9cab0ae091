"""What a person sees while the demo runs: one line a change, and on a terminal one live line of traffic below."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click

from fairway.cli.demo.figures import Answer

_ICONS = {"Succeeded": "✓", "Failed": "✗", "Running": "…", "Cancelled": "–", "Skipped": "–"}


class Stage:
    """Writes to standard error, so that `-o json` on standard output stays clean."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._start = time.time()
        self._version = ""
        self._told: dict[str, str] = {}

    def say(self, text: str) -> None:
        if self._quiet:
            return
        clear = "\r\x1b[K" if self._live else ""
        click.echo(f"{clear}{time.time() - self._start:6.1f} s  {text}", err=True)

    def begin(self, version: str, sha: str, message: str, pushed: float) -> None:
        self._version = version
        self._told = {what: text for what, text in self._told.items() if not what.startswith("job ")}
        self._told.pop("outcome", None)
        self.say(click.style(f"{version}  {sha[:7]}  {message}", bold=True) + "  git push")

    def end(self, outcome: str, evidence: str, ended: float) -> None:
        colour = {"promoted": "green", "rolled-back": "yellow"}.get(outcome, "red")
        self._line("outcome", click.style(outcome, fg=colour, bold=True) + (f"  {evidence}" if evidence else ""))

    def job(self, name: str, phase: str) -> None:
        if phase in _ICONS:
            self._line(f"job {name}", f"pipeline  {_ICONS[phase]} {name} {phase.lower()}")

    def application(self, sync: str, health: str, message: str) -> None:
        if sync:
            self._line("application", f"git       {sync}, {health or 'Unknown'}" + (f"  {message}" if message else ""))

    def rollout(self, phase: str, message: str) -> None:
        if phase:
            self._line("rollout", f"rollout   {phase}" + (f"  {message}" if message else ""))

    def weight(self, weight: str) -> None:
        self._line("weight", f"traffic   {weight} % to the canary")

    def traffic(self, recent: Sequence[Answer]) -> None:
        """The last two seconds of load, live."""
        if not self._live or not recent:
            return
        failed = sum(a.failed for a in recent)
        mine = sum(a.version == self._version for a in recent)
        click.echo(f"\r\x1b[K          {len(recent) / 2:.0f} requests/s  {100 * failed / len(recent):.1f} % errors  "
                   f"{100 * mine / len(recent):.0f} % on {self._version}", err=True, nl=False)

    def _line(self, what: str, text: str) -> None:
        if self._told.get(what) != text:
            self._told[what] = text
            self.say(f"  {self._version}  {text}")
