"""What a kernel that does not run here grants, as far as its BTF tells."""

from __future__ import annotations

import functools

from pytracer.errors import UnsupportedError
from pytracer.kernel.btf import ENUMS, Btf, Kind
from pytracer.kernel.facts import Answer, Found
from pytracer.spec import (
    Clsact,
    Fentry,
    FunctionCode,
    Iterator,
    Kprobe,
    Kprobes,
    OnCgroup,
    PerfSample,
    Probe,
    RawTracepoint,
    SocketFilter,
    Source,
    Spot,
    TaskSample,
    Tcx,
    Tracepoint,
    Uprobe,
    UprobeMulti,
    Xdp,
    XdpNetlink,
)

# A register that struct pt_regs has on one architecture only.
_ARCHITECTURES = {"orig_ax": "x86_64", "pstate": "aarch64"}

_SEND_SIGNAL = 109  # enum bpf_func_id
_BPF_LINK_CGROUP = 3  # enum bpf_link_type
_BPF_XDP, _BPF_TCX_INGRESS, _BPF_UPROBE_MULTI = 37, 46, 48  # enum bpf_attach_type


class BtfFacts:
    """A kernel by its BTF, as :class:`pytracer.kernel.facts.Facts`.

    Trace events are said to be absent: how they lay out their arguments is not in BTF. ``runs_compat`` is not
    there either, so the caller says it.
    """

    def __init__(self, btf: Btf, *, runs_compat: bool) -> None:
        self._btf = btf
        self._compat = runs_compat

    @functools.cached_property
    def architecture(self) -> str:
        """``x86_64`` or ``aarch64``; "" for any other."""
        for register, name in _ARCHITECTURES.items():
            if self._btf.member("pt_regs", register) is not None:
                return name
        return ""

    @property
    def runs_compat(self) -> bool:
        """As the caller said."""
        return self._compat

    def has_helper(self, number: int) -> bool:
        """Whether ``enum bpf_func_id`` has the helper of this number."""
        return number in self._values("bpf_func_id")

    @property
    def has_loops(self) -> bool:
        """Whether the verifier goes through loops: as old as this helper (Linux 5.3), which BTF tells."""
        return self.has_helper(_SEND_SIGNAL)

    def has_map_type(self, number: int) -> bool:
        """Whether ``enum bpf_map_type`` has this number."""
        return number in self._values("bpf_map_type")

    @property
    def injectable(self) -> None:
        """Only the kernel that runs tells."""
        return None

    def probe(self, probe: Probe) -> Answer:
        """See :class:`~pytracer.kernel.facts.Facts`."""
        match probe:
            case RawTracepoint():
                return self._raw_tracepoint(probe.event, probe.arguments)
            case Tracepoint():
                return Answer(False, reason=f"how {probe.target} is laid out is not in BTF", tried=False)
            case Kprobe():
                return self._kprobe(probe.symbols)
            case Fentry():  # and Fexit
                if self._btf.find(Kind.FUNC, probe.function) is not None:
                    return Answer(True, probe.target, tried=False)
                return Answer(False, reason=f"{probe.function} is not in BTF")
            case Kprobes():  # only the kernel that runs tells
                return Answer(False, reason=f"BTF does not say which of {probe.target} may be probed")
            case TaskSample() if not (probe.processes or probe.threads or probe.command):
                return Answer(False, reason="no process is named", tried=False)
            case PerfSample():  # without perf events there would be no trace events
                return Answer(True, probe.event, tried=False)
            case Fentry():
                if self._btf.find(Kind.FUNC, probe.function) is not None:
                    return Answer(True, probe.function, tried=False)
                return Answer(False, reason=f"BTF does not know {probe.function}", tried=False)
            case Iterator():
                struct, _, member = probe.having.partition(".")
                if struct and self._btf.member(struct, member) is None:
                    return Answer(False, reason=f"no {probe.having}", tried=False)
                if self._btf.find(Kind.FUNC, f"bpf_iter_{probe.of}") is not None:
                    return Answer(True, probe.of, tried=False)
                return Answer(False, reason=f"no iterator over {probe.of}", tried=False)
            case SocketFilter():  # a kernel with BTF has them
                return Answer(True, tried=False)
            case Clsact() | XdpNetlink():
                return Answer(True, probe.target, tried=False)
            case Xdp() | Tcx():
                wanted = _BPF_XDP if isinstance(probe, Xdp) else _BPF_TCX_INGRESS
                if wanted in self._values("bpf_attach_type"):
                    return Answer(True, probe.target, tried=False)
                return Answer(False, reason=f"no {probe.kind} by a link", tried=False)
            case OnCgroup():
                if not probe.link or _BPF_LINK_CGROUP in self._values("bpf_link_type"):
                    return Answer(True, probe.target, tried=False)
                return Answer(False, reason="no links for cgroups", tried=False)
            case Uprobe():  # in which file is found out where it runs
                return Answer(True, probe.target, tried=False)
            case UprobeMulti():
                if _BPF_UPROBE_MULTI in self._values("bpf_attach_type"):
                    return Answer(True, probe.target, tried=False)
                return Answer(False, reason="no uprobe.multi", tried=False)
        raise TypeError(f"no answer for {probe.kind}")

    @property
    def types(self) -> Btf:
        """Those of its BTF."""
        return self._btf

    def described(self, spot: Spot) -> None:  # noqa: ARG002 - see Facts
        """None: programs are where they run."""
        return

    def code(self, spot: Spot) -> FunctionCode:
        """See :class:`~pytracer.kernel.facts.Facts`."""
        raise UnsupportedError(f"the code of {spot.name} is where it runs")

    def entry(self, spot: Spot) -> int:
        """See :class:`~pytracer.kernel.facts.Facts`."""
        raise UnsupportedError(f"the code of {spot.name} is where it runs")

    def event_format(self, name: str) -> str:
        """See :class:`~pytracer.kernel.facts.Facts`."""
        raise UnsupportedError(f"how the trace event {name} is laid out is not in BTF")

    def find(self, source: Source) -> Found:
        """Nothing: what is there to attach to is for the machine that runs to say."""
        raise UnsupportedError(f"what {source.text} names is found out on the machine that runs it")

    def _raw_tracepoint(self, event: str, arguments: int) -> Answer:
        """Whether the kernel itself (not a module) has this tracepoint, and it has so many arguments."""
        declared = self._btf.find(Kind.TYPEDEF, f"btf_trace_{event}")
        if declared is None:
            return Answer(False, event, f"no raw tracepoint {event}", tried=False)
        if arguments:
            # A pointer to a function that gets the probe's own data before the arguments.
            prototype = self._btf.target(self._btf.target(declared))
            if len(self._btf.func_proto(prototype).params) - 1 < arguments:
                return Answer(False, event, f"the raw tracepoint {event} has fewer arguments", tried=False)
        return Answer(True, event, tried=False)

    def _kprobe(self, symbols: tuple[str, ...]) -> Answer:
        """Whether one of these functions is in BTF, and by which name."""
        for symbol in symbols:
            if self._btf.find(Kind.FUNC, symbol) is not None:
                return Answer(True, symbol, tried=False)
        return Answer(False, reason=f"no function {' or '.join(symbols)}", tried=False)

    @functools.cache  # noqa: B019 - lives as long as the pack is made
    def _values(self, enum: str) -> frozenset[int]:
        found = self._btf.find(ENUMS, enum)
        return frozenset(value for _, value in self._btf.enumerators(found)) if found else frozenset()
