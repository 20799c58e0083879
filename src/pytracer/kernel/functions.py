"""Find the kernel's functions by pattern, and which of them can be probed.

A function can be probed if ftrace lists it: neither kallsyms nor the kprobes blacklist is enough
(``notrace``, and files that are compiled without it). ftrace lists one name of each function; a function
with several names is found by its address.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytracer.errors import NotPermittedError, PytracerError, UnsupportedError
from pytracer.kernel import mounts, policy, tracefs
from pytracer.record import record

SYMBOLS = Path("/proc/kallsyms")
_LANDING = 16  # bytes that may stand before what ftrace patches: where indirect branches land
_NO_MODULES = rb"bpf|ftrace|kprobe\w*|__builtin__\w+"  # what kallsyms shows as modules: code made at run time


@record
class KernelFunctions:
    """Functions by address, ascending. ``hidden`` are the names of matching functions that ftrace does not
    list."""

    patterns: tuple[str, ...]
    names: dict[int, str]
    hidden: tuple[str, ...]

    @property
    def describe(self) -> str:
        """The number of functions and their patterns, for messages."""
        return f"{len(self.names)} functions ({', '.join(self.patterns)})"

    @property
    def note(self) -> str:
        """The matching functions that cannot be probed, as a sentence; "" if all can."""
        if not self.hidden:
            return ""
        return f"not seen, since they cannot be probed: {', '.join(self.hidden)}"


@functools.cache
def matching(patterns: tuple[str, ...]) -> KernelFunctions:
    """Find the kernel's own functions whose whole name matches a pattern; ``*`` matches ``\\w*``.

    Raises UnsupportedError if there are none, or the kernel has no ftrace; NotPermittedError (PolicyError)
    if this process may not read addresses or tracefs.
    """
    text = _text()
    regex = "|".join(re.escape(pattern).replace(r"\*", r"\w*") for pattern in patterns)
    names = dict[int, list[str]]()
    for match in _symbols(text, b"[0-9a-f]+", regex.encode()):
        names.setdefault(int(match[1], 16), []).append(match[2].decode())
    if not names:
        raise UnsupportedError(f"no function {' or '.join(patterns)}")
    if not any(names):  # kernel.kptr_restrict, or no CAP_SYSLOG
        raise _hidden()
    traceable = _traceable(modules=False)
    traceable_addresses = {
        address for address, function_names in names.items() if not traceable.isdisjoint(function_names)
    }
    # What is left may be listed by another name of the same function.
    pending = b"|".join(b"%016x" % address for address in names if address not in traceable_addresses)
    for match in _symbols(text, pending, rb"\S+") if pending else ():
        if match[2].decode() in traceable:
            traceable_addresses.add(int(match[1], 16))
    return KernelFunctions(
        patterns,
        {
            address: min(function_names)
            for address, function_names in sorted(names.items())
            if address in traceable_addresses
        },
        tuple(
            sorted(
                min(function_names)
                for address, function_names in names.items()
                if address not in traceable_addresses
            )
        ),
    )


def _symbols(text: bytes, address: bytes, name: bytes) -> Iterator[re.Match[bytes]]:
    """Return the (address, name) of functions in the text of kallsyms; those of modules have a third
    column."""
    return re.finditer(rb"^(%b) [tTwW] (%b)$" % (address, name), text, re.M)


def functions_named(patterns: tuple[str, ...], addresses: tuple[int, ...]) -> KernelFunctions:
    """Return the functions at ``addresses``, or if none are given, those that match ``patterns``.

    Raises the errors of :func:`matching`.
    """
    if not addresses:
        return matching(patterns)
    if not all(addresses):
        raise _hidden()
    return KernelFunctions(patterns, dict.fromkeys(sorted(addresses), ""), ())


@functools.cache
def named(pattern: str) -> dict[str, list[int]]:
    """Find functions of the kernel and its modules by pattern: ``*`` matches any characters, ``?`` one,
    ``|`` separates patterns. Returns the addresses of each name, in the order of kallsyms; 0 if the kernel
    hides them.

    Raises NotPermittedError (PolicyError) if this process may not read kallsyms.
    """
    escaped = re.escape(pattern).replace(r"\|", "|")
    regex = escaped.replace(r"\*", r"[^\s]*").replace(r"\?", r"[^\s]").encode()
    lines = rb"^([0-9a-f]+) [tTwW] ((?:%b))(?:\t\[(?!(?:%b)\])[^\n]*)?$" % (regex, _NO_MODULES)
    addresses_by_name = dict[str, list[int]]()
    for match in re.finditer(lines, _text(), re.M):
        addresses_by_name.setdefault(match[2].decode(errors="replace"), []).append(int(match[1], 16))
    return addresses_by_name


def size(address: int) -> int:
    """Return the number of bytes from a function's address to the next symbol; 0 if it is unknown."""
    if not address:
        return 0
    following = (int(match[1], 16) for match in re.finditer(rb"^([0-9a-f]+) [tTwW] ", _text(), re.M))
    return (
        min((next_address for next_address in following if next_address > address), default=address) - address
    )


def symbols(types: bytes, name: bytes) -> list[str]:
    """Return the symbols whose type (as in nm) and whole name match regular expressions; [] if they are
    hidden."""
    with contextlib.suppress(PytracerError):
        lines = re.finditer(rb"^[0-9a-f]+ %b (%b)(?=[\t\n])" % (types, name), _text(), re.M)
        return [match[1].decode() for match in lines]
    return []


@functools.cache
def traceable() -> frozenset[str] | None:
    """Return the names of the functions that ftrace lists, including modules; None if the list is
    unreadable."""
    with contextlib.suppress(PytracerError):
        return frozenset(_traceable(modules=True))
    return None


@functools.cache
def traceable_at() -> frozenset[int]:
    """Return the addresses of the functions that ftrace lists, by one of their names."""
    traceable_names = traceable() or frozenset()
    lines = re.finditer(rb"^([0-9a-f]+) [tTwW] ([^\s]+)", _text(), re.M)
    return frozenset(
        int(match[1], 16) for match in lines if match[2].decode(errors="replace") in traceable_names
    )


def traceable_among(name: str, addresses: Sequence[int]) -> tuple[int, ...] | None:
    """Return those addresses of one function name that ftrace lists; None if it lists some, but does not
    say which (before Linux 6.5, 83f74441bcb1)."""
    traced_addresses = _traced_addresses()
    if traced_addresses is not None:
        traced = (bisect.bisect_left(traced_addresses, address) for address in addresses)
        return tuple(
            address
            for address, traced_address in zip(addresses, traced, strict=True)
            if traced_address < len(traced_addresses)
            and traced_addresses[traced_address] - address <= _LANDING
        )
    count = _times_listed().get(name, 0)
    return tuple(addresses) if count >= len(addresses) else () if not count else None


@functools.cache
def _traced_addresses() -> tuple[int, ...] | None:
    """Return the addresses at which ftrace can trace, ascending; None if it does not list addresses."""
    with contextlib.suppress(OSError, PytracerError):
        text = (tracefs.root() / "available_filter_functions_addrs").read_bytes()
        traced = sorted(int(line.split(None, 1)[0], 16) for line in text.splitlines())
        return tuple(traced) if any(traced) else None
    return None


@functools.cache
def _times_listed() -> Counter[str]:
    """Count how often ftrace lists each function name."""
    with contextlib.suppress(PytracerError, OSError):
        lines = (tracefs.root() / "available_filter_functions").read_text().splitlines()
        return Counter(line.partition(" ")[0] for line in lines)
    return Counter()


@functools.cache
def blacklist() -> frozenset[str]:
    """Return the functions that kprobes refuse, as far as debugfs lists them."""
    with contextlib.suppress(OSError):
        mounts.ensure_mounted(mounts.DEBUGFS, tracefs.DEBUG)
        lines = (tracefs.DEBUG / "kprobes/blacklist").read_text().splitlines()
        return frozenset(line.partition("\t")[2] for line in lines)
    return frozenset()


def _hidden() -> NotPermittedError:
    return NotPermittedError(
        f"{SYMBOLS} hides the addresses of functions",
        hint="it takes CAP_SYSLOG, and a kernel.kptr_restrict below 2",
    )


def _text() -> bytes:
    """Read all symbols. Raises NotPermittedError (PolicyError) if this process may not."""
    try:
        return SYMBOLS.read_bytes()
    except OSError as error:
        raise policy.explain(error, str(SYMBOLS), capabilities=("CAP_SYSLOG",)) from error


def _traceable(*, modules: bool) -> set[str]:
    """Return the names of the functions that ftrace lists: the kernel's own, or also those of modules."""
    list_file = tracefs.root() / "available_filter_functions"
    try:
        lines = list_file.read_text().splitlines()
    except FileNotFoundError:
        raise UnsupportedError(
            "this kernel has no list of functions that can be traced (CONFIG_DYNAMIC_FTRACE)"
        ) from None
    except OSError as error:
        raise policy.explain(error, str(list_file), capabilities=("CAP_DAC_READ_SEARCH",)) from error
    if modules:
        return {line.partition(" ")[0] for line in lines}
    return {line for line in lines if " " not in line}


def address_of(name: str) -> int:
    """Return the address of a symbol of the kernel, function or not; 0 if there is none, or it is hidden."""
    encoded_name = name.encode()
    with SYMBOLS.open("rb") as file:
        for line in file:
            parts = line.split()
            if len(parts) > 2 and parts[2] == encoded_name:
                return int(parts[0], 16)
    return 0
