"""Decode why virtual machines exit, by the names that the kernel's own event has for the reasons."""

from __future__ import annotations

import re
from collections.abc import Callable

from pytracer.errors import PytracerError
from pytracer.kernel.tracefs import event_format

EVENT = "kvm:kvm_exit"
INSTRUCTION_SETS = {1: "vmx", 2: "svm"}
"""KVM_ISA_VMX and KVM_ISA_SVM, in the order in which the event has their names."""

_LIST = re.compile(r"__print_symbolic\(((?:[^()]|\([^()]*\))*)\)")
_ENTRY = re.compile(r'\{\s*([-+ 0-9a-fA-Fx]+?)\s*,\s*"([^"]*)"\s*\}')


def exit_names(form: str) -> dict[int, str]:
    """Return the names in the format of the event, by the reason with the instruction set above 32 bits."""
    names: dict[int, str] = {}
    for isa, entries in zip(INSTRUCTION_SETS, _LIST.findall(form), strict=False):
        for number, name in _ENTRY.findall(entries):
            # A number may be a sum: 0x040 + 14.
            reason = sum(int(part, 0) for part in number.split("+")) & 0xFFFFFFFF
            names[isa << 32 | reason] = name.lower().replace(" ", "_")
    return names


def kvm_exit_decoder(load: Callable[[str], bytes] = event_format) -> Callable[[int], str]:
    """Make a decoder of exit reasons: ``npf``, ``cpuid``; ``svm_0x401`` if the kernel has no name."""
    cache: dict[int, str] = {}

    def decode(reason: int) -> str:
        if not cache:
            cache[-1] = ""
            try:
                cache.update(exit_names(load(EVENT).decode(errors="replace")))
            except (OSError, PytracerError):
                pass
        isa = INSTRUCTION_SETS.get(reason >> 32, f"isa_{reason >> 32}")
        return cache.get(reason) or f"{isa}_{reason & 0xFFFFFFFF:#x}"

    return decode
