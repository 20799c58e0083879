"""The points at which programs on the user's targets run."""

from __future__ import annotations

from enum import IntFlag


class Point(IntFlag):
    """The point at which a program on a user's target runs, which determines the meaning of its context
    (``pt_point`` of probes_c/include/target.h). ``OTHER`` is a trace event, or a location inside a
    function.

    ``SITE``: probes on the function's instructions see its calls end, and this is its entry or one of those
    instructions; ``TAIL`` and ``LOST`` are TAIL_RETURN and INDIRECT of
    :class:`~pytracer.spec.code.ExitKind`. ``GOROUTINE`` and ``REENTERS`` are ``goroutine`` and ``restarts``
    of :class:`~pytracer.spec.code.FunctionCode`.
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
