"""A target of the request, with its number, its kind and the locations of its arguments."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from pytracer.errors import UsageError
from pytracer.kernel.facts import KernelInfo, NamedTarget
from pytracer.record import record, replace
from pytracer.request import Request
from pytracer.spec import FunctionCode, Probe, Source, quoting

_KINDS_MAX = 48  # pt_kind compares with each word of eight
_SITE = 12 * 16  # bytes of struct pt_usdt_site, probes_c/include/usdt.h

IN_PROGRAMS = ("u", "ur", "usdt")
"""The kinds of source that are in files that programs run."""


@record
class NumberedTarget:
    """A target, its number in C, and the source that named it. ``process`` is the only process to trace,
    for targets in programs (0: all). ``entry`` is the file offset at which calls of a program's function
    are counted, None if that is its site; ``code`` is where calls end, if that is found from machine code."""

    number: int
    source: Source
    target: NamedTarget
    process: int = 0
    entry: int | None = None
    code: FunctionCode | None = None

    @property
    def name(self) -> str:
        """As a user would write just this one."""
        return name_of(self.source, self.target)


def name_of(source: Source, target: NamedTarget) -> str:
    """Return a source's text for just one of its targets."""
    return replace(source, place="", name=target.name).text


Make = Callable[[str, Sequence[NumberedTarget]], tuple[Probe, ...]]
"""Makes probes for a program and its targets: one for each, or one for all."""


def split_sites(kind: str, targets: Iterable[NumberedTarget]) -> Iterator[NumberedTarget]:
    """Yield the targets; each site of a USDT probe by itself, as its arguments differ."""
    for target in targets:
        sites = target.target.sites if kind == "usdt" else ()
        for site in sites:
            yield replace(target, target=replace(target.target, sites=(site,)))
        if kind != "usdt":
            yield target


def usdt_arguments(targets: Iterable[NumberedTarget]) -> dict[int, bytes]:
    """Return the locations of the arguments of USDT probes, by target number, as the C reads them."""
    marks = [target for target in targets if target.source.kind == "usdt"]
    packed = (b"".join(argument.packed for argument in target.target.sites[0].arguments) for target in marks)
    return {target.number: data.ljust(_SITE, b"\0") for target, data in zip(marks, packed, strict=True)}


def encode_kinds(known: Sequence[str], numbered: Sequence[NumberedTarget]) -> str:
    """Return the kinds of targets, as pt_kind reads them: a byte each, by number. A known name that ends with
    ``*`` stands for all that begin so. Raises UsageError if a target is of an unsupported kind, or if there
    are too many."""
    if len(numbered) > _KINDS_MAX:
        raise UsageError(f"{len(numbered)} functions to attach to, and {_KINDS_MAX} are the most here")
    kinds = bytearray(-(-len(numbered) // 8) * 8)
    for target in numbered:
        functions = quoting.split(quoting.split(target.target.name, ":")[-1], "|")
        names = [name.partition("@")[0] for name in functions]  # without the version of a symbol
        kind = next((known.index(one) + 1 for one in known for name in names if _is_kind(name, one)), 0)
        if not kind:
            raise UsageError(
                f"{target.name}: what that function does is not known",
                hint=f"known are {', '.join(known)}",
            )
        kinds[target.number] = kind
    return ", ".join(f"{word:#x}ULL" for (word,) in struct.iter_unpack("<Q", kinds))


def _is_kind(name: str, known: str) -> bool:
    return name.startswith(known[:-1]) if known.endswith("*") else name == known


def require_mapped(
    source: Source, targets: Sequence[NumberedTarget], request: Request, facts: KernelInfo
) -> list[NumberedTarget]:
    """Return the targets in files that one of the traced processes has mapped, if some are named. Raises
    UsageError if there are none."""
    pids = request.processes
    mapped = [one for one in targets if not pids or facts.maps_file(pids, one.target.sites[0].identity)]
    if not mapped:
        raise UsageError(f"{source.text} is in no file that the traced processes run")
    return mapped
