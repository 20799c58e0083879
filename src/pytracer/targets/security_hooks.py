"""Find hooks of security modules (LSM) in the types of the running kernel."""

from __future__ import annotations

from pytracer.errors import HeadersError, UnknownNameError, UnsupportedError
from pytracer.features.table.hook_features import LSM
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.kernel.policy import LSM_PREFIX
from pytracer.spec import Source

_HOOKS = "security_list_options"  # the union that has a function pointer for each hook
_NO_FUNCTION = "to which the kernel attaches no programs"


def find(source: Source) -> FoundTargets:
    """See :func:`pytracer.targets.find`."""
    try:
        types = Btf.load()
    except HeadersError as error:
        raise UnsupportedError(f"{source.text}: this kernel has no BTF") from error
    functions = types.names(BtfKind.FUNC)
    all_hooks = hooks(types)
    attachable = {name for name in all_hooks if LSM_PREFIX + name in functions}
    if not attachable:
        raise UnsupportedError(
            f"{source.text}: this kernel runs no programs as a security module ({LSM.requirements})"
        )
    names = [name for name in all_hooks if source.matches(name)]
    if not names:
        raise UnknownNameError("hook of security modules", source.name, all_hooks)
    targets = tuple(NamedTarget(name) for name in names if name in attachable)
    left_out = len(names) - len(targets)
    if not targets:
        raise UnsupportedError(f"{source.text} is a hook {_NO_FUNCTION}")
    return FoundTargets(targets, {_NO_FUNCTION: left_out} if left_out else {})


def hooks(types: Btf) -> list[str]:
    """List the hooks of security modules that a kernel has, sorted."""
    union = types.find(BtfKind.UNION, _HOOKS)
    return [] if union is None else sorted(member.name for member in types.members(union))
