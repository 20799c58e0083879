"""From rows that name stacks by number to rows with the names of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pytracer.arrays import Array, np
from pytracer.enrich.decode import Decoder, decode
from pytracer.enrich.shape import Moment, Ranking
from pytracer.model import Schema, Stacks
from pytracer.model.reduce import Rows
from pytracer.symbols.demangle import Demangler
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.user import UserSymbols

CUT = "[cut]"
_MARK = "_[k]"  # what tools that draw flame graphs know the kernel's functions by

Frames = tuple[str, ...]


class StackNames:
    """Names for stacks. ``frames`` gives the addresses of one, innermost first; as many as ``depth`` may have
    had more. ``annotate``: the kernel's functions get a mark."""

    def __init__(self, frames: Callable[[int], Array], depth: int, *, annotate: bool) -> None:
        """Look nothing up yet."""
        self.kernel = KernelSymbols()
        self.user = UserSymbols()
        self._demangler = Demangler()
        self._frames = frames
        self._depth = depth
        self._mark = _MARK if annotate else ""

    def of_kernel(self, numbers: Array) -> list[Frames]:
        """The kernel's part of each stack (numbers of shape (n,))."""
        named = self._named(np.unique(numbers).tolist(), self.kernel.names, self._mark)
        return [named[number] for number in numbers.tolist()]

    def of_user(self, rows: Array) -> list[Frames]:
        """The program's part of the stacks of rows with members pid, image, user_stack; shape (n,)."""
        found: list[Frames] = [()] * len(rows)
        processes, which = np.unique(rows[["pid", "image"]], return_inverse=True)
        for number, (pid, image) in enumerate(processes.tolist()):
            places = np.flatnonzero(which == number)
            numbers = rows["user_stack"][places]

            def names(addresses: Array, pid: int = pid, image: int = image) -> list[str]:
                return self.user.names(pid, image, addresses)

            named = self._named(np.unique(numbers).tolist(), names, "")
            for place, stack in zip(places.tolist(), numbers.tolist(), strict=True):
                found[place] = named[stack]
        distinct = list({name for frames in found for name in frames})
        written = dict(zip(distinct, self._demangler.names(distinct), strict=True))
        return [tuple(written[name] for name in frames) for frames in found]

    def _named(self, numbers: list[int], names: Callable[[Array], list[str]], mark: str) -> dict[int, Frames]:
        stacks = [self._frames(number) for number in numbers]
        # All but the innermost are where a call returns to, which may be the next function already.
        calls = [np.concatenate((stack[:1], stack[1:] - np.uint64(1))) for stack in stacks]
        if not any(map(len, calls)):
            return dict.fromkeys(numbers, ())
        distinct, which = np.unique(np.concatenate(calls), return_inverse=True)
        texts = [name + mark for name in names(distinct)]
        found, at = dict[int, Frames](), 0
        for number, stack in zip(numbers, stacks, strict=True):
            frames = tuple(texts[index] for index in which[at : at + len(stack)].tolist())
            found[number] = (*frames, CUT) if len(stack) >= self._depth else frames
            at += len(stack)
        return found


def shape_stacks(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    moment: Moment,
    names: StackNames,
) -> Stacks:
    """The item: rows that look alike are one, those of the greatest first counter come first."""
    parts: list[list[Any]] = []
    for column in schema.keys:
        values = rows.keys[column.source]
        if column.source == "kernel_stack":
            parts.append(names.of_kernel(values))
        elif column.source == "user_stack":
            parts.append(names.of_user(rows.keys))
        elif column.is_text:
            parts.append(decode(decoders[column.decode], values).tolist())
        else:
            parts.append(values.tolist())
    place: dict[tuple[Any, ...], int] = {}
    groups = [place.setdefault(key, len(place)) for key in zip(*parts, strict=True)]
    sums = np.zeros((len(place), len(schema.counters)), np.uint64)
    for number, column in enumerate(schema.counters):
        np.add.at(sums[:, number], groups, rows.values[column.source])
    order = np.argsort(-sums[:, 0].astype(np.int64), kind="stable")[: ranking.top]
    keys = list(place)
    columns: dict[str, Any] = {
        column.name: [keys[at][number] for at in order] for number, column in enumerate(schema.keys)
    }
    columns |= {column.name: sums[order, number] for number, column in enumerate(schema.counters)}
    return Stacks(moment.kind, moment.time, moment.seconds, columns)
