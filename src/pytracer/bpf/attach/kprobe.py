"""Kernel functions, by the perf PMU 'kprobe'."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.perf import PerfLink, attach_program, event_attr, retprobe_bit
from pytracer.bpf.attach.refusal import attach_error
from pytracer.bpf.prober import FeatureProber, assumed, require_answer, unsupported
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import UnsupportedError
from pytracer.features.table.hook_features import KPROBE
from pytracer.kernel import functions
from pytracer.kernel.facts import Support
from pytracer.spec import Kprobe, Kretprobe

PMU = Path("/sys/bus/event_source/devices/kprobe")
NO_KPROBES = Support(False, reason=KPROBE.absence)


def check_support(probe: Kprobe, kernel: FeatureProber) -> Support:
    """Test whether one of the functions can be probed; the answer's name is the first that can."""
    if not PMU.is_dir():
        return NO_KPROBES
    if kernel.missing_capabilities:
        known = next((symbol for symbol in probe.symbols if kernel.has_symbol(symbol)), "")
        if known or not kernel.kallsyms:
            return assumed(known or probe.symbols[0])
        return Support(False, reason=f"no function {' or '.join(probe.symbols)}", was_tried=False)
    reasons, refused = [], False
    for symbol in probe.symbols:
        at_return = isinstance(probe, Kretprobe)
        answer = explain_refusal(symbol, probe.offset, kernel, at_return=at_return, address=probe.address)
        if answer is not None:
            reasons.append(answer.reason)
            refused = refused or answer.is_forbidden
            continue
        return Support(
            True,
            _format_symbol(symbol, probe.offset),
            target_id_source=kernel.target_id_source(probe, ProgType.KPROBE),
        )
    return Support(False, reason=", ".join(dict.fromkeys(reasons)), is_forbidden=refused)


def explain_refusal(
    symbol: str, offset: int, kernel: FeatureProber, *, at_return: bool = False, address: int = 0
) -> Support | None:
    """Explain why a place in a function cannot be probed; None if it can. Attaches a probe and detaches
    it."""
    try:
        program = kernel.program(ProgType.KPROBE, EMPTY)
        os.close(_open(symbol, offset, program, at_return=at_return, address=address))
    except OSError as error:
        return _explain_absence(error, symbol, offset, kernel)
    return None


def load_attributes(_: Kprobe) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE)


def attach(probe: Kprobe, place: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    described = f"{probe.kind} {place.name}"
    if not PMU.is_dir():
        raise UnsupportedError(f"{described}: this kernel has no kprobe PMU", hint=KPROBE.requirements)
    try:
        symbol = place.name.partition("+")[0]
        at_return = isinstance(probe, Kretprobe)
        opened = _open(
            symbol, probe.offset, program, place.cookies, at_return=at_return, address=probe.address
        )
        return [PerfLink(opened)]
    except OSError as error:
        raise attach_error(error, described) from error


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
    """Open a descriptor that keeps ``program`` attached to a place in a function, or to its return. With
    ``address``, the function is found by address, since several have its name. Raises OSError."""
    name = ctypes.create_string_buffer(symbol.encode())
    config = 1 << retprobe_bit(PMU) if at_return else 0
    kind = int((PMU / "type").read_text())
    if address:  # probe_offset of perf_event_attr is kprobe_addr where there is no kprobe_func
        attr = event_attr(kind, config, 0, address + offset)
    else:
        attr = event_attr(kind, config, ctypes.addressof(name), offset)
    return attach_program(attr, program, cookies)


def _explain_absence(error: OSError, symbol: str, offset: int, kernel: FeatureProber) -> Support:
    """Explain why a function could not be probed. Raises ResourcesError."""
    require_answer(error)
    if symbol in functions.blacklist():
        return Support(False, reason=f"{symbol} is one that may not be probed (noprobe)")
    if error.errno == errno.EADDRNOTAVAIL:
        return Support(False, reason=f"there is more than one function {symbol}")
    if error.errno in (errno.EPERM, errno.EACCES):
        return unsupported(error, "")
    if kernel.kallsyms and not kernel.has_symbol(symbol):
        if b" " + symbol.encode() + b"." in kernel.kallsyms:
            return Support(False, reason=f"{symbol} is there in parts only, split up by the compiler")
        return Support(False, reason=f"no function {symbol}")
    if offset and error.errno == errno.EILSEQ:
        return Support(False, reason=f"no instruction begins at {_format_symbol(symbol, offset)}")
    if error.errno == errno.EINVAL and symbol not in (functions.traceable() or (symbol,)):
        return Support(False, reason=f"{symbol} is one that may not be traced (notrace)")
    return Support(False, reason=f"{symbol} cannot be probed ({os.strerror(error.errno or 0)})")
