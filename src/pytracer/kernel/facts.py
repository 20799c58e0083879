"""What a plan needs to know of this kernel: a question for each kind of hook, answered by trying.

The real answers come from :mod:`pytracer.bpf.facts`; a test describes a kernel as data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Answer:
    """Whether a hook is there. ``name`` is what it is called here; ``reason`` says why not.

    ``refused`` tells a refusal by the kernel's policy from a thing that does not exist. ``tried`` is
    false where it could only be assumed, as without privileges.
    """

    ok: bool
    name: str = ""
    reason: str = ""
    refused: bool = False
    tried: bool = True


class Facts(Protocol):
    """This kernel, as far as a plan asks."""

    @property
    def architecture(self) -> str:
        """``x86_64``, ``aarch64``, ... as uname says."""
        ...

    @property
    def runs_compat(self) -> bool:
        """Whether 32-bit programs run beside 64-bit ones."""
        ...

    def has_helper(self, number: int) -> bool:
        """Whether programs may call the BPF helper of this number."""
        ...

    def has_map_type(self, number: int) -> bool:
        """Whether there are maps of this ``enum bpf_map_type``."""
        ...

    @property
    def has_loops(self) -> bool:
        """Whether the verifier goes through loops."""
        ...

    def raw_tracepoint(self, event: str, arguments: int = 0) -> Answer:
        """Whether a program can be put on this raw tracepoint, and it has so many arguments."""
        ...

    def tracepoint(self, category: str, event: str) -> Answer:
        """Whether a program can be put on this trace event."""
        ...

    def kprobe(self, symbols: tuple[str, ...]) -> Answer:
        """Whether one of these functions can be probed, and by which name."""
        ...

    def kprobe_multi(self, patterns: tuple[str, ...], *, at_return: bool) -> Answer:
        """Whether functions can be probed by one link; for returns, by one that counts its misses."""
        ...

    def kprobe_events(self, patterns: tuple[str, ...]) -> Answer:
        """Whether functions can be probed by one trace event of tracefs."""
        ...

    def socket_filter(self) -> Answer:
        """Whether a program can filter a packet socket."""
        ...

    def perf_sample(self, event: str) -> Answer:
        """Whether a program can be run on samples of this event on every CPU."""
        ...
