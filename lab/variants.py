"""Kernels that no distribution has, stated once: made from a distribution's source by `scripts/lab build`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FRAGMENTS = Path(__file__).parent / "config"


@dataclass(frozen=True)
class Variant:
    """One way to configure a kernel: everything "n" that can be, but for what its fragments say."""

    name: str
    """The lab's name for it; it is also the suffix of its release."""
    base: str
    """The supported kernel (lab.kernels) from whose suite the source is taken."""
    fragments: tuple[str, ...]
    """Files in lab/config; of two that disagree the later one is right."""
    purpose: str
    """The purpose of the variant."""
    headers: bool = False
    """True if it includes the contents of a header package, as /lib/modules/RELEASE/build."""


VARIANTS: tuple[Variant, ...] = (
    Variant(
        name="override",
        base="6.1",
        fragments=("lab.config", "probes.config", "btf.config", "override.config"),
        purpose="functions made to fail, by bpf_override_return",
    ),
    Variant(
        name="ikheaders",
        base="6.1",
        fragments=("lab.config", "probes.config", "kheaders.config"),
        purpose="types from /sys/kernel/kheaders.tar.xz alone: no BTF, no header package",
    ),
    Variant(
        name="bare",
        base="6.1",
        fragments=("lab.config", "bare.config"),
        purpose="no BTF, no kprobes, no function tracing: tracepoints and sockets are left",
        headers=True,
    ),
)


def by_name(name: str) -> Variant | None:
    """Return the variant of that name, or None."""
    return next((variant for variant in VARIANTS if variant.name == name), None)
