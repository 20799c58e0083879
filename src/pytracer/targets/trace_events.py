"""Trace events as tracefs lists them, and the raw tracepoints behind them."""

from __future__ import annotations

import contextlib
import re

from pytracer.errors import HeadersError, PytracerError, UnknownNameError
from pytracer.kernel import functions, tracefs
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.spec import Source

_PLAIN = re.compile(r"\w+", re.ASCII)
_TYPED = "btf_trace_"  # how BTF calls the type of a tracepoint's arguments


def find(source: Source) -> FoundTargets:
    """See :func:`pytracer.targets.find`."""
    return _find_raw(source) if source.kind == "rt" else _find_events(source)


def _find_events(source: Source) -> FoundTargets:
    if _PLAIN.fullmatch(source.place) and _PLAIN.fullmatch(source.name):
        # One that is named needs no list of the 2,000 others.
        with contextlib.suppress(PytracerError):
            if tracefs.is_listed(source.place, source.name):
                return FoundTargets((NamedTarget(f"{source.place}:{source.name}"),))
    all_events = tracefs.events()
    names = [name for name in all_events if source.matches(*reversed(name.split(":")))]
    if not names:
        raise UnknownNameError(
            "trace event",
            f"{source.place}:{source.name}",
            all_events,
            where_listed=f"what there is: {tracefs.TRACING}/available_events",
        )
    return FoundTargets(tuple(map(NamedTarget, names)))


def _find_raw(source: Source) -> FoundTargets:
    all_events = raw_tracepoints()
    names = [name for name in all_events if source.matches(name)]
    if not names and all_events:
        raise UnknownNameError("raw tracepoint", source.name, all_events)
    # Where nothing lists them, the kernel is asked for the one that is named.
    return FoundTargets(tuple(map(NamedTarget, names or [source.name])))


def raw_tracepoints() -> list[str]:
    """List the kernel's own tracepoints in BTF, and those with the name of their trace event; sorted.

    A tracepoint may have several trace events with other names. Empty if neither can be read.
    """
    names = set[str]()
    with contextlib.suppress(HeadersError):
        types = Btf.load().names(BtfKind.TYPEDEF)
        names |= {name.removeprefix(_TYPED) for name in types if name.startswith(_TYPED)}
    if not names:
        symbols = functions.symbols(rb"[dDbBrR]", rb"__tracepoint_\w+")
        names |= {name.removeprefix("__tracepoint_") for name in symbols}
    if not names:
        with contextlib.suppress(PytracerError):
            names |= {re.sub(r".*:", "", name) for name in tracefs.events()}
    return sorted(names)
