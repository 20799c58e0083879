"""Hooks of locks of the kernel."""

from __future__ import annotations

from pytracer.spec.hooks import Alternative, Fentry, Fexit, Hook, Kprobe, Kretprobe, Probe, RawTracepoint

_TAKES = (
    "mutex_lock",
    "mutex_lock_interruptible",
    "mutex_lock_killable",
    "down_read",
    "down_read_interruptible",  # Linux 5.11 (31784cff7ee0)
    "down_read_killable",
    "down_write",
    "down_write_killable",
)
_TRIES = ("mutex_trylock", "down_read_trylock", "down_write_trylock")
_RELEASES = ("mutex_unlock", "up_read", "up_write")


def _functions(shared_names: tuple[str, ...], entered: tuple[str, ...] = ()) -> tuple[Alternative, ...]:
    """Return the alternatives that see the calls of ``shared_names``, begin and end, and of ``entered``,
    begin."""
    trampolines, probes = list[Probe](), list[Probe]()
    for name in (*shared_names, *entered):
        symbols = (name, f"{name}_nested")  # with CONFIG_DEBUG_LOCK_ALLOC
        optional = name == "down_read_interruptible"
        trampolines.append(Fentry(f"{name}_begins", optional, function=name))
        probes.append(Kprobe(f"{name}_begins", optional, symbols=symbols))
        if name in shared_names:
            trampolines.append(Fexit(f"{name}_ends", optional, function=name))
            probes.append(Kretprobe(f"{name}_ends", optional, symbols=symbols))
    return Alternative("fexit", tuple(trampolines)), Alternative("kprobe", tuple(probes))


CONTENTION = Hook(
    "contention",
    "locks of the kernel are waited for",
    (
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("begins", event="contention_begin", arguments=2),
                RawTracepoint("ends", event="contention_end", arguments=2),
            ),
        ),
        *_functions(_TAKES),  # before Linux 5.19
    ),
)
HELD = Hook(
    "held",
    "mutexes and rwsems are taken and released",
    _functions((*_TAKES, *_TRIES), _RELEASES),
)
"""A lock is waited for, taken, released: probes_c/include/lock_calls.h."""
