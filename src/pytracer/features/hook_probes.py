"""Feature probes of hooks: attach a program to each kind of hook, on objects of this process.

Each function attaches for a moment, detaches, and returns a note ("" if there is nothing to say). If any
attachment would affect others, it only loads the program, and the note says so. They raise OSError, or
PytracerError if there is more to say than an errno.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import os
import socket
import struct

from pytracer.bpf.attach import iterator as iteration
from pytracer.bpf.attach import kprobe as kprobe_pmu
from pytracer.bpf.attach import kprobe_events
from pytracer.bpf.attach import kprobe_multi as kprobe_multi_link
from pytracer.bpf.attach import uprobe as uprobe_pmu
from pytracer.bpf.attach import uprobe_multi as uprobe_multi_link
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.perf import SET_BPF, pack_event_attr
from pytracer.bpf.attach.socket_filter import SO_ATTACH_BPF
from pytracer.bpf.sys import (
    Command,
    ProgType,
    address,
    bpf,
    link_create,
    perf_event_open,
    raw_tracepoint_open,
)
from pytracer.bpf.trial import EMPTY, helper_refusal, load, return_code, run_in_thread
from pytracer.errors import HeadersError, PolicyError, UnsupportedError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table import hook_features as features
from pytracer.features.table.helpers import OVERRIDE_RETURN
from pytracer.kernel import functions, policy
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.spec import Iterator, ProbeSite, Tracepoint

LOADS = "loads"  # the note of what is not attached, so as not to touch others
EACH = "by a trace event for each"  # before Linux 4.17

_QUIET_FUNCTION = "bpf_fentry_test1"  # net/bpf/test_run.c: made for this, called by tests alone
_OLD_QUIET_FUNCTION = "machine_restart"  # before Linux 5.5, and where the network is left out: called once
_QUIET_EVENT = "task_rename"  # a thread is given a name
_TRACING, _LSM, _PERF_EVENT = 26, 29, 7  # enum bpf_prog_type
_RAW_TP, _FENTRY, _FEXIT, _MODIFY_RETURN, _LSM_MAC = 23, 24, 25, 26, 27  # enum bpf_attach_type
_SOFTWARE, _CPU_CLOCK, _HARDWARE, _CYCLES = 1, 0, 0, 0  # enum perf_type_id and what they count


def raw_tracepoint() -> str:
    """Attach to a raw tracepoint."""
    _attach_raw(load(ProgType.RAW_TRACEPOINT, EMPTY), _QUIET_EVENT)
    return ""


def tracepoint() -> str:
    """Attach to a trace event of tracefs."""
    # Not at the end of the object: Ctrl-C would be ignored while the kernel closes the event.
    with contextlib.closing(RunningKernel()) as kernel:
        answer = kernel.probe(Tracepoint("", category="task", event=_QUIET_EVENT))
    if not answer.is_supported:
        raise (PolicyError if answer.is_forbidden else UnsupportedError)(answer.reason)
    return ""


def kprobe() -> str:
    """Attach to a kernel function's entry."""
    return _attach_kprobe(at_return=False)


def kretprobe() -> str:
    """Attach to a kernel function's return."""
    return _attach_kprobe(at_return=True)


def kprobe_event() -> str:
    """Attach to a kernel function's entry, by a trace event of tracefs made for it."""
    if not kprobe_pmu.is_there():
        raise UnsupportedError(features.KPROBE.absence)
    if not kprobe_events.takes_many_probes():
        raise UnsupportedError(features.KPROBE_EVENT.absence)
    program = load(ProgType.KPROBE, EMPTY)
    try:
        kprobe_events.attach_event(
            functions.functions_named((_QUIET_FUNCTION,), ()), program, "doctor"
        ).close()
    finally:
        os.close(program)
    return ""


def kprobe_multi() -> str:
    """Attach to kernel functions' entries by one link (fprobe)."""
    return _attach_kprobe_multi(0)


def kretprobe_multi() -> str:
    """Attach to kernel functions' returns by one link that counts those it misses."""
    return _attach_kprobe_multi(1)  # BPF_F_KPROBE_MULTI_RETURN


def _attach_kprobe_multi(flags: int) -> str:
    names = bytearray(_QUIET_FUNCTION.encode() + b"\0")
    symbols = bytearray(struct.pack("Q", address(names)))
    program = load(ProgType.KPROBE, EMPTY, attach_type=kprobe_multi_link.ATTACH_TYPE)
    try:
        link_attrs = struct.pack("IIQQQ", flags, 1, address(symbols), 0, 0)
        link = link_create(program, kprobe_multi_link.ATTACH_TYPE, link_attrs)
        try:
            if flags and kprobe_multi_link.read_missed(link) is None:
                raise UnsupportedError(kprobe_multi_link.NOT_COUNTED)
        finally:
            os.close(link)
    finally:
        os.close(program)
    return ""


def fentry() -> str:
    """Attach to a kernel function's entry, by a trampoline."""
    return _attach_trampoline(_FENTRY)


def fexit() -> str:
    """Attach to a kernel function's return, by a trampoline."""
    return _attach_trampoline(_FEXIT)


def typed_tracepoint() -> str:
    """Attach to a raw tracepoint whose arguments have BTF types (tp_btf)."""
    number = _find_btf_id(BtfKind.TYPEDEF, f"btf_trace_{_QUIET_EVENT}")
    _attach_raw(load(_TRACING, return_code(0), attach_type=_RAW_TP, btf_id=number), "")
    return ""


def loads_tracing() -> str:
    """Load a program of the type that fentry, fexit and typed tracepoints share."""
    number = _find_btf_id(BtfKind.TYPEDEF, f"btf_trace_{_QUIET_EVENT}")
    os.close(load(_TRACING, return_code(0), attach_type=_RAW_TP, btf_id=number))
    return ""


def lsm() -> str:
    """Load a program for an LSM hook. It is not attached: it would run on everybody's operations."""
    number = _find_btf_id(BtfKind.FUNC, "bpf_lsm_file_open")
    os.close(load(_LSM, return_code(0), attach_type=_LSM_MAC, btf_id=number))
    if unused := policy.unused_lsm_hook("bpf_lsm_file_open"):
        raise UnsupportedError(f"{LOADS}, but never runs: {unused}")
    return LOADS


def modify_return() -> str:
    """Load a program that may answer for a check of permissions. It is not attached, like that of lsm()."""
    number = _find_btf_id(BtfKind.FUNC, "security_file_open")
    os.close(load(_TRACING, return_code(0), attach_type=_MODIFY_RETURN, btf_id=number))
    return LOADS


def iterator() -> str:
    """Run an iterator over all tasks, with a program that writes nothing."""
    probe = Iterator("", of="task")
    attributes = iteration.load_attributes(probe)
    if not attributes.btf_id:
        raise UnsupportedError(features.ITERATOR.absence)
    program = load(
        attributes.type, return_code(0), attach_type=attributes.attach_type, btf_id=attributes.btf_id
    )
    try:
        [link] = iteration.attach(probe, AttachTarget(probe.of), program)
        try:
            descriptor = iteration.open_iterator(link)
            try:
                os.read(descriptor, 1)
            finally:
                os.close(descriptor)
        finally:
            link.close()
    finally:
        os.close(program)
    return ""


def uprobe() -> str:
    """Attach to the entry of a function in a file, one in memory that no process maps."""
    return _attach_uprobe(at_return=False)


def uretprobe() -> str:
    """Attach to the return of a function in a file."""
    return _attach_uprobe(at_return=True)


def uprobe_multi() -> str:
    """Attach to a file that no process maps, by one link."""
    return _attach_uprobe_multi(0)


def uretprobe_multi() -> str:
    """Attach to the return of a function in such a file, by one link."""
    return _attach_uprobe_multi(1)  # BPF_F_UPROBE_MULTI_RETURN


def _attach_uprobe_multi(flags: int) -> str:
    with uprobe_pmu.create_trial_file() as name:
        path, offsets = bytearray(name.value + b"\0"), bytearray(8)
        program = load(ProgType.KPROBE, EMPTY, attach_type=uprobe_multi_link.ATTACH_TYPE)
        try:
            link_attrs = struct.pack("QQQQIII", address(path), address(offsets), 0, 0, 1, flags, 0)
            os.close(link_create(program, uprobe_multi_link.ATTACH_TYPE, link_attrs))
            if uprobe_multi_link.explain_refusal(program, uprobe_multi_link.NOBODY) != errno.EINVAL:
                return "of a process that is named, it sees one thread only"
        finally:
            os.close(program)
    return ""


def override_return() -> str:
    """Load a program that overrides the return value of a function. It is not attached."""
    if helper_refusal(ProgType.KPROBE, OVERRIDE_RETURN.number):
        raise UnsupportedError(features.OVERRIDE.absence)
    return LOADS


def usdt_semaphore() -> str:
    """Attach to a place with a semaphore, the counter by which a process knows that a USDT probe is on."""
    if not uprobe_pmu.PMU.is_dir():
        raise UnsupportedError(features.UPROBE.absence)
    if not uprobe_pmu.has_ref_ctr():
        raise UnsupportedError(features.USDT_SEMAPHORE.absence)
    return _attach_uprobe(semaphore=16)


def perf_event() -> str:
    """Attach to a perf event: this process's own CPU clock."""
    program = load(_PERF_EVENT, EMPTY)
    try:
        # The program would be called at the end of every period; this process ends before the first does.
        event = perf_event_open(_pack_own_event(_SOFTWARE, _CPU_CLOCK, period=1 << 40), 0, -1)
        try:
            fcntl.ioctl(event, SET_BPF, program)
        finally:
            os.close(event)
    finally:
        os.close(program)
    return ""


def hardware_counter() -> str:
    """Open a hardware counter: the CPU cycles of this process."""
    try:
        os.close(perf_event_open(_pack_own_event(_HARDWARE, _CYCLES, period=0), 0, -1))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV):
            raise UnsupportedError(
                "this machine has none, or it is a virtual one and not given any"
            ) from error
        raise
    return ""


def socket_filter() -> str:
    """Attach to a socket of a pair that only this process has."""
    program = load(ProgType.SOCKET_FILTER, EMPTY)
    receiver, sender = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        try:
            receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("i", program))
        finally:
            os.close(program)
    return ""


def packet_socket() -> str:
    """Open a raw packet socket, bound to nothing."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    return ""


def seccomp() -> str:
    """Install a filter of system calls, in classic BPF, on a thread that ends with it."""
    allow_all = bytearray(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))  # BPF_RET: SECCOMP_RET_ALLOW
    filter_ = bytearray(struct.pack("HxxxxxxQ", 1, address(allow_all)))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)

    def install() -> str:
        no_new_privileges, set_seccomp, mode_filter = 38, 22, 2  # of prctl(2)
        if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
            set_seccomp, mode_filter, ctypes.c_void_p(address(filter_)), 0, 0
        ):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return ""

    return run_in_thread(install)


def _pack_own_event(kind: int, config: int, *, period: int) -> bytes:
    """Return a perf event's attributes; with ``period`` 0 it only counts."""
    attr = pack_event_attr(kind, config)
    return attr[:16] + struct.pack("Q", period) + attr[24:]


def _attach_raw(program: int, event: str) -> None:
    """Attach a program to a raw tracepoint, or to the target it was loaded for (no name), and close both."""
    try:
        link = (
            raw_tracepoint_open(event, program)
            if event
            else bpf(Command.RAW_TRACEPOINT_OPEN, struct.pack("QI", 0, program))
        )
        os.close(link)
    finally:
        os.close(program)


def _attach_trampoline(attach_type: int) -> str:
    number = _find_btf_id(BtfKind.FUNC, _QUIET_FUNCTION)
    _attach_raw(load(_TRACING, return_code(0), attach_type=attach_type, btf_id=number), "")
    return ""


def _attach_kprobe(*, at_return: bool) -> str:
    if not kprobe_pmu.is_there():
        raise UnsupportedError(features.KPROBE.absence)
    program = load(ProgType.KPROBE, EMPTY)
    try:
        for name in (_QUIET_FUNCTION, _OLD_QUIET_FUNCTION):
            try:
                kprobe_pmu.open_link(name, 0, program, at_return=at_return).close()
            except OSError as error:
                # A return probe on what is not there is EINVAL, at first (Linux 4.17 to 5.x).
                if error.errno not in (errno.ENOENT, errno.EINVAL) or name == _OLD_QUIET_FUNCTION:
                    raise
            else:
                break
    finally:
        os.close(program)
    return "" if kprobe_pmu.PMU.is_dir() else EACH


def _attach_uprobe(*, at_return: bool = False, semaphore: int = 0) -> str:
    if not uprobe_pmu.is_there():
        raise UnsupportedError(features.UPROBE.absence)
    site = ProbeSite("", 0, semaphore=semaphore)
    program = load(ProgType.KPROBE, EMPTY)
    try:
        with uprobe_pmu.create_trial_file() as name:
            uprobe_pmu.open_link(name.value.decode(), site, program, at_return=at_return).close()
    finally:
        os.close(program)
    return "" if uprobe_pmu.PMU.is_dir() else EACH


@functools.cache
def _load_btf() -> Btf:
    return Btf.load()


def _find_btf_id(kind: BtfKind, name: str) -> int:
    try:
        number = _load_btf().find(kind, name)
    except HeadersError as problem:
        raise UnsupportedError(f"needs the kernel's BTF: {problem.message}") from problem
    if number is None:
        raise UnsupportedError(f"the kernel's BTF has no {name}")
    return number
