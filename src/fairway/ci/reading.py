"""Reading a located YAML tree strictly: every mistake is collected with its place, none stops the reading. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from fairway.ci.contexts import Availability
from fairway.ci.expressions import ExpressionError, Value, condition_text, parse, split, to_text
from fairway.ci.expressions.interpolation import INSERT
from fairway.ci.spec import Mistake
from fairway.ci.yaml_tree import Map, Node, Scalar, Seq


@dataclass(slots=True)
class Reader:
    mistakes: list[Mistake] = field(default_factory=list)

    def refuse(self, node: Node, message: str) -> None:
        self.mistakes.append(Mistake(message, node.line, node.column))

    # --- shapes ---------------------------------------------------------------------------------------------------

    def mapping(self, node: Node | None, allowed: Collection[str] | None = None, *,
                required: Collection[str] = ()) -> dict[str, Node]:
        """The fields of a mapping; unknown and missing ones are mistakes. Empty where it is no mapping."""
        if node is None:
            return {}
        if not isinstance(node, Map):
            self.refuse(node, "A sequence was not expected" if isinstance(node, Seq) else
                        f"Unexpected value '{node.text}'")
            return {}
        found: dict[str, Node] = {}
        for key, value in node.pairs:
            if allowed is not None and key.text not in allowed:
                self.refuse(key, f"Unexpected value '{key.text}'")
            else:
                found[key.text] = value
        for name in required:
            if name not in found:
                self.refuse(node, f"Required property is missing: {name}")
        return found

    def entries(self, node: Node | None) -> list[tuple[Scalar, Node]]:
        """Pairs of a mapping with free keys."""
        if isinstance(node, Map):
            return list(node.pairs)
        if node is not None and not is_null(node):
            self.mapping(node)
        return []

    def text(self, node: Node | None) -> str:
        """A literal string; numbers and booleans become text, as GitHub has it."""
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.refuse(node, f"A {'sequence' if isinstance(node, Seq) else 'mapping'} was not expected")
            return ""
        return to_text(node.value)

    def filled(self, node: Node | None) -> str:
        """A literal string that may not be empty."""
        text = self.text(node)
        if node is not None and isinstance(node, Scalar) and not text:
            self.refuse(node, f"Unexpected value '{node.text}'")
        return text

    def texts(self, node: Node | None) -> tuple[str, ...]:
        """A string or a sequence of strings."""
        if node is None:
            return ()
        if isinstance(node, Seq):
            return tuple(self.filled(item) for item in node)
        return (self.filled(node),) if not is_null(node) else ()

    def flag(self, node: Node | None, default: bool = False) -> bool:
        if node is None:
            return default
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.refuse(node, f"Unexpected value '{node.text}'" if isinstance(node, Scalar) else "A boolean was expected")
        return default

    # --- values with expressions ----------------------------------------------------------------------------------

    def value(self, node: Node | None, where: Availability) -> Value:
        """Any value; its expressions are checked, and stay as they are written."""
        if node is None:
            return None
        if isinstance(node, Scalar):
            if isinstance(node.value, str):
                self.expressions(node, node.value, where)
            return node.value
        if isinstance(node, Seq):
            return [self.value(item, where) for item in node]
        return {self.key(key, where): self.value(value, where) for key, value in node.pairs}

    def key(self, key: Scalar, where: Availability) -> str:
        parts = self._split(key, key.text)
        if [part for part in parts if part != (True, INSERT)]:
            self.expressions(key, key.text, where)
        return key.text

    def scalar(self, node: Node | None, where: Availability) -> Value:
        """One value, perhaps with expressions."""
        if isinstance(node, (Map, Seq)):
            self.refuse(node, f"A {'sequence' if isinstance(node, Seq) else 'mapping'} was not expected")
            return None
        return self.value(node, where)

    def string(self, node: Node | None, where: Availability) -> Value:
        """A scalar as text: what GitHub calls a string."""
        value = self.scalar(node, where)
        return None if value is None else to_text(value)

    def typed(self, node: Node | None, where: Availability, kind: type) -> Value:
        """A boolean or a number, or an expression that gives one."""
        before = len(self.mistakes)
        value = self.scalar(node, where)
        if len(self.mistakes) > before and isinstance(value, str) and node is not None:
            self.refuse(node, f"Unexpected value '{value}'")
            return None
        if value is None or isinstance(value, kind) or (isinstance(value, str) and self._is_expression(node, value)):
            if node is not None and value is None and isinstance(node, Scalar):
                self.refuse(node, f"Unexpected value '{node.text}'")
            return value
        if node is not None:
            self.refuse(node, f"Unexpected value '{value if isinstance(value, str) else to_text(value)}'")
        return None

    def _is_expression(self, node: Node | None, text: str) -> bool:
        parts = self._split(node, text) if node is not None else ()
        return any(is_expression for is_expression, _ in parts)

    def string_map(self, node: Node | None, where: Availability) -> Value:
        """A mapping of strings, or an expression that gives one."""
        if node is None or is_null(node):
            return {}
        if isinstance(node, Scalar) and isinstance(node.value, str) and "${{" in node.value:
            return self.value(node, where)
        if not isinstance(node, Map):
            self.mapping(node)
            return {}
        return {self.key(key, where): self._entry(value, where) for key, value in node.pairs}

    def _entry(self, node: Node, where: Availability) -> Value:
        value = self.scalar(node, where)
        return "" if value is None else to_text(value)

    def plain_map(self, node: Node | None, where: Availability) -> Mapping[str, Value]:
        found: Value = self.string_map(node, where)
        if not isinstance(found, dict):
            if node is not None:
                self.refuse(node, "A mapping was expected")
            return {}
        return found

    def condition(self, node: Node | None, where: Availability) -> str:
        """An `if`: an expression with or without `${{ }}`."""
        if node is None:
            return ""
        if not isinstance(node, Scalar):
            self.scalar(node, where)
            return ""
        try:
            text = condition_text(node.value)
        except ExpressionError as error:
            self.refuse(node, error.message)
            return ""
        self._check(node, text, where)
        return text

    def expressions(self, node: Node, text: str, where: Availability) -> None:
        """Check every `${{ }}` in the text."""
        for is_expression, part in self._split(node, text):
            if not is_expression:
                continue
            if not part:
                self.refuse(node, "An expression was expected")
            elif part.split(" ")[0] == INSERT:
                self.refuse(node, "The directive 'insert' is not allowed in this context. Directives are not supported "
                            "for expressions that are embedded within a string. Directives are only supported when the "
                            "entire value is an expression.")
            else:
                self._check(node, part, where)

    def _split(self, node: Node, text: str) -> tuple[tuple[bool, str], ...]:
        try:
            return split(text)
        except ExpressionError as error:
            self.refuse(node, error.message)
            return ()

    def _check(self, node: Node, expression: str, where: Availability) -> None:
        try:
            parse(expression, where.names, where.functions)
        except ExpressionError as error:
            self.refuse(node, error.message)


def is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
