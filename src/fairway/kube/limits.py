"""LimitRanges: what containers get that say nothing, and what nobody may exceed. Pure.

Source: kubernetes `plugin/pkg/admission/limitranger`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.quantity import canonical, parse_quantity

_ANNOTATION = "kubernetes.io/limit-ranger"

Amounts = Mapping[str, Decimal]


def complete(limit_range: Obj) -> None:
    """Defaults of a LimitRange itself: for containers, max is the default limit, and that or min the default request."""
    for item in dig(limit_range, "spec", "limits", default=[]):
        if item.get("type") != "Container":
            continue
        for target, source in (("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")):
            for name, amount in (item.get(source) or {}).items():
                item.setdefault(target, {}).setdefault(name, amount)


def fill(pod: Obj, limit_ranges: Iterable[Obj]) -> None:
    """Give every container the requests and limits that it does not name. Changes `pod`."""
    said: list[str] = []
    for item in _items(limit_ranges, "Container"):
        for container, word in _containers(pod["spec"]):
            for part, source in (("requests", "defaultRequest"), ("limits", "default")):
                given = item.get(source) or {}
                resources = container.setdefault("resources", {})
                missing = {name: amount for name, amount in given.items() if name not in (resources.get(part) or {})}
                if missing:
                    resources[part] = {**missing, **(resources.get(part) or {})}
                    said.append(f"{', '.join(sorted(missing))} {part[:-1]} for {word} {container['name']}")
    if said:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[_ANNOTATION] = f"LimitRanger plugin set: {'; '.join(said)}"


def exceeded(kind: str, obj: Obj, limit_ranges: Iterable[Obj]) -> list[str]:
    """What a Pod or PersistentVolumeClaim asks for that it may not have."""
    ranges = list(limit_ranges)
    if kind == "PersistentVolumeClaim":
        asked = _amounts(dig(obj, "spec", "resources", "requests"))
        return [why for item in _items(ranges, kind) for why in _outside(item, asked, {}, kind)]
    found: list[str] = []
    spec = obj["spec"]
    for item in _items(ranges, "Container"):
        for container, _ in _containers(spec):
            resources = container.get("resources") or {}
            found += _outside(item, _amounts(resources.get("requests")), _amounts(resources.get("limits")), "Container")
    for item in _items(ranges, "Pod"):
        found += _outside(item, pod_total(spec, "requests"), pod_total(spec, "limits"), "Pod")
    return list(dict.fromkeys(found))


def pod_total(spec: Mapping[str, Any], part: str) -> dict[str, Decimal]:
    """Requests or limits of a whole pod: the sum of its containers and sidecars, or the largest of its init containers
    beside the sidecars that started before, whichever is more; and the overhead of its runtime class."""
    total = _sum(_amounts(dig(c, "resources", part)) for c in spec.get("containers") or ())
    sidecars: dict[str, Decimal] = {}
    most: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(dig(container, "resources", part))
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, own))
            most = _largest(most, sidecars)
        else:
            most = _largest(most, _sum((sidecars, own)))
    total = _largest(_sum((total, sidecars)), most)
    overhead = _amounts(spec.get("overhead"))
    return _sum((total, {n: a for n, a in overhead.items() if part == "requests" or n in total})) if overhead else total


def _items(limit_ranges: Iterable[Obj], kind: str) -> Iterator[Obj]:
    for limit_range in limit_ranges:
        for item in dig(limit_range, "spec", "limits", default=[]):
            if item.get("type") == kind:
                yield item


def _containers(spec: Obj) -> Iterator[tuple[Obj, str]]:
    for container in spec.get("containers") or ():
        yield container, "container"
    for container in spec.get("initContainers") or ():
        yield container, "init container"


def _outside(item: Obj, requests: Amounts, limits: Amounts, kind: str) -> Iterator[str]:
    for name, bound in (item.get("min") or {}).items():
        least = parse_quantity(bound)
        if name not in requests:
            yield f"minimum {name} usage per {kind} is {canonical(bound)}. No request is specified"
        elif requests[name] < least:
            yield f"minimum {name} usage per {kind} is {canonical(bound)}, but request is {_shown(requests[name], bound)}"
        elif name in limits and limits[name] < least:
            yield f"minimum {name} usage per {kind} is {canonical(bound)}, but limit is {_shown(limits[name], bound)}"
    for name, bound in (item.get("max") or {}).items():
        most = parse_quantity(bound)
        if kind == "PersistentVolumeClaim":
            if requests.get(name, Decimal(0)) > most:
                yield f"maximum {name} usage per {kind} is {canonical(bound)}, but request is {_shown(requests[name], bound)}"
        elif name not in limits:
            yield f"maximum {name} usage per {kind} is {canonical(bound)}. No limit is specified"
        elif limits[name] > most:
            yield f"maximum {name} usage per {kind} is {canonical(bound)}, but limit is {_shown(limits[name], bound)}"
        elif requests.get(name, Decimal(0)) > most:
            yield f"maximum {name} usage per {kind} is {canonical(bound)}, but request is {_shown(requests[name], bound)}"
    for name, bound in (item.get("maxLimitRequestRatio") or {}).items():
        yield from _ratio(name, bound, requests, limits, kind)


def _ratio(name: str, bound: str, requests: Amounts, limits: Amounts, kind: str) -> Iterator[str]:
    lead = f"{name} max limit to request ratio per {kind} is {canonical(bound)}, but "
    request, limit = requests.get(name, Decimal(0)), limits.get(name, Decimal(0))
    if not request:
        yield f"{lead}no request is specified or request is 0"
    elif not limit:
        yield f"{lead}no limit is specified or limit is 0"
    elif limit / request > parse_quantity(bound):
        yield f"{lead}provided ratio is {limit / request:f}"


def _amounts(given: Any) -> dict[str, Decimal]:
    return {name: parse_quantity(amount) for name, amount in (given or {}).items()}


def _combined(parts: Iterable[Amounts], join: Callable[[Decimal, Decimal], Decimal]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = join(total[name], amount) if name in total else amount
    return total


def _sum(parts: Iterable[Amounts]) -> dict[str, Decimal]:
    return _combined(parts, lambda a, b: a + b)


def _largest(*parts: Amounts) -> dict[str, Decimal]:
    return _combined(parts, max)


def _shown(amount: Decimal, like: Any) -> str:
    """An amount in the family of units that `like` is written in."""
    return written(amount, binary=str(like).endswith("i"))


def written(amount: Decimal, *, binary: bool) -> str:
    """The canonical quantity of a sum."""
    whole = amount == amount.to_integral_value()
    if binary and whole and amount and int(amount) % 1024 == 0:
        return canonical(f"{int(amount) // 1024}Ki")
    return canonical(f"{amount:f}")
