"""hardirqs: time in the handlers of hardware interrupts."""

from pytracer.spec import Alternative, Audit, Column, GroupBy, Hook, Key, RawTracepoint, Tracer
from pytracer.spec.common import BY_CPU, HANDLER_LATENCY, HANDLER_OUTPUTS

HARDIRQ = Hook(
    "hardirq",
    "interrupts are handled",
    (
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("entered", event="irq_handler_entry", preempted=False),
                RawTracepoint("left", event="irq_handler_exit", arguments=2, preempted=False),
            ),
        ),
    ),
)

TRACER = Tracer(
    name="hardirqs",
    group="cpu",
    summary="time in the handlers of hardware interrupts",
    description="Counts the handlers of hardware interrupts that run, and the time that they take.",
    hooks=(HARDIRQ,),
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(
                Key(
                    "irq",
                    (
                        Column("irq", "number of the interrupt"),
                        Column("name", "name of the handler", decode="text"),
                    ),
                ),
                BY_CPU,
            ),
            default="irq",
        ),
        HANDLER_LATENCY,
    ),
    outputs=HANDLER_OUTPUTS,
    audit=Audit("interrupts", "count", ("latency",), tolerance="a shared interrupt has several handlers"),
    examples=(
        ("hardirqs", "every interrupt, a table a second"),
        ("hardirqs --latency --by irq,cpu -d 10", "histograms for each interrupt and CPU"),
    ),
    notes=(
        "/proc/interrupts counts the same. A shared interrupt has a row for each handler.",
        "Not seen: interrupts without a handler (local timer, rescheduling, NMIs), and threaded handlers.",
    ),
)
