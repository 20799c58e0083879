"""Filter rows while they are shown: ``comm~ssh latency_ns>1ms``, ``1234``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.errors import UsageError, suggest_near
from pytracer.model import Batch, Coded, Histograms, Snapshot
from pytracer.record import record
from pytracer.request import units
from pytracer.spec import Column, Unit
from pytracer.text import harmless
from pytracer.view.select import column_of

_TERM = re.compile(r"([a-z][a-z0-9_]*)(!=|>=|<=|!~|=|>|<|~)(.*)", re.DOTALL)
_Compare = Callable[[Any, Any], Any]
_COMPARE: dict[str, _Compare] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


@record
class _Term:
    """One condition. ``columns``: it holds if one of these fulfils it."""

    columns: tuple[Column, ...]
    sign: str
    text: str
    number: int | None


class RowFilter:
    """Conditions that are separated by spaces; a row has to fulfil all.

    ``COLUMN=VALUE``, also with ``!= > < >= <=``; ``COLUMN~TEXT`` and ``!~`` look for a text in a name. A word
    alone is looked for in every name, and as the value of every id. Numbers may have units: ``10ms``, ``4k``.
    """

    def __init__(self, text: str, columns: Sequence[Column]) -> None:
        """Raise UsageError for a condition that makes no sense."""
        self.text = text.strip()
        self._terms = [self._term(word, columns) for word in self.text.split()]

    def __bool__(self) -> bool:
        return bool(self._terms)

    def mask(self, item: Batch | Snapshot | Histograms) -> Array:
        """Return which rows of an item fulfil all conditions, shape (n,)."""
        mask = np.ones(len(item), dtype=bool)
        for term in self._terms:
            column_mask = np.zeros(len(item), dtype=bool)
            for column in term.columns:
                column_mask |= _matches(column_of(item, column.name), term, column)
            mask &= column_mask
        return mask

    def equal(self, name: str) -> Iterator[str]:
        """Yield the values that a column has to have."""
        for term in self._terms:
            if term.sign == "=" and [column.name for column in term.columns] == [name]:
                yield term.text

    @staticmethod
    def _term(word: str, columns: Sequence[Column]) -> _Term:
        parts = _TERM.fullmatch(word)
        if parts is None:
            searched = tuple(column for column in columns if column.is_text or column.unit is Unit.NONE)
            return _Term(searched, "~", word.lower(), int(word) if word.isdecimal() else None)
        name, sign, value = parts.groups()
        named = tuple(column for column in columns if column.name == name)
        if not named:
            names = [column.name for column in columns]
            raise UsageError(
                f"there is no column {name!r}", hint=suggest_near(name, names) or ", ".join(names)
            )
        if named[0].is_text or sign in ("~", "!~"):
            if sign not in ("=", "!=", "~", "!~"):
                raise UsageError(f"{name} has names: = != ~ !~ compare them, {sign} does not")
            return _Term(named, sign, value if sign in ("=", "!=") else value.lower(), None)
        return _Term(named, sign, value, _parse_number(value, named[0]))


def _parse_number(text: str, column: Column) -> int:
    try:
        if column.unit is Unit.NANOSECONDS and not text.isdecimal():
            return units.nanoseconds(text)
        if column.unit is Unit.BYTES and not text.isdecimal():
            return units.byte_count(text)
        return int(text)
    except ValueError as error:
        raise UsageError(
            f"{column.name}: {error}", hint="a number; times as in 10ms, sizes as in 4k"
        ) from None


def _matches(values: Any, term: _Term, column: Column) -> Array:
    """Return which values fulfil a condition, shape (n,)."""
    if isinstance(values, Coded):
        holds = [_is_fulfilled(name, term) for name in (*values.names, None)]
        return np.array(holds, dtype=bool)[values.codes]
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iuf":
        if term.sign in _COMPARE or term.number is not None:
            compare: _Compare = _COMPARE.get(term.sign, operator.eq)
            missing: Array = np.ma.getmaskarray(values)
            matched: Array = np.asarray(compare(np.where(missing, 0, values), term.number))
            return np.logical_and(matched, np.logical_not(missing))
        if not column.is_text and term.sign == "~":
            return np.zeros(len(values), dtype=bool)
    rows = values.tolist() if isinstance(values, np.ndarray) else values
    return np.array([_is_fulfilled(value, term) for value in rows], dtype=bool)


def _is_fulfilled(value: Any, term: _Term) -> bool:
    """Return whether a value fulfils a condition; null fulfils only those that deny."""
    if isinstance(value, tuple):
        if term.sign in ("!=", "!~"):
            return all(_is_fulfilled(element, term) for element in value)
        return any(_is_fulfilled(element, term) for element in value)
    if value is None:
        return term.sign in ("!=", "!~")
    if term.number is None and term.sign in ("=", "!="):
        value = str(value)  # a number among names
    if not isinstance(value, str) and term.sign in _COMPARE:
        return bool(_COMPARE[term.sign](value, term.number))
    if not isinstance(value, str):
        return str(value) == term.text if term.sign == "~" else str(value) != term.text
    text = harmless(value)
    if term.sign in ("=", "!="):
        return (text == term.text) is (term.sign == "=")
    return (term.text in text.lower()) is (term.sign == "~")
