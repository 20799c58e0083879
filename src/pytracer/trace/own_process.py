"""Leave pytracer's own process and its children (the demangler) out of system-wide results.

A command that is only the load is not left out. ``pt_is_tracer`` (probes_c/include/task.h) compares with a
map that is filled before programs are attached, so images stay valid. It is not compiled for ``-p``,
``--tid`` or a followed command. ``tasks`` and ``openfiles`` list what exists, pytracer too. In a PID
namespace the kernel's ids differ, and a program that uses the library is not pytracer's own: both are
seen.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from pytracer.bpf.read.maps import Map
from pytracer.kernel.policy import in_initial_namespace
from pytracer.record import record

_MAP = "pt_tracer"  # probes_c/include/task.h


@record
class OwnProcess:
    """This process as a tracer. ``command`` is its one child that is traced nonetheless (0: it has none)."""

    command: int = 0

    def exclude(self, maps: Mapping[str, Map]) -> None:
        """Leave this process and its other children out, unless the program was compiled for tasks by id.

        In a PID namespace of its own, this process does not know its id: there it is traced as all are.
        """
        if _MAP in maps and in_initial_namespace("pid") is not False:
            maps[_MAP].update(struct.pack("I", 0), struct.pack("II", os.getpid(), self.command))
