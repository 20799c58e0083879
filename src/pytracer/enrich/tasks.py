"""What a thread does, and where."""

from __future__ import annotations

from pytracer.arrays import np
from pytracer.enrich.decode import Decoder
from pytracer.symbols.kernel import KernelSymbols

# include/linux/sched.h. Those that go with others come first.
_STATES = {
    0x402: "I",  # TASK_UNINTERRUPTIBLE | TASK_NOLOAD
    0x20: "Z",
    0x10: "X",
    0x40: "P",
    0x08: "t",
    0x04: "T",
    0x02: "D",
    0x01: "S",
}


def task_state(state: int) -> str:
    """The letter that ps has for it."""
    if not state:
        return "R"
    return next((letter for bits, letter in _STATES.items() if state & bits == bits), f"unknown:{state:#x}")


def kernel_stack_decoder() -> Decoder:
    """A decoder of stacks, 64-bit addresses one after the other, innermost first."""
    symbols = KernelSymbols()

    def kernel_stack(value: bytes) -> str:
        addresses = np.frombuffer(value, np.uint64).copy()
        # All but the innermost are where a call returns to, which may be the next function already.
        addresses[1:] -= np.uint64(1)
        return ";".join(symbols.names(addresses)) if len(addresses) else ""

    return kernel_stack
