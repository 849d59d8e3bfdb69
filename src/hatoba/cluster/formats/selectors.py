"""Label selectors: parsing with the API's own words for what is wrong, and matching.

Spec: Kubernetes "Labels and Selectors"; the grammar and the refusals of the 1.32 server.
Field selectors are in `fields`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hatoba.cluster.api.status import BadRequest
from hatoba.cluster.formats.labels import key_faults, value_faults

Operator = Literal["in", "notin", "=", "==", "!=", "gt", "lt", "exists", "!"]
_WORD: Final = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+|$)")
_SYMBOLS: Final = frozenset({"=", "==", "!=", "!", "(", ")", ",", "<", ">"})
_CLOSING: Final = ")"
_OPERATORS: Final[Mapping[str, Operator]] = {
    "in": "in",
    "notin": "notin",
    "=": "=",
    "==": "==",
    "!=": "!=",
    ">": "gt",
    "<": "lt",
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Requirement:
    """One condition on labels."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it."""
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "notin" | "!=":
                return value is None or value not in self.values
            case "gt" | "lt":
                return self._compares(value)
            case _:
                return value is not None and value in self.values

    def _compares(self, value: str | None) -> bool:
        if value is None or not re.fullmatch(r"[-+]?\d+", value):
            return False
        (bound,) = self.values
        return int(value) > int(bound) if self.operator == "gt" else int(value) < int(bound)


@dataclass(slots=True, frozen=True)
class LabelSelector:
    """Conditions that all must be met."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether the labels are selected."""
        known = labels or {}
        return all(requirement.matches(known) for requirement in self.requirements)


def parse_labels(text: str) -> LabelSelector:
    """Parse the query parameter `labelSelector`.

    Raises:
        BadRequest: the text is not a selector.
    """
    return LabelSelector(tuple(_Parser(text).requirements()))


class _Parser:
    """Recursive descent over the tokens; the empty token is the end."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [*filter(None, _WORD.findall(text)), ""]

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        while True:
            token = self._peek
            if not token:
                return found
            if token in _SYMBOLS - {"!"}:
                raise BadRequest(f"found '{token}', expected: !, identifier, or 'end of string'")
            found.append(self._requirement())
            separator = self._take()
            if separator == "":
                return found
            if separator != ",":
                raise BadRequest(f"found '{separator}', expected: ',' or 'end of string'")
            if self._peek == "" or (self._peek in _SYMBOLS and self._peek != "!"):
                raise BadRequest(f"found '{self._peek}', expected: identifier after ','")

    @property
    def _peek(self) -> str:
        return self._tokens[0]

    def _take(self) -> str:
        return self._tokens.pop(0) if len(self._tokens) > 1 else ""

    def _requirement(self) -> Requirement:
        absent = self._peek == "!"
        if absent:
            self._take()
        key = self._take()
        if key == "" or key in _SYMBOLS:
            raise _unparsable(f"found '{key}', expected: identifier")
        if faults := key_faults(key):
            raise _unparsable(f'<nil>: Invalid value: "{key}": {"; ".join(faults)}')
        if absent:
            return Requirement(key=key, operator="!")
        if self._peek in {"", ","}:
            return Requirement(key=key, operator="exists")
        token = self._take()
        operator = _OPERATORS.get(token)
        if operator is None:
            raise _unparsable(f"found '{token}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if operator in {"in", "notin"} else {self._value()}
        _check_values(key, operator, sorted(values))
        return Requirement(key=key, operator=operator, values=frozenset(values))

    def _value(self) -> str:
        if self._peek in {"", ","}:
            return ""
        token = self._take()
        if token in _SYMBOLS:
            raise _unparsable(f"found '{token}', expected: identifier")
        return token

    def _values(self) -> set[str]:
        opening = self._take()
        if opening != "(":
            raise _unparsable(f"found '{opening}' expected: '('")
        if self._peek not in {")", ","} and (self._peek in _SYMBOLS or not self._peek):
            raise _unparsable(f"found '{self._take()}', expected: ',', ')' or identifier")
        values, current = set(), ""
        while True:
            word = self._take()
            if word in {",", ")"}:
                values.add(current)
                current = ""
            elif not word or word in _SYMBOLS or current:
                raise _unparsable(f"found '{word}', expected: ',' or ')'")
            else:
                current = word
            if word == _CLOSING:
                return values


def _check_values(key: str, operator: Operator, values: list[str]) -> None:
    for index, value in enumerate(values):
        if operator in {"gt", "lt"} and not re.fullmatch(r"[-+]?\d+", value):
            raise _unparsable(
                f"values[{index}]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators,"
                " the value must be an integer"
            )
        if faults := value_faults(value):
            raise _unparsable(
                f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(faults)}'
            )


def _unparsable(why: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {why}")
