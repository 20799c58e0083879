"""The declaration of ``pytracer script``."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.columns import Column
from pytracer.spec.common import UNWIND
from pytracer.spec.filters import TASK_FILTERS
from pytracer.spec.options import Flag, ScriptArguments
from pytracer.spec.outputs import Stream
from pytracer.spec.tracer import Tracer


@record
class ScriptStream(Stream):
    """What a script prints. An interval is for its maps, on a live screen."""

    @property
    def takes(self) -> tuple[str, ...]:
        """See :class:`~pytracer.spec.Output`."""
        return ("INTERVAL", "--buffer")


SCRIPT = Tracer(
    name="script",
    group="system",
    summary="run a script in the language of bpftrace",
    description="Runs a script in the language of bpftrace: probes, predicates, maps, printf.",
    hooks=(),
    arguments=ScriptArguments(
        "SCRIPT",
        "a script: PROBE /PREDICATE/ { STATEMENTS }",
        examples=('begin { printf("%d\\n", 1); exit(); }',),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        Flag("quiet", "do not say how many probes are attached", short="q"),
        Flag("quiet_warnings", "do not print what warnf() says"),
        UNWIND,
        Flag("unsafe", "allow functions that change what is traced or run commands: system, signal"),
    ),
    outputs=(
        ScriptStream(
            columns=(
                Column("type", "what made the output: printf, map, hist, stats, value, time", computed=True),
                Column("data", "what it is", decode="text", computed=True),
            )
        ),
    ),
    examples=(("script -e 'kprobe:vfs_read { @[comm] = count(); }'", "calls of vfs_read by process name"),),
    notes=("docs/script.md describes the language, and the differences from bpftrace.",),
)
"""What ``pytracer script`` runs: a subcommand with options of its own, and so no module of ``tracers``."""
