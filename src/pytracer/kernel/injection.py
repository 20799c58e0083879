"""The kernel's functions that may be made to fail: those whose callers can take an error from them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytracer.errors import NotPermittedError
from pytracer.kernel import mounts, policy, tracefs

# lib/error-inject.c: the function, perhaps with an offset, its module in brackets, the kind of its errors.
_LINE = re.compile(r"^([\w.]+)(?:\+\S+)?(?: \[\w+\])?\s+(\w+)$", re.M)


def functions() -> Mapping[str, str] | None:
    """Return the functions that may be made to fail, and what each may return: ``ERRNO``, ``NULL``,
    ``ERRNO_NULL`` or ``TRUE``.

    None if the kernel has no such list (CONFIG_FUNCTION_ERROR_INJECTION). Raises PolicyError if this
    process may not read it.
    """
    try:
        mounts.ensure_mounted(mounts.DEBUGFS, tracefs.DEBUG)
        text = (tracefs.DEBUG / "error_injection/list").read_text()
    except OSError as error:
        policy_error = policy.explain(error, "the list of functions that may be made to fail")
        if isinstance(policy_error, NotPermittedError):
            raise policy_error from error
        return None
    return dict(_LINE.findall(text))
