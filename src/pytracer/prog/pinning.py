"""Pin and unload programs of running tracers."""

from __future__ import annotations

from collections.abc import Iterable

from pytracer.bpf.holders import Holders, Process, describe_refused, find_holders
from pytracer.errors import PytracerError, UnknownNameError
from pytracer.kernel.policy import explain
from pytracer.prog import own_pins
from pytracer.prog.links import holding
from pytracer.prog.own_pins import PinnedProgram
from pytracer.prog.program_list import KernelProgram, ProgramLister
from pytracer.record import record
from pytracer.spec import Injection, registry

NEEDED = ("CAP_SYS_ADMIN",)
TRACER_OWNED = "tracer-owned"
"""The name that stands for the programs of all running tracers."""


@record
class PinnedProgramInfo:
    """A program that is or was pinned: its name ("" if it was unloaded), and the processes that hold it."""

    pin: PinnedProgram
    name: str
    holders: tuple[Process, ...]


def pin(names: Iterable[str], *, attached: bool) -> list[PinnedProgramInfo]:
    """Pin programs of running tracers, by their ids or all; with ``attached`` also their links, so that they
    keep running when the tracer has ended.

    Pins all of them or none. Raises UnknownNameError if there is no such program, and PytracerError if no
    tracer loaded it, or it cannot stay attached.
    """
    programs, processes = _look()
    ids = _choose_programs(names, programs, processes)
    links = {number: holding(number) if attached else [] for number in ids}
    if attached:
        for number in ids:
            _check_attachment(number, links[number], processes)
    pinned_before = {
        pinned_program.program: pinned_program.links for pinned_program in own_pins.list_pinned()
    }
    try:
        for number in ids:
            own_pins.pin(programs[number], links[number])
    except PytracerError:
        for pinned_program in own_pins.list_pinned():
            if pinned_program.program in ids:
                own_pins.restore(pinned_program, pinned_before.get(pinned_program.program))
        raise
    pinned = {pinned_program.program: pinned_program for pinned_program in own_pins.list_pinned()}
    return [_describe_pin(pinned[number], programs, processes) for number in ids]


def unload(names: Iterable[str]) -> tuple[list[PinnedProgramInfo], list[PytracerError]]:
    """Remove pins that pytracer made: of these programs, or all (also: ``tracer-owned``).

    Other pins stay. Returns the removed ones, and an error for each program that pytracer did not pin or
    whose pins could not be removed; the others are removed.
    """
    names, errors = tuple(names), list[PytracerError]()
    pinned = {pinned_program.program: pinned_program for pinned_program in own_pins.list_pinned()}
    ids = dict[int, None]()
    for name in names:
        if name == TRACER_OWNED:
            ids |= dict.fromkeys(pinned)
        elif (number := _parse_id(name)) in pinned:
            ids[number] = None
        else:
            pins = f"pinned: {', '.join(map(str, pinned))}"
            hint = pins if pinned else f"there is nothing in {own_pins.FOLDER}"
            errors.append(PytracerError(f"{name} is no program that pytracer pinned", hint=hint))
    programs, processes = _look()
    removed = list[PinnedProgram]()
    for number in ids if names else pinned:
        try:
            own_pins.unpin(pinned[number])
            removed.append(pinned[number])
        except PytracerError as error:
            errors.append(error)
    return [_describe_pin(pinned_program, programs, processes) for pinned_program in removed], errors


def _look() -> tuple[dict[int, KernelProgram], Holders]:
    try:
        return ProgramLister().list(), find_holders()
    except OSError as error:
        raise explain(error, "looking at programs", capabilities=NEEDED) from error


def _parse_id(name: str) -> int:
    """Parse a program id, with or without leading zeros; -1 if ``name`` is none."""
    return int(name) if name.isascii() and name.isdecimal() else -1


def _choose_programs(
    names: Iterable[str], programs: dict[int, KernelProgram], processes: Holders
) -> list[int]:
    ids = list[int]()
    for name in names:
        if name == TRACER_OWNED:
            own_programs = [number for number in programs if _find_tracer(number, processes)]
            if not own_programs:
                raise PytracerError(
                    "no tracer runs, or none that has programs",
                    hint="; ".join(describe_refused(processes)) or "pytracer prog",
                )
            ids += own_programs
        elif (number := _parse_id(name)) not in programs:
            raise UnknownNameError(
                "program", name, map(str, programs), where_listed="pytracer prog lists them"
            )
        elif not _find_tracer(number, processes):
            owners = ", ".join(map(str, processes.programs.get(number, ()))) or "nobody"
            raise PytracerError(
                f"program {name} is not one that a running pytracer loaded: nothing was pinned",
                hint="; ".join([f"it is held by {owners}", *describe_refused(processes), "bpftool pins any"]),
            )
        else:
            ids.append(number)
    return list(dict.fromkeys(ids))


def _find_tracer(number: int, processes: Holders) -> str:
    """Return the tracer that loaded a program, by the mark of its process; "" for none."""
    holders = processes.programs.get(number, ())
    return next((holder.tracer for holder in holders if number in holder.loaded), "")


def _check_attachment(number: int, links: list[int], processes: Holders) -> None:
    """Raise PytracerError if a program would not stay attached, or must not."""
    tracer = _find_tracer(number, processes)
    if tracer in registry.names() and isinstance(registry.get(tracer).arguments, Injection):
        raise PytracerError(
            f"program {number} makes functions fail, and ends with its pytracer: nothing was pinned"
        )
    if not links or any(event.program == number for event in processes.events):
        raise PytracerError(
            f"program {number} is not on links alone, and would not stay attached: nothing was pinned",
            hint="raw tracepoints, trampolines, kprobe.multi, XDP, tcx are links: --hook chooses such a way",
        )


def _describe_pin(
    pinned: PinnedProgram, programs: dict[int, KernelProgram], processes: Holders
) -> PinnedProgramInfo:
    program = programs.get(pinned.program)
    return PinnedProgramInfo(
        pinned, program.name if program else "", tuple(processes.programs.get(pinned.program, ()))
    )
