"""writeback: dirty pages as they are written back."""

from pytracer.spec import Column, Duration, Number, Stream, Tracer, Unit
from pytracer.spec.hooks import Alternative, Hook, RawTracepoint, Tracepoint

EVENTS = (("started", "writeback_start"), ("written", "writeback_written"))
WRITEBACK = Hook(
    "writeback",
    "dirty pages are written back",
    (
        Alternative(
            "raw-tracepoint", tuple(RawTracepoint(program, event=event) for program, event in EVENTS)
        ),
        Alternative(
            "tracepoint",
            tuple(Tracepoint(program, category="writeback", event=event) for program, event in EVENTS),
        ),
    ),
)

TRACER = Tracer(
    name="writeback",
    group="files",
    summary="dirty pages as the kernel writes them back: which device, why, how many, how long",
    description="Shows each pass in which the kernel's workers write back dirty pages, as it ends.",
    hooks=(WRITEBACK,),
    options=(
        Duration("min", "only passes that took at least this long", config="min", default=0),
        Number(
            "min-pages", "only passes that wrote at least N pages", minimum=0, default=1, config="min_pages"
        ),
    ),
    outputs=(
        Stream(
            columns=(
                Column("device", "as in /sys/class/bdi: 8:0, btrfs-1, ...", decode="text", width=8),
                Column("reason", "background, sync, periodic, ...", decode="writeback_reason", width=13),
                Column("sync", "1: it waits for each page", field="is_sync", width=4),
                Column("pages", "pages written", unit=Unit.COUNT),
                Column("took_ns", "how long the pass took", label="TOOK", unit=Unit.NANOSECONDS),
                Column("cgroup", "the memory cgroup whose pages they are", decode="cgroup", null=0),
            )
        ),
    ),
    examples=(
        ("writeback", "every pass that writes something"),
        ("writeback --min 100ms -f json", "those of 100 ms and more, as JSON"),
        ("writeback --min-pages 0", "also those that find nothing to write"),
    ),
    notes=(
        "When pages are written, the process that dirtied them is unknown; the kernel worker is not shown.",
        "The cgroup is the one whose pages the kernel writes back separately, else the root (/).",
        "A pass ends when its pages are submitted to the device; they may not be written yet.",
        "Writes by fsync, O_SYNC and O_DIRECT are not included: see fsslower and syncsnoop.",
        "A work item may take several passes. A pass in progress at the start is not shown.",
    ),
)
