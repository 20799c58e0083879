"""kvmexit: why virtual machines leave their processor, and for how long."""

from pytracer.spec import Alternative, Column, GroupBy, Hook, Key, Table, Tracepoint, Tracer, Unit
from pytracer.spec.common import BY_COMM, BY_PROCESS, times
from pytracer.spec.filters import TASK_FILTERS

EXIT = Hook(
    "vm_exit",
    "virtual machines leave their processor, and enter it again",
    (
        Alternative(
            "tracepoint",
            (
                Tracepoint("left", category="kvm", event="kvm_exit"),
                Tracepoint("entered", category="kvm", event="kvm_entry"),
            ),
        ),
    ),
)
KEYS = (
    Key("reason", (Column("reason", "the reason, as the kernel names it", decode="kvm_exit", width=14),)),
    BY_PROCESS,
    Key("tid", (Column("tid", "thread id: of a virtual processor"),)),
    BY_COMM,
)

TRACER = Tracer(
    name="kvmexit",
    group="system",
    summary="exits of virtual machines (KVM) by reason, and the time until they run again",
    description="Counts exits of virtual machines to the host, and the time until the next entry.",
    hooks=(EXIT,),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=KEYS, default="pid,reason"),),
    outputs=(
        Table(
            "rows",
            (Column("exits", "exits to the host", unit=Unit.COUNT), *times("exits")[:2]),
            sort="total_ns",
        ),
    ),
    examples=(
        ("kvmexit", "every virtual machine, a table a second"),
        ("kvmexit --by tid,reason -p 181 -d 10", "each processor of one for ten seconds"),
    ),
    notes=(
        "For Intel, AMD and Hygon processors. Names are those of the kernel's event kvm_exit.",
        "TOTAL is time in the host: it includes QEMU's work, and for hlt the wait for work.",
        "An exit without a following entry has no time: the last one of a machine or of the trace.",
        "If KVM is a module, its events exist only after it is loaded (modprobe kvm_amd).",
        "KVM modules other than kvm_intel and kvm_amd (PVM) raise no such event and are not seen.",
        "Tested on AMD processors only; Intel's raise the same event with other numbers.",
    ),
)
