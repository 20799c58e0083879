"""Tables of the programs in the kernel: owners, places, sizes, statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pytracer.bpf.holders import Process, describe_refused, find_holders
from pytracer.bpf.objects import ObjectKind
from pytracer.errors import UnknownNameError
from pytracer.kernel.policy import explain
from pytracer.model import Schema, Snapshot
from pytracer.model.items import Kind as RowKind
from pytracer.model.tabular import Values
from pytracer.prog.attachments import Attachment, attachments, group_by_program
from pytracer.prog.link_targets import TargetNames
from pytracer.prog.pins import Pin, pins
from pytracer.prog.program_list import KernelMap, KernelProgram, ProgramLister, list_maps
from pytracer.prog.run_stats import RunCount, RunCounter
from pytracer.record import default_factory, record, replace
from pytracer.spec import Column, Tracer, Unit
from pytracer.spec import Table as TableOutput
from pytracer.text import from_path

NEEDED = ("CAP_SYS_ADMIN",)
"""The capabilities that the kernel requires for the programs of others."""
_SHOWN = {
    "list": ("id", "type", "name", "owner", "attached", "maps", "memory", "map_memory", "rate", "avg_ns"),
    "top": ("id", "type", "name", "owner", "runs", "rate", "total_ns", "avg_ns", "cpu"),
}
_COLUMNS = (
    Column("id", "the program's number"),
    Column("type", "its type", decode="text"),
    Column("name", "its name, whole where the program has types (BTF)", decode="text"),
    Column("owner", "the processes that hold it, and pins", decode="text"),
    Column("attached", "where it is attached", decode="text"),
    Column("tag", "a sum of its instructions", decode="text"),
    Column("uid", "the user who loaded it"),
    Column("loaded", "when it was loaded", decode="text"),
    Column("maps", "the ids of its maps", decode="text"),
    Column("memory", "bytes it takes itself", unit=Unit.BYTES),
    Column(
        "map_memory", "bytes its maps take, each counted for every program", label="MAP MEM", unit=Unit.BYTES
    ),
    Column("insns", "instructions, as the verifier left them"),
    Column("verified", "instructions that the verifier looked at (Linux 5.16)"),
    Column("native", "bytes of native code", unit=Unit.BYTES),
    Column("runs", "how often it ran, of what was counted now", unit=Unit.COUNT),
    Column("rate", "runs a second", label="RUNS/S"),
    Column("total_ns", "the time it ran", label="TIME", unit=Unit.NANOSECONDS),
    Column("avg_ns", "mean time of a run", label="AVG", unit=Unit.NANOSECONDS),
    Column("cpu", "the time it ran, in percent of one CPU", label="%CPU"),
    Column("missed", "runs skipped, as one was under way on that CPU (Linux 5.12)", unit=Unit.COUNT),
    Column("run_cnt", "runs since it was loaded, while anybody had the kernel count", unit=Unit.COUNT),
    Column("run_time_ns", "the time of those", unit=Unit.NANOSECONDS),
    Column("pids", "the processes that hold it", decode="text"),
    Column("links", "the ids of the links that hold it", decode="text"),
    Column("pins", "where it, or a link of it, is pinned", decode="text"),
)
COLUMNS = {column.name: column for column in _COLUMNS}
"""All columns of both tables, by name."""


def schema(view: str) -> Schema:
    """Return the schema with all columns; those not in the default ``list`` or ``top`` table are ``wide``."""
    columns = tuple(replace(column, wide=column.name not in _SHOWN[view]) for column in _COLUMNS)
    return Schema("prog", columns, (), TableOutput("", ()))


def live_schema() -> Schema:
    """Return the schema of ``top`` for a live screen: rows are found again by their keys, and the time that
    programs ran has a trend."""
    columns = {column.name: column for column in schema("top").columns}
    values = [columns[name] for name in ("total_ns", "runs", "missed")]
    values += [replace(columns[name], computed=True) for name in ("rate", "avg_ns", "cpu")]
    named = {value.name for value in values}
    keys = tuple(column for name, column in columns.items() if name not in named)
    return Schema("prog", keys, tuple(values), PROGRAMS.outputs[0])


PROGRAMS = Tracer(
    name="prog",
    group="system",
    summary="the BPF programs of this machine",
    description="Lists the BPF programs of this machine, whoever loaded them.",
    hooks=(),
    outputs=(TableOutput("", ()),),
)
"""What a live screen shows: a subcommand, and so no module of ``tracers``."""


@record
class TableContext:
    """The facts on programs besides their statistics: ``holders`` by the id of the program; ``unseen`` says
    which processes' descriptors could not be read, and why."""

    holders: dict[int, list[Process]] = default_factory(factory=dict)
    places: dict[int, list[Attachment]] = default_factory(factory=dict)
    pins: dict[int, list[Pin]] = default_factory(factory=dict)
    tables: dict[int, KernelMap] = default_factory(factory=dict)
    unseen: tuple[str, ...] = ()

    def __or__(self, newer: TableContext) -> TableContext:
        """Merge two tables: the newer facts, and the older ones of programs that were unloaded."""
        return TableContext(
            self.holders | newer.holders,
            self.places | newer.places,
            self.pins | newer.pins,
            self.tables | newer.tables,
            newer.unseen,
        )


class ProgramTable:
    """A table of all programs that is read repeatedly while the kernel counts their runs."""

    def __init__(self) -> None:
        """Take the first reading. Raises the error that explains the kernel's refusal."""
        self._names = TargetNames()
        self._known: set[int] = set()
        self._context = TableContext()
        try:
            self._learn(ProgramLister().list())  # before the first look: it takes its time
            self._watch = RunCounter()
        except OSError as error:
            raise explain(error, "looking at programs", capabilities=NEEDED) from error

    @property
    def unseen(self) -> tuple[str, ...]:
        """Lines that say which processes' descriptors could not be read, and why."""
        return self._context.unseen

    def read(self, kind: RowKind, *, sort: str, top: int | None = None) -> Snapshot:
        """Return the statistics since the last reading (``row``), or since the first (``summary``), the
        largest of the column ``sort`` first. Raises the error that explains the kernel's refusal."""
        try:
            ran, seconds = self._watch.look() if kind == "row" else self._watch.whole()
            self._learn(self._watch.programs)
        except OSError as error:
            raise explain(error, "looking at programs", capabilities=NEEDED) from error
        rows = rank([row(cells, seconds, self._context) for cells in ran], sort)[:top]
        columns: dict[str, Values] = {name: [cells[name] for cells in rows] for name in COLUMNS}
        return Snapshot(kind, time.time(), seconds, columns)

    def _learn(self, programs: dict[int, KernelProgram]) -> None:
        """Collect the facts on programs if there are new ones."""
        if not programs.keys() <= self._known:
            self._context |= context(programs, self._names)
            self._known = set(programs)


def context(programs: dict[int, KernelProgram], names: TargetNames) -> TableContext:
    """Collect holders, attachments, pins and maps of programs. Raises OSError."""
    processes = find_holders()
    holders = {number: list(found) for number, found in processes.programs.items()}
    places = group_by_program(attachments(programs, processes, names))
    pinned = dict[int, list[Pin]]()
    for pin in pins():
        if pin.kind is not ObjectKind.MAP:
            pinned.setdefault(pin.program, []).append(pin)
    for found in pinned.values():
        found.sort(key=lambda pin: (pin.kind is not ObjectKind.PROGRAM, pin.path))
    return TableContext(holders, places, pinned, list_maps(), tuple(describe_refused(processes)))


def row(ran: RunCount, seconds: float, table_context: TableContext) -> dict[str, Any]:
    """Return the values of all columns for a program."""
    program, info = ran.program, ran.program.info
    holders, pins = table_context.holders.get(program.id, []), table_context.pins.get(program.id, [])
    places = table_context.places.get(program.id, [])
    return {
        "id": program.id,
        "type": program.type,
        "name": program.name,
        "owner": tuple(map(str, holders)) + tuple(from_path(pin.path) for pin in pins),
        "attached": tuple(dict.fromkeys(attachment.where for attachment in places)),
        "tag": info.tag,
        "uid": info.uid,
        "loaded": datetime.fromtimestamp(program.loaded).astimezone().isoformat(timespec="seconds"),
        "maps": info.map_ids,
        "memory": program.memory,
        "map_memory": sum(
            table_context.tables[number].memory for number in info.map_ids if number in table_context.tables
        ),
        "insns": info.xlated_size // 8,
        "verified": info.verified,
        "native": info.jited_size,
        "runs": ran.runs,
        "rate": None if ran.runs is None or not seconds else round(ran.runs / seconds, 1),
        "total_ns": ran.time,
        "avg_ns": ran.time // ran.runs if ran.time is not None and ran.runs else None,
        "cpu": None if ran.time is None or not seconds else round(ran.time / seconds / 1e7, 2),
        "missed": ran.missed,
        "run_cnt": info.run_count if info.counts_runs else None,
        "run_time_ns": info.run_time if info.counts_runs else None,
        "pids": tuple(holder.pid for holder in holders),
        "links": tuple(attachment.link for attachment in places if attachment.link),
        "pins": tuple(from_path(pin.path) for pin in pins),
    }


def rank(rows: Sequence[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Sort rows by a column: counts descending, names and ids ascending; unknown values last. Raises
    UnknownNameError if there is no such column."""
    if sort not in COLUMNS:
        raise UnknownNameError("column", sort, COLUMNS)
    column = COLUMNS[sort]
    is_ascending = column.is_text or sort in ("id", "uid")
    valued_rows = [candidate for candidate in rows if candidate[sort] not in (None, ())]
    unknown = [candidate for candidate in rows if candidate[sort] in (None, ())]
    return sorted(valued_rows, key=lambda candidate: candidate[sort], reverse=not is_ascending) + unknown
