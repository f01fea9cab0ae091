"""Whether a real Prometheus has the series that the analyses' queries look for: a misspelt label is found before the night.

Each selector of each query is asked for, over the last hour. Where nothing is found its labels are asked for one by one, so
that the one that is wrong is named. A matcher on something that only a rollout knows (a version's hash) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from fairway.metrics.querier import Querier, QueryFailed
from fairway.rehearse.canary_case import CanaryCase
from fairway.rehearse.series import Matcher, Selector, selectors_of
from fairway.rehearse.spec import Scenario
from fairway.rehearse.subject import NOT_KNOWN, Subject


@dataclass(frozen=True, slots=True)
class Asked:
    """`series` None: it could not be asked, and `says` why. 0: there are none, and `says` what is missing."""

    selector: str
    series: int | None
    says: str = ""


def queries_of(subject: Subject) -> list[str]:
    """Those that stand in the files; a Canary's built-in checks are the affair of whoever runs it."""
    if subject.is_canary:
        return CanaryCase(subject, Scenario()).queries(built_in=False)
    return [metric.query for metric in subject.metrics()]


async def ask(queries: Iterable[str], querier: Querier, now: datetime) -> tuple[Asked, ...]:
    wanted = dict.fromkeys(_known(selector) for query in queries for selector in selectors_of(query))
    found: list[Asked] = []
    for selector in wanted:
        try:
            found.append(await _one(selector, querier, now))
        except QueryFailed as failed:
            found.append(Asked(written(selector), None, str(failed)))
    return tuple(found)


async def _one(selector: Selector, querier: Querier, now: datetime) -> Asked:
    count = await _count(selector, querier, now)
    if count:
        return Asked(written(selector), count)
    if selector.metric and not await _count(Selector(selector.metric, ()), querier, now):
        return Asked(written(selector), 0, f"there is no metric {selector.metric}")
    missing = [str_of(matcher) for matcher in selector.matchers
               if not await _count(Selector(selector.metric, (matcher,)), querier, now)]
    if missing:
        return Asked(written(selector), 0, f"the metric is there, but nothing has {', '.join(missing)}")
    return Asked(written(selector), 0, "the metric and each label are there, but not together")


async def _count(selector: Selector, querier: Querier, now: datetime) -> int:
    answer = await querier.query(f"count(last_over_time({written(selector)}[1h]))", now)
    return int(answer.samples[0].value) if answer.samples else 0


def _known(selector: Selector) -> Selector:
    return Selector(selector.metric, tuple(m for m in selector.matchers if NOT_KNOWN not in m.value))


def written(selector: Selector) -> str:
    inner = ",".join(map(str_of, selector.matchers))
    return f"{selector.metric}{{{inner}}}" if inner or not selector.metric else selector.metric


def str_of(matcher: Matcher) -> str:
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{matcher.label}{matcher.op}"{value}"'


def lines(address: str, asked: Sequence[Asked]) -> Iterable[str]:
    """For people."""
    yield f"series at {address}"
    for one in asked:
        if one.series is None:
            yield f"  ?  {one.selector}: unknown: {one.says}"
        elif one.series:
            yield f"  ✓  {one.selector}: {one.series}"
        else:
            yield f"  ✗  {one.selector}: none in the last hour: {one.says}"
    if not asked:
        yield "  no query of this rollout looks for any"
