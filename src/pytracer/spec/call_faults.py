"""Faults of system calls: the columns, option and notes that ``inject`` has for them."""

from __future__ import annotations

from pytracer.spec.columns import Column, Unit
from pytracer.spec.options import ExpressionOption
from pytracer.spec.permission_checks import NOTES as CHECK_NOTES

UNCOUNTED = (1 << 64) - 1
"""The null of columns of calls that a filter answers by itself."""

CALLS = Column("calls", "calls that the filters let through", unit=Unit.COUNT, null=UNCOUNTED)
FAILED = Column("failed", "of these, those that were made to fail", unit=Unit.COUNT, null=UNCOUNTED)
WHERE = ExpressionOption("where", "of a system call: what of its arguments holds, such as 'arg1 == 3'")

NOTES = (
    "A system call by its name (openat) fails by its function, if the kernel can, or else by a filter that",
    "-- COMMAND gets, on any kernel (seccomp). Nobody can take it away: descendants keep it to their end.",
    "seccomp-errno: every call fails, and is not counted (-). After the run they go on failing.",
    "seccomp-notify, for --every, --probability and --times: each call, and each execve, waits until a",
    "process of pytracer answers, which is slow, and counts. After the run, or without it, calls pass;",
    "if that process is killed, they fail with ENOSYS. --hook call=seccomp-notify counts where all fail.",
    "Before Linux 5.19 signals may end a call that waits with EINTR. The execve of COMMAND itself passes.",
    "A filter is for the machine's own ABI: calls of 32-bit programs and x32 pass. As an ordinary user",
    "(--hook call=seccomp takes no root) set-user-ID programs that COMMAND executes gain no privileges.",
    "--where: arg1 to arg6, constants; == != < <= > >= & joined by &&; (int)arg1 takes the lower 32 bits.",
    *CHECK_NOTES,
)
"""The notes on system calls and on permission checks, as lines of a tracer's notes."""
