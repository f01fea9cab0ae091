"""A data plane for virtual time: it takes every model at once, moves no request, and can be told to refuse."""

from __future__ import annotations

import asyncio

from fairway.traffic.model import Model
from fairway.traffic.port import Address, Applied, Rejected


class SimulatedDataPlane:
    """`model` is what is in force: who rehearses users asks it for their shares. Takes `delay_s` for each change;
    while `refusing` says why, it refuses."""

    def __init__(self, *, delay_s: float = 0.003) -> None:
        self.model: Model | None = None
        self.refusing = ""
        self._delay_s = delay_s
        self._version = 0

    @property
    def description(self) -> str:
        return "a simulated data plane: no request is really moved"

    async def start(self, ingress: Address | None = None) -> bool:
        return False

    async def apply(self, model: Model) -> Applied:
        await asyncio.sleep(self._delay_s)
        if self.refusing:
            raise Rejected(self.refusing)
        self.model = model
        self._version += 1
        return Applied(str(self._version))

    async def stop(self) -> None:
        self.model = None

    async def detach(self) -> None:
        return

    async def stats(self) -> str:
        return ""

    def share(self, host: str, cluster: str) -> float:
        """Of the requests to `/` of this host, the part that goes to the cluster by weight (0 to 1)."""
        for found in self.model.ingress.hosts if self.model else ():
            if host in found.domains and found.routes:
                backends = found.routes[-1].backends
                return sum(b.weight for b in backends if b.cluster == cluster) / sum(b.weight for b in backends)
        return 0.0
