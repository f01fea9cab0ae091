"""How Go prints: floats, and `printf`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d+)?(?:\.(?P<precision>\d+))?(?P<verb>[a-zA-Z%])")


def go_float(value: float) -> str:
    """`%v`: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    exponent = int(f"{value:e}".partition("e")[2])
    if -4 <= exponent < 6:
        return repr(value).removesuffix(".0")
    shortest = next(text for places in range(17) if float(text := f"{value:.{places}e}") == value)
    mantissa, _, power = shortest.partition("e")
    return f"{mantissa}e{int(power):+03d}"


def printf(form: str, values: tuple[Any, ...], show: Callable[[Any], str]) -> str:
    """The verbs that templates use: %v %s %q %d %t %f %e %g %x %%, with width and precision."""
    given: Iterator[Any] = iter(values)

    def put(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        try:
            value = next(given)
        except StopIteration:
            return f"%!{verb}(MISSING)"
        text = _formatted(verb, match["flags"], match["precision"], value, show)
        width = int(match["width"] or 0)
        if "-" in match["flags"]:
            return text.ljust(width)
        return text.rjust(width, "0" if "0" in match["flags"] and verb in "dfeg" else " ")

    text = _VERB.sub(put, form)
    extra = list(given)
    return text if not extra else f"{text}%!(EXTRA {', '.join(f'{type(v).__name__}={show(v)}' for v in extra)})"


def _formatted(verb: str, flags: str, precision: str | None, value: Any, show: Callable[[Any], str]) -> str:
    sign = "+" if "+" in flags else ""
    try:
        match verb:
            case "v" | "s" | "t":
                text = show(value)
                return text if precision is None else text[: int(precision)]
            case "q":
                return json.dumps(show(value), ensure_ascii=False)
            case "d":
                return format(int(value), f"{sign}d")
            case "x":
                return format(int(value), "x")
            case "f" | "F" | "e" | "g":
                number = float(value)
                if not math.isfinite(number):
                    return go_float(number)
                if verb == "g" and precision is None:
                    return go_float(number)
                return format(number, f"{sign}.{precision or 6}{verb}")
            case _:
                return f"%!{verb}({show(value)})"
    except (TypeError, ValueError):
        return f"%!{verb}({type(value).__name__}={show(value)})"
