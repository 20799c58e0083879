"""Compile a profile by libseccomp, as container runtimes do, to compare with."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Mapping
from typing import Any

from support.classic_bpf import decode

_ACTIONS = {
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_ARCHITECTURES = {"SCMP_ARCH_X86_64": 0xC000003E, "SCMP_ARCH_X86": 0x40000003, "SCMP_ARCH_X32": 0x4000003E}
_OPERATIONS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")  # from 1 on
_BAD_ARCHITECTURE = 2  # SCMP_FLTATR_ACT_BADARCH


class _Compare(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def program(document: Mapping[str, Any]) -> list[tuple[int, int, int, int]]:
    """Return the instructions of its filter. Raises AssertionError if it refuses a rule."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_action(document, "default"))))
    try:
        killed = ctypes.c_uint32(_ACTIONS["SCMP_ACT_KILL_PROCESS"])
        assert library.seccomp_attr_set(context, _BAD_ARCHITECTURE, killed) == 0
        for name in document.get("architectures", ()):
            added = library.seccomp_arch_add(context, ctypes.c_uint32(_ARCHITECTURES[name]))
            assert added in (0, -errno.EEXIST), name
        for rule in document.get("syscalls", ()):
            action = ctypes.c_uint32(_action(rule))
            if action.value == _action(document, "default"):
                continue
            conditions = [
                _Compare(
                    argument["index"],
                    1 + _OPERATIONS.index(argument["op"].removeprefix("SCMP_CMP_")),
                    argument["value"],
                    argument.get("valueTwo", 0),
                )
                for argument in rule.get("args", ())
            ]
            array = (_Compare * len(conditions))(*conditions)
            for name in rule["names"]:
                number = library.seccomp_syscall_resolve_name(name.encode())
                assert number != -1, name
                status = library.seccomp_rule_add_array(context, action, number, len(array), array)
                assert status == 0, (name, status)
        file = os.memfd_create("filter")
        try:
            assert library.seccomp_export_bpf(context, file) == 0
            return decode(os.pread(file, 1 << 20, 0))
        finally:
            os.close(file)
    finally:
        library.seccomp_release(context)


def _action(rule: Mapping[str, Any], key: str = "") -> int:
    name = rule["defaultAction" if key else "action"]
    number = rule.get("defaultErrnoRet" if key else "errnoRet", errno.EPERM)
    return _ACTIONS[name] | (number if name == "SCMP_ACT_ERRNO" else 0)
