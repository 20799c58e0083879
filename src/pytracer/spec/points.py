"""Where programs run that are put on what users name."""

from __future__ import annotations

from enum import IntFlag


class Point(IntFlag):
    """Where a program runs that is put on what the user names: what the C may make of its context
    (``pt_point`` of probes_c/include/target.h). ``OTHER`` is a trace event, or a place within a function.

    ``SITE``: calls of the function are seen to end by probes on its instructions, and this is its entry or
    one of those; ``TAIL`` and ``LOST`` are TAIL_RETURN and INDIRECT of
    :class:`~pytracer.spec.code.ExitKind`.
    ``GOROUTINE`` and ``REENTERS`` are what :class:`~pytracer.spec.code.FunctionCode` says of the function.
    """

    OTHER = 0
    ENTRY = 1
    RETURN = 2
    TRAMPOLINE = 4
    PROGRAM = 8
    SITE = 16
    TAIL = 32
    LOST = 64
    GOROUTINE = 128
    REENTERS = 256
