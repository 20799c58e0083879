"""Plan failures of kernel functions: which may fail, by which alternative, and their return values."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import KernelInfo
from pytracer.record import replace
from pytracer.request import Fault, Request
from pytracer.request.faults import ERRNO, NULL, TRUE
from pytracer.spec import Hook, Lsm, ModifyReturn, Override, Probe
from pytracer.spec.permission_checks import CHECKS, PREFIX

EVERYONE = "everyone"
"""The flag that says that no process is to be left out."""
_KINDS = {"ERRNO": "an error", "NULL": "NULL", "ERRNO_NULL": "an error or NULL", "TRUE": "TRUE"}
_SHOWN = 6


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
    its error: the result of a program can stand for an error alone (0 lets the function run)."""
    if request.fault is None:
        return hook
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


def warnings_of(request: Request) -> tuple[str, ...]:
    """Return what else fails with the function of the command line, as warnings."""
    check = CHECKS.get(request.fault.function) if request.fault else None
    if check is None or not check.also:
        return ()
    return (f"{check.function} is passed by {check.operations}, and by {check.also}",)
