"""Attach to kernel functions by the perf PMU 'kprobe', or before Linux 4.17 by a trace event for each."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from pytracer.bpf.attach import probe_events
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import PerfLink, attach_program, pack_event_attr, pmu_type, retprobe_bit
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_unsupported, report_untried, require_answer
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import UnsupportedError
from pytracer.features.table.hook_features import KPROBE
from pytracer.kernel import functions
from pytracer.kernel.facts import Support
from pytracer.spec import Kprobe, Kretprobe

PMU = Path("/sys/bus/event_source/devices/kprobe")
NO_KPROBES = Support(False, reason=KPROBE.absence)


def check_support(probe: Kprobe, prober: FeatureProber) -> Support:
    """Test whether one of the functions can be probed; the answer's name is the first that can."""
    if not is_there():
        return NO_KPROBES
    if prober.missing_capabilities:
        found_symbol = next((symbol for symbol in probe.symbols if prober.has_symbol(symbol)), "")
        if found_symbol or not prober.kallsyms:
            return report_untried(found_symbol or probe.symbols[0])
        return Support(False, reason=f"no function {' or '.join(probe.symbols)}", was_tried=False)
    reasons, has_refusal = [], False
    for symbol in probe.symbols:
        at_return = isinstance(probe, Kretprobe)
        answer = explain_refusal(symbol, probe.offset, prober, at_return=at_return, address=probe.address)
        if answer is not None:
            reasons.append(answer.reason)
            has_refusal = has_refusal or answer.is_forbidden
            continue
        return Support(
            True,
            _format_symbol(symbol, probe.offset),
            target_id_source=prober.target_id_source(probe, ProgType.KPROBE),
        )
    return Support(False, reason=", ".join(dict.fromkeys(reasons)), is_forbidden=has_refusal)


def is_there() -> bool:
    """Return whether functions can be probed at all."""
    return probe_events.can_probe(PMU, KPROBE, probe_events.KPROBES)


def open_link(
    symbol: str,
    offset: int,
    program: int,
    cookies: tuple[int, ...] = (),
    *,
    at_return: bool = False,
    address: int = 0,
) -> Link:
    """Attach ``program`` to a place in a function, or to its return. With ``address``, the function is found
    by address, since several have its name. Raises OSError."""
    if PMU.is_dir():
        return PerfLink(_open(symbol, offset, program, cookies, at_return=at_return, address=address))
    place = f"{address + offset:#x}" if address else _format_symbol(symbol, offset)
    return probe_events.attach_place(place, program, at_return=at_return)


def explain_refusal(
    symbol: str, offset: int, prober: FeatureProber, *, at_return: bool = False, address: int = 0
) -> Support | None:
    """Explain why a place in a function cannot be probed; None if it can. Attaches a probe and detaches
    it."""
    try:
        program = prober.program(ProgType.KPROBE, EMPTY)
        open_link(symbol, offset, program, at_return=at_return, address=address).close()
    except OSError as error:
        return _explain_absence(error, symbol, offset, prober)
    return None


def load_attributes(_: Kprobe) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE)


def attach(probe: Kprobe, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    description = f"{probe.kind} {target.name}"
    if not is_there():
        raise UnsupportedError(f"{description}: this kernel has no kprobes", hint=KPROBE.requirements)
    try:
        symbol = target.name.partition("+")[0]
        at_return = isinstance(probe, Kretprobe)
        return [
            open_link(
                symbol, probe.offset, program, target.cookies, at_return=at_return, address=probe.address
            )
        ]
    except OSError as error:
        raise make_attach_error(error, description) from error


def _format_symbol(symbol: str, offset: int) -> str:
    return f"{symbol}+{offset:#x}" if offset else symbol


def _open(
    symbol: str,
    offset: int,
    program: int,
    cookies: tuple[int, ...] = (),
    *,
    at_return: bool,
    address: int = 0,
) -> int:
    """Open a descriptor that keeps ``program`` attached by the PMU. Raises OSError."""
    name = ctypes.create_string_buffer(symbol.encode())
    config = 1 << retprobe_bit(PMU) if at_return else 0
    kind = pmu_type(PMU)
    if address:  # probe_offset of perf_event_attr is kprobe_addr where there is no kprobe_func
        attr = pack_event_attr(kind, config, 0, address + offset)
    else:
        attr = pack_event_attr(kind, config, ctypes.addressof(name), offset)
    return attach_program(attr, program, cookies)


def _explain_absence(error: OSError, symbol: str, offset: int, prober: FeatureProber) -> Support:
    """Explain why a function could not be probed. Raises ResourcesError."""
    require_answer(error)
    if symbol in functions.blacklist():
        return Support(False, reason=f"{symbol} is one that may not be probed (noprobe)")
    if error.errno == errno.EADDRNOTAVAIL:
        return Support(False, reason=f"there is more than one function {symbol}")
    if error.errno in (errno.EPERM, errno.EACCES):
        return report_unsupported(error, "")
    if prober.kallsyms and not prober.has_symbol(symbol):
        if b" " + symbol.encode() + b"." in prober.kallsyms:
            return Support(False, reason=f"{symbol} is there in parts only, split up by the compiler")
        return Support(False, reason=f"no function {symbol}")
    if offset and error.errno == errno.EILSEQ:
        return Support(False, reason=f"no instruction begins at {_format_symbol(symbol, offset)}")
    if error.errno == errno.EINVAL and symbol not in (functions.traceable() or (symbol,)):
        return Support(False, reason=f"{symbol} is one that may not be traced (notrace)")
    return Support(False, reason=f"{symbol} cannot be probed ({os.strerror(error.errno or 0)})")
