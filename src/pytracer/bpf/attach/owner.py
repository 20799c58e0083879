"""Name kernel objects that outlive their process after that process, so that the next run can remove them.

See "Packets" in docs/internals.md.
"""

from __future__ import annotations

import os
import re
import string
from pathlib import Path

from pytracer.procfs import read_stat

_DIGITS = string.digits + string.ascii_letters + "_."  # the characters that the kernel allows in a name
_SHORT = re.compile(rf"pt([{re.escape(_DIGITS)}]{{13}})")
_PROCESS_BITS, _BORN_BITS = 22, 24  # PID_MAX_LIMIT; the low bits of the start time wrap after 46 hours


def name_owner(process: int) -> str:
    """Return the name of a process: PID namespace, process id and start time, unique since boot.

    "" if there is no such process, it has ended, or /proc hides it.
    """
    try:
        fields = read_stat(process)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""
    state, born = fields[0].decode(), fields[19].decode()
    return "" if state in "ZX" else f"{_read_pid_namespace()}_{process}_{born}"


def is_dead(name: str) -> bool:
    """Return whether the process that ``name_owner`` gave this name has ended.

    Processes of another PID namespace cannot be looked up, so they count as alive; so does one that /proc
    hides.
    """
    namespace, process, _ = map(int, name.split("_"))
    return namespace == _read_pid_namespace() and name_owner(process) != name and not _is_hidden(process)


def _is_hidden(process: int) -> bool:
    """Return whether the process exists but is hidden from /proc (mount option hidepid)."""
    try:
        Path(f"/proc/{process}/stat").read_bytes()
        return False
    except OSError:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it lives
            pass
        return True


def encode_short_name(name: str) -> str:
    """Encode a name from ``name_owner`` in the 15 characters that the kernel keeps of a program's name."""
    namespace, process, born = map(int, name.split("_"))
    number = (namespace << _PROCESS_BITS | process) << _BORN_BITS | born & (1 << _BORN_BITS) - 1
    digits = ""
    for _ in range(13):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return f"pt{digits}"


def is_dead_short(name: str) -> bool:
    """Return whether this is a name from ``encode_short_name`` whose process has ended."""
    match = _SHORT.fullmatch(name)
    if match is None:
        return False
    number = 0
    for digit in match[1]:
        number = number * len(_DIGITS) + _DIGITS.index(digit)
    process = number >> _BORN_BITS & (1 << _PROCESS_BITS) - 1
    is_own_namespace = number >> _BORN_BITS + _PROCESS_BITS == _read_pid_namespace()
    owner_name = name_owner(process)
    return (
        is_own_namespace
        and (not owner_name or encode_short_name(owner_name) != name)
        and not _is_hidden(process)
    )


def _read_pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
