"""Where programs run that are put on what users name."""

from __future__ import annotations

from enum import IntFlag


class Point(IntFlag):
    """Where a program runs that is put on what the user names: what the C may make of its context
    (``pt_point`` of probes_c/include/target.h). ``OTHER`` is a trace event, or a place within a function.
    """

    OTHER = 0
    ENTRY = 1
    RETURN = 2
    TRAMPOLINE = 4
    PROGRAM = 8
