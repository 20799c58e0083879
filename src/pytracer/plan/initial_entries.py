"""The entries that a program's maps have before it is attached.

The plan says which map gets what, the session writes it. Entries that depend on the run (descriptors, process
ids, clocks, interfaces) are made when they are written, so that a plan stays pure.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Collection, Iterable, Iterator, Mapping

from pytracer import ktime
from pytracer.kernel import filter_values
from pytracer.kernel.facts import TargetIdSource
from pytracer.kernel.policy import in_initial_namespace
from pytracer.model import Schema
from pytracer.plan.attach_targets import ScriptPlan, TargetPlan
from pytracer.record import record
from pytracer.request import NameSetValue, Request, choice_of, number_of
from pytracer.spec import Choice, Filter, Kprobes, NameSet, Number

Entry = tuple[bytes, bytes]
"""A key and its value, in the kernel's layout."""
FOLLOWED = "pt_followed_pids"
"""The map of followed processes."""
CGROUP_IDS = "pt_cgroup_ids"
"""The map of the cgroups' ids, which some programs read instead of the map of their folders."""
TRACED = b"\2"
"""The state of a process whose events are shown (enum pt_trace_state in probes_c/include/task.h)."""
_PENDING = b"\1"
_MEMBER = b"\1"  # the value of each key of a set
_ENDBR = 4  # bytes of an x86 instruction that a function may begin with; a probe stands behind it


@record
class RunFacts:
    """The facts about a run that some entries depend on.

    ``command`` is the process that will execute the command (0: there is none). ``is_own``: this process is
    pytracer's own, and results leave it out; a program that uses the library is not.
    """

    command: int = 0
    is_own: bool = False


UNKNOWN_RUN = RunFacts()
"""No command, and nobody's own process is left out."""


@record
class InitialEntries:
    """The entries of one map. ``is_optional``: the map is not in every program. Entries that are refreshed
    are written again before each reading."""

    map: str
    is_optional = False

    @property
    def is_refreshed(self) -> bool:
        """True if the entries may change during a run."""
        return False

    def entries(self, run: RunFacts, /) -> Iterable[Entry]:
        """Return the entries. Raises OSError."""
        raise NotImplementedError


@record
class KeySet(InitialEntries):
    """A set: a hash with one-byte values."""

    keys: tuple[bytes, ...]

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        return ((key, _MEMBER) for key in self.keys)


@record
class ConfigValues(InitialEntries):
    """The values that change from run to run, by slot. The macro ``PT_CFG_NAME`` is the slot of a value."""

    names: tuple[str, ...]
    values: tuple[int, ...]

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        return ((struct.pack("I", slot), struct.pack("Q", value)) for slot, value in enumerate(self.values))


@record
class CgroupFolders(InitialEntries):
    """The cgroups that tasks are filtered by: descriptors of their folders."""

    paths: tuple[str, ...]

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        for slot, path in enumerate(self.paths):
            with _open_folder(path) as folder:
                yield struct.pack("I", slot), struct.pack("I", folder)


@record
class CgroupIds(InitialEntries):
    """The ids of these cgroups, for programs that test other tasks than the current one."""

    paths: tuple[str, ...]
    is_optional = True

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        for path in self.paths:
            with _open_folder(path) as folder:
                yield struct.pack("Q", os.fstat(folder).st_ino), _MEMBER


@record
class RunValues(InitialEntries):
    """The begin of a script's run by the boot clock, the process of the command, and when the clock began."""

    def entries(self, run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        boot = ktime.boottime_ns()
        for slot, value in enumerate((boot, run.command, time.time_ns() - boot)):
            yield struct.pack("I", slot), struct.pack("Q", value)


@record
class UsdtArguments(InitialEntries):
    """The locations of arguments of USDT probes, by target number."""

    locations: Mapping[int, bytes]

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        return ((struct.pack("I", number), packed) for number, packed in self.locations.items())


@record
class FunctionAddresses(InitialEntries):
    """The target ids of kernel functions, by address, for programs that know their target by that."""

    probes: tuple[Kprobes, ...]

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        for probe in self.probes:
            for address, number in zip(probe.addresses, probe.targets, strict=True):
                for entry_address in (address, address + _ENDBR):
                    yield struct.pack("Q", entry_address), struct.pack("I", number)


@record
class InjectionBounds(InitialEntries):
    """The limits of fault injection: it spares this process, and ends after ``duration`` seconds.

    The program checks the time itself: whoever stops or delays this process would prolong it otherwise.
    """

    duration: float

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        deadline = ktime.monotonic_ns() + round(self.duration * 1e9)
        yield struct.pack("I", 0), struct.pack("QQ", os.getpid(), deadline)


def find_followed(roots: Iterable[int], run: RunFacts) -> list[int]:
    """Return those of the processes that exist, with all their descendants.

    pytracer is none of them, though the shell that it was started from may be a root.
    """
    return filter_values.with_descendants(roots, hidden=os.getpid() if run.is_own else 0)


@record
class FollowedCommand(InitialEntries):
    """The process that will execute the command, which is followed with its descendants; or the ``roots``,
    which are followed with those that exist and those to come. (Those of the time until programs are attached
    :mod:`pytracer.trace.descendants` adds.)
    """

    roots: tuple[int, ...] = ()

    def entries(self, run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        for process in find_followed(self.roots, run) if self.roots else ():
            yield struct.pack("I", process), TRACED
        if run.command and not self.roots:
            yield struct.pack("I", run.command), _PENDING


@record
class OwnProcess(InitialEntries):
    """pytracer's own process, which system-wide results leave out with its children (the demangler).

    A command that is only the load is not left out. ``pt_is_tracer`` (probes_c/include/task.h) compares with
    this map, so images stay valid. It is not compiled for ``-p``, ``--tid`` or a followed command. In a PID
    namespace the kernel's ids differ: there this process is traced as all are.
    """

    is_optional = True

    def entries(self, run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        if run.is_own and in_initial_namespace("pid") is not False:
            yield struct.pack("I", 0), struct.pack("II", os.getpid(), run.command)


@record
class LinkHeaders(InitialEntries):
    """The interfaces that have no Ethernet header, and the length of the header that they have
    (probes_c/include/link_layer.h). ``interfaces`` are those that are traced (0: all)."""

    interfaces: Collection[int]
    is_optional = True

    @property
    def is_refreshed(self) -> bool:
        """True if all interfaces are traced: some may appear while the program runs."""
        return 0 in self.interfaces

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        return (
            (struct.pack("I", index), struct.pack("I", length))
            for index, length in _read_header_lengths().items()
        )


@record
class LinkHeaderCount(LinkHeaders):
    """The number of such interfaces, if a traced one may be among them."""

    def entries(self, _run: RunFacts, /) -> Iterable[Entry]:
        """See :class:`InitialEntries`."""
        headers = _read_header_lengths()
        if self.is_refreshed or headers.keys() & self.interfaces:
            yield struct.pack("I", 0), struct.pack("I", len(headers))


def config_values(request: Request, return_value: int | None) -> ConfigValues:
    """Return the values that change from run to run; ``return_value`` is the value that a function shall
    return (None: no fault is injected)."""
    values = {} if return_value is None else {"RETURNS": return_value}
    for option in request.tracer.options:
        if isinstance(option, Number) and option.config and not option.define:
            values[option.config.upper()] = number_of(option.name, request)
        elif isinstance(option, Choice) and option.config:
            values[option.config.upper()] = option.choices.index(choice_of(option.name, request))
    return ConfigValues("pt_config", tuple(values), tuple(values.values()))


def initial_entries(
    request: Request, schema: Schema, config: ConfigValues, targets: TargetPlan, folders: tuple[str, ...]
) -> Iterator[InitialEntries]:
    """Yield the entries of each map; ``folders`` are the cgroups that tasks are filtered by."""
    if config.values:
        yield config
    for task_filter, keys in request.filters.items():
        if task_filter is not Filter.CGROUP:
            yield KeySet(task_filter.map, keys)
    for option in request.tracer.options:
        value = request.options.get(option.name)
        if isinstance(option, NameSet) and isinstance(value, NameSetValue):
            yield KeySet(option.map, value.keys)
    if folders:
        yield CgroupFolders("pt_cgroups", folders)
        yield CgroupIds(CGROUP_IDS, folders)
    if isinstance(targets, ScriptPlan):
        yield RunValues("script_run")
    if targets.usdt_arguments:
        yield UsdtArguments("pt_usdt", targets.usdt_arguments)
    by_address = (
        chosen_probe.probe
        for chosen_probe in targets.probes
        if chosen_probe.target_id_source is TargetIdSource.ADDRESS
    )
    if functions := tuple(probe for probe in by_address if isinstance(probe, Kprobes)):
        yield FunctionAddresses("pt_addresses", functions)
    if request.fault is not None:
        yield InjectionBounds("pt_bounds", request.duration or 0)
    if request.follows:
        yield FollowedCommand(FOLLOWED, request.roots)
    if not schema.is_listing:  # a list is whole
        yield OwnProcess("pt_tracer")
    yield LinkHeaders("links", tuple(request.interfaces))
    yield LinkHeaderCount("pt_links", tuple(request.interfaces))


@contextlib.contextmanager
def _open_folder(path: str) -> Iterator[int]:
    """Open a folder for the length of the block."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)


def _read_header_lengths() -> dict[int, int]:
    """Return the length of the link header of each interface whose header is not Ethernet's."""
    from pytracer.kernel import interfaces

    lengths = {
        index: interfaces.link_header_length(link.type)
        for index, link in interfaces.list_interfaces().items()
    }
    return {index: length for index, length in lengths.items() if length != interfaces.ETHERNET_HEADER}
