"""Decode results of probe specs: the values of each expression, and the formatted lines."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.budget import Budget
from pytracer.enrich.strings import text
from pytracer.lang import ProbeSpec, ProbeSpecs, ResultField, ResultSlot
from pytracer.model import Coded, Schema
from pytracer.symbols import maps
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.user import UserSymbols
from pytracer.text import from_path

Computed = Callable[[Array], Array | Coded]
"""From records of shape (n,) to a column of shape (n,)."""

_NONE = "-"  # for what could not be read
_WORDS = (ResultSlot.TEXT, ResultSlot.CHARACTER, ResultSlot.KERNEL_SYMBOL, ResultSlot.USER_SYMBOL)


class ResultColumns:
    """Columns of probe specs' results. Records (or rows' keys) have the members ``target`` and
    ``answers``."""

    def __init__(self, asked: ProbeSpecs, budget: Budget | None = None) -> None:
        """Nothing is looked up yet."""
        self._asked = asked
        self._kernel = KernelSymbols()
        self._user = UserSymbols(budget)

    def columns(self, schema: Schema) -> dict[str, Computed]:
        """Return a function for each computed column: the values of the expression that is its field, or
        the formatted lines if it has no field."""
        return {
            column.name: functools.partial(self._column, expression=column.field)
            if column.field
            else self._lines
            for column in schema.columns
            if column.computed
        }

    def close(self) -> None:
        """Close the files of user symbols."""
        self._user.close()

    def _questions(self, records: Array) -> Array:
        """Return the number of each record's probe spec, shape (n,)."""
        if "question" in (records.dtype.names or ()):
            question: Array = records["question"]
            return question
        of = np.array([*self._asked.of, -1], dtype=np.intp)
        which: Array = of[np.minimum(records["target"], len(self._asked.of))]
        return which

    def _column(self, records: Array, expression: str) -> Array | Coded:
        which = self._questions(records)
        parts = list[tuple[Array, ResultField]]()
        for number, answers in enumerate(self._asked.fields):
            for answer in answers:
                if answer.name == expression:
                    parts.append((np.flatnonzero(which == number), answer))
                    break
        if all(answer.slot in _WORDS for _, answer in parts):
            return self._words(records, parts)
        slots = {answer.slot for _, answer in parts}
        kinds = {ResultSlot.SIGNED: np.int64, ResultSlot.UNSIGNED: np.uint64, ResultSlot.BOOL: np.bool_}
        kind: Any = kinds[slots.pop()] if len(slots) == 1 else object
        values = np.zeros(len(records), dtype=kind)
        absent = np.ones(len(records), dtype=bool)
        for rows, answer in parts:
            values[rows] = self._values(records[rows], answer)
            absent[rows] = self._missing(records[rows], answer)
        return np.ma.masked_array(values, absent) if absent.any() or kind is object else values

    def _words(self, records: Array, parts: Sequence[tuple[Array, ResultField]]) -> Coded:
        names: dict[str, int] = {}
        codes = np.full(len(records), -1, dtype=np.intp)
        for rows, answer in parts:
            found = self._values(records[rows], answer)
            some = np.array([names.setdefault(name, len(names)) for name in found], dtype=np.intp)
            codes[rows] = np.where(self._missing(records[rows], answer), -1, some)
        return Coded(tuple(names), codes)

    def _missing(self, records: Array, answer: ResultField) -> Array:
        """Return which records have no value because it could not be read."""
        missing: Array = records["answers"]["missing"] >> np.uint32(answer.bit) & np.uint32(1) != 0
        return missing

    def _values(self, records: Array, answer: ResultField) -> Any:
        """The values of one answer in records that have it: an array of numbers, or a list of names."""
        if answer.slot is ResultSlot.TEXT:
            return self._texts(records, answer.at)
        numbers = records["answers"]["numbers"][:, answer.at]
        if answer.slot is ResultSlot.SIGNED:
            return numbers.astype(np.int64)
        if answer.slot is ResultSlot.BOOL:
            return numbers != 0
        if answer.slot is ResultSlot.CHARACTER:
            return [text(bytes([number & 0xFF])) for number in numbers.tolist()]
        if answer.slot is ResultSlot.KERNEL_SYMBOL:
            return self._kernel.names(np.ascontiguousarray(numbers))
        if answer.slot is ResultSlot.USER_SYMBOL:
            return self._user_symbols(records, numbers)
        return numbers

    def _texts(self, records: Array, at: int) -> list[str]:
        room = self._asked.room
        data = (
            np.ascontiguousarray(records["answers"]["texts"])
            .view(np.uint8)
            .reshape(len(records), room * self._asked.texts)
        )
        part = np.ascontiguousarray(data[:, at * room : (at + 1) * room])
        known: dict[bytes, str] = {}
        found = list[str]()
        for row in part.view(f"V{room}").reshape(-1).tolist() if len(part) else ():
            raw = bytes(row).partition(b"\0")[0]
            if raw not in known:
                known[raw] = text(raw)
            found.append(known[raw])
        return found

    def _user_symbols(self, records: Array, addresses: Array) -> list[str]:
        """Of processes that live, or were looked at before."""
        names = [""] * len(records)
        pids = records["pid"]
        for pid in np.unique(pids).tolist():
            rows = np.flatnonzero(pids == pid)
            image = 0
            with contextlib.suppress(OSError):
                if self._user.notice(pid):
                    image = maps.image_of(pid)
            found = self._user.names(pid, image, None, np.ascontiguousarray(addresses[rows]))
            for row, name in zip(rows.tolist(), found, strict=True):
                names[row] = name
        return names

    def _lines(self, records: Array) -> Coded:
        """Format the results of each record by its probe spec's format string."""
        which = self._questions(records)
        names: dict[str, int] = {}
        codes = np.full(len(records), -1, dtype=np.intp)
        for number, (question, answers) in enumerate(zip(self._asked.specs, self._asked.fields, strict=True)):
            rows = np.flatnonzero(which == number)
            if len(rows):
                made = self._formatted(records[rows], question, answers)
                codes[rows] = [names.setdefault(line, len(names)) for line in made]
        return Coded(tuple(names), codes)

    def _formatted(self, records: Array, question: ProbeSpec, answers: Sequence[ResultField]) -> list[str]:
        parts = list[list[str]]()
        left = iter(answers)
        for piece in question.pieces:
            if isinstance(piece, str):
                parts.append([from_path(piece)] * len(records))
                continue
            answer = next(left)
            missing = self._missing(records, answer).tolist()
            values = self._values(records, answer)
            shown = [
                piece.show(value) for value in (values.tolist() if hasattr(values, "tolist") else values)
            ]
            parts.append([_NONE if gone else one for one, gone in zip(shown, missing, strict=True)])
        return ["".join(line) for line in zip(*parts, strict=True)] if parts else [""] * len(records)
