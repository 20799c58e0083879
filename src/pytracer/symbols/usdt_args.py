"""Parse the arguments of a USDT probe, as the assembler wrote them.

An argument is ``SIZE@PLACE``: its number of bytes, negative if signed, and an operand in the assembler's
own spelling: a register, a constant, or memory. All become one form, which a BPF program can evaluate::

    value = *(base + (index << scale) + add)      or the same without *
"""

from __future__ import annotations

import itertools
import re
import struct

from pytracer.arrays import np
from pytracer.record import record, replace
from pytracer.symbols import elf, elf_tables
from pytracer.symbols.elf_tables import Tables

NO_REGISTER = 0xFFFF
DEREFERENCE, SIGNED, NARROW, INDEX_SIGNED, INDEX_UNSIGNED = 1, 2, 4, 8, 16  # probes_c/include/usdt.h
_PACKED = struct.Struct("=qHHBBBB")
SIZE = _PACKED.size
_I386, _X86_64, _AARCH64 = 3, 62, 183  # EM_*
_PLACES = 100_000  # of a name in a table of strings


@record
class UsdtArgument:
    """The location of an argument: ``base`` and ``index`` are offsets in the kernel's struct pt_regs
    (NO_REGISTER: none).

    ``size`` is in bytes. After reading, the value is shifted right by ``shift`` bits, cut to its size, and
    sign-extended if ``signed``. ``narrow``: the program is 32-bit, so addresses wrap. ``trouble`` is the
    reason why the argument cannot be read; "" if it can.
    """

    text: str = ""
    size: int = 8
    signed: bool = False
    base: int = NO_REGISTER
    index: int = NO_REGISTER
    scale: int = 0
    add: int = 0
    dereference: bool = False
    shift: int = 0
    narrow: bool = False
    extend: int = 0
    problem: str = ""

    def pack(self) -> bytes:
        """Pack as ``struct pt_usdt_arg`` of probes_c/include/usdt.h; a ``size`` of 0 means unreadable."""
        if self.problem:
            return _PACKED.pack(0, NO_REGISTER, NO_REGISTER, 0, 0, 0, 0)
        flags = self.extend
        flags |= (DEREFERENCE * self.dereference) | (SIGNED * self.signed) | (NARROW * self.narrow)
        return _PACKED.pack(self.add, self.base, self.index, self.scale, flags, self.size, self.shift)


class _UnreadableError(Exception):
    """The argument has a form that cannot be read; the message names it."""


# A constant, or memory in brackets that may hold blanks (arm64), or anything without blanks.
_WORD = re.compile(r"(?:(-?\d+)(f)?@)?(\[[^]]*\](?:!|\s*,\s*\S+)?|[^\s\[]+)")
_NUMBER = r"-?(?:0[xX][0-9a-fA-F]+|[1-9]\d*|0)"


def parse(text: str, file: Tables, address: int) -> tuple[UsdtArgument, ...]:
    """Parse the arguments of the probe at ``address`` (as the file numbers it). An argument that is not
    understood has ``trouble``."""
    parse_operand = {_X86_64: _parse_x86, _I386: _parse_x86, _AARCH64: _parse_arm64}.get(file.machine)
    locations = []
    for match in _WORD.finditer(text):
        sign, real, operand = match.groups()
        size = int(sign or (8 if file.width == 2 else 4))
        try:
            if parse_operand is None:
                raise _UnreadableError("the machine that the file is for is not known")
            if real:
                raise _UnreadableError("it is a floating-point number")
            if abs(size) not in (1, 2, 4, 8):
                raise _UnreadableError(f"it has {abs(size)} bytes")
            argument = parse_operand(operand, file, address)
            locations.append(
                replace(argument, text=match[0], size=abs(size), signed=size < 0, narrow=file.width == 1)
            )
        except _UnreadableError as problem:
            locations.append(UsdtArgument(match[0], problem=str(problem)))
    return tuple(locations)


# arch/x86/include/asm/ptrace.h: the order in which the kernel saves them, 8 bytes each.
_X86_SAVED = (
    *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"),
    *("orig_ax", "ip", "cs", "flags", "sp"),
)
_X86_REGISTERS = {name: 8 * at for at, name in enumerate(_X86_SAVED)}
_X86_IP = _X86_REGISTERS["ip"]
_X86_NAMES: dict[str, tuple[int, int]] = {}  # of any width: (where it is saved, shift)
for _letter in "abcd":
    _X86_NAMES[f"{_letter}l"] = _X86_REGISTERS[f"{_letter}x"], 0
    _X86_NAMES[f"{_letter}h"] = _X86_REGISTERS[f"{_letter}x"], 8
for _name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip"):
    for _spelling in (f"r{_name}", f"e{_name}", _name, f"{_name}l"):
        _X86_NAMES.setdefault(_spelling, (_X86_REGISTERS[_name], 0))
for _name in ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"):
    for _end in ("", "d", "w", "b"):
        _X86_NAMES[_name + _end] = _X86_REGISTERS[_name], 0
_X86_MEMORY = re.compile(
    rf"(?:(?P<before>{_NUMBER}(?:[+-]{_NUMBER})*)(?=\+[A-Za-z_.])\+)?"
    rf"(?P<symbol>[A-Za-z_.][\w.$]*)?(?P<add>[+-]?{_NUMBER}(?:[+-]{_NUMBER})*)?"
    r"(?:\((?:%(?P<base>\w+))?(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\))?"
)


def _parse_x86(operand: str, file: Tables, address: int) -> UsdtArgument:
    if re.fullmatch(rf"\$[+-]?{_NUMBER}", operand):
        return UsdtArgument(add=_sum(operand[1:]))
    if match := re.fullmatch(r"%(\w+)", operand):
        base, shift = _parse_x86_register(match[1])
        return UsdtArgument(base=base, shift=shift)
    match = _X86_MEMORY.fullmatch(operand)
    if match is None:
        raise _UnreadableError("its form is not known")
    add = _sum(match["before"] or "") + _sum(match["add"] or "")
    base, _ = _parse_x86_register(match["base"]) if match["base"] else (NO_REGISTER, 0)
    index, _ = _parse_x86_register(match["index"]) if match["index"] else (NO_REGISTER, 0)
    if match["symbol"]:
        add += _resolve_symbol(match["symbol"], file)
        if file.kind != elf_tables.FIXED:
            # It may be loaded anywhere: the notation gives the distance of the symbol from the probe.
            add -= address
            if base not in (NO_REGISTER, _X86_IP):
                raise _UnreadableError("it is a symbol's address and a register")
            base = _X86_IP
        elif base == _X86_IP:
            base = NO_REGISTER
    elif base == _X86_IP:
        raise _UnreadableError("it is counted from the next instruction")
    scale = (match["scale"] or "1").translate({ord("1"): "0", ord("2"): "1", ord("4"): "2", ord("8"): "3"})
    return UsdtArgument(base=base, index=index, scale=int(scale), add=_wrap(add), dereference=True)


def _parse_x86_register(name: str) -> tuple[int, int]:
    try:
        return _X86_NAMES[name]
    except KeyError:
        raise _UnreadableError(f"the register {name} is not saved for probes") from None


_ARM64_NAMES = {f"x{number}": 8 * number for number in range(31)}
_ARM64_NAMES |= {f"w{number}": 8 * number for number in range(31)}
_ARM64_NAMES |= {"fp": 29 * 8, "lr": 30 * 8, "sp": 31 * 8, "wsp": 31 * 8, "pc": 32 * 8}
_ARM64_ZERO = ("xzr", "wzr")
_ARM64_MEMORY = re.compile(
    rf"\[\s*(?P<base>\w+)\s*(?:,\s*(?:#?(?P<add>{_NUMBER})|(?P<index>\w+)"
    rf"(?:\s*,?\s*(?P<extend>lsl|sxtw|uxtw|sxtx)(?:\s*#?(?P<scale>\d))?)?))?\s*\]"
)


def _parse_arm64(operand: str, _file: Tables, _address: int) -> UsdtArgument:
    if re.fullmatch(rf"#?{_NUMBER}", operand):
        return UsdtArgument(add=_sum(operand))
    if operand in _ARM64_ZERO:
        return UsdtArgument()
    if not operand.startswith("["):
        return UsdtArgument(base=_parse_arm64_register(operand))
    match = _ARM64_MEMORY.fullmatch(operand)
    if match is None:
        raise _UnreadableError("its form is not known")
    index = match["index"]
    return UsdtArgument(
        base=_parse_arm64_register(match["base"]),
        index=NO_REGISTER if index is None or index in _ARM64_ZERO else _parse_arm64_register(index),
        scale=int(match["scale"] or 0),
        extend={"sxtw": INDEX_SIGNED, "uxtw": INDEX_UNSIGNED}.get(match["extend"] or "", 0),
        add=_sum(match["add"] or ""),
        dereference=True,
    )


def _parse_arm64_register(name: str) -> int:
    try:
        return _ARM64_NAMES[name]
    except KeyError:
        raise _UnreadableError(f"the register {name} is not saved for probes") from None


def _sum(text: str) -> int:
    """Add up numbers with signs between them."""
    return _wrap(sum(int(number, 0) for number in re.findall(rf"[+-]?{_NUMBER}", text)))


def _wrap(number: int) -> int:
    """Wrap to signed 64 bits, in which programs add."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def _resolve_symbol(name: str, file: Tables) -> int:
    """Return the address of a symbol, most likely of data, as the file numbers it."""
    encoded = name.encode() + b"\0"
    for symbols, strings, _ in elf.symbol_tables(file):
        file.account.check()
        matches = itertools.islice(re.finditer(re.escape(encoded), strings), _PLACES)
        places = [match.start() for match in matches]
        values = symbols["value"][(symbols["shndx"] != 0) & np.isin(symbols["name"], places)]
        if len(values):
            return int(values[0])
    raise _UnreadableError(f"where {name} is, its file does not say")
