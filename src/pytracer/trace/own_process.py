"""This process, which system-wide results leave out with the helpers that it starts (the demangler)."""

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
