"""Plan failures of kernel functions and system calls: which may fail, by which alternative, and their return
values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel import syscalls
from pytracer.kernel.facts import KernelInfo
from pytracer.plan.call_probes import function_names
from pytracer.record import replace
from pytracer.request import Fault, Request, number_of
from pytracer.request.faults import ERRNO, NULL, TRUE
from pytracer.spec import Alternative, Hook, Lsm, ModifyReturn, Override, Probe, SyscallFilter
from pytracer.spec.permission_checks import CHECKS, PREFIX

EVERYONE = "everyone"
"""The flag that says that no process is to be left out."""
_KINDS = {"ERRNO": "an error", "NULL": "NULL", "ERRNO_NULL": "an error or NULL", "TRUE": "TRUE"}
_SHOWN = 6
_FILTERS = ("seccomp", "seccomp-errno", "seccomp-notify")
_NEVER_FAIL = ("exit", "exit_group", "rt_sigreturn", "sigreturn")
_EXECUTING = ("execve",)  # by which the command itself is executed


def returns(request: Request, facts: KernelInfo) -> int:
    """Compute the value that the function shall return, as 64 bits.

    Raises UsageError if every process would be hit without ``--everyone``, or the function cannot fail in
    that way, UnsupportedError if the kernel, or this function, does not allow injection.
    """
    fault = request.fault
    assert fault is not None
    kind = _find_kind(fault, facts)
    can_return = {NULL: kind in ("NULL", "ERRNO_NULL"), TRUE: kind == "TRUE"}
    if not can_return.get(fault.error, kind in ("ERRNO", "ERRNO_NULL")):
        may = _KINDS.get(kind, kind)
        raise UsageError(f"{fault.function} cannot fail with {fault.error}", hint=f"it may return {may}")
    if not (request.filters or request.follows or request.options.get(EVERYONE)):
        raise UsageError(
            f"{fault.function} would fail for every process of the machine",
            hint=f"a filter (-p, --comm, ...), -- COMMAND, or --{EVERYONE} if that is meant",
        )
    return {NULL: 0, TRUE: 1}.get(fault.error, -ERRNO.get(fault.error, 0)) & (1 << 64) - 1


def _find_kind(fault: Fault, facts: KernelInfo) -> str:
    """Return what the function may return, as the kernel's list names it. Raises UnsupportedError if it
    cannot be made to fail."""
    if is_system_call(fault):
        if fault.function in _NEVER_FAIL:
            raise UsageError(f"{fault.function} never fails: no program could go on from that")
        return "ERRNO"
    if fault.conditions:
        raise UsageError(f"{fault.function} is no system call: --where is about arguments of these")
    if fault.function in CHECKS:
        return "ERRNO"
    allowed = facts.injectable
    operation = fault.function.rpartition("sys_")[2]
    similar_names = ", ".join(like(operation, (*(allowed or ()), *CHECKS)))
    hint = f"these are: {similar_names}" if similar_names else ""
    if fault.function.startswith(PREFIX):
        raise UnsupportedError(
            f"{fault.function} is not among the {len(CHECKS)} permission checks that pytracer makes fail",
            hint=hint,
        )
    if allowed is None:
        raise UnsupportedError(
            "this kernel lets nothing but permission checks fail (CONFIG_FUNCTION_ERROR_INJECTION)",
            hint=hint or f"such as {PREFIX}file_open: pytracer inject --help names them",
        )
    if fault.function not in allowed:
        raise UnsupportedError(
            f"{fault.function} is not among the {len(allowed)} functions that may be made to fail",
            hint=hint or "/sys/kernel/debug/error_injection/list has them",
        )
    return allowed[fault.function]


def is_system_call(fault: Fault) -> bool:
    """Return whether a fault is of a system call of this machine, and not of a function of the kernel."""
    return syscalls.number_of(os.uname().machine, fault.function) is not None


def asks_for_filter(request: Request) -> bool:
    """Return whether the user asks for a filter of system calls (``--hook call=seccomp``). That needs no
    privileges, since no program is loaded."""
    fault = request.fault
    return fault is not None and is_system_call(fault) and request.hooks.get("call", "") in _FILTERS


def like(name: str, functions: Iterable[str]) -> list[str]:
    """Return some similar names: those that contain ``name``, then those with a common prefix."""
    names = sorted(functions)
    word = name.strip("_").lower()
    inside = [name_inside for name_inside in names if word and word in name_inside]
    for length in range(len(name) - 1, 2, -1):
        if len(inside) >= _SHOWN:
            break
        inside += [
            name_inside
            for name_inside in names
            if name_inside.startswith(name[:length]) and name_inside not in inside
        ]
    return inside[:_SHOWN]


def with_function(hook: Hook, request: Request) -> Hook:
    """Return the hook with the function of the command line filled in, and the alternatives that can return
    its error: the result of a program can stand for an error alone (0 lets the function run). A system call
    fails by its function, or by a filter."""
    if request.fault is None:
        return hook
    if is_system_call(request.fault):
        return replace(hook, alternatives=tuple(_iter_call_alternatives(hook, request, request.fault)))
    function, is_error = request.fault.function, request.fault.error in ERRNO
    security_hook = CHECKS[function].hook if function in CHECKS else function

    def fill_in(probe: Probe) -> Probe:
        match probe:
            case Override():
                return replace(probe, symbols=(function,))
            case ModifyReturn():
                return replace(probe, function=function)
            case Lsm():
                return replace(probe, function=security_hook)
        return probe

    changed = (
        replace(alternative, probes=tuple(map(fill_in, alternative.probes)))
        for alternative in hook.alternatives
        if is_error or all(isinstance(probe, Override) for probe in alternative.probes)
    )
    return replace(hook, alternatives=tuple(changed))


def _iter_call_alternatives(hook: Hook, request: Request, fault: Fault) -> Iterator[Alternative]:
    """Yield the alternatives by which a system call may fail, best first. The C tests no arguments."""
    for alternative in hook.alternatives:
        for probe in alternative.probes:
            if isinstance(probe, Override) and not fault.conditions:
                symbols = tuple(function_names(os.uname().machine, fault.function))
                yield replace(alternative, probes=(replace(probe, symbols=symbols[:1]),))
    for name, notifies in zip(_FILTERS[1:], (False, True), strict=True):
        obstacle = _find_obstacle(request, fault, notifies=notifies)
        probe = SyscallFilter("", call=fault.function, notifies=notifies, obstacle=obstacle)
        yield Alternative(name, (probe,))


def _find_obstacle(request: Request, fault: Fault, *, notifies: bool) -> str:
    """Say why a filter of system calls cannot do what is requested; "" if it can."""
    if not request.follows_command or request.filters:
        return "a filter is for all that -- COMMAND runs, without -p and other filters"
    if request.wait_all:
        return "it does not know when descendants end (--wait-all)"
    if fault.function in _EXECUTING and fault.conditions:
        return f"arguments of {fault.function} are addresses (--where)"
    if notifies:
        return ""
    if fault.function in _EXECUTING:
        return "the command itself could not be executed"
    counting = ("every", 1), ("probability", 100), ("times", 0)
    options = [f"--{name}" for name, default in counting if number_of(name, request) != default]
    return f"it lets every call fail ({', '.join(options)})" if options else ""


def warnings_of(request: Request) -> tuple[str, ...]:
    """Return what else fails with the function of the command line, as warnings."""
    check = CHECKS.get(request.fault.function) if request.fault else None
    if check is None or not check.also:
        return ()
    return (f"{check.function} is passed by {check.operations}, and by {check.also}",)
