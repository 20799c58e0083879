"""Run a program with preemption disabled, by a function that calls it.

From Linux 6.0 on the program of a uprobe can be preempted, and nothing keeps another task from running the
same program on that CPU meanwhile. Both then share what the program has once for each CPU: buffers,
counters, and from 6.13 on (7d1cd70d4b16) the stack, if it takes 64 bytes or more. A pointer that one has on
its stack is a number of the other when it goes on: the kernel crashes. So where the kernel has
bpf_preempt_disable (6.10, fc7566ad0a82), such programs are called between that and bpf_preempt_enable.
"""

from __future__ import annotations

import functools
import os

from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY, instruction, load
from pytracer.errors import HeadersError
from pytracer.kernel.btf_format import BtfKind
from pytracer.kernel.running_types import running_types

_FUNCTIONS = ("bpf_preempt_disable", "bpf_preempt_enable")
_MOV, _CALL, _EXIT = 0xBF, 0x85, 0x95  # BPF_ALU64|MOV|X, BPF_JMP|CALL, BPF_JMP|EXIT
_PROGRAM, _KERNEL = 1, 2  # what is called: BPF_PSEUDO_CALL, BPF_PSEUDO_KFUNC_CALL


@functools.cache
def caller() -> bytes:
    """Return the code of that function, which calls what follows it; b"" if this kernel does not take it:
    it is too old, or has no BTF, or a policy is against it."""
    try:
        types = running_types()
    except HeadersError:
        return b""
    disable, enable = (types.find(BtfKind.FUNC, name) for name in _FUNCTIONS)
    if not disable or not enable:
        return b""
    code = _call_between(disable, enable)
    try:
        os.close(load(ProgType.KPROBE, code + EMPTY))
    except OSError:
        return b""
    return code


def _call_between(disable: int, enable: int) -> bytes:
    """Return the code that calls the function behind it, after the kernel's function ``disable`` and before
    ``enable`` (their ids in its BTF), with its own argument and result."""
    return b"".join(
        (
            instruction(_MOV, dst=6, src=1),
            instruction(_CALL, src=_KERNEL, immediate=disable),
            instruction(_MOV, dst=1, src=6),
            instruction(_CALL, src=_PROGRAM, immediate=4),
            instruction(_MOV, dst=6),
            instruction(_CALL, src=_KERNEL, immediate=enable),
            instruction(_MOV, src=6),
            instruction(_EXIT),
        )
    )
