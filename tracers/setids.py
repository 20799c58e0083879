"""setids: changes of user and group ids."""

from pytracer.spec import Column, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS

UNCHANGED = 0xFFFFFFFF

CALLS = (
    "setuid setgid setfsuid setfsgid setuid32 setgid32 setfsuid32 setfsgid32 setreuid setregid "
    "setreuid32 setregid32 setresuid setresgid setresuid32 setresgid32 setgroups setgroups32"
)

TRACER = Tracer(
    name="setids",
    group="processes",
    summary="changes of user and group ids, and attempts at them",
    description="Shows each set*id and setgroups call: the ids asked for, and the thread's afterwards.",
    hooks=(return_of(CALLS),),
    filters=TASK_FILTERS,
    follow=True,
    options=(ONLY_FAILED,),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("call", "the system call", decode="syscall", width=9),
                ERROR,
                Column("real", "the (real) id asked for", null=UNCHANGED, width=6),
                Column("effective", "the effective one", label="EFFECT", null=UNCHANGED, width=6),
                Column("saved", "the saved one", null=UNCHANGED, width=6),
                Column("groups", "how many groups setgroups asks for", null=UNCHANGED, wide=True),
                Column("uid", "real user id afterwards", wide=True),
                Column("euid", "effective user id afterwards", width=6),
                Column("suid", "saved user id afterwards", wide=True),
                Column("fsuid", "user id for files afterwards", wide=True),
                Column("gid", "real group id afterwards", wide=True),
                Column("egid", "effective group id afterwards", width=6),
                Column("sgid", "saved group id afterwards", wide=True),
                Column("fsgid", "group id for files afterwards", wide=True),
            )
        ),
    ),
    examples=(
        ("setids", "who becomes whom, on the whole machine"),
        ("setids -x", "attempts that the kernel refused"),
        ("setids -f json -- su -c true www-data", "what one command does, with all ids"),
    ),
    notes=(
        "Requested ids are of the caller's user namespace; ids afterwards are of the initial one.",
        "- means an unchanged id. setfsuid and setfsgid report no error: see the ids afterwards.",
        "A setuid program gets its ids by execve: execsnoop shows uid and euid.",
        "The C library repeats a call in each thread; each is shown.",
    ),
)
