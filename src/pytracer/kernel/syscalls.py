"""System calls by number and by name, for each ABI that programs on this machine may use.

The names come from libseccomp, which carries the kernel's tables for all architectures and is on every
distribution. Calls newer than the installed libseccomp come from ``RECENT``: since Linux 5.0 a new call
gets the same number on all architectures.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable

from pytracer.errors import UnknownNameError, UsageError

X32_BIT = 0x40000000  # __X32_SYSCALL_BIT: a call of the x32 ABI, in a 64-bit process

AUDIT = {  # AUDIT_ARCH_*, include/uapi/linux/audit.h; x32 is libseccomp's own
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "x32": 0x4000003E,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
SECCOMP_NAMES = {  # what profiles for container runtimes call them
    "x86_64": "SCMP_ARCH_X86_64",
    "i386": "SCMP_ARCH_X86",
    "x32": "SCMP_ARCH_X32",
    "aarch64": "SCMP_ARCH_AARCH64",
    "arm": "SCMP_ARCH_ARM",
}
_COMPAT = {"x86_64": "i386", "aarch64": "arm"}
# libseccomp's numbers for what i386 has as sub-calls: -101 is the first of socketcall's, -201 of ipc's.
_MULTIPLEXED = {"socketcall": range(-120, -100), "ipc": range(-224, -200)}

# include/uapi/asm-generic/unistd.h and the other tables, from Linux 5.17 on.
RECENT = {
    "set_mempolicy_home_node": 450,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
    "listns": 470,
    "rseq_slice_yield": 471,
}
# Not calls of programs but of the kernel's own uprobe trampolines, in the gap of x86-64's table (6.11, 6.18).
_TRAMPOLINES = {335: "uretprobe", 336: "uprobe"}
_RECENT_NAMES = {number: name for name, number in RECENT.items()}
_HIGHEST = 600  # no table has reached it; for listing names only


@functools.cache
def _load_seccomp() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    library.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    library.seccomp_syscall_resolve_name_arch.restype = ctypes.c_int
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    return library


_free = ctypes.CDLL(None).free
_free.argtypes = [ctypes.c_void_p]


def have_names() -> bool:
    """Return whether libseccomp is installed; without it only the most recent calls have names."""
    return _load_seccomp() is not None


def abi_of(call: int, machine: str = "") -> tuple[str, int]:
    """Return (ABI, number) of a call as the C encodes it: the number, and bit 32 set for a compat call."""
    machine = machine or os.uname().machine
    number = call & 0xFFFFFFFF
    if call >> 32:
        return _COMPAT.get(machine, "compat"), number
    if machine == "x86_64" and number & X32_BIT and number != 0xFFFFFFFF:
        return "x32", number & ~X32_BIT
    return machine, number


@functools.cache
def name_of(abi: str, number: int) -> str:
    """Return the name of a system call of an ABI; empty if it is unknown."""
    library = _load_seccomp()
    arch = AUDIT.get(abi)
    if library is not None and arch is not None and number < 0x40000000:
        call_number = number | X32_BIT if abi == "x32" else number
        pointer = library.seccomp_syscall_resolve_num_arch(arch, call_number)
        if pointer:
            name = ctypes.string_at(pointer).decode()
            _free(pointer)
            return name
    if abi == "x86_64" and number in _TRAMPOLINES:
        return _TRAMPOLINES[number]
    return _RECENT_NAMES.get(number, "")


def label(call: int, machine: str = "") -> str:
    """Return a call's displayed name: ``openat``, ``syscall_999`` if unknown, ``i386:openat`` for another
    ABI."""
    machine = machine or os.uname().machine
    abi, number = abi_of(call, machine)
    name = name_of(abi, number) or f"syscall_{number}"
    return name if abi == machine else f"{abi}:{name}"


def number_of(abi: str, name: str) -> int | None:
    """Return the number of a system call of an ABI, given its name or ``syscall_N``; None if there is
    none."""
    prefix, _, digits = name.partition("_")
    if prefix == "syscall" and digits.isdecimal() and int(digits) <= 0xFFFFFFFF:
        return int(digits)
    library = _load_seccomp()
    arch = AUDIT.get(abi)
    if library is not None and arch is not None:
        number = int(library.seccomp_syscall_resolve_name_arch(arch, os.fsencode(name)))
        # Negative: unknown (-1), or a pseudo number: of a call this ABI lacks, or that it has twice, by
        # socketcall or ipc and on its own (i386 since Linux 4.3 and 5.1). The table knows the latter.
        if number >= 0:
            return number & ~X32_BIT if abi == "x32" else number
        return _numbers_by_name(abi).get(name)
    return RECENT.get(name)


@functools.cache
def _numbers_by_name(abi: str) -> dict[str, int]:
    """Return all calls of an ABI by name."""
    return {name: number for number in range(_HIGHEST) if (name := name_of(abi, number))}


def calls_of(name: str, machine: str = "") -> list[int]:
    """Return the calls with a name, as numbered in C: those of all ABIs, or of the ABI in the prefix.

    Raises UnknownNameError with similar names.
    """
    machine = machine or os.uname().machine
    abi, _, bare = name.rpartition(":")
    calls = []
    for candidate in abis(machine):
        if abi and candidate != abi:
            continue
        number = number_of(candidate, bare)
        if number is not None:
            calls.append(_encode(candidate, number, machine))
    if calls:
        return calls
    if abi and abi not in abis(machine):
        raise UnknownNameError("ABI", abi, abis(machine))
    raise UnknownNameError("system call", name, all_names(machine))


def calls_named(names: Iterable[str], machine: str = "") -> list[int]:
    """Return the numbers of the calls that bear these names, see :func:`calls_of`. Raises UsageError."""
    call_names = [name.strip() for name in names if name.strip()]
    if not call_names:
        raise UsageError("no system call is named", hint="-e openat,read or -e '!futex'")
    return [call for name in call_names for call in calls_of(name, machine)]


def all_names(machine: str = "") -> list[str]:
    """Return the names of all calls of the machine's own ABI."""
    machine = machine or os.uname().machine
    return [name for name in map(functools.partial(name_of, machine), range(_HIGHEST)) if name]


def sub_call(abi: str, name: str) -> tuple[int, int] | None:
    """Return the call that multiplexes a name, and the sub-call's number: ``bind`` of i386 is 2 of
    ``socketcall``."""
    library = _load_seccomp()
    if library is None or abi != "i386":
        return None
    sub_number = int(library.seccomp_syscall_resolve_name_arch(AUDIT[abi], os.fsencode(name)))
    for multiplexer, numbers in _MULTIPLEXED.items():
        if sub_number in numbers:
            number = number_of(abi, multiplexer)
            return None if number is None else (number, numbers.stop - sub_number)
    return None


def is_known(name: str, machine: str = "") -> bool:
    """Return whether any ABI, of this machine or another, has a call with this name."""
    library = _load_seccomp()
    if (
        library is not None
        and library.seccomp_syscall_resolve_name_arch(AUDIT["i386"], os.fsencode(name)) != -1
    ):
        return True
    return any(number_of(abi, name) is not None for abi in abis(machine or os.uname().machine))


def abis(machine: str) -> list[str]:
    """Return the ABIs that programs on a machine may use, its own first."""
    extra: Iterable[str] = ["i386", "x32"] if machine == "x86_64" else filter(None, [_COMPAT.get(machine)])
    return [machine, *extra]


def _encode(abi: str, number: int, machine: str) -> int:
    if abi == machine:
        return number
    return number | X32_BIT if abi == "x32" else 1 << 32 | number
