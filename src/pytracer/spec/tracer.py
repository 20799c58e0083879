"""The declaration that a tracer's module makes: ``TRACER = Tracer(...)``."""

from __future__ import annotations

from pytracer.record import record
from pytracer.spec.audit import Audit
from pytracer.spec.columns import Column, Key
from pytracer.spec.filters import Filter
from pytracer.spec.hooks import Hook
from pytracer.spec.options import Arguments, GroupBy, Option, Targets
from pytracer.spec.outputs import Output

GROUPS = ("cpu", "disks", "files", "memory", "network", "processes", "system")
"""The groups of ``pytracer list``."""


@record
class Tracer:
    """A tracer. Its C file is ``probes_c/<name>.c`` unless ``source`` says otherwise.

    ``group`` is one of :data:`GROUPS`. ``keys`` are the row keys of a tracer without a :class:`GroupBy`
    option. ``follow`` says whether ``-- COMMAND`` can trace just that command, ``duration`` how many seconds
    a run takes where nothing is said. ``notes`` are the caveats that its help ends with. ``audit`` is the
    kernel's own counter of the same. ``live``: on a terminal it is shown on a live screen, if nothing else
    is said. ``totals`` are numbers about the whole run that the output ends with: members of the value of a
    per-CPU array ``totals`` of one entry.
    """

    name: str
    group: str
    summary: str
    description: str
    hooks: tuple[Hook, ...]
    outputs: tuple[Output, ...]
    options: tuple[Option, ...] = ()
    filters: tuple[Filter, ...] = ()
    keys: tuple[Key, ...] = ()
    arguments: Arguments | None = None
    follow: bool = False
    duration: float | None = None
    examples: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    audit: Audit | None = None
    live: bool = False
    totals: tuple[Column, ...] = ()

    @property
    def c_file(self) -> str:
        """The name of its C file in ``probes_c``."""
        return self.source or f"{self.name}.c"

    @property
    def file(self) -> str:
        """The file of its declaration, for messages."""
        folder = self.source.rpartition("/")[0] or "tracers"
        return f"{folder}/{self.name}.py"

    @property
    def measures_calls(self) -> bool:
        """True if it attaches to the entries and the returns of the functions that the user names."""
        return isinstance(self.arguments, Targets) and bool(self.arguments.end)

    @property
    def group_by(self) -> GroupBy | None:
        """Its ``--by`` option, if it has one."""
        return next((o for o in self.options if isinstance(o, GroupBy)), None)
