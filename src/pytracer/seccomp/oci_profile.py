"""A seccomp profile: the action for each system call.

The form is the one of container runtimes: that of OCI's runtime specification, with what Docker and Podman
have beside it. Fields have the meaning that runc and libseccomp give them; what has no meaning here (a
supervisor to be asked, a field that is not known) is refused, and nothing is passed over.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from pytracer.errors import UsageError
from pytracer.kernel import syscalls
from pytracer.kernel.policy import CAPABILITIES, effective_capabilities
from pytracer.kernel.syscall_filter import ALLOW, ERRNO, KILL_PROCESS, KILL_THREAD, LOG, TRAP
from pytracer.record import record
from pytracer.request import Condition
from pytracer.seccomp.document import JsonPiece

ACTIONS = {
    "SCMP_ACT_ALLOW": ALLOW,
    "SCMP_ACT_ERRNO": ERRNO,
    "SCMP_ACT_KILL": KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": KILL_PROCESS,
    "SCMP_ACT_TRAP": TRAP,
    "SCMP_ACT_LOG": LOG,
}
_DELEGATES = {"SCMP_ACT_TRACE": "a tracer", "SCMP_ACT_NOTIFY": "an agent"}
FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 0, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}
"""Bits for seccomp(2). There is one thread when the filter is installed: nothing to synchronise."""
_MAX_ERRNO = 4095
_U64 = (1 << 64) - 1
_MOST = 8192  # rules, one for each call and case: a filter has 4096 instructions

# What other machines' ABIs are called. There may be calls for them in a profile; here nobody makes them.
_FOREIGN = (
    "LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE "
    "RISCV64 S390 S390X SH SHEB"
)
_ARCHITECTURES = {name: abi for abi, name in syscalls.SECCOMP_NAMES.items()} | {
    f"SCMP_ARCH_{name}": "" for name in _FOREIGN.split()
}
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}  # what Docker's "arches" call machines
_TOP = (
    "defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags", "syscalls",
    "comment",
)  # fmt: skip
_ENTRY = ("names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
_WHEN = ("caps", "arches", "minKernel")


_OPERATIONS = {
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_GE": ">=",
    "SCMP_CMP_GT": ">",
    "SCMP_CMP_MASKED_EQ": "&",
}


@record
class Rule:
    """The action for a call (by name) whose arguments meet all conditions."""

    call: str
    action: int
    conditions: tuple[Condition, ...] = ()


@record
class SeccompProfileRules:
    """The actions for calls: ``default`` for calls without a rule. Actions are a filter's return values.

    ``abis`` are the ABIs that the rules are for, the machine's own first; ``other_abis`` is the action for
    calls by others. ``flags`` are those of seccomp(2).
    """

    default: int
    abis: tuple[str, ...]
    rules: tuple[Rule, ...]
    flags: int = 0
    other_abis: int = KILL_PROCESS


def read(document: JsonPiece) -> SeccompProfileRules:
    """Read a profile for this machine. Raises UsageError, which names the place of the error."""
    top = document.fields(_TOP)
    if "defaultAction" not in top:
        raise UsageError("it has no field 'defaultAction'")
    default = _parse_action(top["defaultAction"], top.get("defaultErrnoRet"), top.get("defaultErrno"))
    flags = 0
    for flag in top.get("flags", ()):
        flags |= flag.one_of("flag", FLAGS)
    all_rules = (rule for entry in top.get("syscalls", ()) for rule in _iter_rules(entry))
    rules = list(itertools.islice(all_rules, _MOST + 1))
    if len(rules) > _MOST:
        raise UsageError(f"it has more than {_MOST} rules")
    # A rule that says what holds anyway is none: so do the runtimes.
    return SeccompProfileRules(
        default, _read_abis(top), tuple(rule for rule in rules if rule.action != default), flags
    )


def _read_abis(top: Mapping[str, JsonPiece]) -> tuple[str, ...]:
    """Return the machine's own ABI, and those of its others that the profile names."""
    native = os.uname().machine
    known_abis = syscalls.abis(native)
    if "architectures" in top and "archMap" in top:
        raise UsageError("it has both 'architectures' and 'archMap'")
    named = [piece.one_of("architecture", _ARCHITECTURES) for piece in top.get("architectures", ())]
    for piece in top.get("archMap", ()):
        fields = piece.fields(("architecture", "subArchitectures"))
        if "architecture" not in fields:
            raise UsageError(f"{piece.path} has no field 'architecture'")
        sub_architectures = [
            sub.one_of("architecture", _ARCHITECTURES) for sub in fields.get("subArchitectures", ())
        ]
        if fields["architecture"].one_of("architecture", _ARCHITECTURES) == native:
            named += sub_architectures
    return tuple(abi for abi in known_abis if abi == native or abi in named)


def _parse_action(action: JsonPiece, number: JsonPiece | None, name: JsonPiece | None) -> int:
    if action.text in _DELEGATES:
        raise UsageError(
            f"{action.path}: {action.text} leaves it to {_DELEGATES[action.text]}, and there is none here"
        )
    value = action.one_of("action", ACTIONS)
    piece = number or name
    if piece is not None and value != ERRNO:
        raise UsageError(f"{piece.path} is for SCMP_ACT_ERRNO alone")
    code = errno.EPERM
    if name is not None:
        code = name.one_of("error", {text: code for code, text in errno.errorcode.items()})
    if number is not None:
        if name is not None and number.number(_MAX_ERRNO) != code:
            raise UsageError(f"{number.path} and {name.path} are not the same error")
        code = number.number(_MAX_ERRNO)
    return value | code if value == ERRNO else value


def _iter_rules(entry: JsonPiece) -> Iterator[Rule]:
    fields = entry.fields(_ENTRY)
    if "action" not in fields:
        raise UsageError(f"{entry.path} has no field 'action'")
    if ("names" in fields) == ("name" in fields):
        raise UsageError(f"{entry.path} is to have one of the fields 'names' and 'name'")
    action = _parse_action(fields["action"], fields.get("errnoRet"), fields.get("errno"))
    conditions = [_parse_condition(piece) for piece in fields.get("args", ())]
    indexes = [condition.index for condition in conditions]
    # All are to hold. Where an argument has several, though, each is a rule of its own: so do the runtimes.
    several = len(set(indexes)) < len(indexes)
    cases = [(condition,) for condition in conditions] if several else [tuple(conditions)]
    names = [_name(piece) for piece in (fields["names"] if "names" in fields else [fields["name"]])]
    if _is_applicable(fields):
        yield from (Rule(name, action, case) for name in names for case in cases)


def _name(piece: JsonPiece) -> str:
    if not re.fullmatch(r"(?!syscall_\d)\w{1,64}", piece.text, re.A) or not syscalls.is_known(piece.text):
        raise piece.unknown("system call", piece.text, syscalls.all_names())
    return piece.text


def _parse_condition(piece: JsonPiece) -> Condition:
    fields = piece.fields(("index", "value", "valueTwo", "op"))
    for field in ("index", "op"):
        if field not in fields:
            raise UsageError(f"{piece.path} has no field {field!r}")
    index, operation = fields["index"].number(5), fields["op"].one_of("comparison", _OPERATIONS)
    value, second = (fields[key].number(_U64) if key in fields else 0 for key in ("value", "valueTwo"))
    if operation == "&":
        return Condition(index, "==", second & value, value)
    if second:
        raise UsageError(f"{fields['valueTwo'].path} is for SCMP_CMP_MASKED_EQ alone")
    return Condition(index, operation, value)


def _is_applicable(fields: Mapping[str, JsonPiece]) -> bool:
    """Return whether a Docker profile's conditions for an entry hold for the command, run as we are."""
    for field, expected in ("includes", True), ("excludes", False):
        for key, piece in (fields[field].fields(_WHEN) if field in fields else {}).items():
            if _is_met(key, piece, all if expected else any) is (not expected):
                return False
    return True


def _is_met(key: str, piece: JsonPiece, combine: Callable[[Iterable[bool]], bool]) -> bool | None:
    """Return whether the machine, or ``combine`` of the capabilities, meet a condition; None if it is
    empty."""
    if key == "minKernel":
        match = re.fullmatch(r"(\d{1,9})\.(\d{1,9})", piece.text)
        running_version = re.match(r"(\d+)\.(\d+)", os.uname().release)
        if not match or not running_version:
            raise piece.wrong("a kernel's version, such as 4.8")
        return (int(running_version[1]), int(running_version[2])) >= (int(match[1]), int(match[2]))
    words = list(piece)
    if not words:
        return None
    if key == "arches":
        machine = _GO_NAMES.get(os.uname().machine, os.uname().machine)
        return machine in [word.text for word in words]
    for word in words:
        word.one_of("capability", dict.fromkeys(CAPABILITIES))
    capabilities = effective_capabilities()
    return combine(word.text in capabilities for word in words)
