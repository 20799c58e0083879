"""Translate bpftrace's attach points to sources and probes."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from pytracer.errors import ProbeSpecError, UsageError
from pytracer.lang.script.parser import split_point
from pytracer.lang.script.syntax import AttachPoint
from pytracer.lang.script.tokens import UNITS
from pytracer.record import record, replace
from pytracer.spec import (
    HAPPENINGS,
    IntervalSample,
    Iterator,
    OnSignal,
    PerfSample,
    Probe,
    Rate,
    RunOnce,
    Source,
    Watchpoint,
    parse_source,
    quoting,
)

SOURCES = {
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
EVENTS = {
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
SELF_SIGNALS = ("SIGUSR1", "SIGUSR2")
_COUNT = re.compile(r"(\d+)(?:e(\d+))?")
_PARAMETER = re.compile(r"\$(\d+)")
_BENCHMARK, _BENCHMARK_RUNS = "bench", 100_000
_PERIOD = 1_000_000  # events between two samples, of what has no period of its own
_ITERATORS = ("iter", "it")
_WATCHPOINTS = ("watchpoint", "w")
_UNSUPPORTED = {
    "asyncwatchpoint": "bpftrace itself has it no more",
    "aw": "bpftrace itself has it no more",
    "test": "it tests bpftrace itself",
}
"""Providers that are not there, and why."""
PROVIDERS = (*SOURCES, *_MOMENTS, *_TIMERS, *_COUNTERS, *_ITERATORS, *_WATCHPOINTS, _BENCHMARK, "self")


@record
class SampledProbe:
    """A probe without a source: begin or end of the run, a timer, or a counter.

    ``filters``: only samples of traced tasks count. ``name`` is the attach point as bpftrace spells it.
    """

    probe: Probe
    rate: Rate
    filters: bool
    name: str


def _make_error(text: str, point: AttachPoint, message: str, hint: str = "") -> ProbeSpecError:
    return ProbeSpecError(message, text, point.start, point.end, hint=hint)


def parse_attach_point(text: str, point: AttachPoint, program: str) -> Source | SampledProbe:
    """Return the source or sampled probe of an attach point of the script ``text``. Raises ProbeSpecError."""
    provider, *parts = point.parts
    if provider in SOURCES:
        try:
            return _make_source(SOURCES[provider], parts)
        except UsageError as error:
            raise _make_error(text, point, error.message, error.hint) from None
    if provider in _MOMENTS and not parts:
        probe = RunOnce(program, at_end=_MOMENTS[provider])
        return SampledProbe(probe, Rate(), False, provider)
    if provider == _BENCHMARK and len(parts) == 1 and parts[0]:
        return SampledProbe(RunOnce(program, times=_BENCHMARK_RUNS), Rate(), False, point.text)
    if provider in _TIMERS:
        return _make_timer(text, point, program, _TIMERS[provider], parts)
    if provider in _COUNTERS:
        return _make_counter(text, point, program, _COUNTERS[provider], parts)
    if provider in _ITERATORS:
        return _make_iterator(text, point, program, parts)
    if provider in _WATCHPOINTS:
        return _make_watchpoint(text, point, program, parts)
    if provider == "self":
        return _signal(text, point, program, parts)
    if provider in _UNSUPPORTED:
        raise _make_error(text, point, f"{provider} probes are not supported", hint=_UNSUPPORTED[provider])
    if len(point.parts) == 1:
        raise _make_error(text, point, f"{provider!r} names no probe", hint="as in kprobe:vfs_read")
    raise _make_error(text, point, f"no provider {provider!r}", hint=f"providers are {', '.join(PROVIDERS)}")


def _make_source(kind: str, parts: Sequence[str]) -> Source:
    if not parts or not parts[-1]:
        raise UsageError("the name of a probe is missing")
    if kind in ("f", "fr") and len(parts) > 1 and parts[0] == "bpf":
        raise UsageError("BPF programs cannot be probed", hint="pytracer prog shows them")
    if kind in ("k", "kr", "f", "fr", "rt") and len(parts) > 1:
        parts = parts[-1:]  # a module before the function
    if kind in ("u", "ur") and len(parts) > 2 and parts[1] == "cpp":
        parts = (parts[0], *parts[2:])
    if kind == "usdt":
        parts = parts if len(parts) > 2 else (parts[0], "*", parts[-1])
        parts = [part or "*" for part in (parts[1:] if parts[0] in ("", "*") else parts)]
    qualifiers = [
        quoting.quote(part) if kind in ("u", "ur", "usdt") and ":" in part else part for part in parts[:-1]
    ]
    name = quoting.quote(parts[-1]) if kind == "usdt" and '"' in parts[-1] else parts[-1]
    return parse_source(":".join((kind, *qualifiers, name)))


def _make_timer(
    text: str, point: AttachPoint, program: str, provider: str, parts: Sequence[str]
) -> SampledProbe:
    if len(parts) == 1:
        unit = parts[0].lstrip("0123456789")
        count, unit = parts[0][: len(parts[0]) - len(unit)], unit or "ns"
    elif len(parts) == 2:
        unit, count = parts
    else:
        raise _make_error(text, point, f"{provider} takes a unit and a number", hint=f"{provider}:s:1")
    if not count.isdecimal() or not int(count) or (unit not in UNITS and unit != "hz"):
        raise _make_error(
            text, point, f"{':'.join(parts)!r} is no time", hint=f"{provider}:hz:99, {provider}:s:1"
        )
    name = f"{provider}:{unit}:{count}"
    rate = Rate(frequency=int(count)) if unit == "hz" else Rate(period=int(count) * UNITS[unit])
    if provider == "interval":
        if unit == "hz":
            rate = Rate(period=UNITS["s"] // int(count))
        return SampledProbe(IntervalSample(program), rate, False, name)
    return SampledProbe(PerfSample(program), rate, True, name)


def _make_counter(
    text: str, point: AttachPoint, program: str, provider: str, parts: Sequence[str]
) -> SampledProbe:
    event = EVENTS.get(parts[0]) if parts else None
    count = _COUNT.fullmatch(parts[1]) if len(parts) == 2 else None
    if event is None or len(parts) > 2 or (len(parts) == 2 and parts[1] and count is None):
        names = ", ".join(
            name
            for name, event_number in EVENTS.items()
            if (event_number in HAPPENINGS) == (provider == "software")
        )
        raise _make_error(
            text, point, f"{point.text!r} names no event", hint=f"{provider}:EVENT:COUNT, of {names}"
        )
    number = int(count[1]) * 10 ** int(count[2] or 0) if count else 0
    period = number or _PERIODS.get(event, _PERIOD)
    return SampledProbe(
        PerfSample(program, event=event), Rate(period=period), True, f"{provider}:{parts[0]}:{period}"
    )


def _make_iterator(text: str, point: AttachPoint, program: str, parts: Sequence[str]) -> SampledProbe:
    if len(parts) != 1 or not parts[0].isidentifier():
        message = "an iterator cannot be pinned" if len(parts) > 1 else "the name of an iterator is missing"
        raise _make_error(text, point, message, "iter:task")
    return SampledProbe(Iterator(program, of=parts[0]), Rate(), False, f"iter:{parts[0]}")


def _make_watchpoint(text: str, point: AttachPoint, program: str, parts: Sequence[str]) -> SampledProbe:
    hint = "watchpoint:ADDRESS:LENGTH:MODE, as in watchpoint:0x10000000:8:rw"
    if len(parts) != 3:
        raise _make_error(text, point, "a watchpoint has an address, a length and a mode", hint)
    address, length, mode = parts
    try:
        number = int(address, 0)
    except ValueError:
        raise _make_error(text, point, f"{address!r} is no address", hint) from None
    if length not in ("1", "2", "4", "8"):
        raise _make_error(text, point, f"{length!r} is no length: 1, 2, 4 or 8", hint)
    if "".join(sorted(mode)) not in ("r", "rw", "w", "x"):
        raise _make_error(text, point, f"{mode!r} is no mode: r, w, rw or x", hint)
    probe = Watchpoint(program, address=number, length=int(length), mode=mode)
    return SampledProbe(probe, Rate(), True, ":".join(("watchpoint", *parts)))


def _signal(text: str, point: AttachPoint, program: str, parts: Sequence[str]) -> SampledProbe:
    if len(parts) != 2 or parts[0] != "signal" or parts[1] not in SELF_SIGNALS:
        raise _make_error(text, point, "self has the signals SIGUSR1 and SIGUSR2", "self:signal:SIGUSR1")
    number = int(signal.Signals[parts[1]])
    return SampledProbe(OnSignal(program, number=number), Rate(), False, ":".join(("self", *parts)))


def with_parameters(text: str, point: AttachPoint, parameters: Sequence[str]) -> AttachPoint:
    """Return an attach point with the positional parameters in place of ``$1`` and so on.

    Raises ProbeSpecError if there are not as many.
    """

    def value(match: re.Match[str]) -> str:
        position = int(match[1])
        if not 0 < position <= len(parameters):
            raise _make_error(
                text, point, f"there is no parameter ${position}", "words behind a script are $1, $2"
            )
        return parameters[position - 1]

    filled = _PARAMETER.sub(value, point.text)
    if filled == point.text:
        return point
    return replace(point, text=filled, parts=tuple(split_point(filled)))
