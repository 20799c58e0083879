"""Demangle names of C++, Rust and Swift by LLVM's demanglers (pydemumble), if it is installed.

A name comes from a file that any user may have made, and a short one can expand to gigabytes, or to more
nesting than a stack holds. So a separate process with limits does this; a name that it does not survive
stays mangled.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterable

from pytracer.budget import Account, OverBudgetError

PREFIXES = ("_Z", "_R", "$s", "_$s")
_LONGEST = 4096  # characters, of a name as it is and as it becomes
_SECONDS = 2
_AFTER = re.compile(r"\)(?: const| volatile| noexcept| ?&&?)*(?P<clone>(?: \(\.[^()]*\))*)$")  # of parameters
_DEATHS = 5  # of the process, after which the rest stays as it is
_PROCESS = f"""
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
resource.setrlimit(resource.RLIMIT_CPU, ({_SECONDS}, {_SECONDS}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
import pydemumble
for name in json.load(sys.stdin):
    text = pydemumble.demangle(name)
    print(json.dumps(text if len(text) <= {_LONGEST} else ""), flush=True)
"""


class Demangler:
    """Demangles names, and remembers the results."""

    def __init__(self, *, parameters: bool = True) -> None:
        """Create the demangler; its process starts on demand. ``parameters``: functions have theirs."""
        self._known: dict[str, str] = {}
        self._with_parameters = parameters
        self._available = bool(sys.executable) and importlib.util.find_spec("pydemumble") is not None

    def names(self, names: Iterable[str], account: Account | None = None) -> list[str]:
        """Return each name demangled, or unchanged. The time is charged to ``account``."""
        mangled = list(names)
        if self._available:
            new = {
                name
                for name in mangled
                if name.startswith(PREFIXES) and name not in self._known and len(name) <= _LONGEST
            }
            if new:
                with contextlib.suppress(OverBudgetError):
                    self._demangle_new(sorted(new), account)
        return [self._known.get(name, name) for name in mangled]

    def _demangle_new(self, names: list[str], account: Account | None) -> None:
        for _ in range(_DEATHS):
            with account.children() if account is not None else contextlib.nullcontext():
                answers = _demangle(names)
            for name, text in zip(names, answers, strict=False):
                self._known[name] = (text if self._with_parameters else without_parameters(text)) or name
            names = names[len(answers) + 1 :]  # the one it did not survive is left out
            if not names:
                return


def _demangle(names: list[str]) -> list[str]:
    """Demangle names in a process of its own; the result is shorter if that process ends early."""
    output = b""
    with contextlib.suppress(OSError):
        try:
            output = subprocess.run(
                [sys.executable, "-I", "-c", _PROCESS],
                input=json.dumps(names).encode(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=5 * _SECONDS,
                check=False,
            ).stdout
        except subprocess.TimeoutExpired as late:
            output = late.stdout or b""
    lines = output.split(b"\n")[:-1]
    return [str(json.loads(line)) for line in lines]


def without_parameters(text: str) -> str:
    """Return a demangled name without parameters, and without the return type, which templates alone have:
    ``int ns::f<int>(int) const`` -> ``ns::f<int>``."""
    match = _AFTER.search(text)
    end = find_opening(text, match.start(), "()") if match else -1
    if match is None or end <= 0:
        return text
    name = text[:end]
    if name.endswith(">") and "operator" not in name:
        name = name[find_last_blank(name) + 1 :]
    return name + match["clone"]


def find_opening(text: str, closing: int, pair: str) -> int:
    """Return the index of the bracket that the one at ``closing`` closes; -1 if there is none."""
    depth = 0
    for position in range(closing, -1, -1):
        depth += (text[position] == pair[1]) - (text[position] == pair[0])
        if not depth:
            return position
    return -1


def find_last_blank(name: str) -> int:
    """Return the index of the last blank outside of brackets; -1 if there is none."""
    depth = 0
    for position in range(len(name) - 1, -1, -1):
        depth += (name[position] in ")>]") - (name[position] in "(<[")
        if not depth and name[position] == " ":
            return position
    return -1
