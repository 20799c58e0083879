"""Translate bpftrace's attach points to sources and probes."""

from __future__ import annotations

from collections.abc import Sequence

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang.script.syntax import AttachPoint
from pytracer.lang.script.tokens import UNITS
from pytracer.record import record
from pytracer.spec import (
    HAPPENINGS,
    IntervalSample,
    PerfSample,
    Probe,
    Rate,
    RunOnce,
    Source,
    parse_source,
    quoting,
)

_SOURCES = {
    "kprobe": "k",
    "k": "k",
    "kretprobe": "kr",
    "kr": "kr",
    "fentry": "f",
    "f": "f",
    "kfunc": "f",
    "fexit": "fr",
    "fr": "fr",
    "kretfunc": "fr",
    "tracepoint": "t",
    "t": "t",
    "rawtracepoint": "rt",
    "rt": "rt",
    "uprobe": "u",
    "u": "u",
    "uretprobe": "ur",
    "ur": "ur",
    "usdt": "usdt",
    "U": "usdt",
}
"""bpftrace's providers that name functions, events and USDT probes: the kind of source."""
_MOMENTS = {"begin": False, "BEGIN": False, "end": True, "END": True}
_TIMERS = {"interval": "interval", "i": "interval", "profile": "profile", "p": "profile"}
_COUNTERS = {"software": "software", "s": "software", "hardware": "hardware", "h": "hardware"}
_EVENTS = {
    "cpu": "cpu-clock",
    "cpu-clock": "cpu-clock",
    "task-clock": "cpu-clock",
    "page-faults": "page-faults",
    "faults": "page-faults",
    "context-switches": "context-switches",
    "cs": "context-switches",
    "cpu-migrations": "cpu-migrations",
    "minor-faults": "minor-faults",
    "major-faults": "major-faults",
    "cpu-cycles": "cycles",
    "cycles": "cycles",
    "instructions": "instructions",
    "cache-references": "cache-references",
    "cache-misses": "cache-misses",
    "branch-instructions": "branches",
    "branches": "branches",
    "branch-misses": "branch-misses",
}
_PERIODS = {"cpu-clock": 1_000_000, "context-switches": 1000, "page-faults": 100, "minor-faults": 100}
_PERIOD = 1_000_000  # events between two samples, of what has no period of its own
_UNSUPPORTED = ("iter", "it", "watchpoint", "w", "asyncwatchpoint", "aw", "self", "bench", "test")
PROVIDERS = (*_SOURCES, *_MOMENTS, *_TIMERS, *_COUNTERS)


@record
class SampledProbe:
    """A probe without a source: begin or end of the run, a timer, or a counter.

    ``filters``: only samples of traced tasks count. ``name`` is the attach point as bpftrace spells it.
    """

    probe: Probe
    rate: Rate
    filters: bool
    name: str


def _fail(text: str, point: AttachPoint, message: str, hint: str = "") -> ProbeSpecError:
    return ProbeSpecError(message, text, point.start, point.end, hint=hint)


def parse_attach_point(text: str, point: AttachPoint, program: str) -> Source | SampledProbe:
    """Return the source or sampled probe of an attach point of the script ``text``. Raises ProbeSpecError."""
    provider, *rest = point.parts
    if provider in _SOURCES:
        try:
            return _source(_SOURCES[provider], rest)
        except UsageError as error:
            raise _fail(text, point, error.message, error.hint) from None
    if provider in _MOMENTS and not rest:
        probe = RunOnce(program, at_end=_MOMENTS[provider])
        return SampledProbe(probe, Rate(), False, provider)
    if provider in _TIMERS:
        return _timer(text, point, program, _TIMERS[provider], rest)
    if provider in _COUNTERS:
        return _counter(text, point, program, _COUNTERS[provider], rest)
    if provider in _UNSUPPORTED:
        raise _fail(text, point, f"{provider} probes are not supported")
    if len(point.parts) == 1:
        raise _fail(text, point, f"{provider!r} names no probe", hint="as in kprobe:vfs_read")
    raise _fail(text, point, f"no provider {provider!r}", hint=f"providers are {', '.join(PROVIDERS)}")


def _source(kind: str, rest: Sequence[str]) -> Source:
    if not rest or not rest[-1]:
        raise UsageError("the name of a probe is missing")
    if kind in ("k", "kr", "f", "fr", "rt") and len(rest) > 1:
        rest = rest[-1:]  # a module before the function
    if kind in ("u", "ur") and len(rest) > 2 and rest[1] == "cpp":
        rest = (rest[0], *rest[2:])
    if kind == "usdt" and len(rest) == 2:
        rest = (rest[0], "*", rest[1])
    qualifiers = [
        quoting.quote(part) if kind in ("u", "ur", "usdt") and ":" in part else part for part in rest[:-1]
    ]
    return parse_source(":".join((kind, *qualifiers, rest[-1])))


def _timer(text: str, point: AttachPoint, program: str, provider: str, rest: Sequence[str]) -> SampledProbe:
    if len(rest) == 1:
        unit = rest[0].lstrip("0123456789")
        count = rest[0][: len(rest[0]) - len(unit)]
    elif len(rest) == 2:
        unit, count = rest
    else:
        raise _fail(text, point, f"{provider} takes a unit and a number", hint=f"{provider}:s:1")
    if not count.isdecimal() or not int(count) or (unit not in UNITS and unit != "hz"):
        raise _fail(text, point, f"{':'.join(rest)!r} is no time", hint=f"{provider}:hz:99, {provider}:s:1")
    name = f"{provider}:{unit}:{count}"
    rate = Rate(frequency=int(count)) if unit == "hz" else Rate(period=int(count) * UNITS[unit])
    if provider == "interval":
        if unit == "hz":
            rate = Rate(period=UNITS["s"] // int(count))
        return SampledProbe(IntervalSample(program), rate, False, name)
    return SampledProbe(PerfSample(program), rate, True, name)


def _counter(text: str, point: AttachPoint, program: str, provider: str, rest: Sequence[str]) -> SampledProbe:
    event = _EVENTS.get(rest[0]) if rest else None
    if event is None or len(rest) > 2 or (len(rest) == 2 and not rest[1].isdecimal()):
        names = ", ".join(
            name for name, of in _EVENTS.items() if (of in HAPPENINGS) == (provider == "software")
        )
        raise _fail(text, point, f"{point.text!r} names no event", hint=f"{provider}:EVENT:COUNT, of {names}")
    period = int(rest[1]) if len(rest) == 2 and int(rest[1]) else _PERIODS.get(event, _PERIOD)
    return SampledProbe(
        PerfSample(program, event=event), Rate(period=period), True, f"{provider}:{rest[0]}:{period}"
    )
