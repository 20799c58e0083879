"""Decode the state of a thread, and the place where it waits."""

from __future__ import annotations

from pytracer.arrays import np
from pytracer.enrich.decode import TRUNCATED, Decoder
from pytracer.symbols.kernel import KernelSymbols

# include/linux/sched.h. Of the states that are reported (TASK_REPORT) the highest bit counts; without one, as
# of a thread that is new or about to wake up, it runs.
_LETTERS = "RSDTtXZP"
_REPORTED = 0x7F
_IDLE = 0x402  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
_SLEEPS = 0x02  # TASK_UNINTERRUPTIBLE
_LIKE_THAT = 0x1000 | 0x8000  # TASK_RTLOCK_WAIT (Linux 5.15), TASK_FROZEN (6.1)


_DEPTH = 64  # functions: probes_c/tasks.c has room for so many


def task_state(state: int) -> str:
    """Return the letter that ps shows for a state."""
    if state & _IDLE == _IDLE:
        return "I"
    if state & _LIKE_THAT:
        state = _SLEEPS
    return _LETTERS[(state & _REPORTED).bit_length()]


def kernel_function_decoder() -> Decoder:
    """Make a decoder of kernel function addresses to names."""
    symbols = KernelSymbols()

    def kernel_function(address: int) -> str:
        [name] = symbols.names(np.array([address], np.uint64))
        return str(name)

    return kernel_function


def kernel_stack_decoder() -> Decoder:
    """Make a decoder of stacks: 64-bit addresses in sequence, innermost first."""
    symbols = KernelSymbols()

    def kernel_stack(value: bytes) -> str:
        addresses = np.frombuffer(value, np.uint64).copy()
        # All but the innermost are where a call returns to, which may be the next function already.
        addresses[1:] -= np.uint64(1)
        frames = list(symbols.names(addresses)) if len(addresses) else []
        return ";".join([*frames, TRUNCATED] if len(frames) >= _DEPTH else frames)

    return kernel_stack
