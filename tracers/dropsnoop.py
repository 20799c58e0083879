"""dropsnoop: packets that the kernel drops."""

from pytracer.spec import Alternative, Column, Flag, Hook, RawTracepoint, Stacks, Stream, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.outputs import KERNEL_FRAMES
from pytracer.spec.tcp import OWNERS

FORMS = {"raw-tracepoint-socket": 4, "raw-tracepoint-reason": 3, "raw-tracepoint": 2}  # Linux 6.11, 5.17
DROP = Hook(
    "drop",
    "packets are dropped",
    tuple(
        Alternative(form, (RawTracepoint("dropped", event="kfree_skb", arguments=count, preempted=False),))
        for form, count in FORMS.items()
    ),
)
NONE = b"\xff" * 16
REASON = Column("reason", "the reason, as the kernel names it", decode="drop_reason", null=0, width=20)
HOOKS = (*OWNERS, DROP)
KEYS = (KERNEL_FRAMES, REASON)

TRACER = Tracer(
    name="dropsnoop",
    group="network",
    summary="dropped packets: reason, location in the kernel, owner",
    description="Shows each packet that the kernel drops, with the reason and the function that drops it.",
    hooks=HOOKS,
    filters=TASK_FILTERS,
    follow=True,
    options=(Flag("stacks", "count by stack instead", define="STACKS"), STACK_OPTIONS[-1]),
    outputs=(
        Stream(
            columns=(
                REASON,
                Column("function", "the function that drops it", field="place", decode="function", width=22),
                Column("saddr", "source address", decode="address", null=NONE, width=15, wide=True),
                Column("sport", "source port", null=-1, width=5, wide=True),
                Column("daddr", "destination address", decode="address", null=NONE, width=15),
                Column("dport", "destination port", null=-1, width=5),
                Column("pid", "the process of its TCP connection; none: not known", null=0, width=7),
                Column("comm", "its name, then", decode="text", null=b"", width=9, wide=True),
                Column("protocol", "its protocol", decode="ip_protocol", null=0, width=8, wide=True),
                Column("bytes", "its size", unit=Unit.BYTES, width=7, wide=True),
                Column("interface", "the interface", decode="text", null=b"", width=9, wide=True),
                Column("netns", "network namespace (inode number)", width=10, wide=True),
            )
        ),
        Stacks("rows", (Column("packets", "packets", unit=Unit.COUNT),), "stacks", KEYS, (*HOOKS, MAPPING)),
    ),
    examples=(
        ("dropsnoop", "every packet that is dropped"),
        ("dropsnoop --stacks -d 10", "by stack, for ten seconds"),
    ),
    notes=(
        "Reasons are those of this kernel's types (BTF). Linux before 5.17 has none: see the function.",
        "The process is that of the TCP connection, never one that just runs.",
        "What network cards drop is not seen; nor what a driver or protocol counts without freeing a packet.",
    ),
)
