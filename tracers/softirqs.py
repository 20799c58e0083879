"""softirqs: time in softirqs, or until they run."""

from pytracer.spec import (
    Alternative,
    Audit,
    Column,
    Flag,
    GroupBy,
    Hook,
    Key,
    Probe,
    RawTracepoint,
    Tracepoint,
    Tracer,
)
from pytracer.spec.common import BY_CPU, HANDLER_LATENCY, HANDLER_OUTPUTS

EVENTS = {"raised": "softirq_raise", "entered": "softirq_entry", "left": "softirq_exit"}
RAW: tuple[Probe, ...] = tuple(
    RawTracepoint(program, event=event, preempted=False, when="wait" if program == "raised" else "")
    for program, event in EVENTS.items()
)
FORMATTED: tuple[Probe, ...] = tuple(
    Tracepoint(program, category="irq", event=event, when="wait" if program == "raised" else "")
    for program, event in EVENTS.items()
)
SOFTIRQ = Hook(
    "softirq", "softirqs run", (Alternative("raw-tracepoint", RAW), Alternative("tracepoint", FORMATTED))
)
KIND = Key("softirq", (Column("softirq", "its kind, as in /proc/softirqs", decode="softirq"),))

TRACER = Tracer(
    name="softirqs",
    group="cpu",
    summary="time in softirqs, or until they run",
    description="Counts the softirqs that run, and the time that they take.",
    hooks=(SOFTIRQ,),
    options=(
        GroupBy(
            "by",
            "the key of a row; several with commas",
            keys=(KIND, BY_CPU),
            default="softirq",
        ),
        HANDLER_LATENCY,
        Flag("wait", "the time from when one is raised until it runs, instead", define="WAIT"),
    ),
    outputs=HANDLER_OUTPUTS,
    audit=Audit("softirqs", column="count", options=("latency",)),
    examples=(
        ("softirqs", "every kind, a table a second"),
        ("softirqs --latency --by softirq,cpu -d 10", "histograms for each kind and CPU"),
        ("softirqs --wait --latency", "how late softirqs run"),
        ("softirqs --audit -d 10", "and the kernel's own count beside it"),
    ),
    notes=(
        "The time includes hardware interrupts that arrive meanwhile.",
        "With --wait, the wait begins when the softirq is first raised.",
    ),
)
