"""What is wrong with a query before any sample is read: types, numbers of arguments, modifiers in the wrong place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fairway.metrics.labels import NAME
from fairway.metrics.promql.lexer import mistake
from fairway.metrics.promql.tree import (
    Aggregation,
    Binary,
    Call,
    Matching,
    Node,
    Number,
    Paren,
    Range,
    Selector,
    Sign,
    String,
    Subquery,
    children,
    unwrapped,
)

Type = Literal["scalar", "instant vector", "range vector", "string"]
_SET = frozenset({"and", "or", "unless"})
_SHORT: dict[str, Type] = {"s": "scalar", "v": "instant vector", "m": "range vector", "t": "string"}


@dataclass(frozen=True, slots=True)
class Signature:
    """`more` says how many arguments may be missing at the end (positive) or that the last may repeat (-1)."""

    arguments: tuple[Type, ...]
    more: int
    returns: Type


def _signatures() -> dict[str, Signature]:
    """One line a shape: the letters of the arguments, how many may be missing, what comes out, the names."""
    shapes = (
        ("v", 0, "v", "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg "
                      "histogram_count histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort "
                      "sort_desc sqrt start_timestamp tan tanh timestamp"),
        ("v", 1, "v", "day_of_month day_of_week day_of_year days_in_month hour minute month year"),
        ("m", 0, "v", "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase "
                      "irate last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets "
                      "stddev_over_time stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time "
                      "ts_of_max_over_time ts_of_min_over_time"),
        ("", 0, "s", "end pi range start step time"),
        ("v", 0, "s", "scalar"), ("s", 0, "v", "vector"), ("ss", 0, "s", "max_of min_of"), ("vs", 1, "v", "round"),
        ("vss", 0, "v", "clamp"), ("vs", 0, "v", "clamp_max clamp_min"), ("mss", 0, "v", "double_exponential_smoothing"),
        ("ms", 0, "v", "predict_linear"), ("sm", 0, "v", "quantile_over_time"), ("sv", 0, "v", "histogram_quantile"),
        ("ssv", 0, "v", "histogram_fraction"), ("vtss", -1, "v", "histogram_quantiles"), ("vv", 1, "v", "info"),
        ("vttt", -1, "v", "label_join"), ("vtttt", 0, "v", "label_replace"),
        ("vt", -1, "v", "sort_by_label sort_by_label_desc"),
    )  # fmt: skip
    return {
        name: Signature(tuple(_SHORT[letter] for letter in letters), more, _SHORT[out])
        for letters, more, out, names in shapes
        for name in names.split()
    }


SIGNATURES = _signatures()
_EXTENDED = {
    "anchored": ("changes", "delta", "increase", "rate", "resets"),
    "smoothed": ("delta", "increase", "rate"),
}


def checked(node: Node, text: str) -> Node:
    """The node itself; `BadQuery` where it makes no sense."""
    _Check(text).type(node)
    return node


def type_of(node: Node) -> Type:
    """What the node answers, of a tree that has been checked."""
    match node:
        case Number():
            return "scalar"
        case String():
            return "string"
        case Range() | Subquery():
            return "range vector"
        case Paren(inner) | Sign(inner=inner):
            return type_of(inner)
        case Call(name):
            return SIGNATURES[name].returns
        case Binary(left=left, right=right):
            return "scalar" if type_of(left) == type_of(right) == "scalar" else "instant vector"
        case _:
            return "instant vector"


class _Check:
    def __init__(self, text: str) -> None:
        self._text = text

    def type(self, node: Node) -> Type:
        match node:
            case Selector():
                self._selector(node)
            case Call():
                self._call(node)
            case Aggregation():
                self._expect(node.inner, "instant vector", f'aggregation expression "{node.op}"')
                if node.parameter is not None:
                    wanted: Type = "string" if node.op == "count_values" else "scalar"
                    self._expect(node.parameter, wanted, f'aggregation parameter of "{node.op}"')
            case Binary():
                self._binary(node)
            case Sign(inner=inner):
                if self.type(inner) not in ("scalar", "instant vector"):
                    raise mistake(self._text, node.at, "unary expression only allowed on expressions of type scalar or "
                                                       f'instant vector, got "{type_of(inner)}"')  # fmt: skip
            case Subquery(inner):
                if self.type(inner) != "instant vector":
                    raise mistake(self._text, node.at, "subquery is only allowed on instant vector, got "
                                                       f"{type_of(inner)} instead")  # fmt: skip
            case _:
                for child in children(node):
                    self.type(child)
        return type_of(node)

    def _expect(self, node: Node, wanted: Type, where: str) -> None:
        found = self.type(node)
        if found != wanted:
            raise mistake(self._text, node.at, f"expected type {wanted} in {where}, got {found}")

    def _selector(self, node: Selector, *, may_be_empty: bool = False) -> None:
        if not may_be_empty and all(matcher.test()("") for matcher in node.matchers):
            raise mistake(self._text, node.at, "vector selector must contain at least one non-empty matcher")
        names = [matcher.value for matcher in node.matchers if matcher.name == NAME and matcher.op == "="]
        if "" in names:
            raise mistake(self._text, node.at, "vector selector must contain at least one non-empty matcher")

    def _call(self, node: Call) -> None:
        signature = SIGNATURES.get(node.name)
        if signature is None:
            raise mistake(self._text, node.at, f'unknown function with name "{node.name}"')
        count, most = len(node.arguments), len(signature.arguments)
        least = most - (1 if signature.more == -1 else signature.more)
        if count < least or (signature.more != -1 and count > most):
            bound = "at least" if signature.more == -1 or count < least < most else "at most" if least < most else ""
            wanted = least if count < least else most
            raise mistake(self._text, node.at, f"expected {bound + ' ' if bound else ''}{wanted} argument(s) in call to "
                                               f'"{node.name}", got {count}')  # fmt: skip
        for place, argument in enumerate(node.arguments):
            if node.name == "info" and place == 1:
                self._info_labels(argument)
                continue
            self._expect(argument, signature.arguments[min(place, most - 1)], f'call to function "{node.name}"')
            inner = unwrapped(argument)
            if isinstance(inner, Range) and inner.selector.mode:
                self._extended(node, inner.selector.mode)

    def _info_labels(self, node: Node) -> None:
        if not isinstance(node, Selector) or node.offset or node.moment or node.mode:
            raise mistake(self._text, node.at, "expected label selectors as the second argument to info()")
        self._selector(node, may_be_empty=True)

    def _extended(self, node: Call, mode: str) -> None:
        allowed = _EXTENDED[mode]
        if node.name not in allowed:
            raise mistake(self._text, node.at,
                          f"{mode} modifier can only be used with: {', '.join(allowed)} - not with {node.name}")  # fmt: skip

    def _binary(self, node: Binary) -> None:
        left, right = self.type(node.left), self.type(node.right)
        for found in (left, right):
            if found not in ("scalar", "instant vector"):
                raise mistake(self._text, node.at, "binary expression must contain only scalar and instant vector types")
        if left == right == "scalar":
            if node.op in ("==", "!=", "<", ">", "<=", ">=") and not node.as_bool:
                raise mistake(self._text, node.at, "comparisons between scalars must use BOOL modifier")
            if node.op in _SET:
                raise mistake(self._text, node.at, f'set operator "{node.op}" not allowed in binary scalar expression')
        elif "scalar" in (left, right):
            if node.op in _SET:
                raise mistake(self._text, node.at, f'set operator "{node.op}" not allowed in binary scalar expression')
            if node.matching != Matching():
                raise mistake(self._text, node.at, "vector matching only allowed between instant vectors")
