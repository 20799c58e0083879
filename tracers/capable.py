"""capable: privileges that are asked for, granted or refused."""

from pytracer.spec import Column, Flag, GroupBy, Key, Stacks, Table, Tracer, Unit
from pytracer.spec.common import MAPPING, STACK_OPTIONS, TASK_KEYS
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.hooks import Alternative, Fexit, Hook, Kprobe, Kretprobe, RawTracepoint

NO_CALL = 0xFFFFFFFFFFFFFFFF
CHECKS = (Column("checks", "number of checks", unit=Unit.COUNT),)
NAME = ("cap_capable",)
CAPABILITY_CHECK = Hook(
    "checked",
    "capabilities are checked",
    (
        Alternative("raw-tracepoint", (RawTracepoint("checked", event="cap_capable", arguments=5),)),
        Alternative("fexit", (Fexit("checked", function="cap_capable"),)),
        Alternative("kprobe", (Kprobe("checks", symbols=NAME), Kretprobe("checked", symbols=NAME))),
    ),
)
CALL = Column("syscall", "the call that needs it", field="call", decode="syscall", null=NO_CALL, width=15)
DEFAULT = "capability,result,syscall,comm"
KEYS = (
    Key("capability", (Column("capability", "the privilege", decode="capability"),)),
    Key("result", (Column("result", "granted, or refused", decode="text", width=7),)),
    Key("syscall", (CALL,)),
    *TASK_KEYS,
)

TRACER = Tracer(
    name="capable",
    group="processes",
    summary="capability checks: capability, system call, granted or refused",
    description="Counts the kernel's checks for capabilities, by capability, system call and result.",
    hooks=(CAPABILITY_CHECK,),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        GroupBy(
            "by", "the key of a row; several with commas", keys=KEYS, default="capability,result,syscall,comm"
        ),
        Flag("refused", "only what is refused", short="x", define="REFUSED"),
        Flag("stacks", "rows by stack", define="STACKS"),
        *STACK_OPTIONS,
    ),
    outputs=(
        Table("rows", CHECKS, sort="checks"),
        Stacks("rows", CHECKS, when="stacks", hooks=(CAPABILITY_CHECK, MAPPING)),
    ),
    examples=(
        ("capable", "every check of the machine, a table a second"),
        ("capable -x -- ./service", "what a program would need to be allowed to do"),
        ("capable --stacks --by capability -d 10", "from where in the code they are asked for"),
    ),
    notes=(
        "Many checks only ask for optional rights, so that a refusal changes nothing: see the system call.",
        "- means no system call: checks in exceptions and by io_uring workers.",
        "Before Linux 5.15, the call is known only on x86-64. Other security modules may refuse later.",
    ),
)
