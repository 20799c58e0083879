"""execsnoop: programs as they are executed."""

from pytracer.spec import Column, Flag, Stream, Tracer
from pytracer.spec.common import ERROR, EXECUTED, return_of
from pytracer.spec.filters import TASK_FILTERS

FAILED = Flag(
    "failed", "also those that could not be executed", short="x", hooks=(return_of("execve execveat"),)
)
TRACER = Tracer(
    name="execsnoop",
    group="processes",
    summary="programs as they are executed, with their arguments",
    description="Shows each program that is executed, with its process and all its arguments.",
    hooks=(EXECUTED,),
    filters=TASK_FILTERS,
    follow=True,
    options=(FAILED,),
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("ppid", "its parent's"),
                Column("uid", "real user id", width=5),
                Column("euid", "effective user id; another one for a setuid program", width=5, wide=True),
                Column("comm", "its name", decode="text", width=15),
                ERROR,
                Column("args", "its arguments, quoted as for a shell", decode="arguments"),
            )
        ),
    ),
    examples=(
        ("execsnoop", "every program that is executed"),
        ("execsnoop -x -- make", "what a build executes, and what it fails to"),
        ("execsnoop -T -u www-data", "one user's, with the time"),
        ("execsnoop -f json --cgroup /sys/fs/cgroup/system.slice", "those of services, as JSON"),
    ),
    notes=(
        "The arguments are those of the new program: for a script, those of its interpreter.",
        "Before Linux 5.3, arguments of more than 96 KiB are cut after 80 KiB, and counted as truncated.",
        "For failed calls (-x) the path replaces the first argument; some 16 KB are shown.",
        "Filters test the process after execve: --comm is the name of the new program.",
        "A script without #! fails (ENOEXEC, under -x); the shell that then runs it is shown, too.",
        "A process that is killed during execve is shown under -x, without arguments.",
    ),
)
