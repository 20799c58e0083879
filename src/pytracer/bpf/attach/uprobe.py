"""Attach to places in files, by the perf PMU 'uprobe', or before Linux 4.17 by a trace event for each.

The kernel gets the file by a descriptor's path and keeps a reference to the inode: the probe stays in place
whatever is done to the name, and whichever processes end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from pytracer.bpf.attach import probe_events
from pytracer.bpf.attach.kind import AttachTarget, LoadAttributes
from pytracer.bpf.attach.link import Link, attach_all_or_none
from pytracer.bpf.attach.perf import attach_program, pack_event_attr, pmu_type, raise_fd_limit, retprobe_bit
from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.bpf.prober import FeatureProber, report_error, report_unsupported, report_untried
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import EMPTY
from pytracer.errors import PytracerError, UnsupportedError
from pytracer.features.table.hook_features import UPROBE, USDT_SEMAPHORE
from pytracer.kernel.facts import Support
from pytracer.procfs import has_ended
from pytracer.record import replace
from pytracer.spec import ProbeSite, Uprobe, Uretprobe, UretprobeMulti, UserProbe
from pytracer.symbols import places, program_files, usdt
from pytracer.symbols.program_files import ProgramFile

PMU = Path("/sys/bus/event_source/devices/uprobe")
SEMAPHORE_SHIFT = 32  # config has a semaphore's offset in its upper half: it is in the first 4 GB of a file


class ProbedFile(Protocol):
    """A file to attach to: a path by which the kernel finds it, and what people call it."""

    @property
    def path(self) -> str:
        """The path."""
        ...

    @property
    def name(self) -> str:
        """The name, for messages."""
        ...


def check_support(probe: Uprobe, prober: FeatureProber) -> Support:
    """Test whether the sites exist and can be probed, by attaching to a file that no process maps."""
    if prober.missing_capabilities:
        return report_untried(probe.target)
    return _try_out(prober) or replace(
        describe(probe), target_id_source=prober.target_id_source(probe, ProgType.KPROBE)
    )


def load_attributes(_: Uprobe) -> LoadAttributes:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return LoadAttributes(ProgType.KPROBE, preempted=True)


def attach(probe: Uprobe, target: AttachTarget, program: int) -> list[Link]:
    """See :class:`~pytracer.bpf.attach.kind.Attacher`."""
    return attach_with(attach_sites, probe, target, program)


def attach_with(
    attach: Callable[..., list[Link]], probe: UserProbe, target: AttachTarget, program: int
) -> list[Link]:
    """Attach to the sites of all files, or to none, by ``attach`` (such as :func:`attach_sites`)."""
    links = list[Link]()
    at_return = isinstance(probe, (Uretprobe, UretprobeMulti))
    # The kernel finds a process's memory by its main thread: once that has ended, it would put no breakpoint
    # there. So the probe is for all processes then, and its program filters by process.
    process = 0 if probe.process and has_ended(probe.process) else probe.process
    options = {"at_return": at_return, "process": process, "cookies": target.cookies}
    with attach_all_or_none(links):
        for file, sites, note in iter_site_groups(probe):
            links += attach(file, sites, program, note=note, **options)
    return links


def attach_sites(
    file: ProbedFile,
    sites: Sequence[ProbeSite],
    program: int,
    *,
    at_return: bool = False,
    process: int = 0,
    cookies: Sequence[int] = (),
    note: str = "",
) -> list[Link]:
    """Attach ``program`` to all sites of a file, in all processes or in one; or to none.

    ``cookies``, one for each site, are what bpf_get_attach_cookie returns there (Linux 5.15). Raises
    UnsupportedError if the kernel cannot increment a semaphore, AttachError, or the error that explains the
    refusal.
    """
    if not is_there():
        raise UnsupportedError(UPROBE.absence)
    if any(site.semaphore for site in sites) and not has_ref_ctr():
        raise UnsupportedError(USDT_SEMAPHORE.absence)
    raise_fd_limit(len(sites))
    links = list[Link]()
    with attach_all_or_none(links):
        for number, site in enumerate(sites):
            try:
                cookie = tuple(cookies[number : number + 1])
                link = open_link(file.path, site, program, cookie, at_return=at_return, process=process)
                link.note = note
                links.append(link)
            except OSError as error:
                raise make_attach_error(error, f"{file.name}:{site.name}") from error
    return links


def is_there() -> bool:
    """Return whether programs can be probed at all."""
    return probe_events.can_probe(PMU, UPROBE, probe_events.UPROBES)


def open_link(
    path: str,
    site: ProbeSite,
    program: int,
    cookies: tuple[int, ...] = (),
    *,
    at_return: bool = False,
    process: int = 0,
) -> Link:
    """Attach ``program`` to a site of the file at ``path``, in all processes or in one. Raises OSError."""
    if not PMU.is_dir():
        place, listing = f"{path}:{site.offset:#x}", probe_events.UPROBES
        return probe_events.attach_place(
            place, program, at_return=at_return, process=process, listing=listing
        )
    name = ctypes.create_string_buffer(path.encode())
    config = site.semaphore << SEMAPHORE_SHIFT | (1 << retprobe_bit(PMU) if at_return else 0)
    kind = pmu_type(PMU)
    attr = pack_event_attr(kind, config, ctypes.addressof(name), site.offset)
    return Link(attach_program(attr, program, cookies, process=process))


def has_ref_ctr() -> bool:
    """Return whether the kernel increments the semaphore of a probed site (USDT semaphore)."""
    return (PMU / "format/ref_ctr_offset").exists()


def iter_site_groups(probe: UserProbe) -> Iterator[tuple[ProgramFile, tuple[ProbeSite, ...], str]]:
    """Yield each file of a probe with its sites and a note about calls that are not seen there.

    A file is closed when the next is requested. Raises UsageError if there are none, NotPermittedError.
    """
    if probe.usdt and not probe.file:
        provider, _, name = probe.usdt.rpartition(":")
        for file, site_list in usdt.in_process(probe.process, provider, name):
            yield file, tuple(mark.site for mark in site_list), ""
        return
    first = probe.sites[0] if probe.sites else ProbeSite("", 0)
    with program_files.find(probe.file, first.holder or probe.process, first.identity) as file:
        unseen_note = (
            "" if file.mapped or not probe.process else f"process {probe.process} has not mapped {file.name}"
        )
        if probe.sites:
            yield file, probe.sites, unseen_note
        elif probe.usdt:
            provider, _, name = probe.usdt.rpartition(":")
            yield file, tuple(mark.site for mark in usdt.find(file, provider, name)), unseen_note
        else:
            at_return = isinstance(probe, Uretprobe | UretprobeMulti)
            groups = places.find(file, probe.symbol, at_return=at_return)
            yield file, groups.sites, "; ".join(text for text in (groups.note, unseen_note) if text)


def describe(probe: UserProbe) -> Support:
    """Name the probe's target by the file's own path, or say why there is no such place."""
    names, count, notes = list[str](), 0, list[str]()
    try:
        for file, sites, note in iter_site_groups(probe):
            if any(site.semaphore for site in sites) and not has_ref_ctr():
                return Support(False, reason=USDT_SEMAPHORE.absence)
            names.append(file.name)
            notes += [note] if note else []
            count += len(sites)
    except PytracerError as reason:
        return report_error(reason)
    several = f" ({count} places)" if count > 1 else ""
    name = f"{', '.join(names)}:{probe.symbol or probe.usdt}{several}"
    return Support(True, name, reason="; ".join(notes))


@contextlib.contextmanager
def create_trial_file() -> Iterator[ctypes.Array[ctypes.c_char]]:
    """Return the path of a file that no process maps, so that trial probes on it affect no process."""
    memory = os.memfd_create("pytracer", os.MFD_CLOEXEC)
    try:
        os.write(memory, bytes(4096))
        yield ctypes.create_string_buffer(f"/proc/self/fd/{memory}".encode())
    finally:
        os.close(memory)


def _try_out(prober: FeatureProber) -> Support | None:
    """Test whether a program can be attached to a file. None if it can, otherwise the reason."""
    if not is_there():
        return Support(False, reason=UPROBE.absence)
    try:
        program = prober.program(ProgType.KPROBE, EMPTY)
        with create_trial_file() as path:
            open_link(path.value.decode(), ProbeSite("", 0), program).close()
    except OSError as error:
        return report_unsupported(error, UPROBE.absence)
    return None
