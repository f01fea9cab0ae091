"""Many seeds in one world, for as long as nothing tells them apart.

Of what chance brings, the controllers see only what a measurement concludes. So seeds whose measurements conclude the same
share a world, and it is lived once; each has its own users and its own series beside it. Where a measurement concludes
something else for some of them, the process forks, and both go on apart: each seed has the very rehearsal that it would have
had alone. What is only text (a measured value) is that of the first seed.
"""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NoReturn, TypeVar

from fairway.rehearse.series import Exporter

T = TypeVar("T")
Stories = list[tuple[int, Any]]
"""Seed, and what came of it."""


class Seeds:
    """Those that share this world. `stories` grows by what is told of those that went their own way."""

    def __init__(self, exporter: Exporter) -> None:
        self.all: list[Exporter] = [exporter]
        self.stories: Stories = []
        self.asked: Exporter | None = None
        """Whose users and series are meant now; None where the question is for all."""
        self._told: int | None = None

    def begin(self, numbers: Sequence[int]) -> None:
        """Until now they do not differ."""
        self.all = [self.all[0].branched(number) for number in numbers]

    @property
    def first(self) -> Exporter:
        return self.all[0]

    def divided(self, found: Sequence[T], by: Callable[[T], Hashable]) -> list[T]:
        """`found` holds something for each of `all`. Comes back once in every world, with what those in it have found."""
        groups: dict[Hashable, list[int]] = {}
        for i, one in enumerate(found):
            groups.setdefault(by(one), []).append(i)
        mine, *others = groups.values()
        for theirs in others:
            if self._goes_its_own_way():
                mine = theirs
                break
        self.all = [self.all[i] for i in mine]
        return [found[i] for i in mine]

    def _goes_its_own_way(self) -> bool:
        """True in the new process; in this one, False when that has told its story. Time stands still here until then."""
        loop = asyncio.get_running_loop()
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            asyncio._set_running_loop(loop)  # a loop belongs to the process that started it, and this one only counts
            self._told, self.stories = theirs, []
            return True
        os.close(theirs)
        with os.fdopen(ours, "rb") as answer:
            told = answer.read()
        os.waitpid(child, 0)
        found = pickle.loads(told) if told else RuntimeError("a rehearsal ended without a word")
        if isinstance(found, Exception):
            self.stories.append((-1, found))
        else:
            self.stories += found
        return False

    @property
    def apart(self) -> bool:
        """This is a process of its own, whose parent waits to hear from it."""
        return self._told is not None

    def tell(self, what: Stories | Exception) -> NoReturn:
        """The last word of a process that went its own way."""
        assert self._told is not None
        with os.fdopen(self._told, "wb") as answer:
            answer.write(pickle.dumps(what))
        os._exit(0)
