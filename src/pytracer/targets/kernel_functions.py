"""Find the kernel functions that a user names, which of them can be probed, and why the others cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from pytracer.errors import HeadersError, UnknownNameError, UnprobeableError, UnsupportedError, UsageError
from pytracer.kernel import functions, policy
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.spec import Source

SEVERAL = "of a name that several functions bear"
UNTOLD = "of a name that several functions bear, some of which may not be traced (notrace)"
NOPROBE = "that may not be probed (noprobe)"
NOTRACE = "that may not be traced (notrace)"
UNTYPED = "unknown to the kernel's BTF"
UNUSED = "without callers"
_TYPED = ("f", "fr")
_HINTS = {UNTYPED: "f: goes by BTF, k: does without", SEVERAL: "k: takes all of them"}
_VERSION = re.compile(r"\.(?:constprop|isra)\..*")
_SPREAD = 2  # characters that the length of a near name may differ by


def find(source: Source) -> FoundTargets:
    """See :func:`pytracer.targets.find`."""
    pattern, _, number = source.name.partition("@")
    named = functions.named(pattern if source.is_pattern else f"{pattern}|{pattern}.*")
    versions = () if source.is_pattern else _list_versions(named, pattern)
    named = (
        named if source.is_pattern else {name: address for name, address in named.items() if name == pattern}
    )
    if not named:
        raise _make_unknown_error(source)
    if number:
        _check_number(source, named, int(number))
    why_not = _make_explainer(source)
    targets, skipped, refusals = list[NamedTarget](), Counter[str](), dict[str, str]()
    for name, addresses in sorted(named.items()):
        reason = why_not(name, addresses)
        if reason:
            skipped[reason] += 1
            refusals[name] = f"a function {reason}"
        else:
            targets += _number_each(name, addresses, int(number or 0))
    targets = _drop_duplicates(targets)
    if targets:
        for target in targets if source.offset else ():
            _check_offset(source, target.address)
        return FoundTargets(tuple(targets), skipped, versions=versions if not source.offset else ())
    if source.is_pattern:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise UnprobeableError(f"{source.text} matches no function that can be probed: {reasons}", refusals)
    [reason] = skipped
    raise UnprobeableError(
        f"{source.text} is a function {reason}",
        refusals,
        hint=_HINTS.get(reason, "") if source.kind in _TYPED else "",
    )


def _list_versions(named: Iterable[str], name: str) -> tuple[str, ...]:
    """Return the versions that the compiler made of a function for some of its callers, which call them
    instead."""
    return tuple(sorted(version for version in named if _VERSION.fullmatch(version.removeprefix(name))))


def _number_each(name: str, addresses: Sequence[int], number: int) -> list[NamedTarget]:
    """Return a function, or all of one name that can be traced: numbered in the order of kallsyms, as live
    patching numbers them (sympos)."""
    if len(addresses) == 1:
        return [NamedTarget(name, addresses[0])]
    if functions.traceable() is None:  # nothing lists them: the kernel is asked for each
        traceable: Sequence[int] = addresses
    else:
        traceable = functions.traceable_among(name, addresses) or ()
    return [
        NamedTarget(f"{name}@{ordinal}", address, symbol=name)
        for ordinal, address in enumerate(addresses, 1)
        if address in traceable and number in (0, ordinal)
    ]


def _check_number(source: Source, named: dict[str, list[int]], number: int) -> None:
    """Raise UsageError where there are not as many functions of that name."""
    count = max(len(addresses) for addresses in named.values())
    if number > count:
        several = f"{count} functions have that name" if count > 1 else "one function has that name"
        raise UsageError(f"{source.text}: {several}")


def _drop_duplicates(targets: Sequence[NamedTarget]) -> list[NamedTarget]:
    """Return each function once, under the name that ftrace lists, if several of its names match."""
    traceable = functions.traceable() or frozenset()
    by_address = dict[int, NamedTarget]()
    for target in targets:
        previous = by_address.get(target.address)
        if previous is None or (previous.name not in traceable and target.name in traceable):
            by_address[target.address] = target
    # Where addresses are hidden nothing tells names apart from functions.
    return [target for target in targets if not target.address or by_address[target.address] is target]


def _make_explainer(source: Source) -> Callable[[str, Sequence[int]], str]:
    """Return a function that explains why a function (name, addresses) cannot be probed; "" if it can."""
    blacklist, traceable = functions.blacklist(), functions.traceable()
    typed = _filter_typed(source) if source.kind in _TYPED else None

    def why_not(name: str, addresses: Sequence[int]) -> str:
        if name in blacklist:
            return NOPROBE
        if len(addresses) > 1:
            # A trampoline goes by the type in BTF, which the kernel finds by name.
            if typed is not None or not all(addresses):
                return SEVERAL
            traceable_addresses = (
                functions.traceable_among(name, addresses) if traceable is not None else addresses
            )
            return UNTOLD if traceable_addresses is None else "" if traceable_addresses else NOTRACE
        if traceable is not None and name not in traceable and not _has_other_name(addresses[0]):
            return NOTRACE
        if typed is not None and name not in typed:
            return UNTYPED
        unused = policy.unused_lsm_hook(name)
        return f"{UNUSED}: {unused}" if unused else ""

    return why_not


def _has_other_name(address: int) -> bool:
    """Return whether ftrace lists the function at an address under another name."""
    return bool(address) and address in functions.traceable_at()


def _check_offset(source: Source, address: int) -> None:
    """Raise UsageError if the function is shorter: the kernel would put the probe on the next one."""
    size = functions.size(address)
    if size and source.offset >= size:
        raise UsageError(f"{source.text}: {source.name} is {size} bytes long")


def _filter_typed(source: Source) -> set[str]:
    """Return the named functions that BTF has. Raises UnsupportedError if there is no BTF."""
    try:
        types = Btf.load()
    except HeadersError as error:
        raise UnsupportedError(
            f"{source.text}: this kernel has no BTF", hint="k: does without: it takes kprobes"
        ) from error
    if source.is_pattern:
        return types.names(BtfKind.FUNC)
    return {source.name} if types.find(BtfKind.FUNC, source.name) is not None else set()


def _make_unknown_error(source: Source) -> UnknownNameError | UnprobeableError:
    """Return the error for an unknown function."""
    if not source.is_pattern:
        parts = sorted(functions.named(f"{source.name}.*"))
        if parts:
            return UnprobeableError(
                f"{source.text}: the compiler left only parts of it or variants ({', '.join(parts[:3])})",
                dict.fromkeys(parts, "a part or a variant"),
                hint=f"{source.kind}:{source.name}.* takes those that are functions",
            )
    first = source.name[:1].encode()
    candidates = functions.symbols(b"[tTwW]", (first if first.isalpha() else rb"[_a-zA-Z]") + rb"\w*")
    return UnknownNameError(
        "function of the kernel",
        source.name,
        [name for name in candidates if abs(len(name) - len(source.name)) <= _SPREAD],
        where_listed="what the compiler put into its callers everywhere (inline) is no function any more",
    )
