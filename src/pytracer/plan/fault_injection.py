"""Plan failures of kernel functions: which may fail, by which alternative, and their return values."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.errors import UnsupportedError, UsageError
from pytracer.kernel.facts import KernelInfo
from pytracer.record import replace
from pytracer.request import Request
from pytracer.request.faults import ERRNO, NULL, TRUE
from pytracer.spec import Hook, Override, Probe

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
    allowed = facts.injectable
    if allowed is None:
        raise UnsupportedError(
            "no function of this kernel can be made to fail (CONFIG_FUNCTION_ERROR_INJECTION)",
            hint="a kernel with that, and with CONFIG_BPF_KPROBE_OVERRIDE, can do it",
        )
    if fault.function not in allowed:
        similar_values = ", ".join(like(fault.function, allowed))
        raise UnsupportedError(
            f"{fault.function} is not among the {len(allowed)} functions that may be made to fail",
            hint=f"these are: {similar_values}"
            if similar_values
            else "/sys/kernel/debug/error_injection/list has them",
        )
    kind = allowed[fault.function]
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
    """Return the hook with the function of the command line filled in."""
    if request.fault is None:
        return hook
    symbols = (request.fault.function,)

    def named(probe: Probe) -> Probe:
        return replace(probe, symbols=symbols) if isinstance(probe, Override) else probe

    changed = (
        replace(alternative, probes=tuple(map(named, alternative.probes)))
        for alternative in hook.alternatives
    )
    return replace(hook, alternatives=tuple(changed))
