"""dropsnoop: packets that the kernel drops."""

from pytracer.spec import Column, Flag, Stacks, Stream, Tracer, Unit
from pytracer.spec.common import MAPPING, MAX_STACKS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.outputs import KERNEL_FRAMES
from pytracer.spec.packets import CREATED_IF_ANY, DROPPED
from pytracer.spec.tcp import OWNERS

NO_ADDRESS = b"\xff" * 16
REASON = Column("reason", "the reason, as the kernel names it", decode="drop_reason", null=0, width=20)
HOOKS = (*OWNERS, CREATED_IF_ANY, DROPPED)

TRACER = Tracer(
    name="dropsnoop",
    group="network",
    summary="dropped packets: reason, location in the kernel, owner",
    description="Shows each packet that the kernel drops, with the reason and the function that drops it.",
    hooks=HOOKS,
    filters=TASK_FILTERS,
    follow=True,
    options=(Flag("stacks", "count by stack instead", define="STACKS"), MAX_STACKS),
    outputs=(
        Stream(
            columns=(
                REASON,
                Column("function", "the function that drops it", field="place", decode="function", width=22),
                Column("saddr", "source address", decode="address", null=NO_ADDRESS, width=15, wide=True),
                Column("sport", "source port", null=-1, width=5, wide=True),
                Column("daddr", "destination address", decode="address", null=NO_ADDRESS, width=15),
                Column("dport", "destination port", null=-1, width=5),
                Column("pid", "the process that has its socket; none: not known", null=0, width=7),
                Column("comm", "its name, then", decode="text", null=b"", width=9, wide=True),
                Column("protocol", "its protocol", decode="ip_protocol", null=0, width=8, wide=True),
                Column("bytes", "its size", unit=Unit.BYTES, width=7, wide=True),
                Column("interface", "the interface", decode="text", null=b"", width=9, wide=True),
                Column("netns", "network namespace (inode number)", width=10, wide=True),
            )
        ),
        Stacks(
            "rows",
            (Column("packets", "packets", unit=Unit.COUNT),),
            "stacks",
            (KERNEL_FRAMES, REASON),
            (*HOOKS, MAPPING),
        ),
    ),
    examples=(
        ("dropsnoop", "every packet that is dropped"),
        ("dropsnoop --stacks -d 10", "by stack, for ten seconds"),
    ),
    notes=(
        "Reasons come from the kernel's BTF. Linux before 5.17 has none: see the function.",
        "The process connected, accepted or made the socket, or had it open first as the trace began; never",
        "one that just runs. Before Linux 6.11, drops at a socket of what was received mostly name none.",
        "Not seen: drops in network cards, and those that drivers or protocols count without freeing.",
    ),
)
