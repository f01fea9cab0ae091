"""Sprig's rarer functions for Go templates: text, numbers, lists, maps. Pure.

Nothing reads the environment, the clock, the network or chance, and nothing changes what it is given: `set` and `unset` answer
with another map.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from fairway.gitops import semver
from fairway.manifests import yaml
from fairway.manifests.go_template import NO_VALUE, truth


def shown(value: Any) -> str:
    """As Go prints it."""
    if value is None:
        return NO_VALUE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{shown(inner)}" for key, inner in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(shown(item) for item in value) + "]"
    return str(value)


def _regex_replace(pattern: str, text: str, by: str) -> str:
    """Go writes groups as `$1` or `${1}`."""
    return re.sub(pattern, re.sub(r"\$\{?(\w+)\}?", r"\\g<\1>", by), text)


def _dig(*steps: Any) -> Any:
    *path, fallback, value = steps
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return fallback
        value = value[step]
    return value


def _merge(*maps: Mapping[str, Any], first_wins: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in maps:
        for key, value in one.items():
            if isinstance(value, Mapping) and isinstance(found.get(key), Mapping):
                found[key] = _merge(found[key], value, first_wins=first_wins)
            elif key not in found or not first_wins:
                found[key] = value
    return found


def _fail(message: str) -> Any:
    raise ValueError(message)


def _until(*ends: int) -> list[int]:
    found = range(*(int(end) for end in ends))
    if len(found) > _LONGEST_LIST:
        raise ValueError(f"more than {_LONGEST_LIST} numbers")
    return list(found)


def _repeat(count: int, text: Any) -> str:
    if count * len(str(text)) > _LONGEST_TEXT:
        raise ValueError(f"more than {_LONGEST_TEXT} characters")
    return str(text) * count


def _words(text: Any) -> list[str]:
    return re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", str(text))


def _rounded(value: Any, digits: int = 0) -> float:
    """Half goes up, as in Go."""
    scale = float(10**digits)
    return math.floor(float(value) * scale + 0.5) / scale


def _divided(a: Any, b: Any) -> int:
    return int(int(a) / int(b))  # towards zero


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float64", str: "string", list: "slice", dict: "map", type(None): "invalid"}
    return names.get(type(value), "map" if isinstance(value, Mapping) else "slice")


_LONGEST_LIST, _LONGEST_TEXT = 10_000, 1_000_000

SPRIG: dict[str, Callable[..., Any]] = {
    "atoi": lambda v: int(str(v)) if re.fullmatch(r"[-+]?\d+", str(v)) else 0, "int64": lambda v: int(float(v)),
    "float64": float, "toStrings": lambda v: [shown(i) for i in v], "add1": lambda v: int(v) + 1, "div": _divided,
    "mod": lambda a, b: int(math.fmod(int(a), int(b))), "max": lambda *v: max(int(i) for i in v),
    "min": lambda *v: min(int(i) for i in v), "floor": lambda v: float(math.floor(float(v))),
    "ceil": lambda v: float(math.ceil(float(v))), "round": _rounded, "until": _until, "untilStep": _until, "repeat": _repeat,
    "split": lambda s, v: {f"_{n}": part for n, part in enumerate(str(v).split(s))}, "trimall": lambda c, v: str(v).strip(c),
    "untitle": lambda v: re.sub(r"\b\w", lambda m: m[0].lower(), str(v)), "swapcase": lambda v: str(v).swapcase(),
    "camelcase": lambda v: "".join(w.capitalize() for w in _words(v)), "snakecase": lambda v: "_".join(_words(v)).lower(),
    "kebabcase": lambda v: "-".join(_words(v)).lower(), "initials": lambda v: "".join(w[0] for w in str(v).split()),
    "abbrev": lambda n, v: str(v) if len(str(v)) <= n else str(v)[: n - 3] + "...", "println": lambda *v: " ".join(
        map(shown, v)) + "\n", "regexMatch": lambda p, v: re.search(p, str(v)) is not None,
    "regexFind": lambda p, v: ((m := re.search(p, str(v))) and m[0]) or "", "regexReplaceAll": lambda p, v, by: _regex_replace(
        p, str(v), by), "regexReplaceAllLiteral": lambda p, v, by: re.sub(p, lambda m: by, str(v)),
    "regexFindAll": lambda p, v, n: [m[0] for m in re.finditer(p, str(v))][: n if n >= 0 else None],
    "regexSplit": lambda p, v, n: re.split(p, str(v), maxsplit=max(n - 1, 0) if n >= 0 else 0),
    "rest": lambda v: v[1:], "initial": lambda v: v[:-1], "append": lambda v, item: [*v, item],
    "prepend": lambda v, item: [item, *v], "concat": lambda *v: [i for one in v for i in one], "reverse": lambda v: v[::-1],
    "uniq": lambda v: [i for n, i in enumerate(v) if i not in v[:n]], "without": lambda v, *out: [i for i in v if i not in out],
    "compact": lambda v: [i for i in v if truth(i)], "sortAlpha": lambda v: sorted(map(shown, v)),
    "slice": lambda v, a=0, b=None: v[a:b],
    "values": lambda m: [m[k] for k in sorted(m)], "pick": lambda m, *k: {i: m[i] for i in k if i in m},
    "omit": lambda m, *k: {i: v for i, v in m.items() if i not in k}, "pluck": lambda k, *m: [one[k] for one in m if k in one],
    "set": lambda m, k, v: {**m, k: v}, "unset": lambda m, k: {i: v for i, v in m.items() if i != k}, "dig": _dig,
    "merge": lambda *m: _merge(*m, first_wins=True), "mergeOverwrite": lambda *m: _merge(*m, first_wins=False),
    "deepCopy": lambda v: v, "fromJson": lambda v: json.loads(v), "fromYaml": lambda v: yaml.load(str(v), "fromYaml"),
    "fromYamlArray": lambda v: yaml.load(str(v), "fromYamlArray"), "toPrettyJson": lambda v: json.dumps(v, indent=2),
    "toRawJson": lambda v: json.dumps(v, separators=(",", ":"), ensure_ascii=False), "sha1sum": lambda v: hashlib.sha1(
        str(v).encode(), usedforsecurity=False).hexdigest(), "adler32sum": lambda v: str(zlib.adler32(str(v).encode())),
    "urlquery": lambda v: quote_plus(str(v)), "kindOf": _kind, "typeOf": _kind, "kindIs": lambda k, v: _kind(v) == k,
    "fail": _fail, "ext": lambda v: posixpath.splitext(str(v))[1], "clean": lambda v: posixpath.normpath(str(v)),
    "isAbs": lambda v: str(v).startswith("/"), "semverCompare": lambda c, v: semver.best(c, [str(v)]) is not None,
    "all": lambda *v: all(map(truth, v)), "any": lambda *v: any(map(truth, v)),
}  # fmt: skip
"""Not here, on purpose: whatever reads the environment, the clock, the network or chance."""
