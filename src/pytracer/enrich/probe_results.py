"""Decode results of probe specs: the values of each expression, and the formatted lines."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

from pytracer.arrays import Array, np
from pytracer.budget import Budget
from pytracer.enrich.decode import Computed
from pytracer.enrich.strings import text
from pytracer.lang import ProbeSpec, ProbeSpecs, ResultField, ResultSlot
from pytracer.model import Coded, Schema
from pytracer.symbols import memory_maps
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.user import UserSymbols
from pytracer.text import from_path

_NONE = "-"  # for what could not be read
_WORDS = (ResultSlot.TEXT, ResultSlot.CHARACTER, ResultSlot.KERNEL_SYMBOL, ResultSlot.USER_SYMBOL)


class ResultColumns:
    """Columns of probe specs' results. Records (or rows' keys) have the members ``target`` and
    ``results``; those of a pair have the results of both ends."""

    def __init__(self, specs: ProbeSpecs, budget: Budget | None = None) -> None:
        """Create the decoder; symbols are looked up on demand."""
        self._specs = specs
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

    def _rows_of(self, records: Array) -> list[Array]:
        """Return for each probe spec which records have its results."""
        if self._specs.is_pair:
            return [np.arange(len(records))] * len(self._specs.specs)
        spec_numbers = self._spec_numbers(records)
        return [np.flatnonzero(spec_numbers == number) for number in range(len(self._specs.specs))]

    def _spec_numbers(self, records: Array) -> Array:
        """Return the number of each record's probe spec, shape (n,)."""
        if "spec" in (records.dtype.names or ()):
            spec: Array = records["spec"]
            return spec
        spec_of = np.array([*self._specs.of, -1], dtype=np.intp)
        spec_numbers: Array = spec_of[np.minimum(records["target"], len(self._specs.of))]
        return spec_numbers

    def _column(self, records: Array, expression: str) -> Array | Coded:
        parts = list[tuple[Array, ResultField]]()
        for rows, results in zip(self._rows_of(records), self._specs.fields, strict=True):
            for result in results:
                if result.name == expression:
                    parts.append((rows, result))
                    break
        if all(result.slot in _WORDS for _, result in parts):
            return self._words(records, parts)
        slots = {result.slot for _, result in parts}
        kinds = {ResultSlot.SIGNED: np.int64, ResultSlot.UNSIGNED: np.uint64, ResultSlot.BOOL: np.bool_}
        kind: Any = kinds[slots.pop()] if len(slots) == 1 else object
        values = np.zeros(len(records), dtype=kind)
        absent = np.ones(len(records), dtype=bool)
        for rows, result in parts:
            values[rows] = self._values(records[rows], result)
            absent[rows] = self._unread(records[rows], result)
        return np.ma.masked_array(values, absent) if absent.any() or kind is object else values

    def _words(self, records: Array, parts: Sequence[tuple[Array, ResultField]]) -> Coded:
        names: dict[str, int] = {}
        codes = np.full(len(records), -1, dtype=np.intp)
        for rows, result in parts:
            values = self._values(records[rows], result)
            name_indexes = np.array([names.setdefault(name, len(names)) for name in values], dtype=np.intp)
            codes[rows] = np.where(self._unread(records[rows], result), -1, name_indexes)
        return Coded(tuple(names), codes)

    def _unread(self, records: Array, result: ResultField) -> Array:
        """Return which records have no value because it could not be read."""
        unread: Array = records[result.member]["unread"] >> np.uint32(result.bit) & np.uint32(1) != 0
        return unread

    def _values(self, records: Array, result: ResultField) -> Any:
        """Return the values of one result in records that have it: an array of numbers, or a list of
        names."""
        if result.slot is ResultSlot.TEXT:
            return self._texts(records, result)
        numbers = records[result.member]["numbers"][:, result.at]
        if result.slot is ResultSlot.SIGNED:
            return numbers.astype(np.int64)
        if result.slot is ResultSlot.BOOL:
            return numbers != 0
        if result.slot is ResultSlot.CHARACTER:
            return [text(bytes([number & 0xFF])) for number in numbers.tolist()]
        if result.slot is ResultSlot.KERNEL_SYMBOL:
            return self._kernel.names(np.ascontiguousarray(numbers))
        if result.slot is ResultSlot.USER_SYMBOL:
            return self._user_symbols(records, numbers)
        return numbers

    def _texts(self, records: Array, result: ResultField) -> list[str]:
        slot_size, slot = self._specs.capacity, result.at
        data = (
            np.ascontiguousarray(records[result.member]["texts"])
            .view(np.uint8)
            .reshape(len(records), slot_size * self._specs.texts)
        )
        part = np.ascontiguousarray(data[:, slot * slot_size : (slot + 1) * slot_size])
        cache: dict[bytes, str] = {}
        texts = list[str]()
        for row in part.view(f"V{slot_size}").reshape(-1).tolist() if len(part) else ():
            raw = bytes(row).partition(b"\0")[0]
            if raw not in cache:
                cache[raw] = text(raw)
            texts.append(cache[raw])
        return texts

    def _user_symbols(self, records: Array, addresses: Array) -> list[str]:
        """Return the names of addresses in processes that still run, or were seen before."""
        names = [""] * len(records)
        pids = records["pid"]
        for pid in np.unique(pids).tolist():
            rows = np.flatnonzero(pids == pid)
            image = 0
            with contextlib.suppress(OSError):
                if self._user.notice(pid):
                    image = memory_maps.image_of(pid)
            symbols = self._user.names(pid, image, None, np.ascontiguousarray(addresses[rows]))
            for row, name in zip(rows.tolist(), symbols, strict=True):
                names[row] = name
        return names

    def _lines(self, records: Array) -> Coded:
        """Format the results of each record by its probe spec's format string."""
        names: dict[str, int] = {}
        codes = np.full(len(records), -1, dtype=np.intp)
        if self._specs.is_pair:
            start, end = zip(self._specs.specs, self._specs.fields, strict=True)
            both = zip(self._format(records, *start), self._format(records, *end), strict=True)
            lines = [" ".join(filter(None, line)) for line in both]
            codes[:] = [names.setdefault(line, len(names)) for line in lines]
            return Coded(tuple(names), codes)
        for rows, spec, results in zip(
            self._rows_of(records), self._specs.specs, self._specs.fields, strict=True
        ):
            if len(rows):
                lines = self._format(records[rows], spec, results)
                codes[rows] = [names.setdefault(line, len(names)) for line in lines]
        return Coded(tuple(names), codes)

    def _format(self, records: Array, spec: ProbeSpec, results: Sequence[ResultField]) -> list[str]:
        parts = list[list[str]]()
        left = iter(results)
        for piece in spec.pieces:
            if isinstance(piece, str):
                parts.append([from_path(piece)] * len(records))
                continue
            result = next(left)
            unread = self._unread(records, result).tolist()
            values = self._values(records, result)
            texts = [
                piece.show(value) for value in (values.tolist() if hasattr(values, "tolist") else values)
            ]
            parts.append(
                [_NONE if is_unread else text for text, is_unread in zip(texts, unread, strict=True)]
            )
        return ["".join(line) for line in zip(*parts, strict=True)] if parts else [""] * len(records)
