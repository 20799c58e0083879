"""From rows that name stacks by number to rows with the names of functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from pytracer.arrays import Array, np
from pytracer.budget import Account, Budget
from pytracer.enrich.decode import TRUNCATED, Decoder, decode, mask_null
from pytracer.enrich.result_rows import Ranking, ReadTime
from pytracer.model import Schema, StackSnapshot
from pytracer.model.reduce import Rows
from pytracer.symbols.demangle import Demangler
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.process_sources import ProcessSources
from pytracer.symbols.python import FUNCTION, FunctionNames
from pytracer.symbols.unwind.stack import Stack, WalkEnd
from pytracer.symbols.user import ASTRAY, UNKNOWN, UserSymbols

INLINED = " (inlined)"
"""Behind the name of a function that was inlined into the one after it in the stack, as perf has it."""
_MARK = "_[k]"  # what tools that draw flame graphs know the kernel's functions by
# The way from what is traced to a program that is put on it. Code without a name was made by the kernel as it
# ran: such a program, or a trampoline (net.core.bpf_jit_kallsyms).
_TO_PROGRAM = re.compile(
    r"bpf_prog_|bpf_trampoline_|bpf_trace_run|__bpf_trace_|__traceiter_|perf_(trace|syscall)_|0x"
)

END_MARKS = {
    WalkEnd.DEPTH: TRUNCATED,
    WalkEnd.EXPRESSION: "[unwind expression]",
    WalkEnd.REGISTER: "[unwind register]",
    WalkEnd.NO_ENTRY: ASTRAY,
    WalkEnd.UNMAPPED: "[unmapped code]",
    WalkEnd.MEMORY: "[broken stack]",
}
"""Frames that say why a stack ends before the start of its thread."""

Frames = tuple[str, ...]


class StackNames:
    """Names for stacks. ``stack_of`` returns one by its id. ``annotate``: the kernel's functions get a mark;
    ``parameters``: those of C++ show theirs.
    ``probed``: the kernel's part may begin with the way to the program that took it, which is left out.
    ``budget`` is spent on names of programs. ``functions`` are those of Python. ``inlines``: functions that
    were inlined are shown, too."""

    def __init__(
        self,
        stack_of: Callable[[int], Stack],
        *,
        annotate: bool,
        parameters: bool = False,
        probed: bool = False,
        budget: Budget | None = None,
        kernel: KernelSymbols | None = None,
        functions: FunctionNames | None = None,
        inlines: bool = False,
    ) -> None:
        """Create the decoder; names are looked up on demand."""
        self.kernel = kernel or KernelSymbols()
        self.user = UserSymbols(budget)
        self._sources = ProcessSources(self.user) if inlines else None
        self._demangler = Demangler(parameters=parameters)
        self._stack_of = stack_of
        self._functions = functions or FunctionNames()
        self._mark = _MARK if annotate else ""
        self._probed = probed
        self._shown = dict[tuple[int, ...], Frames]()

    def before_detaching(self) -> None:
        """Load the kernel's symbols while those between a hook and its program, which vanish with it, are
        there."""
        if self._probed:
            self.kernel.load()

    def close(self) -> None:
        """Close files."""
        self.user.close()
        if self._sources is not None:
            self._sources.close()

    def of_kernel(self, numbers: Array) -> list[Frames]:
        """Return the kernel part of each stack (numbers of shape (n,))."""
        distinct, inverse = np.unique(numbers, return_inverse=True)
        named = self._named(map(self._stack_of, distinct.tolist()), self._kernel_names)
        if self._probed:
            named = [_drop_unwind_marks(stack) for stack in named]
        return [named[number] for number in inverse.tolist()]

    def of_user(self, rows: Array) -> list[Frames]:
        """Return the user part of the stacks of rows with members pid, image, generation, user_stack; shape
        (n,). A member caller is the return address of the innermost function, 0 if the stack has it.

        A stack that was shown keeps its names, whatever became known since: a summary is the sum of its
        rows.
        """
        part: Any = [name for name in ("user_stack", "caller") if name in (rows.dtype.names or ())]
        keys = rows[["pid", "image", "generation", *part]].tolist()
        new = np.flatnonzero([key not in self._shown for key in keys])
        self._shown.update(
            zip((keys[index] for index in new.tolist()), self._of_user(rows[new], part), strict=True)
        )
        return [self._shown[key] for key in keys]

    def _of_user(self, rows: Array, part: Any) -> list[Frames]:
        user_frames: list[Frames] = [()] * len(rows)
        processes, inverse = np.unique(rows[["pid", "image", "generation"]], return_inverse=True)
        for number, (pid, image, generation) in enumerate(processes.tolist()):
            places = np.flatnonzero(inverse == number)
            stacks, stack_of = np.unique(rows[part][places], return_inverse=True)

            names = partial(self._user_names, pid, image, generation)
            named = self._named(
                (_insert_caller(self._stack_of(stack), *caller) for stack, *caller in stacks.tolist()),
                names,
            )
            for location, stack in zip(places.tolist(), stack_of.tolist(), strict=True):
                user_frames[location] = named[stack]
        return self._names_as_in_source([_cut_at_wrong_frame(frames) for frames in user_frames], rows)

    def _kernel_names(self, addresses: Array) -> list[Frames]:
        return [(name + self._mark,) for name in self.kernel.names(addresses)]

    def _user_names(self, pid: int, image: int, generation: int, addresses: Array) -> list[Frames]:
        """Return the functions at addresses, and Python functions (uint64, shape (n,)): each with those that
        were inlined, which come first."""
        is_python = addresses >= np.uint64(FUNCTION - 1)
        names = np.empty(len(addresses), object)
        names[is_python] = self._functions.find(addresses[is_python])
        names[~is_python] = self.user.names(pid, image, generation, addresses[~is_python])
        if self._sources is None:
            return [(name,) for name in names]
        find = partial(self._sources.inlined, pid, image, generation=generation)
        return [
            (name,) if address >= FUNCTION - 1 else (*(f"{inner}{INLINED}" for inner in find(address)), name)
            for name, address in zip(names, addresses.tolist(), strict=True)
        ]

    def _names_as_in_source(self, stacks: list[Frames], rows: Array) -> list[Frames]:
        """Demangle names; the owner of the program is charged for the time."""
        accounts = dict[int, Account | None]()
        names = dict[int, dict[str, str]]()
        users = list[int]()
        for frames, pid, image in zip(stacks, rows["pid"].tolist(), rows["image"].tolist(), strict=True):
            account = self.user.account(pid, image)
            users.append(-1 if account is None else account.uid)
            accounts.setdefault(users[-1], account)
            names.setdefault(users[-1], {}).update(dict.fromkeys(frames, ""))
        for user, distinct in names.items():
            marks = [INLINED if name.endswith(INLINED) else "" for name in distinct]
            symbols = [name.removesuffix(mark) for name, mark in zip(distinct, marks, strict=True)]
            source_names = self._demangler.names(symbols, accounts[user])
            shown = (name + mark for name, mark in zip(source_names, marks, strict=True))
            distinct.update(zip(distinct, shown, strict=True))
        return [
            tuple(names[user][name] for name in frames) for frames, user in zip(stacks, users, strict=True)
        ]

    def _named(self, stacks: Iterable[Stack], names: Callable[[Array], list[Frames]]) -> list[Frames]:
        stacks = list(stacks)
        # All but the innermost are where a call returns to, which may be the next function already.
        calls = [np.concatenate((frames[:1], frames[1:] - np.uint64(1))) for frames, _ in stacks]
        if not any(map(len, calls)):
            return [()] * len(calls)
        distinct, inverse = np.unique(np.concatenate(calls), return_inverse=True)
        texts = names(distinct)
        named_stacks, position = list[Frames](), 0
        for call, (_, end) in zip(calls, stacks, strict=True):
            indices = inverse[position : position + len(call)].tolist()
            frames = tuple(name for index in indices for name in texts[index])
            named_stacks.append((*frames, END_MARKS[end]) if end in END_MARKS else frames)
            position += len(call)
        return named_stacks


def _drop_unwind_marks(stack: Frames) -> Frames:
    """Drop the frames between the program and the function that it is attached to; none if names are
    unknown."""
    if all(name.startswith("0x") for name in stack):
        return stack
    start = next((n for n, name in enumerate(stack) if not _TO_PROGRAM.match(name)), len(stack))
    return stack[start:]


def _cut_at_wrong_frame(stack: Frames) -> Frames:
    """Cut a stack behind the last frame that frame pointers led to, since what follows a wrong frame is no
    caller. The innermost address comes from the instruction pointer, not from a frame pointer."""
    if stack[:1] == (ASTRAY,):
        stack = (UNKNOWN, *stack[1:])
    return stack[: stack.index(ASTRAY) + 1] if ASTRAY in stack else stack


def _insert_caller(stack: Stack, caller: int = 0) -> Stack:
    """Insert the ``caller`` of a stack's innermost function, which the kernel may have left out."""
    frames = stack.frames
    if not caller or not len(frames) or (len(frames) > 1 and frames[1] == caller):
        return stack
    return stack._replace(frames=np.insert(frames, 1, np.uint64(caller)))


def _rename_members(rows: Array, prefix: str) -> Array:
    """Return the members of a second stack, which have a prefix, under the names of the first one's."""
    if not prefix:
        return rows
    members = ["pid", "image", "generation", "user_stack"]
    renamed = np.empty(len(rows), [(name, rows.dtype[prefix + name]) for name in members])
    for name in members:
        renamed[name] = rows[prefix + name]
    return renamed


def shape_stacks(
    rows: Rows,
    schema: Schema,
    ranking: Ranking,
    decoders: Mapping[str, Decoder],
    moment: ReadTime,
    names: StackNames,
) -> StackSnapshot:
    """Build the item: rows that are shown the same are merged, those with the largest counter come first."""
    parts: list[list[Any]] = []
    for column in schema.keys:
        values = rows.keys[column.source]
        if column.source.endswith("kernel_stack"):
            parts.append(names.of_kernel(values))
        elif column.source.endswith("user_stack"):
            parts.append(names.of_user(_rename_members(rows.keys, column.source.removesuffix("user_stack"))))
        elif column.is_text:
            parts.append(decode(decoders[column.decode], values, column.null).tolist())
        else:
            parts.append(mask_null(values, column.null).tolist())
    index_of: dict[tuple[Any, ...], int] = {}
    groups = [index_of.setdefault(key, len(index_of)) for key in zip(*parts, strict=True)]
    sums = np.zeros((len(index_of), len(schema.counters)), np.uint64)
    for number, column in enumerate(schema.counters):
        np.add.at(sums[:, number], groups, rows.values[column.source])
    ranked = next((n for n, column in enumerate(schema.counters) if column.name == ranking.sort), 0)
    order = np.argsort(-sums[:, ranked].astype(np.int64), kind="stable")[: ranking.top]
    keys = list(index_of)
    columns: dict[str, Any] = {
        column.name: [keys[index][number] for index in order] for number, column in enumerate(schema.keys)
    }
    columns |= {column.name: sums[order, number] for number, column in enumerate(schema.counters)}
    return StackSnapshot(moment.kind, moment.time, moment.seconds, columns)
