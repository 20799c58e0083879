"""Read the values that scripts store, and show them as bpftrace does."""

from __future__ import annotations

import fnmatch
import os
import pwd
import re
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytracer.kernel import syscalls
from pytracer.kernel.gfp_flags import name_gfp_flags
from pytracer.lang.formats import Conversion
from pytracer.lang.script.types import (
    TARGET_SYMBOL,
    WORD,
    ArrayValueType,
    BufferType,
    CodeType,
    CompositeType,
    InetType,
    IntArrayType,
    RecordType,
    StackType,
    StringType,
    SymbolType,
    TupleType,
    stored_size,
)
from pytracer.lang.types import IntType, PointerType, Type
from pytracer.record import record
from pytracer.text import all_from_bytes, all_harmless, from_bytes, harmless, to_bytes

if TYPE_CHECKING:
    from pytracer.enrich.script_symbols import ScriptSymbols
    from pytracer.symbols.source_frames import SourceFrame

_HIERARCHY = "unified"
_WORD = struct.Struct("=Q")
_SIGNED = struct.Struct("=q")
_WORDS = re.compile(r"[\w@%+=:,./ -]*")


@record
class DecodedValue:
    """A value: ``data`` for JSON, ``text`` for people."""

    data: Any
    text: str


class ValueReader:
    """Decodes values by their types.

    ``targets`` are the names of a script's targets; ``trailer`` follows strings that were truncated at
    ``capacity`` bytes. ``clock`` is the time of boot, in ns since the epoch. ``enums`` are the names of
    values, by the names of enums. ``shows_lines``: stacks have lines of the source, and inlined functions.
    """

    def __init__(
        self,
        targets: Sequence[tuple[str, str]],
        *,
        trailer: str,
        string_size: int,
        clock: int,
        enums: Mapping[str, Mapping[int, str]] | None = None,
        shows_lines: bool = False,
    ) -> None:
        self._shows_lines = shows_lines
        self._targets = targets
        self._enums = enums or {}
        self._trailer, self._string_size, self.clock = trailer, string_size, clock
        self._symbols: ScriptSymbols | None = None
        self._cgroup: Callable[[int], str] | None = None
        self._names: dict[str, Callable[[int, str], str]] = {
            "username": lambda value, _: _user_name(value),
            "probe": lambda value, _: self._target(value)[0],
            "signal_name": lambda value, _: _signal(value),
            "strerror": lambda value, _: os.strerror(value & 0x7FFFFFFF),
            "strftime": lambda value, form: self.format_time(form, self.clock + value),
            "syscall": lambda value, _: syscalls.label(value),
            "mac": lambda value, _: ":".join(f"{byte:02X}" for byte in value.to_bytes(8, "little")[:6]),
            "cgroup_path": self._cgroup_path,
        }

    def close(self) -> None:
        """Close files."""
        if self._symbols is not None:
            self._symbols.close()

    @property
    def symbols(self) -> ScriptSymbols:
        """The names of functions."""
        if self._symbols is None:
            from pytracer.enrich.script_symbols import ScriptSymbols  # which most scripts do without

            self._symbols = ScriptSymbols()
        return self._symbols

    def read(self, kind: Type, data: bytes, offset: int) -> DecodedValue:
        """Decode the value of a type at offset ``offset`` of ``data``."""
        match kind:
            case IntType():
                number = (_SIGNED if kind.signed else _WORD).unpack_from(data, offset)[0]
                if kind.boolean:
                    return DecodedValue(bool(number), "true" if number else "false")
                name = self._enums[kind.enum].get(number) if kind.enum in self._enums else None
                return DecodedValue(number, str(number)) if name is None else DecodedValue(name, name)
            case PointerType():
                address = _WORD.unpack_from(data, offset)[0]
                return DecodedValue(address, f"{address:#x}")
            case StringType():
                return self._string(data[offset : offset + kind.capacity])
            case BufferType():
                length = min(_WORD.unpack_from(data, offset)[0], kind.capacity)
                text = _escape(data[offset + WORD : offset + WORD + length])
                return DecodedValue(text, text)
            case TupleType():
                parts = [self.read(item, data, offset + kind.offset(n)) for n, item in enumerate(kind.items)]
                return DecodedValue(
                    [part.data for part in parts], f"({', '.join(part.text for part in parts)})"
                )
            case RecordType():
                parts = [self.read(item, data, offset + kind.offset(n)) for n, item in enumerate(kind.items)]
                parts_by_name = dict(zip(kind.names, parts, strict=True))
                text = ", ".join(f".{name} = {part.text}" for name, part in parts_by_name.items())
                return DecodedValue(
                    {name: part.data for name, part in parts_by_name.items()}, f"{{ {text} }}"
                )
            case ArrayValueType():
                parts = [self.read(item, data, offset + kind.offset(n)) for n, item in enumerate(kind.items)]
                return DecodedValue(
                    [part.data for part in parts], f"[{','.join(part.text for part in parts)}]"
                )
            case IntArrayType():
                size = kind.of.size
                pieces = (data[offset + size * n : offset + size * (n + 1)] for n in range(kind.length))
                numbers = [int.from_bytes(piece, sys.byteorder, signed=kind.of.signed) for piece in pieces]
                if kind.of.boolean:
                    return DecodedValue(
                        [bool(n) for n in numbers], f"[{','.join('true' if n else 'false' for n in numbers)}]"
                    )
                return DecodedValue(numbers, f"[{','.join(map(str, numbers))}]")
            case InetType():
                return self._inet(data, offset)
            case CodeType():
                text = harmless(self._names[kind.kind](_WORD.unpack_from(data, offset)[0], kind.format))
                return DecodedValue(text, text)
            case SymbolType():
                pid, address = struct.unpack_from("=QQ", data, offset)
                if pid & TARGET_SYMBOL:
                    text = harmless(self._target(pid & ~TARGET_SYMBOL)[1])
                    return DecodedValue(text, text)
                text = harmless(self.symbols.names(kind.user, pid, [address])[0])
                return DecodedValue(text, text)
            case StackType():
                return self._stack(kind, data, offset)
        raise TypeError(f"a script stores no {kind.text}")

    def read_parts(self, kinds: Sequence[Type], data: bytes) -> list[DecodedValue]:
        """Decode values that are stored one after the other."""
        parts, offset = [], 0
        for kind in kinds:
            parts.append(self.read(kind, data, offset))
            offset += stored_size(kind)
        return parts

    def show_strings(self, values: Sequence[bytes], capacity: int) -> list[str]:
        """Return strings as people see them, each as ``read`` does. NULs at the end of a value may be
        missing."""
        if b"\0" in b"".join(values):
            values = [value.partition(b"\0")[0] for value in values]
        shown = all_harmless(all_from_bytes(values))
        if capacity < self._string_size:
            return shown
        trailer = harmless(self._trailer)
        return [
            text + trailer if len(value) >= capacity - 1 else text
            for value, text in zip(values, shown, strict=True)
        ]

    def _string(self, data: bytes) -> DecodedValue:
        text, end, _ = data.partition(b"\0")
        string = from_bytes(text)
        if (not end or len(text) == len(data) - 1) and len(data) >= self._string_size:
            string += self._trailer
        return DecodedValue(string, harmless(string))

    @staticmethod
    def _inet(data: bytes, offset: int) -> DecodedValue:
        import socket  # few scripts show addresses, or run commands

        family = _WORD.unpack_from(data, offset)[0]
        address = data[offset + WORD : offset + WORD + (16 if family == socket.AF_INET6 else 4)]
        text = socket.inet_ntop(socket.AF_INET6 if family == socket.AF_INET6 else socket.AF_INET, address)
        return DecodedValue(text, text)

    def _target(self, number: int) -> tuple[str, str]:
        return self._targets[number] if number < len(self._targets) else ("", "")

    def _cgroup_path(self, number: int, pattern: str) -> str:
        """Return the path in the only hierarchy of cgroup2; "" if the pattern is for others."""
        if pattern and not fnmatch.fnmatchcase(_HIERARCHY, pattern):
            return ""
        if self._cgroup is None:
            from pytracer.enrich.cgroups import cgroup_decoder

            self._cgroup = cgroup_decoder()
        return f"{_HIERARCHY}:{self._cgroup(number)}"

    def _stack(self, kind: StackType, data: bytes, offset: int) -> DecodedValue:
        process, *addresses = struct.unpack_from(f"={1 + kind.depth}Q", data, offset)
        pid, end = split_process(process)
        addresses = [address for address in addresses if address]
        if kind.mode == "raw":
            names = [f"{address:x}" for address in addresses]
        elif kind.mode == "build_id":
            names = self.symbols.build_ids(pid, addresses)
        else:
            names = [*map(harmless, self.symbols.names(kind.user, pid, addresses, offsets=True))]
        if kind.mode == "perf":
            files = self.symbols.files(pid, addresses) if kind.user else [""] * len(addresses)
            names = [f"{name}{file and f' ({file})'}" for name, file in zip(names, files, strict=True)]
            names = [f"{address:x} {name}" for address, name in zip(addresses, names, strict=True)]
        if kind.user and self._shows_lines and kind.mode in ("bpftrace", "perf"):
            names = self._with_lines(kind.mode, pid, addresses, names)
        if end and kind.mode in ("bpftrace", "perf"):
            from pytracer.enrich.stacks import END_MARKS

            names = [*names, *(mark for reason, mark in END_MARKS.items() if reason == end)]
        indent = {"perf": "\t", "raw": "", "build_id": ""}.get(kind.mode, " " * 8)
        text = "\n" + "".join(f"{indent}{name}\n" for name in names)
        return DecodedValue("\n".join(names), text)

    def _with_lines(self, mode: str, pid: int, addresses: Sequence[int], names: Sequence[str]) -> list[str]:
        """Add the functions that were inlined, and in bpftrace's form the lines of the source."""
        lines = list[str]()
        # Behind a call stands the address to return to, which may be of another line: look before it.
        calls = [*addresses[:1], *(address - 1 for address in addresses[1:])]
        for address, name, frames in zip(
            addresses, names, self.symbols.source_frames(pid, calls), strict=True
        ):
            *inlined, outer = frames or (None,)
            for frame in inlined:
                assert frame is not None
                function = harmless(frame.function)
                if mode == "perf":
                    lines.append(f"{address:x} {function} (inlined)")
                else:
                    lines.append(f"[inlined] {function}{_place(frame)}")
            lines.append(name if mode == "perf" or outer is None else f"{name}{_place(outer)}")
        return lines

    def format_time(self, form: str, nanoseconds: int) -> str:
        """Format a time since the epoch by strftime's rules; %f stands for the microseconds."""
        moment, remainder = divmod(nanoseconds, 10**9)
        return time.strftime(form.replace("%f", f"{remainder // 1000:06}"), time.localtime(moment))

    def printf(
        self,
        pieces: Sequence[str | Conversion],
        kinds: Sequence[Type],
        data: bytes,
        guard: Callable[[str], str] = str,
    ) -> str:
        """Format the values of an event; text goes through ``guard``."""
        output, offset, number = list[str](), 0, 0
        for piece in pieces:
            if isinstance(piece, str):
                output.append(piece)
                continue
            kind = kinds[number]
            value = self.read(kind, data, offset)
            if piece.sign == "s":
                value = DecodedValue(value.data, guard(value.text))
            output.append(show_conversion(piece, kind, value, data, offset))
            offset += stored_size(kind)
            number += 1
        return "".join(output)


def show_conversion(piece: Conversion, kind: Type, value: DecodedValue, data: bytes, offset: int) -> str:
    """Format a value, which is stored at ``offset`` of ``data``, by a conversion."""
    if piece.sign in ("s", "r"):
        return piece.show(value.text) if piece.sign == "s" else value.text
    if piece.sign in ("rx", "rh"):
        assert isinstance(kind, BufferType)
        length = min(_WORD.unpack_from(data, offset)[0], kind.capacity)
        digits = (f"{byte:02x}" for byte in data[offset + WORD : offset + WORD + length])
        return " ".join(digits) if piece.sign == "rh" else "".join(f"\\x{pair}" for pair in digits)
    size = 8 if piece.sign in ("p", "gr") else piece.size
    number = int.from_bytes(data[offset : offset + size], sys.byteorder, signed=piece.signed)
    if piece.sign == "c":
        return harmless(from_bytes(bytes([number & 0xFF])))
    if piece.sign == "gr":
        return name_gfp_flags(number & 0xFFFFFFFF)
    return piece.show(number)


def process_words(kinds: Sequence[Type], offset: int = 0) -> Iterator[int]:
    """Yield the words of stored values that are ids of processes with user functions among the values."""
    for kind in kinds:
        if isinstance(kind, CompositeType):
            yield from process_words(kind.items, offset)
        elif isinstance(kind, (StackType, SymbolType)) and kind.user:
            yield offset
        offset += stored_size(kind) // 8


def split_process(word: int) -> tuple[int, int]:
    """Return the process of a stored stack, and why the stack ends (WalkEnd)."""
    return word & 0xFFFFFFFF, word >> 32


def _place(frame: SourceFrame) -> str:
    return f"@{harmless(frame.path)}:{frame.line}" if frame.path else ""


def as_traced(text: str) -> str:
    """Return a text without its escapes, as the traced system spells it: for paths, and words of commands."""
    raw = to_bytes(text)
    return text if b"\0" in raw else os.fsdecode(raw)


def quote_for_shell(text: str) -> str:
    """Quote text that a shell would not take as plain words: traced names may contain commands."""
    import shlex

    return text if _WORDS.fullmatch(text) else shlex.quote(text)


def _escape(data: bytes) -> str:
    signs = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data)
    return "".join("\\\\" if sign == "\\" else sign for sign in signs)


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _signal(number: int) -> str:
    if not 0 <= number < signal.NSIG:
        return "N/A"
    return signal.strsignal(number) or f"Unknown signal {number}" if number else "Unknown signal 0"
