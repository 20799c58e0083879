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
        "For processors of Intel and AMD (and Hygon); the names are those of the kernel's event kvm_exit.",
        "TOTAL is what the host took, with what the program (QEMU) did, and what hlt waited for work.",
        "An exit whose next entry is not seen has no time: the last of a machine, or at the end.",
        "KVM is a module on many kernels: its events are there once it is loaded (modprobe kvm_amd).",
        "Other KVMs than kvm_intel and kvm_amd (PVM) raise no such event, and nothing is seen of them.",
        "Tested on AMD's kind of processor only; Intel's is the same event with other numbers.",
    ),
)
