"""The language of `rules:if`: `$VAR == "text" && ($OTHER =~ /pattern/i || null)`. Pure.

Values are texts, null, true and false. An undefined variable is null; null, false and the empty text do not hold. `&&`
and `||` return one of their operands. A pattern may come from a variable; a text that is no pattern is looked for as it
is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.ci.gitlab.regexps import RegexpError, compile_re2, outside_classes

Value = str | bool | None
LONGEST, DEEPEST = 10_000, 100


class ConditionError(Exception):
    """An expression that is not valid."""


@dataclass(frozen=True, slots=True)
class Pattern:
    source: str
    flags: str


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


_TOKENS = re.compile(r"""
    (?P<space>\s+) | (?P<variable>\$\w+) | (?P<input>\$\[\[.*?\]\]) | (?P<string>"[^"]*"|'[^']*')
  | (?P<null>null\b) | (?P<operator>==|!=|=~|!~|&&|\|\||\(|\))
""", re.VERBOSE | re.DOTALL)
_PATTERN_TEXT = re.compile(r"/(.+)/([ismU]*)", re.DOTALL)
_BINDING = {"||": 1, "&&": 2, "==": 3, "!=": 3, "=~": 3, "!~": 3}


def evaluate(expression: str, variables: Mapping[str, str], *, inputs: Mapping[str, Any] | None = None) -> Value:
    """The value of the expression. Raises `ConditionError`."""
    return _Machine(_parsed(expression), variables, inputs or {}).value()


def holds(expression: str, variables: Mapping[str, str]) -> bool:
    return truthy(evaluate(expression, variables))


def check(expression: str) -> None:
    """Raises `ConditionError` where the expression is not valid."""
    _parsed(expression)


def truthy(value: Value) -> bool:
    return value not in (None, "", False)


# --- reading --------------------------------------------------------------------------------------------------------


def _tokens(expression: str) -> list[_Token]:
    if len(expression) > LONGEST:
        raise ConditionError(f"an expression may have at most {LONGEST} characters")
    found: list[_Token] = []
    at = 0
    while at < len(expression):
        if expression[at] == "/":
            end, text = _pattern_end(expression, at)
            found.append(_Token("pattern", text, at))
            at = end
            continue
        match = _TOKENS.match(expression, at)
        if match is None:
            hint = "; write $VAR, not ${VAR}" if expression.startswith("${", at) else ""
            raise ConditionError(f"invalid expression syntax at {expression[at : at + 12]!r}{hint}")
        if match.lastgroup != "space":
            found.append(_Token(str(match.lastgroup), match[0], at))
        at = match.end()
    return found


def _pattern_end(expression: str, start: int) -> tuple[int, str]:
    """A pattern ends at the first slash that is not escaped and stands in no parentheses or class."""
    for at, char, depth in outside_classes(expression[start + 1 :]):
        if char == "/" and depth <= 0:
            end = start + 1 + at + 1
            while end < len(expression) and expression[end] in "ismU":
                end += 1
            return end, expression[start:end]
    raise ConditionError(f"the pattern {expression[start : start + 20]!r} has no end")


def _parsed(expression: str) -> list[_Token]:
    """In reverse Polish order, operators after their operands."""
    output: list[_Token] = []
    operators: list[_Token] = []
    expects_value = True
    for token in _tokens(expression):
        if token.text == "(" and token.kind == "operator":
            if not expects_value:
                raise ConditionError("an operator is missing before '('")
            operators.append(token)
        elif token.text == ")" and token.kind == "operator":
            while operators and operators[-1].text != "(":
                output.append(operators.pop())
            if not operators or expects_value:
                raise ConditionError("')' without '('" if not operators else "a value is missing before ')'")
            operators.pop()
        elif token.kind == "operator":
            if expects_value:
                raise ConditionError(f"a value is missing before {token.text!r}")
            while operators and operators[-1].text != "(" and _BINDING[operators[-1].text] >= _BINDING[token.text]:
                output.append(operators.pop())
            operators.append(token)
            expects_value = True
        else:
            if not expects_value:
                raise ConditionError(f"an operator is missing before {token.text!r}")
            _check_pattern(token, output, operators)
            output.append(token)
            expects_value = False
        if len(operators) > DEEPEST:
            raise ConditionError(f"nested deeper than {DEEPEST}")
    if expects_value:
        raise ConditionError("a value is missing at the end")
    while operators:
        if operators[-1].text == "(":
            raise ConditionError("'(' without ')'")
        output.append(operators.pop())
    return output


def _check_pattern(token: _Token, output: list[_Token], operators: list[_Token]) -> None:
    matches = bool(operators) and operators[-1].text in ("=~", "!~")
    if token.kind == "pattern":
        if not matches:
            raise ConditionError("a pattern may only stand after =~ or !~")
        _compiled(token.text)
    elif token.kind == "string" and matches and output and output[-1].kind == "string" \
            and not _PATTERN_TEXT.fullmatch(token.text[1:-1]):
        raise ConditionError(f"{token.text} is not a pattern: write /…/")


def _compiled(text: str) -> re.Pattern[str]:
    found = _PATTERN_TEXT.fullmatch(text)
    if found is None:
        raise ConditionError(f"{text!r} is not a pattern")
    try:
        return compile_re2(found[1].replace("\\/", "/"), found[2])
    except RegexpError as error:
        raise ConditionError(str(error)) from None


# --- evaluating -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Machine:
    program: list[_Token]
    variables: Mapping[str, str]
    inputs: Mapping[str, Any]

    def value(self) -> Value:
        stack: list[Any] = []
        for token in self.program:
            if token.kind == "operator":
                right, left = stack.pop(), stack.pop()
                stack.append(self.operate(token.text, left, right))
            else:
                stack.append(self.operand(token))
        found: Value = stack.pop()
        return found

    def operand(self, token: _Token) -> Any:
        match token.kind:
            case "variable":
                return self.variables.get(token.text[1:])
            case "input":
                name = token.text[3:-2].strip().removeprefix("inputs.")
                value = self.inputs.get(name)
                return value if value is None or isinstance(value, str) else str(value).lower()
            case "null":
                return None
            case "pattern":
                return _compiled(token.text)
        return token.text[1:-1]

    def operate(self, operator: str, left: Any, right: Any) -> Value:
        match operator:
            case "==":
                return bool(left == right)
            case "!=":
                return bool(left != right)
            case "&&":
                return right if left not in (None, False) else left  # type: ignore[no-any-return]
            case "||":
                return left if truthy(left) else right  # type: ignore[no-any-return]
            case "=~":
                return _matches(left, right)
        return not _matches(left, right)


def _matches(text: Any, pattern: Any) -> bool:
    if pattern is None:
        return False
    if isinstance(pattern, str):
        try:
            pattern = _compiled(pattern)
        except ConditionError:
            return text is not None and text != "" and str(text) in pattern
    return text is not None and pattern.search(str(text)) is not None
