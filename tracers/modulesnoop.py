"""modulesnoop: kernel modules that are loaded and unloaded, and by whom."""

from pytracer.spec import Alternative, Column, Hook, RawTracepoint, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS

MODULE = Hook(
    "module",
    "the kernel loads modules",
    (
        Alternative(
            "raw-tracepoint",
            (  # preempted or not, they see more than the alternative without
                RawTracepoint("loading", event="module_load", preempted=False),
                RawTracepoint("requested", event="module_request", preempted=False),
            ),
        ),
        Alternative("none", ()),  # a kernel without modules: every call fails
    ),
)

TRACER = Tracer(
    name="modulesnoop",
    group="system",
    summary="kernel modules that are loaded, unloaded and asked for, and by whom",
    description="Shows init_module, finit_module and delete_module, and modules that the kernel asks for.",
    hooks=(return_of("init_module finit_module delete_module"), MODULE),
    filters=TASK_FILTERS,
    follow=True,
    options=(ONLY_FAILED,),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("ppid", "process id of the parent", wide=True),
                Column("uid", "user id", wide=True),
                Column("event", "load, unload, or request: the kernel asks modprobe", decode="text", width=7),
                ERROR,
                Column("file", "file of the module, if known", decode="text", null=b"", width=12),
                Column("parameters", "parameters it is given", decode="text", null=b"", wide=True),
                Column("module", "the module, or the alias asked for", decode="text", null=b""),
            )
        ),
    ),
    examples=(
        ("modulesnoop", "every module of the machine"),
        ("modulesnoop --wide -f json", "with the parameters, as JSON"),
        ("modulesnoop -x -- modprobe dummy", "what fails as one command runs"),
    ),
    notes=(
        "A request is shown for the task that needs the module, when it does; modprobe then loads it, as a",
        "child of a kernel thread. -x shows no requests: how one ends is seen at modprobe's load.",
        "A module that is refused before the kernel has read it has a file, but no name (-).",
        "The first 256 bytes of parameters are shown; longer ones are counted as truncated.",
    ),
)
