"""sigsnoop: signals as they are sent and delivered."""

from pytracer.spec import Alternative, Column, Flag, Hook, RawTracepoint, Stream, Tracer
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.signals import ONLY_SIGNALS

# The trace events name threads alone, so filters could not ask about processes. Interrupts are off in both.
SIGNAL = Hook(
    "signal",
    "signals are sent and delivered",
    (
        Alternative(
            "raw-tracepoint",
            (
                RawTracepoint("sent", event="signal_generate", arguments=5, preempted=False),
                RawTracepoint("delivered", event="signal_deliver", preempted=False, when="delivered"),
            ),
        ),
    ),
)

TRACER = Tracer(
    name="sigsnoop",
    group="processes",
    summary="signals: sender, receiver, result",
    description="Shows each signal that is sent, by any call or by the kernel, and what became of it.",
    hooks=(SIGNAL,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        ONLY_SIGNALS,
        Flag("delivered", "also how each is handled once it is delivered"),
    ),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process that sends it; - if the kernel does by itself", null=0),
                Column("comm", "name of the thread that sends it", decode="text", null=b"", width=12),
                Column("signal", "the signal", decode="signal", width=9),
                Column("code", "why, as in siginfo's si_code", decode="signal_code", width=8, wide=True),
                Column("to_pid", "process that it is sent to", label="TO"),
                Column("to_tid", "the thread, if it is for one alone", null=0, wide=True),
                Column("to_comm", "name of the thread it is sent to", decode="text", width=12),
                Column("result", "what became of it", decode="signal_result"),
            )
        ),
    ),
    examples=(
        ("sigsnoop", "every signal of the machine"),
        ("sigsnoop --signal SIGKILL,SIGTERM", "who ends whom"),
        ("sigsnoop --delivered --wide -- make", "those from and to a command, and how they are handled"),
    ),
    notes=(
        "Filters test both the sender and the receiver.",
        "Signals of timers and terminals have no sender, nor do those with si_code SI_TIMER.",
        "RESULT of what is sent: sent, pending (already), ignored, overflow (refused), no_info;",
        "of what is delivered: default, handler, dropped. sigwait(3) and signalfd(2) deliver nothing.",
        "A signal that ends a process without a core dump is delivered as SIGKILL, to each of its threads.",
    ),
)
