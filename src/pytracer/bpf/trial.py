"""Minimal programs that are loaded only to see whether the kernel accepts them."""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Callable, Iterable

from pytracer.bpf.identity import version_code
from pytracer.bpf.sys import prog_load

# The third since Linux 6.14; the fourth for a helper that returns a BTF type, if the kernel has no BTF; the
# last for one that only some attach targets allow (d_path).
_UNKNOWN_HELPER = (
    b"unknown func",
    b"invalid func",
    b"cannot use helper",
    b"invalid return type",
    b"helper call is not allowed",
)


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """Encode one ``struct bpf_insn``."""
    return struct.pack("=BBhi", code, src << 4 | dst, offset, immediate)


def return_code(value: int) -> bytes:
    """Return the code of the program ``return value``."""
    return instruction(0xB7, immediate=value) + instruction(0x95)  # BPF_ALU64|MOV|K, BPF_JMP|EXIT


def argument_read_code(index: int) -> bytes:
    """Return the code of a raw tracepoint program that reads its argument ``index`` (from 0)."""
    return instruction(0x79, src=1, offset=index * 8) + return_code(0)  # BPF_LDX|MEM|DW


# A program on a trace event or kprobe that returns 0 hides the event from the perf events of others
# (kernel/trace/bpf_trace.c, trace_call_bpf): a trial program must return 1.
EMPTY = return_code(1)
# Reads the twelfth argument. A program that reads beyond a trace event's arguments is refused with EINVAL,
# after the event was found and before the program is attached: so a trial finds whether an event exists
# without touching it. (One event, mc_event, has as many, and is attached to for a moment.) To attach
# for real and detach would cost 0.1 to 16 ms, for grace periods that the real attachment then waits for.
READS_BEYOND = argument_read_code(11)
# Counts to two (Linux 5.3).
LOOP = (
    instruction(0xB7)  # BPF_ALU64|MOV|K: r0 = 0
    + instruction(0x07, immediate=1)  # BPF_ALU64|ADD|K: r0 += 1
    + instruction(0xA5, offset=-2, immediate=2)  # BPF_JMP|JLT|K: back while r0 < 2
    + instruction(0x95)
)
# Adds to a word on the stack and gets its old value (Linux 5.12, 5ffa25502b5a).
ATOMIC_FETCH_ADD = (
    instruction(0x7A, dst=10, offset=-8)  # BPF_ST|MEM|DW: *(u64 *)(fp - 8) = 0
    + instruction(0xB7)  # r0 = 0
    + instruction(0xDB, dst=10, offset=-8, immediate=0x01)  # BPF_STX|ATOMIC|DW, BPF_ADD|BPF_FETCH
    + instruction(0xB7)
    + instruction(0x95)
)


def load(
    kind: int,
    code: bytes,
    *,
    attach_type: int = 0,
    btf_id: int = 0,
    flags: int = 0,
    log: bytearray | None = None,
) -> int:
    """Call ``prog_load`` with the version that old kernels require. Raises OSError."""
    version = version_code()
    return prog_load(
        kind, code, log=log, version=version, flags=flags, attach_type=attach_type, btf_id=btf_id
    )


def helper_refusal(kind: int, number: int, *, attach_type: int = 0, btf_id: int = 0) -> str:
    """Return the verifier's message if programs of a type may not call a helper; "" if they may. Some types
    are loaded for an ``attach_type``, and for a target with a ``btf_id``.

    The helper gets whatever the registers hold. The verifier first checks whether programs of this type have
    the helper, so any complaint about arguments means that they do. Raises OSError if the verifier did not
    run.
    """
    log = bytearray(4096)
    code = instruction(0x85, immediate=number) + return_code(0)  # BPF_JMP|CALL
    try:
        os.close(load(kind, code, attach_type=attach_type, btf_id=btf_id, log=log))
    except OSError as error:
        text = bytes(log.partition(b"\0")[0])
        if not text or error.errno == errno.EPERM:
            raise
        for line in text.splitlines():
            if any(words in line for words in _UNKNOWN_HELPER):
                return line.decode(errors="replace")
    return ""


def context_refusal(
    kind: int, fields: Iterable[tuple[int, int]], result: int, *, attach_type: int = 0, btf_id: int = 0
) -> bool:
    """Return whether programs of a type may not read ``fields`` (offset, size) of their context.

    Raises OSError if the verifier did not run.
    """
    sizes = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}  # BPF_LDX|MEM
    reads = b"".join(instruction(sizes[size], src=1, offset=offset) for offset, size in fields)
    log = bytearray(4096)
    try:
        os.close(load(kind, reads + return_code(result), attach_type=attach_type, btf_id=btf_id, log=log))
    except OSError:
        if not log[0]:
            raise
        return b"invalid bpf_context access" in log
    return False


def run_in_thread(work: Callable[[], str]) -> str:
    """Run ``work`` in a new thread and return or raise its result; changes to the thread end with it."""
    outcomes: list[str] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            outcomes.append(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return outcomes[0]
