"""expr's built-in functions, apart from those that take a predicate (`evaluate.py`). Source: expr-lang `builtin/`."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from typing import Any

from fairway.kube.durations import parse_duration
from fairway.rollouts.expr.errors import ExprError
from fairway.rollouts.expr.operators import MOST_ITEMS
from fairway.rollouts.expr.values import NoList, equal, is_int, is_number, kind, printed, wrapped

Function = Callable[..., Any]


def call(name: str, arguments: list[Any]) -> Any:
    """`ExprError` where there are too many or too few arguments, or the wrong ones."""
    function, least, most = _TABLE[name]
    if not least <= len(arguments) <= (most if most >= 0 else len(arguments)):
        raise ExprError(f"invalid number of arguments (expected {least if least == most else f'{least} to {most}'}, "
                        f"got {len(arguments)})")
    return function(*arguments)


def _refuse(name: str, value: Any) -> ExprError:
    return ExprError(f"invalid argument for {name} (type {kind(value)})")


def _need_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(name, value)
    return value


def _need_list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _refuse(name, value)
    return value


def _need_map(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(name, value)
    return value


def _need_int(name: str, value: Any) -> int:
    if not is_int(value):
        raise _refuse(name, value)
    return int(value)


# --- numbers ------------------------------------------------------------------------------------------------------


def _abs(value: Any) -> Any:
    if not is_number(value):
        raise _refuse("abs", value)
    return abs(value)


def _rounded(name: str, how: Callable[[float], float]) -> Function:
    def rounded(value: Any) -> float:
        if not is_number(value):
            raise _refuse(name, value)
        number = float(value)
        return how(number) if math.isfinite(number) else number

    return rounded


def _half_away(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _int(value: Any) -> int:
    if is_number(value):
        return wrapped(int(value)) if math.isfinite(value) else -(2**63)
    if isinstance(value, str):
        try:
            return int(value.replace("_", "x"))
        except ValueError:
            raise ExprError(f"invalid operation: int({value})") from None
    raise _refuse("int", value)


def _float(value: Any) -> float:
    if is_number(value):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value.replace("_", "x").strip("\x00") if value == value.strip() else "x")
        except ValueError:
            raise ExprError(f"invalid operation: float({value})") from None
    raise _refuse("float", value)


def _numbers(name: str, arguments: Iterable[Any]) -> list[Any]:
    """Numbers out of numbers and lists, at any depth."""
    found: list[Any] = []
    for argument in arguments:
        if isinstance(argument, list):
            found += _numbers(name, argument)
        elif is_number(argument):
            found.append(argument)
        else:
            raise _refuse(name, argument)
    return found


def _alone(arguments: tuple[Any, ...]) -> bool:
    """One value that is neither a number nor a list is its own least and greatest."""
    return len(arguments) == 1 and not isinstance(arguments[0], list)


def _max(*arguments: Any) -> Any:
    if _alone(arguments):
        return arguments[0]
    found = _numbers("max", arguments)
    if not found:
        return None
    best = found[0]
    for value in found[1:]:
        best = value if best < value else best
    return best


def _min(*arguments: Any) -> Any:
    if _alone(arguments):
        return arguments[0]
    found = _numbers("min", arguments)
    if not found:
        return None
    best = found[0]
    for value in found[1:]:
        best = value if best > value else best
    return best


def _mean(*arguments: Any) -> float:
    found = _numbers("mean", arguments)
    return sum(float(value) for value in found) / len(found) if found else 0.0


def _median(*arguments: Any) -> float:
    found = sorted(float(value) for value in _numbers("median", arguments))
    if not found:
        return 0.0
    middle = len(found) // 2
    return found[middle] if len(found) % 2 else (found[middle - 1] + found[middle]) / 2


def _bits(name: str, how: Callable[[int, int], int]) -> Function:
    def over_bits(left: Any, right: Any) -> int:
        return wrapped(how(_need_int(name, left), _need_int(name, right)))

    return over_bits


def _shift(name: str, how: Callable[[int, int], int]) -> Function:
    def shifted(value: Any, by: Any) -> int:
        if _need_int(name, by) < 0:
            raise ExprError(f"invalid operation: negative shift count {by}")
        return wrapped(how(_need_int(name, value), min(by, 64)))

    return shifted


# --- text ---------------------------------------------------------------------------------------------------------


def _trim(value: Any, characters: Any = None) -> str:
    return _need_text("trim", value).strip(None if characters is None else _need_text("trim", characters))


def _trim_prefix(value: Any, prefix: Any = " ") -> str:
    return _need_text("trimPrefix", value).removeprefix(_need_text("trimPrefix", prefix))


def _trim_suffix(value: Any, suffix: Any = " ") -> str:
    return _need_text("trimSuffix", value).removesuffix(_need_text("trimSuffix", suffix))


def _split(value: Any, by: Any, most: Any = -1) -> list[str]:
    text, mark, limit = _need_text("split", value), _need_text("split", by), _need_int("split", most)
    if limit == 0:
        return []
    if not mark:
        pieces = list(text)
        return pieces if limit < 0 or len(pieces) <= limit else [*pieces[: limit - 1], "".join(pieces[limit - 1 :])]
    return text.split(mark, limit - 1 if limit > 0 else -1)


def _split_after(value: Any, by: Any, most: Any = -1) -> list[str]:
    pieces, mark = _split(value, by, most), _need_text("splitAfter", by)
    return [piece + mark for piece in pieces[:-1]] + pieces[-1:] if pieces else []


def _replace(value: Any, old: Any, new: Any, most: Any = -1) -> str:
    text = _need_text("replace", value)
    return text.replace(_need_text("replace", old), _need_text("replace", new), _need_int("replace", most))


def _repeat(value: Any, times: Any) -> str:
    text, count = _need_text("repeat", value), _need_int("repeat", times)
    if count < 0:
        raise ExprError(f"invalid argument for repeat (expected positive integer, got {count})")
    if len(text) * count > MOST_ITEMS:
        raise ExprError("memory budget exceeded")
    return text * count


def _join(value: Any, glue: Any = "") -> str:
    items = _need_list("join", value)
    return _need_text("join", glue).join(_need_text("join", item) for item in items)


def _index_of(value: Any, part: Any) -> int:
    text, found = _need_text("indexOf", value), _need_text("indexOf", value).find(_need_text("indexOf", part))
    return found if found < 0 else len(text[:found].encode())


def _last_index_of(value: Any, part: Any) -> int:
    text, found = _need_text("lastIndexOf", value), _need_text("lastIndexOf", value).rfind(_need_text("lastIndexOf", part))
    return found if found < 0 else len(text[:found].encode())


# --- JSON, base64, time ---------------------------------------------------------------------------------------------


def _to_json(value: Any) -> str:
    try:
        return json.dumps(_plain(value), indent=2, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except ValueError:
        raise ExprError("json: unsupported value") from None


def _plain(value: Any) -> Any:
    """Whole floats as JSON of Go writes them, without a point."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _from_json(value: Any) -> Any:
    def number(text: str) -> float:
        if not math.isfinite(found := float(text)):
            raise ExprError(f"json: cannot unmarshal number {text} into Go value of type float64")
        return found

    try:
        return json.loads(_need_text("fromJSON", value), parse_int=number, parse_float=number)
    except ValueError as error:
        raise ExprError(f"invalid JSON: {error}") from None


def _from_base64(value: Any) -> str:
    try:
        return base64.b64decode(_need_text("fromBase64", value), validate=True).decode(errors="replace")
    except binascii.Error as error:
        raise ExprError(f"illegal base64 data: {error}") from None


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(_need_text("duration", value))
    except ValueError as error:
        raise ExprError(str(error)) from None


def _date(value: Any, *_: Any) -> datetime:
    try:
        found = datetime.fromisoformat(_need_text("date", value).replace("Z", "+00:00"))
    except ValueError:
        raise ExprError(f"invalid date {value}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


# --- lists and maps -------------------------------------------------------------------------------------------------


def _len(value: Any) -> int:
    if isinstance(value, (str, list, dict, bytes)):
        return len(value)
    raise _refuse("len", value)


def _type(value: Any) -> str:
    names = {"<nil>": "nil", "float64": "float", "[]interface {}": "array", "map[string]interface {}": "map",
             "[]uint8": "array"}
    return names.get(kind(value), kind(value))


def _get(value: Any, key: Any) -> Any:
    """nil wherever there is nothing to get; of a text it is the byte at that place."""
    if isinstance(value, dict):
        return value.get(key) if isinstance(key, str) else None
    found = value.encode() if isinstance(value, str) else value
    if isinstance(found, (list, bytes)) and is_int(key):
        return found[key] if -len(found) <= key < len(found) else None
    return None


def _take(value: Any, count: Any) -> list[Any]:
    return _need_list("take", value)[: max(_need_int("take", count), 0)]


def _from_pairs(value: Any) -> dict[str, Any]:
    found = {}
    for pair in _need_list("fromPairs", value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ExprError(f"invalid pair {printed(pair)}")
        found[str(pair[0])] = pair[1]
    return found


def _unique(value: Any) -> list[Any]:
    found: list[Any] = []
    for item in _need_list("uniq", value):
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def _concat(*lists: Any) -> list[Any]:
    return [item for value in lists for item in _need_list("concat", value)]


def _flatten(value: Any) -> list[Any]:
    found: list[Any] = []
    for item in _need_list("flatten", value):
        found += _flatten(item) if isinstance(item, list) else [item]
    return found


def sorted_by(items: list[Any], keys: list[Any], order: Any = "asc") -> list[Any]:
    """Stable sort by `keys`; comparing what cannot be compared is an error."""
    if order not in ("asc", "desc"):
        raise ExprError(f'invalid order "{order}", expected asc or desc')

    def compare(left: int, right: int) -> int:
        a, b = keys[left], keys[right]
        if not ((is_number(a) and is_number(b)) or (isinstance(a, str) and isinstance(b, str))):
            raise ExprError(f"invalid operation: {kind(a)} < {kind(b)}")
        return int(a > b) - int(a < b)

    ranked = sorted(range(len(items)), key=cmp_to_key(compare), reverse=order == "desc")
    return [items[i] for i in ranked]


def _sort(value: Any, order: Any = "asc") -> list[Any]:
    if not isinstance(value, list):
        return NoList()  # whatever cannot be sorted sorts to nothing
    return sorted_by(value, value, order)


_TABLE: dict[str, tuple[Function, int, int]] = {
    "len": (_len, 1, 1), "type": (_type, 1, 1), "abs": (_abs, 1, 1), "int": (_int, 1, 1), "float": (_float, 1, 1),
    "ceil": (_rounded("ceil", lambda v: float(math.ceil(v))), 1, 1),
    "floor": (_rounded("floor", lambda v: float(math.floor(v))), 1, 1), "round": (_rounded("round", _half_away), 1, 1),
    "string": (printed, 1, 1), "trim": (_trim, 1, 2), "trimPrefix": (_trim_prefix, 1, 2), "trimSuffix": (_trim_suffix, 1, 2),
    "upper": (lambda v: _need_text("upper", v).upper(), 1, 1), "lower": (lambda v: _need_text("lower", v).lower(), 1, 1),
    "split": (_split, 2, 3), "splitAfter": (_split_after, 2, 3), "replace": (_replace, 3, 4), "repeat": (_repeat, 2, 2),
    "join": (_join, 1, 2), "indexOf": (_index_of, 2, 2), "lastIndexOf": (_last_index_of, 2, 2),
    "hasPrefix": (lambda v, p: _need_text("hasPrefix", v).startswith(_need_text("hasPrefix", p)), 2, 2),
    "hasSuffix": (lambda v, p: _need_text("hasSuffix", v).endswith(_need_text("hasSuffix", p)), 2, 2),
    "max": (_max, 1, -1), "min": (_min, 1, -1), "mean": (_mean, 1, -1), "median": (_median, 1, -1),
    "toJSON": (_to_json, 1, 1), "fromJSON": (_from_json, 1, 1), "fromBase64": (_from_base64, 1, 1),
    "toBase64": (lambda v: base64.b64encode(_need_text("toBase64", v).encode()).decode(), 1, 1),
    "duration": (_duration, 1, 1), "date": (_date, 1, 3),
    "first": (lambda v: _get(v, 0), 1, 1), "last": (lambda v: _get(v, -1), 1, 1), "get": (_get, 2, 2), "take": (_take, 2, 2),
    "keys": (lambda v: list(_need_map("keys", v)), 1, 1), "values": (lambda v: list(_need_map("values", v).values()), 1, 1),
    "toPairs": (lambda v: [[k, x] for k, x in _need_map("toPairs", v).items()], 1, 1), "fromPairs": (_from_pairs, 1, 1),
    "reverse": (lambda v: _need_list("reverse", v)[::-1], 1, 1), "uniq": (_unique, 1, 1), "concat": (_concat, 1, -1),
    "flatten": (_flatten, 1, 1), "sort": (_sort, 1, 2),
    "bitand": (_bits("bitand", lambda a, b: a & b), 2, 2), "bitor": (_bits("bitor", lambda a, b: a | b), 2, 2),
    "bitxor": (_bits("bitxor", lambda a, b: a ^ b), 2, 2), "bitnand": (_bits("bitnand", lambda a, b: a & ~b), 2, 2),
    "bitnot": (lambda v: ~_need_int("bitnot", v), 1, 1), "bitshl": (_shift("bitshl", lambda a, b: a << b), 2, 2),
    "bitshr": (_shift("bitshr", lambda a, b: a >> b), 2, 2),
    "bitushr": (_shift("bitushr", lambda a, b: (a % 2**64) >> b), 2, 2),
}  # fmt: skip
