"""Keep the signal dispositions and limits that the caller started us with, for commands that we start.

Python ignores SIGPIPE and SIGXFSZ before the first line of any program runs, and does not keep their
previous dispositions. ``scripts/pytracer`` reads the signals that the caller ignored before it starts
Python, and passes them as ``-X pytracer_ignored=MASK``. Started in another way, a command gets the two with
their default action, as from the subprocess module.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from types import FrameType

from pytracer.errors import ResourcesError

OPTION = "pytracer_ignored"
"""The -X option: the signals that the caller ignored, as SigIgn of /proc/PID/status has them."""

_Handler = Callable[[int, FrameType | None], object] | int | None
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
_REQUIRED = {signal.SIGINT, signal.SIGCHLD}
"""Handled although the caller ignored them. Shells start ``command &`` with SIGINT ignored, and kill -INT is
how scripts end a tracer; where SIGCHLD is ignored the kernel does not keep the exit status of a child."""

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD}
"""Unblocked although the caller blocked them, as programs do that take their signals by sigwait, and whose
children inherit the mask. A command gets the caller's mask."""

_unblocked = set[int]()  # blocked by the caller, and not by us
_taken = set[int]()  # ignored by the caller, and not ignored by us
_limits = dict[int, tuple[tuple[int, int], tuple[int, int]]]()  # by resource: before, and as we raised it


def is_ours(number: int) -> bool:
    """True for a signal that we may handle: one that the caller did not ignore, or one that we need."""
    return number in _REQUIRED or signal.getsignal(number) != signal.SIG_IGN


def handle(number: int, handler: _Handler) -> _Handler:
    """Install a handler; a command still gets the caller's disposition. Returns the handler before."""
    inherited_handler = signal.signal(number, handler)
    if inherited_handler == signal.SIG_IGN:
        _taken.add(number)
    elif handler == signal.SIG_IGN:
        _taken.discard(number)
    return inherited_handler


def ignored_by_caller(number: int) -> bool:
    """True for a signal that a command is started with ignored."""
    return number in _list_ignored_signals() or (
        number not in _IGNORED_BY_PYTHON and signal.getsignal(number) == signal.SIG_IGN
    )


def accept_interrupts() -> None:
    """Restore SIGINT if the caller ignores or blocks it: Ctrl-C and kill -INT raise KeyboardInterrupt."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGCHLD, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            handle(number, handler)
    # Last, since those that are pending are delivered here.
    _unblocked.update(_ENDING & signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def raise_limit(resource_number: int, soft: int, hard: int) -> None:
    """Raise a limit of this process, not of the commands that it starts. Raises OSError, ValueError."""
    inherited_limit = resource.getrlimit(resource_number)
    resource.setrlimit(resource_number, (soft, hard))
    original_limit, raised_limit = _limits.get(resource_number, (inherited_limit, inherited_limit))
    _limits[resource_number] = (
        (original_limit if raised_limit == inherited_limit else inherited_limit),
        (soft, hard),
    )


def too_many_files() -> ResourcesError:
    """Return the error for a process that may open no more descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return ResourcesError(f"this process may have no more than {limit} open files", hint="ulimit -n 1024")


def require_descriptors(count: int) -> None:
    """Raise ResourcesError if this process may not open ``count`` more descriptors."""
    trial_descriptors = list[int]()
    try:
        trial_descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        while len(trial_descriptors) < count:
            trial_descriptors.append(os.dup(trial_descriptors[0]))
    except OSError as error:
        raise too_many_files() from error
    finally:
        for descriptor in trial_descriptors:
            os.close(descriptor)


def restore() -> None:
    """Restore the caller's limits and signal dispositions, in a forked child."""
    signal.set_wakeup_fd(-1)
    ignored = _list_ignored_signals()
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if number in ignored:
            ignore_handler = signal.SIG_IGN
        elif number in _IGNORED_BY_PYTHON or callable(handler):
            ignore_handler = signal.SIG_DFL
        else:
            continue
        if handler != ignore_handler:
            signal.signal(number, ignore_handler)
    for resource_number, (original_limit, raised_limit) in _limits.items():
        if resource.getrlimit(resource_number) == raised_limit:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource_number, original_limit)


def blocked_by_caller() -> frozenset[int]:
    """Return the signals to block in a command that we start, though we do not block them."""
    return frozenset(_unblocked)


def _list_ignored_signals() -> set[int]:
    """Return the signals that the caller ignored although they are not ignored now, or by Python alone."""
    encoded = sys._xoptions.get(OPTION)
    mask = int(encoded, 16) if isinstance(encoded, str) else 0
    # Of others the mask may be wrong: bash ignores SIGQUIT, but not for what it executes.
    return _taken | {number for number in _IGNORED_BY_PYTHON | _REQUIRED if mask >> number - 1 & 1}
