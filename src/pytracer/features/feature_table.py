"""Try the features of :mod:`pytracer.features.table` on this kernel.

Probes load programs, create maps and attach for a moment; nothing stays.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from pytracer.bpf.sys import SyscallError
from pytracer.bpf.trial import helper_refusal, load, return_code
from pytracer.errors import NotPermittedError, PolicyError, PytracerError, UnsupportedError
from pytracer.features import hook_probes as hooks
from pytracer.features import network_probes as network
from pytracer.features.absence import explain_absence
from pytracer.features.map_probe import create_map
from pytracer.features.table.feature import Feature
from pytracer.features.table.helpers import HELPERS, Helper
from pytracer.features.table.hook_features import HOOKS
from pytracer.features.table.map_types import MAP_TYPES, MapTypeFeature
from pytracer.features.table.program_types import PROGRAM_TYPES, ProgramType
from pytracer.kernel import policy
from pytracer.record import record

GRANTED, ABSENT, REFUSED, UNTRIED = "granted", "absent", "refused", "untried"


@record
class ProbeResult:
    """The result of a probe: ``status`` is granted, absent, refused or untried; ``reason`` explains it."""

    feature: Feature
    status: str
    reason: str = ""


def probe_all() -> Iterator[ProbeResult]:
    """Try every feature, hooks first. Without the capabilities for it, nothing is tried."""
    missing = policy.missing_capabilities(policy.TRACING)
    if missing:
        reason = f"not tried: needs {' and '.join(missing)}"
        yield from (ProbeResult(feature, UNTRIED, reason) for feature in FEATURES)
        return
    policy.raise_memlock()
    yield from map(probe, FEATURES)


def probe(feature: Feature) -> ProbeResult:
    """Try one feature of :data:`FEATURES`."""
    try:
        return ProbeResult(feature, GRANTED, _try_feature(feature))
    except PolicyError as problem:
        return ProbeResult(feature, REFUSED, problem.message)
    except NotPermittedError as problem:
        return ProbeResult(feature, UNTRIED, problem.message)
    except UnsupportedError as problem:
        return ProbeResult(feature, ABSENT, problem.message)
    except PytracerError as problem:
        return ProbeResult(feature, UNTRIED, problem.message)
    except OSError as error:
        number = error.errno or 0
        if number in (errno.EPERM, errno.EACCES):
            return ProbeResult(feature, REFUSED, _explain_refusal(error))
        reason = explain_absence(feature)
        return ProbeResult(
            feature, ABSENT, policy.describe_errno(number) + (f" ({reason})" if reason else "")
        )


def _explain_refusal(error: OSError) -> str:
    """Name the call that the kernel refused, the errno, and the active policies that may have caused it."""
    call = f"{error.call}: " if isinstance(error, SyscallError) else ""
    name = errno.errorcode.get(error.errno or 0, "")
    if policy.is_confidential():
        return f"{call}{name}, by lockdown={policy.CONFIDENTIALITY}"
    suspects = ", ".join(policy.read_policy().refuses) or "no policy that shows itself"
    return f"{call}{name}, by a policy of the kernel; in force: {suspects}"


_SLEEPABLE = 1 << 4  # BPF_F_SLEEPABLE
_TRACING, _SYSCALL = 26, 31  # enum bpf_prog_type
_READERS = (4, 112, 113, 114, 115)  # lockdown=confidentiality takes some of them away, and any lockdown 36
_WRITE_USER = 36

HOOK_PROBES: dict[str, Callable[[], str]] = {
    "raw tracepoint": hooks.raw_tracepoint,
    "tracepoint": hooks.tracepoint,
    "typed tracepoint": hooks.typed_tracepoint,
    "kprobe": hooks.kprobe,
    "kretprobe": hooks.kretprobe,
    "kprobe event": hooks.kprobe_event,
    "kprobe.multi": hooks.kprobe_multi,
    "kretprobe.multi": hooks.kretprobe_multi,
    "fentry": hooks.fentry,
    "fexit": hooks.fexit,
    "uprobe": hooks.uprobe,
    "uretprobe": hooks.uretprobe,
    "uprobe.multi": hooks.uprobe_multi,
    "uretprobe.multi": hooks.uretprobe_multi,
    "USDT semaphore": hooks.usdt_semaphore,
    "perf event": hooks.perf_event,
    "hardware counter": hooks.hardware_counter,
    "LSM": hooks.lsm,
    "modify return": hooks.modify_return,
    "override return": hooks.override_return,
    "iterator": hooks.iterator,
    "socket filter": hooks.socket_filter,
    "packet socket": hooks.packet_socket,
    "packet fanout": network.packet_fanout,
    "XDP": network.xdp,
    "XDP link": network.xdp_link,
    "clsact": network.clsact,
    "tcx": network.tcx,
    "cgroup skb": network.cgroup_skb,
    "cgroup sock": network.cgroup_sock,
    "cgroup sock_addr": network.cgroup_sock_addr,
    "cgroup link": network.cgroup_link,
    "seccomp filter": hooks.seccomp,
}
"""The probe of each hook, by its name: returns a note; raises OSError or PytracerError if it is refused."""

FEATURES: tuple[Feature, ...] = (
    *HOOKS,
    *PROGRAM_TYPES,
    *MAP_TYPES,
    *(helper for helper in HELPERS if helper.program_type != _TRACING),
)
"""All features that are tried: hooks, then program types, map types and helpers, except helpers that only
programs with a target in the kernel may call."""


def _try_feature(feature: Feature) -> str:
    """Try a feature and return a note. Raises OSError or PytracerError if the kernel refuses."""
    match feature:
        case ProgramType():
            return _load_program(feature)
        case MapTypeFeature():
            return create_map(feature)
        case Helper():
            return _call_helper(feature)
    return HOOK_PROBES[feature.name]()


def _load_program(feature: ProgramType) -> str:
    number = feature.number
    if number == _TRACING:
        return hooks.loads_tracing()
    log = bytearray(4096)
    flags = _SLEEPABLE if number == _SYSCALL else 0
    try:
        os.close(load(number, return_code(0), attach_type=feature.attach_type, flags=flags, log=log))
    except OSError as error:
        # The verifier runs only for types that the kernel knows: its complaint is about something else.
        if error.errno in (errno.EPERM, errno.EACCES) or not (log[0] or error.errno == policy.ENOTSUPP):
            raise
        return "known; needs a target in the kernel's BTF"
    return ""


def _call_helper(feature: Helper) -> str:
    number = feature.number
    refusal = helper_refusal(feature.program_type, number)
    if not refusal:
        return ""
    locked = policy.read_lockdown()
    if (number == _WRITE_USER and locked not in ("none", "")) or (
        number in _READERS and locked == policy.CONFIDENTIALITY
    ):
        raise PolicyError(f"lockdown={locked} withholds it")
    raise UnsupportedError(refusal)
