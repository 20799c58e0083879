"""Parse the fault of ``inject``: a kernel function and the error that it is to return."""

from __future__ import annotations

import errno

from pytracer.errors import UnknownNameError
from pytracer.request.request import Fault

ERRNO = {name: number for number, name in errno.errorcode.items()}
NULL, TRUE = "NULL", "TRUE"


def parse_fault(function: str, error: str) -> Fault:
    """Parse the name of an error (``ENOMEM``, any case), ``NULL`` or ``TRUE``. Raises UnknownNameError."""
    name = error.upper()
    if name not in (*ERRNO, NULL, TRUE):
        raise UnknownNameError("error", error, (*ERRNO, NULL, TRUE), hint="such as ENOMEM; or NULL, or TRUE")
    return Fault(function, name)
