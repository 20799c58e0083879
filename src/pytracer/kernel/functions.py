"""The kernel's functions by pattern, and which of them can be probed.

A function can be probed where ftrace knows it: neither the symbols nor the blacklist of kprobes tell
(``notrace``, and files that are compiled without it). ftrace lists one name of each function; one that has
several is found by its address.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytracer.errors import NotPermittedError, UnsupportedError
from pytracer.kernel import policy, tracefs

SYMBOLS = Path("/proc/kallsyms")


@dataclass(frozen=True)
class Functions:
    """Functions by address, in order. ``hidden`` are the names of those that ftrace does not know."""

    patterns: tuple[str, ...]
    names: dict[int, str]
    hidden: tuple[str, ...]

    @property
    def describe(self) -> str:
        """How many there are, for people."""
        return f"{len(self.names)} functions ({', '.join(self.patterns)})"

    @property
    def note(self) -> str:
        """What is not seen by these; "" where they are all."""
        if not self.hidden:
            return ""
        return f"not seen, since they cannot be probed: {', '.join(self.hidden)}"


@functools.cache
def matching(patterns: tuple[str, ...]) -> Functions:
    """The kernel's own functions whose whole name matches a pattern, where ``*`` stands for ``\\w*``.

    Raises UnsupportedError where there are none, or ftrace is not there; NotPermittedError (PolicyError)
    where this process may not look at addresses or tracefs.
    """
    try:
        symbols = SYMBOLS.read_bytes()
    except OSError as error:
        raise policy.explain(error, str(SYMBOLS), needed=("CAP_SYSLOG",)) from error
    wanted = "|".join(re.escape(pattern).replace(r"\*", r"\w*") for pattern in patterns)
    names = dict[int, list[str]]()
    for match in _symbols(symbols, b"[0-9a-f]+", wanted.encode()):
        names.setdefault(int(match[1], 16), []).append(match[2].decode())
    if not names:
        raise UnsupportedError(f"no function {' or '.join(patterns)}")
    if not any(names):  # kernel.kptr_restrict, or no CAP_SYSLOG
        raise NotPermittedError(
            f"{SYMBOLS} hides the addresses of functions",
            hint="it takes CAP_SYSLOG, and a kernel.kptr_restrict below 2",
        )
    traceable = _traceable()
    seen = {address for address, known in names.items() if not traceable.isdisjoint(known)}
    # What is left may be listed by another name of the same function.
    left = b"|".join(b"%016x" % address for address in names if address not in seen)
    for match in _symbols(symbols, left, rb"\S+") if left else ():
        if match[2].decode() in traceable:
            seen.add(int(match[1], 16))
    return Functions(
        patterns,
        {address: min(known) for address, known in sorted(names.items()) if address in seen},
        tuple(sorted(min(known) for address, known in names.items() if address not in seen)),
    )


def _symbols(text: bytes, address: bytes, name: bytes) -> Iterator[re.Match[bytes]]:
    """The (address, name) of functions in the text of kallsyms; those of modules have a third column."""
    return re.finditer(rb"^(%b) [tTwW] (%b)$" % (address, name), text, re.M)


def _traceable() -> set[str]:
    """The names of the functions that ftrace knows, of the kernel itself."""
    listed = tracefs.root() / "available_filter_functions"
    try:
        return {line for line in listed.read_text().splitlines() if " " not in line}
    except FileNotFoundError:
        raise UnsupportedError(
            "this kernel has no list of functions that can be traced (CONFIG_DYNAMIC_FTRACE)"
        ) from None
    except OSError as error:
        raise policy.explain(error, str(listed), needed=("CAP_DAC_READ_SEARCH",)) from error
