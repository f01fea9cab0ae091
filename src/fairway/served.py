"""What the data plane has served, by version, as the native gate asks for it.

From the statistics of its clusters, which are named `<namespace>|<service>|<port>|<hash>`. Of a request that is still under way
Envoy says nothing but that there is one. But if more are under way now than have begun within the last half second, the others
have been so for longer than that: what hangs is known before it ends.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fairway.kube.clock import Clock
from fairway.rollouts.gate import Arm
from fairway.rollouts.gate_provider import NoCounts
from fairway.traffic.port import DataPlane, TrafficError


class DataPlaneCounts:
    """Implements `Counting`."""

    def __init__(self, data_plane: DataPlane | None, clock: Clock) -> None:
        self._data_plane, self._clock = data_plane, clock
        self._begun: dict[tuple[str, timedelta], dict[str, Begun]] = {}

    async def counts(self, namespace: str, *, slower_than: timedelta | None) -> Mapping[str, Arm]:
        if self._data_plane is None:
            raise NoCounts("the requests are moved by somebody else, who does not tell Fairway what was served; use the "
                           "provider prometheus")
        asked = self._clock.now()
        try:
            text = await self._data_plane.stats()
        except (TrafficError, OSError, TimeoutError) as error:
            raise NoCounts(str(error) or type(error).__name__) from error
        arms = arms_of(text, namespace, slower_than)
        return arms if slower_than is None else self._with_waiting(arms, text, namespace, slower_than, asked)

    def _with_waiting(self, arms: dict[str, Arm], text: str, namespace: str, slower_than: timedelta,
                      now: datetime) -> dict[str, Arm]:
        known = self._begun.setdefault((namespace, slower_than), {})
        for template_hash, (begun, active) in under_way(text, namespace).items():
            waiting = known.setdefault(template_hash, Begun()).waiting(begun, active, now, slower_than)
            arms[template_hash] = replace(arms.get(template_hash, Arm()), waiting=waiting)
        for template_hash in known.keys() - arms.keys():
            del known[template_hash]
        return arms


@dataclass(slots=True)
class Begun:
    """How many requests of one version had begun, at the times when somebody looked."""

    looks: deque[tuple[datetime, int]] = field(default_factory=deque)

    def waiting(self, begun: int, active: int, now: datetime, longer_than: timedelta) -> int:
        """How many of `active` have been under way for longer, at least. To within a twentieth, the same for every version: the
        looks come every half second, not to the millisecond."""
        since = now - 0.95 * longer_than
        if self.looks and begun < self.looks[-1][1]:
            self.looks.clear()  # the data plane was restarted
        self.looks.append((now, begun))
        while len(self.looks) > 1 and self.looks[1][0] <= since:
            self.looks.popleft()
        at, then = self.looks[0]
        return max(active - (begun - then), 0) if at <= since else 0


_CLUSTER = re.compile(r'envoy_cluster_name="([^|"]*)\|[^|"]*\|[^|"]*\|([^|"]*)"')
_CLASS = re.compile(r'envoy_response_code_class="(\d)"')
_BOUND = re.compile(r'le="([^"]+)"')


def under_way(text: str, namespace: str) -> dict[str, tuple[int, int]]:
    """By version: how many requests have begun, and how many of them have not ended."""
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        begun = line.startswith("envoy_cluster_upstream_rq_total{")
        named = _CLUSTER.search(line) if begun or line.startswith("envoy_cluster_upstream_rq_active{") else None
        if named is not None and named[1] == namespace:
            total, active = found.get(named[2], (0, 0))
            value = _value(line)
            found[named[2]] = (total + value, active) if begun else (total, active + value)
    return found


def arms_of(text: str, namespace: str, slower_than: timedelta | None) -> dict[str, Arm]:
    """`slow` counts from the histogram's first bound that is not below `slower_than`.

    Envoy merges its histograms now and then (`STATS_FLUSH`), its counters at once: what is slow is therefore what the histogram
    itself says, never the counter less the quick ones, which would take the latest for slow.
    """
    found: dict[str, Arm] = {}
    quick: dict[tuple[str, str], tuple[float, int]] = {}
    timed: dict[tuple[str, str], int] = {}
    limit = slower_than.total_seconds() * 1000 if slower_than else math.inf
    for line in text.splitlines():
        counting = line.startswith("envoy_cluster_upstream_rq_xx{")
        timing = slower_than is not None and line.startswith("envoy_cluster_upstream_rq_time_bucket{")
        named = _CLUSTER.search(line) if counting or timing else None
        if named is None or named[1] != namespace:
            continue
        value = _value(line)
        if counting and (code := _CLASS.search(line)) is not None:
            found[named[2]] = found.get(named[2], Arm()) + Arm(value, value if code[1] == "5" else 0)
        elif (bound := _BOUND.search(line)) is not None and (at := float(bound[1])) >= limit:
            key = (named[0], named[2])
            if key not in quick or at < quick[key][0]:
                quick[key] = (at, value)
            if math.isinf(at):
                timed[key] = value
    for template_hash in {name for _, name in quick}:
        arm = found.get(template_hash, Arm())
        slow = sum(timed.get(key, n) - n for key, (_, n) in quick.items() if key[1] == template_hash)
        found[template_hash] = Arm(arm.requests, arm.errors, max(slow, 0))
    return found


def _value(line: str) -> int:
    return int(float(line.rpartition("}")[2].split()[0]))
