"""Numbers with units, as people write thresholds and as verdicts show them. Pure."""

from __future__ import annotations

from collections.abc import Callable

from fairway.gates.rules import Unit
from fairway.images.sizes import parse_size
from fairway.kube.durations import parse_duration


def read_number(unit: Unit) -> tuple[str, Callable[[str], float]]:
    """What is needed, in words, and how it is read. The reader raises ValueError."""
    match unit:
        case "%" | "score":
            return "a number from 0 to 100", _share
        case "ms":
            return "a time such as 500ms or 2s", _milliseconds
        case "s":
            return "a time such as 10m", _seconds
        case "bytes":
            return "a size such as 500MB", parse_size
        case _:
            return "a number", _plain


def shown(value: float, unit: Unit) -> str:
    match unit:
        case "%":
            return f"{value:.2f} %"
        case "ms":
            return f"{value:.0f} ms" if value < 10_000 else f"{value / 1000:.1f} s"
        case "s":
            return f"{value:.0f} s" if value < 600 else f"{value / 60:.1f} min"
        case "bytes":
            return f"{value / 1e6:.1f} MB"
        case _:
            return f"{value:g}"


def _plain(text: str) -> float:
    value = float(text)
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError
    return value


def _share(text: str) -> float:
    value = _plain(text.removesuffix("%"))
    if not 0 <= value <= 100:
        raise ValueError
    return value


def _milliseconds(text: str) -> float:
    try:
        return _plain(text)
    except ValueError:
        return parse_duration(text).total_seconds() * 1000


def _seconds(text: str) -> float:
    try:
        return _plain(text)
    except ValueError:
        return parse_duration(text).total_seconds()
