"""Replace a probe of some system calls by the probes of their functions, or of their trace events."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator

from pytracer.errors import UnknownNameError
from pytracer.features.table.helpers import TASK_PT_REGS
from pytracer.kernel import compat, syscalls
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.facts import KernelInfo, Support
from pytracer.record import record
from pytracer.request import NameSetValue, Request
from pytracer.spec import Alternative, Fentry, Fexit, Filter, Probe, Tracepoint
from pytracer.spec.calls import CALLS_OPTION, CallFunction, CallProbe, CallTracepoint

MAX_CALLS = 8
"""The largest number of calls of the option ``calls`` that are probed one by one: each takes time to attach.
"""
_MAX_FUNCTIONS = 12  # the kernel waits for its tasks to leave each trampoline that is detached
# The functions with another name than the call (arch/x86/entry/syscalls/syscall_64.tbl, and arm64's).
_RENAMED = {
    "stat": "newstat",
    "lstat": "newlstat",
    "fstat": "newfstat",
    "uname": "newuname",
    "sendfile": "sendfile64",
    "umount2": "umount",
}
# Of a 32-bit call the kernel may have several functions: for 16-bit ids, 32-bit times, old structs. Those of
# another call of this list do no harm: programs test the number of the call.
_COMPAT_FORMS = (
    "{}",
    "new{}",
    "old{}",
    "old_{}",
    "{}16",
    "{}32",
    "{}64",
    "{}_time32",
    "ia32_{}",
    "x86_{}",
    "{}_pgoff",
)
_COMPAT_NAME = re.compile(r"^(?:old|_new|_)?(.+?)(?:32|64|2)?$")
_PREFIXES = {
    "x86_64": ("__x64_sys_",),
    "x32": ("__x64_sys_", "__x64_compat_sys_", "__x32_compat_sys_"),
    "i386": ("__ia32_sys_", "__ia32_compat_sys_"),
    "aarch64": ("__arm64_sys_",),
    "arm": ("__arm64_sys_", "__arm64_compat_sys_", "__arm64_compat_sys_aarch32_"),
}
# Their return may raise no event of theirs: sigreturn brings the number -1 back, and execve may return into a
# 32-bit program.
_RETURN_UNSEEN = ("rt_sigreturn", "execve", "execveat")


@record
class _Call:
    """A system call of an ABI; ``functions`` are the possible names of its functions in the kernel."""

    abi: str
    name: str
    functions: tuple[str, ...]


def expand(
    probe: CallProbe, request: Request, facts: KernelInfo, *, is_forced: bool
) -> tuple[Probe, ...] | Support:
    """Return the probes that stand for ``probe`` on this kernel, or the reason why there are none.

    ``is_forced``: the user asks for this alternative, whatever it does not see.
    """
    if not names_few(probe, request):
        return Support(False, reason=f"it takes 1 to {MAX_CALLS} calls by name (--{CALLS_OPTION})")
    calls = list(_iter_calls(probe, request, facts))
    if isinstance(probe, CallFunction):
        found = _make_function_probes(probe, calls, facts)
        if is_forced or isinstance(found, Support) or len(found) <= _MAX_FUNCTIONS:
            return found
        return Support(False, reason=f"it would take long to detach from {len(found)} functions")
    if isinstance(probe, CallTracepoint):
        if facts.runs_compat and not is_forced and (reason := _explain_compat_loss(request)):
            return Support(False, reason=reason)
        return _make_tracepoints(probe, calls, facts)
    raise TypeError(f"no probes for {probe.kind}")


def is_of_events(alternative: Alternative) -> bool:
    """Return whether an alternative uses the trace events of single calls."""
    return any(isinstance(probe, CallTracepoint) for probe in alternative.probes)


def names_few(probe: Probe, request: Request) -> bool:
    """Return whether a probe is not of single calls, or it is known of which, and they are few."""
    if not isinstance(probe, CallProbe) or probe.calls:
        return True
    named = request.options.get(CALLS_OPTION)
    if not isinstance(named, NameSetValue) or named.exclude:
        return False
    return len({syscalls.name_of(*syscalls.abi_of(number)) for number in _unpack_numbers(named)}) <= MAX_CALLS


def _unpack_numbers(named: NameSetValue) -> list[int]:
    return [number for key in named.keys for number in struct.unpack("Q", key)]


def _iter_calls(probe: CallProbe, request: Request, facts: KernelInfo) -> Iterator[_Call]:
    """Yield the calls of a probe that programs can make here, of all ABIs."""
    machine, numbers = facts.architecture, list[int]()
    for name in probe.calls:
        try:
            numbers += syscalls.calls_of(name, machine)
        except UnknownNameError:  # this architecture does not have it
            continue
    named = request.options.get(CALLS_OPTION)
    if not probe.calls and isinstance(named, NameSetValue):
        numbers = _unpack_numbers(named)
    for number in dict.fromkeys(numbers):
        abi, bare = syscalls.abi_of(number, machine)
        if abi not in (machine, "x32") and not facts.runs_compat:
            continue
        name = syscalls.name_of(abi, bare)
        yield _Call(abi, name, tuple(function_names(abi, name)) if name else ())


def function_names(abi: str, name: str) -> Iterator[str]:
    """Yield the names that the kernel's function of a call may have."""
    forms = [_RENAMED.get(name, name)]
    if abi in ("i386", "arm") and (parts := _COMPAT_NAME.match(name)):
        forms += [form.format(stem) for stem in (name, parts[1]) for form in _COMPAT_FORMS]
    for prefix in _PREFIXES.get(abi, ()):
        yield from (prefix + form for form in dict.fromkeys(forms))


def _make_function_probes(
    probe: CallProbe, calls: list[_Call], facts: KernelInfo
) -> tuple[Probe, ...] | Support:
    types = facts.types
    if types is None:
        return Support(False, reason="the kernel has no BTF")
    found = dict[str, None]()
    for call in calls:
        names_in_btf = [name for name in call.functions if types.find(BtfKind.FUNC, name) is not None]
        names_in_btf = names_in_btf or [
            name for name in _iter_stub_names(call) if types.find(BtfKind.FUNC, name) is not None
        ]
        # A call that a tracer names is not in every kernel. One that the user names is, or is refused so.
        if not names_in_btf and not probe.calls and call.abi != "x32":
            return Support(False, reason=f"BTF knows no function of the call {call.name or '(no name)'}")
        found.update(dict.fromkeys(names_in_btf))
    if not found:
        return Support(False, reason=f"BTF knows no function of the calls {probe.target}")
    if not facts.has_helper(TASK_PT_REGS.number) and (name := next(_iter_opaque_functions(found, types), "")):
        return Support(False, reason=f"BTF has no type for the registers that {name} is given")
    kind = Fexit if probe.at_return else Fentry
    return tuple(kind(probe.program, function=name, preempted=True) for name in found)


def _iter_stub_names(call: _Call) -> Iterator[str]:
    """Yield the name of the function of a call without arguments: its other names are aliases, which BTF does
    not have."""
    yield from dict.fromkeys("__do_sys_" + name.partition("_sys_")[2] for name in call.functions)


def _iter_opaque_functions(functions: Iterable[str], types: Btf) -> Iterator[str]:
    """Yield the functions whose argument points to a type that is only declared: a program cannot read it."""
    for name in functions:
        number = types.find(BtfKind.FUNC, name)
        params = types.func_proto(number).params if number else ()
        if params and types.kind(types.resolve(types.target(types.resolve(params[0][1])))) is BtfKind.FWD:
            yield name


def _make_tracepoints(probe: CallProbe, calls: list[_Call], facts: KernelInfo) -> tuple[Probe, ...] | Support:
    types, point = facts.types, "exit" if probe.at_return else "enter"
    found = list[Probe]()
    for call in calls:
        if call.abi != facts.architecture:
            continue
        if probe.at_return and not probe.calls and call.name in _RETURN_UNSEEN:
            return Support(False, reason=f"{call.name} may return without a trace event")
        event = Tracepoint(
            probe.program, category="syscalls", event=f"sys_{point}_{_RENAMED.get(call.name, call.name)}"
        )
        if facts.probe(event).is_supported:
            found.append(event)
        elif types is None or any(types.find(BtfKind.FUNC, name) is not None for name in call.functions):
            return Support(False, reason=f"no trace event {event.target}")
        elif not probe.calls:
            return Support(False, reason=f"this kernel does not have the call {call.name}")
    return tuple(found) or Support(False, reason=f"no trace events of the calls {probe.target}")


def _explain_compat_loss(request: Request) -> str:
    """Explain why the trace events of single calls would not do: 32-bit programs, which do not raise them.

    Where a filter or a command selects who is traced, they do, unless such a program may be among these. One
    that is executed later is counted (``compat_executed`` in probes_c/include/syscall.h).
    """
    if not request.filters and not request.follows:
        return "32-bit programs do not raise them, and all are traced"
    name = next(compat.named_32_bit(request), "")
    if not name and not request.follows and Filter.PID not in request.filters:
        name = compat.running_32_bit()
    return f"{name} may be a 32-bit program, which does not raise them" if name else ""
