"""Attach programs to the targets that the user named, and give each program its target id.

The C is compiled once, whatever the targets are; see probes_c/include/target.h.
"""

from __future__ import annotations

from collections.abc import Callable

from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.builder import ProgramLoad
from pytracer.bpf.image import (
    ARGUMENTS,
    BY_ADDRESS,
    BY_COOKIE,
    G_OFFSET,
    ONLY_PROCESS,
    POINT,
    RESULT,
    TARGET,
)
from pytracer.errors import AttachError, PytracerError, UnsupportedError
from pytracer.kernel.facts import TargetIdSource
from pytracer.spec import Probe, UserProbe

_U64 = (1 << 64) - 1


def make_program_load(probe: Probe, id_source: TargetIdSource, process: int | None = None) -> ProgramLoad:
    """Return the load request for the program of a probe.

    ``process`` is the only one that is traced, 0 if the filter of processes names several; None without one.
    """
    as_ = attacher_of(probe).load_attributes(probe)
    process_constant = () if process is None else ((ONLY_PROCESS, process),)
    if not probe.targets:
        trampoline = () if as_.result else ((RESULT, 0), (ARGUMENTS, as_.arguments))
        return ProgramLoad(probe.program, as_, (*trampoline, *process_constant))
    target_id = {
        TargetIdSource.PROGRAM: probe.targets[0],
        TargetIdSource.COOKIE: BY_COOKIE,
        TargetIdSource.ADDRESS: BY_ADDRESS,
    }[id_source]
    g_offset = probe.g_offset & _U64 if isinstance(probe, UserProbe) else 0
    constants = (
        (TARGET, target_id),
        (RESULT, as_.result),
        (POINT, int(probe.at)),
        (ARGUMENTS, as_.arguments),
        (G_OFFSET, g_offset),
        *process_constant,
    )
    return ProgramLoad(probe.program, as_, constants, probe.optional)


class TargetAttacher:
    """Attaches programs to targets, one probe after the other, and collects the failures."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        """Prepare for a session; ``warn`` gets a message about targets of a pattern that could not be
        attached to."""
        self._warn = warn
        self._attached = 0
        self._failed = list[str]()
        self._problem: PytracerError | None = None

    def attach(
        self, probe: Probe, id_source: TargetIdSource, target: AttachTarget, program: int | None
    ) -> list[Link]:
        """Attach ``program``, None if it could not be loaded. Failures of targets that matched a pattern are
        collected; those of targets that were named are raised."""
        try:
            if program is None:
                raise UnsupportedError(f"{probe.kind} {target.name}: refused by the verifier")
            cookies = probe.targets if id_source is TargetIdSource.COOKIE else ()
            links = attacher_of(probe).attach(probe, AttachTarget(target.name, cookies=cookies), program)
        except (AttachError, UnsupportedError) as problem:
            if not probe.optional:
                raise
            self._failed.append(target.name)
            self._problem = problem
            return []
        self._attached += len(probe.targets)
        return links

    def report_failures(self) -> None:
        """Warn about the targets that failed. Raises the last error if all of them failed."""
        if self._problem is None:
            return
        if not self._attached:
            raise self._problem
        names = ", ".join(self._failed[:3]) + (", ..." if len(self._failed) > 3 else "")
        self._warn(
            f"{len(self._failed)} could not be attached to and {self._attached} were: {names} "
            f"({self._problem.message})"
        )
