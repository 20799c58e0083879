"""Facts about a kernel that does not run here, as far as its BTF has them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pytracer.errors import UnsupportedError
from pytracer.features.table.uses import ProgramUses
from pytracer.kernel.btf import ENUMS, Btf, BtfKind
from pytracer.kernel.facts import FoundTargets, ProcessStart, Support
from pytracer.kernel.policy import LSM_PREFIX
from pytracer.spec import (
    Clsact,
    Fentry,
    FunctionCode,
    Iterator,
    Kprobe,
    Kprobes,
    Lsm,
    OnCgroup,
    PerfSample,
    Probe,
    ProbeSite,
    RawTracepoint,
    SocketFilter,
    Source,
    SyscallFilter,
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
_CHECK_MTU = 163
_BPF_LINK_CGROUP = 3  # enum bpf_link_type
_BPF_XDP, _BPF_TCX_INGRESS, _BPF_UPROBE_MULTI = 37, 46, 48  # enum bpf_attach_type


class BtfKernelInfo:
    """A kernel by its BTF, as :class:`pytracer.kernel.facts.KernelInfo`.

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
        """True if the caller said that 32-bit programs can run."""
        return self._compat

    def close_meanwhile(self) -> None:
        """Do nothing: nothing was tried."""

    def has_helper(self, number: int) -> bool:
        """Return whether ``enum bpf_func_id`` has this number."""
        return number in self._enum_values("bpf_func_id")

    @property
    def has_loops(self) -> bool:
        """Return whether the verifier accepts loops: since Linux 5.3, as bpf_send_signal, which is in BTF."""
        return self.has_helper(_SEND_SIGNAL)

    @property
    def has_atomic_fetch(self) -> bool:
        """Return whether additions may return the old value: since Linux 5.12, as bpf_check_mtu."""
        return self.has_helper(_CHECK_MTU)

    def has_map_type(self, number: int) -> bool:
        """Return whether ``enum bpf_map_type`` has this number."""
        return number in self._enum_values("bpf_map_type")

    @property
    def injectable(self) -> None:
        """Return None: only the running kernel has the list."""
        return None

    def probe(self, probe: Probe) -> Support:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        match probe:
            case RawTracepoint():
                return self._has_raw_tracepoint(probe)
            case Tracepoint():
                return Support(False, reason=f"how {probe.target} is laid out is not in BTF", was_tried=False)
            case Kprobe():
                return self._find_function(probe.symbols)
            case Lsm():
                if self._btf.find(BtfKind.FUNC, LSM_PREFIX + probe.function) is not None:
                    return Support(True, probe.target, was_tried=False)
                return Support(False, reason=f"security modules have no hook {probe.function} there")
            case Fentry():  # and Fexit
                if self._btf.find(BtfKind.FUNC, probe.function) is not None:
                    return Support(True, probe.target, was_tried=False)
                return Support(False, reason=f"{probe.function} is not in BTF")
            case Kprobes():  # only the kernel that runs tells
                return Support(False, reason=f"BTF does not say which of {probe.target} may be probed")
            case TaskSample() if not (probe.processes or probe.threads or probe.command):
                return Support(False, reason="no process is named", was_tried=False)
            case PerfSample():  # without perf events there would be no trace events
                return Support(True, probe.event, was_tried=False)
            case Iterator():
                struct, _, member = probe.having.partition(".")
                if struct and self._btf.member(struct, member) is None:
                    return Support(False, reason=f"no {probe.having}", was_tried=False)
                if self._btf.find(BtfKind.FUNC, f"bpf_iter_{probe.of}") is not None:
                    return Support(True, probe.of, was_tried=False)
                return Support(False, reason=f"no iterator over {probe.of}", was_tried=False)
            case SocketFilter():  # a kernel with BTF has them
                return Support(True, was_tried=False)
            case Clsact() | XdpNetlink():
                return Support(True, probe.target, was_tried=False)
            case Xdp() | Tcx():
                enumerator_name = _BPF_XDP if isinstance(probe, Xdp) else _BPF_TCX_INGRESS
                if enumerator_name in self._enum_values("bpf_attach_type"):
                    return Support(True, probe.target, was_tried=False)
                return Support(False, reason=f"no {probe.kind} by a link", was_tried=False)
            case OnCgroup():
                if not probe.link or _BPF_LINK_CGROUP in self._enum_values("bpf_link_type"):
                    return Support(True, probe.target, was_tried=False)
                return Support(False, reason="no links for cgroups", was_tried=False)
            case Uprobe():  # in which file is found out where it runs
                return Support(True, probe.target, was_tried=False)
            case UprobeMulti():
                if _BPF_UPROBE_MULTI in self._enum_values("bpf_attach_type"):
                    return Support(True, probe.target, was_tried=False)
                return Support(False, reason="no uprobe.multi", was_tried=False)
            case SyscallFilter():
                return Support(False, reason="a filter of system calls is no program", was_tried=False)
        raise TypeError(f"no answer for {probe.kind}")

    def describe_lack(self, probe: Probe, uses: ProgramUses) -> str:  # noqa: ARG002 - see KernelInfo
        """Name a helper that ``enum bpf_func_id`` does not have. Which programs may call it is not in BTF."""
        helper_numbers = self._enum_values("bpf_func_id")
        missing = next(
            (number for number in uses.helpers if helper_numbers and number not in helper_numbers), None
        )
        return "" if missing is None else f"no helper {missing}"

    @property
    def types(self) -> Btf:
        """Those of its BTF."""
        return self._btf

    def function_types(self, site: ProbeSite) -> None:  # noqa: ARG002 - see Facts
        """Return None: programs can only be read on the machine that runs them."""
        return

    def code(self, site: ProbeSite) -> FunctionCode:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        raise UnsupportedError(f"the code of {site.name} is where it runs")

    def entry(self, site: ProbeSite) -> int:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        raise UnsupportedError(f"the code of {site.name} is where it runs")

    def variable(self, site: ProbeSite, name: str) -> tuple[int, int] | None:  # noqa: ARG002
        """Return None."""
        return None

    def is_go(self, site: ProbeSite) -> bool:  # noqa: ARG002 - see Facts
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        return False

    def event_format(self, name: str) -> str:
        """See :class:`~pytracer.kernel.facts.KernelInfo`."""
        raise UnsupportedError(f"how the trace event {name} is laid out is not in BTF")

    def find(self, source: Source) -> FoundTargets:
        """Raise UnsupportedError: attach targets can only be found on the machine that runs the trace."""
        raise UnsupportedError(f"what {source.text} names is found out on the machine that runs it")

    def maps_file(self, pids: Sequence[int], identity: tuple[int, ...]) -> bool:  # noqa: ARG002
        """Return False: no process runs there yet."""
        return False

    def start_of(self, _process: int, command: tuple[str, ...] = ()) -> ProcessStart:
        """Return nothing about a process, or a command: neither runs here."""
        return ProcessStart(words=command)

    def _has_raw_tracepoint(self, probe: RawTracepoint) -> Support:
        """Return whether the kernel itself (not a module) has this tracepoint, with as many arguments."""
        event, arguments = probe.event, probe.arguments
        declared = self._btf.find(BtfKind.TYPEDEF, f"btf_trace_{event}")
        if declared is None:
            return Support(False, event, f"no raw tracepoint {event}", was_tried=False)
        if arguments:
            # A pointer to a function that gets the probe's own data before the arguments.
            prototype = self._btf.target(self._btf.target(declared))
            number = len(self._btf.func_proto(prototype).params) - 1
            if number < arguments or (probe.exact and number > arguments):
                how_many = "fewer" if number < arguments else "more"
                reason = f"the raw tracepoint {event} has {how_many} arguments"
                return Support(False, event, reason, was_tried=False)
        return Support(True, event, was_tried=False)

    def _find_function(self, symbols: tuple[str, ...]) -> Support:
        """Return the first of these functions that is in BTF."""
        for symbol in symbols:
            if self._btf.find(BtfKind.FUNC, symbol) is not None:
                return Support(True, symbol, was_tried=False)
        return Support(False, reason=f"no function {' or '.join(symbols)}", was_tried=False)

    @functools.cache  # noqa: B019 - lives as long as the pack is made
    def _enum_values(self, enum: str) -> frozenset[int]:
        type_id = self._btf.find(ENUMS, enum)
        return frozenset(value for _, value in self._btf.enumerators(type_id)) if type_id else frozenset()
