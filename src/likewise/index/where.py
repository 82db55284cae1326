"""Conditions on columns, as text: `label = 'cat' and (year >= 2020 or split in ('train', 'val'))`.

    condition := and-part { "or" and-part }          and-part := factor { "and" factor }
    factor := "not" factor | "(" condition ")" | column test
    test := ("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") value
          | ["not"] "in" "(" value { "," value } ")" | ["not"] "like" text | "is" ["not"] "null"

A value is a number, a text in quotes, true or false; dates are texts, '2020-12-31'. In `like`, % stands for any text,
and _ for any character. Nothing is evaluated as code: a condition becomes a tree, which each store translates.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from likewise.errors import InputError, unknown

Value = str | int | float | bool
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")"""
    r"""|(?P<word>[^\W\d]\w*)|(?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,))"""
)
_COMPARE = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_WORDS = {"and", "or", "not", "in", "is", "null", "like", "true", "false"}
_LONGEST, _DEEPEST = 4000, 40


@dataclass(frozen=True)
class Compare:
    """`column` against a value: =, !=, <, <=, >, >=."""

    column: str
    sign: str
    value: Value


@dataclass(frozen=True)
class Among:
    """`column` is one of the values."""

    column: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """`column` is a text of this form, % being any text."""

    column: str
    pattern: str


@dataclass(frozen=True)
class Null:
    """`column` has no value."""

    column: str


@dataclass(frozen=True)
class Not:
    """The contrary."""

    of: Condition


@dataclass(frozen=True)
class Both:
    """All of them."""

    of: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """One of them at least."""

    of: tuple[Condition, ...]


Condition = Compare | Among | Like | Null | Not | Both | Either


def parse(text: str, columns: Sequence[str]) -> Condition:
    """The condition that `text` says about `columns`. Raises InputError for other columns and what is no condition."""
    if len(text) > _LONGEST:
        raise InputError(f"a condition of {len(text):,} characters: allowed are {_LONGEST:,}")
    return _Parser(text, columns).whole()


class _Parser:
    """One token is looked at ahead."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self.text, self.columns, self.place, self.depth = text, columns, 0, 0
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None:
                raise InputError(f"condition {text!r}: {text[at:].strip()[:12]!r} is not understood; {_FORM}")
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind]))
            at = found.end()

    def whole(self) -> Condition:
        found = self.either()
        if self.place < len(self.tokens):
            raise self.wrong("and, or, or the end")
        return found

    def either(self) -> Condition:
        return self.joined("or", self.both, Either)

    def both(self) -> Condition:
        return self.joined("and", self.factor, Both)

    def joined(
        self, word: str, part: Callable[[], Condition], made: Callable[[tuple[Condition, ...]], Condition]
    ) -> Condition:
        parts = [part()]
        while self.took(word):
            parts.append(part())
        return parts[0] if len(parts) == 1 else made(tuple(parts))

    def factor(self) -> Condition:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise InputError(f"a condition nested more than {_DEEPEST} deep")
        if self.took("not"):
            found: Condition = Not(self.factor())
        elif self.took("("):
            found = self.either()
            self.need(")")
        else:
            found = self.test()
        self.depth -= 1
        return found

    def test(self) -> Condition:
        column = self.column()
        kind, token = self.peek()
        if kind == "sign" and token in _COMPARE:
            self.place += 1
            return Compare(column, _COMPARE[token], self.value())
        if self.took("is"):
            negated = self.took("not")
            self.need("null")
            return Not(Null(column)) if negated else Null(column)
        negated = self.took("not")
        if self.took("in"):
            self.need("(")
            values = [self.value()]
            while self.took(","):
                values.append(self.value())
            self.need(")")
            found: Condition = Among(column, tuple(values))
        elif self.took("like"):
            pattern = self.value()
            if not isinstance(pattern, str):
                raise InputError(f"condition {self.text!r}: like needs a text in quotes, not {pattern}")
            found = Like(column, pattern)
        else:
            raise self.wrong("=, !=, <, <=, >, >=, in, like or is null")
        return Not(found) if negated else found

    def column(self) -> str:
        kind, token = self.peek()
        if kind != "word" or token.lower() in _WORDS:
            raise self.wrong("a column")
        self.place += 1
        if token not in self.columns:
            raise unknown("column", token, self.columns)
        return token

    def value(self) -> Value:
        kind, token = self.peek()
        if kind == "word" and token.lower() in {"true", "false"}:
            self.place += 1
            return token.lower() == "true"
        if kind not in {"number", "text"}:
            raise self.wrong("a number or a text in quotes")
        self.place += 1
        if kind == "text":
            return token[1:-1].replace(token[0] * 2, token[0])
        return float(token) if re.search(r"[.eE]", token) else int(token)

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("end", "the end")

    def took(self, token: str) -> bool:
        kind, found = self.peek()
        if kind not in {"word", "sign"} or found.lower() != token:
            return False
        self.place += 1
        return True

    def need(self, token: str) -> None:
        if not self.took(token):
            raise self.wrong(repr(token))

    def wrong(self, wanted: str) -> InputError:
        return InputError(f"condition {self.text!r}: {self.peek()[1]!r} stands where {wanted} is expected; {_FORM}")


_FORM = "write for example: label = 'cat' and year >= 2020"


def mask(condition: Condition, table: pa.Table) -> pa.ChunkedArray:
    """Which rows of a table meet the condition, null counting as not. Raises InputError for values of another kind."""
    try:
        return pc.fill_null(_mask(condition, table), False)
    except pa.ArrowException as error:
        column = _column_of(condition)
        raise InputError(
            f"the condition compares {column} with a value of another kind: it holds {table.schema.field(column).type}"
        ) from error


def _mask(condition: Condition, table: pa.Table) -> Any:
    """True, false or null for each row, as in SQL."""
    if isinstance(condition, Both | Either):
        join = pc.and_kleene if isinstance(condition, Both) else pc.or_kleene
        whole = _mask(condition.of[0], table)
        for part in condition.of[1:]:
            whole = join(whole, _mask(part, table))
        return whole
    if isinstance(condition, Not):
        return pc.invert(_mask(condition.of, table))
    values = table[condition.column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if isinstance(condition, Null):
        return pc.is_null(values)
    if isinstance(condition, Like):
        return pc.match_like(values, condition.pattern)
    if isinstance(condition, Among):
        found = _compared(values, "=", condition.values[0])
        for value in condition.values[1:]:
            found = pc.or_kleene(found, _compared(values, "=", value))
        return found
    return _compared(values, condition.sign, condition.value)


_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def _compared(values: pa.ChunkedArray, sign: str, value: Value) -> Any:
    """A column against a value, which is taken as the column has it: true, false, or null for no value."""
    kind = values.type
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    dated = pa.types.is_temporal(kind) and isinstance(value, str)
    if (textual or dated) != isinstance(value, str) or pa.types.is_boolean(kind) != isinstance(value, bool):
        raise pa.ArrowTypeError("another kind")
    if pa.types.is_integer(kind) and not isinstance(value, str):
        return _whole(values, sign, value)
    if pa.types.is_floating(kind):
        return _SIGNS[sign](values, pa.scalar(float(value), kind))  # 0.1 of the column's own precision
    return _SIGNS[sign](values, pa.scalar(value).cast(kind))


def _whole(values: pa.ChunkedArray, sign: str, value: float) -> Any:
    """Whole numbers against any number, exactly: x < 2.5 is x < 3, and no number is equal to 2.5."""
    bound = value
    if math.isfinite(value):
        bound = math.ceil(value) if sign in {"<", ">="} else math.floor(value)
    if sign in {"=", "!="} and bound != value:
        return pc.if_else(pc.is_valid(values), sign == "!=", None)
    try:
        return _SIGNS[sign](values, pa.scalar(bound, values.type))
    except (OverflowError, pa.ArrowInvalid):  # beyond all that the column can hold
        return pc.if_else(pc.is_valid(values), sign in ({"<", "<=", "!="} if value > 0 else {">", ">=", "!="}), None)


def _column_of(condition: Condition) -> str:
    while isinstance(condition, Not):
        condition = condition.of
    return _column_of(condition.of[0]) if isinstance(condition, Both | Either) else condition.column
