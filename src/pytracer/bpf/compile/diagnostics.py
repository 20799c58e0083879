"""Convert the compiler's output to an error: the first message of clang or BCC, and a remedy."""

from __future__ import annotations

import re

from pytracer.bpf.compile.source import probes_folder
from pytracer.errors import BuildError, UnsupportedError

_CLANG = re.compile(r"^(?P<place>[^\s:][^:\n]*:\d+):\d+: (?:fatal )?error: (?P<text>.*)$", re.M)
_LACK = re.compile(r': error: "(this kernel [^"]*)"$', re.M)
_NO_MAP = re.compile(r"could not open bpf map: (\w+), error: (.*)")
_TOO_LARGE = "Argument list too long"  # E2BIG
# Clang 14 says "implicit declaration of", clang 15 and later "call to undeclared".
_UNDECLARED = re.compile(
    r"(?:implicit declaration of|call to undeclared)(?: library)? function '(\w+)'"
    r"|use of undeclared identifier '(\w+)'"
)
_UNDEFINED = re.compile(r"function '(\w+)' has internal linkage but is not defined")


def make_build_error(name: str, diagnostics: str, fallback: str) -> BuildError | UnsupportedError:
    """Return the error of a C file that does not compile. ``fallback`` is its reason if nothing in the
    ``diagnostics`` is known. An ``#error`` about the kernel is an UnsupportedError."""
    reason, hint = fallback, ""
    if found := _LACK.search(diagnostics):
        return UnsupportedError(found[1], hint="pytracer doctor shows what this kernel grants")
    if found := _CLANG.search(diagnostics):
        text, hint = _explain_error(found["text"])
        reason = f"{found['place']}: {text}"
    elif found := _NO_MAP.search(diagnostics):
        reason = f"the map {found[1]} cannot be created: {found[2]}"
        if found[2] == _TOO_LARGE:
            reason = f"the map {found[1]} cannot be created: its keys or values are too large"
            hint = "a value of a per-CPU map has at most 32 KiB, and pt_record holds a struct event"
    return BuildError(
        f"{name} does not compile: {reason}",
        hint=hint or "--debug shows the compiler's output",
        detail=diagnostics,
    )


def _explain_error(text: str) -> tuple[str, str]:
    """Return clang's message, and a hint that names the include or the option, "" if none is known."""
    if undefined := _UNDEFINED.search(text):
        name = undefined[1]
        files = " and ".join(_find_includes(rf"^static [^\n=(]*\b{name}\([^{{;]*\);"))
        return f"{name}() is not defined", f"{files} calls it: the tracer's C defines it" if files else ""
    undeclared = _UNDECLARED.search(text)
    if undeclared is None:
        return text, ""
    name = undeclared[1] or undeclared[2]
    text = f"{name}{'()' if undeclared[1] else ''} is not declared"
    for file in _find_includes(rf"^(?:#define +{name}\b|static [^\n;=(]*\b{name}\([^;{{]*\{{|    {name},)"):
        return text, f'#include "{file}" declares it'
    if name.startswith("PT_LOSS_"):
        reasons = re.findall(r"^    PT_LOSS_(\w+),", _read("loss.h"), re.M)[:-1]
        return text, f"the reasons of loss.h are {', '.join(reasons)}"
    if name.startswith("PT_CFG_"):
        value = name.removeprefix("PT_CFG_").lower()
        return text, f'no option of the tracer has config="{value}"'
    return text, ""


def _find_includes(pattern: str) -> list[str]:
    """Return the names of pytracer's includes that have this pattern."""
    folder = probes_folder() / "include"
    return [path.name for path in sorted(folder.glob("*.h")) if re.search(pattern, _read(path.name), re.M)]


def _read(name: str) -> str:
    return (probes_folder() / "include" / name).read_text()
