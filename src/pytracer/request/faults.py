"""Parse the fault of ``inject``: a kernel function or system call, and the error that it is to return."""

from __future__ import annotations

import errno

from pytracer.errors import UnknownNameError
from pytracer.request.request import Fault

ERRNO = {name: number for number, name in errno.errorcode.items()}
NULL, TRUE = "NULL", "TRUE"


def parse_fault(function: str, error: str, where: str | None = None) -> Fault:
    """Parse the name of an error (``ENOMEM``, any case), ``NULL`` or ``TRUE``, and what of the arguments of a
    system call has to hold. Raises UnknownNameError, ProbeSpecError."""
    name = error.upper()
    if name not in (*ERRNO, NULL, TRUE):
        raise UnknownNameError("error", error, (*ERRNO, NULL, TRUE), hint="such as ENOMEM; or NULL, or TRUE")
    if where is None:
        return Fault(function, name)
    from pytracer.request.call_conditions import parse_conditions  # a language

    return Fault(function, name, parse_conditions(where))
