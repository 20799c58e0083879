"""bashreadline: lines as they are typed at shells."""

from pytracer.spec import Column, Stream, Targets, Tracer
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="bashreadline",
    group="processes",
    summary="lines typed at shells and other programs that use readline",
    description="Shows each line that readline(3) returns: in bash, and where the library is shared.",
    hooks=(),
    arguments=Targets(
        "PATTERN",
        "ur:FILE:readline, of another shell or library",
        begin="returns",
        enter="entered",
        minimum=0,
        default=("ur:bash:readline", "ur:libreadline:readline"),
    ),
    filters=TASK_FILTERS,
    follow=True,
    outputs=(
        Stream(
            columns=(
                Column("pid", "process id"),
                Column("uid", "real user id of the shell", width=6),
                Column("comm", "name of the thread", decode="text", width=12),
                Column("line", "the line, before the shell expands anything", decode="text"),
            )
        ),
    ),
    examples=(
        ("bashreadline", "what is typed at every shell"),
        ("bashreadline -T -u admin", "one user's, with the time"),
        ("bashreadline ur:/opt/app/bin/cli:readline", "a program that has the library within"),
    ),
    notes=(
        "Only typed lines are shown: scripts, and input from a pipe or file, do not use readline.",
        "A password typed at the wrong prompt is shown, too. The end of the input is not shown.",
        "The first 4096 bytes of a line are shown; a longer line is counted as truncated.",
    ),
)
