"""Build requests: the user's options and arguments as typed values, with every name resolved.

The command line parses words into such values, the Python API takes them from its caller; both call
:func:`build_request`. No kernel feature is probed here; the planner does that.
"""

from typing import TYPE_CHECKING

from pytracer.exports import import_on_use

if TYPE_CHECKING:
    from pytracer.request.faults import parse_fault
    from pytracer.request.request import (
        Condition,
        Confinement,
        Fault,
        NameSetValue,
        Request,
        ScriptRequest,
        choice_of,
        number_of,
    )
    from pytracer.request.request_builder import build_request

__all__ = [
    "Condition",
    "Confinement",
    "Fault",
    "NameSetValue",
    "Request",
    "ScriptRequest",
    "build_request",
    "choice_of",
    "number_of",
    "parse_fault",
]

__getattr__ = import_on_use(
    __name__,
    {
        "faults": ("parse_fault",),
        "request": (
            "Condition",
            "Confinement",
            "Fault",
            "NameSetValue",
            "Request",
            "ScriptRequest",
            "choice_of",
            "number_of",
        ),
        "request_builder": ("build_request",),
    },
)
