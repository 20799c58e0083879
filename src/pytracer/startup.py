"""Shorten the start and the end of the command line's process. In other programs nothing here has an effect.

Measured with Python 3.11 and NumPy 2.4 for a start of 180 ms of CPU time: 20 ms for the threads of OpenBLAS,
10 ms for collections of garbage while modules are imported, 10 ms to tear down the interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"
_is_command_line = False
_is_paused = False


def begin() -> None:
    """Note that the process runs the command line. Pauses garbage collection until :func:`resume`."""
    global _is_command_line, _is_paused
    _is_command_line = True
    if gc.isenabled():
        gc.disable()
        _is_paused = True


def is_command_line() -> bool:
    """Return whether the process runs the command line."""
    return _is_command_line


def resume() -> None:
    """Collect garbage again, except for what the start made, nearly all of which stays."""
    global _is_paused
    if _is_paused:
        _is_paused = False
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def without_blas_threads() -> Iterator[None]:
    """Have OpenBLAS start no threads if the block loads it: nothing here multiplies matrices.

    The environment has the variable only for the length of the block. One that the caller set is kept.
    """
    if not _is_command_line or _BLAS_THREADS in os.environ:
        yield
        return
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        del os.environ[_BLAS_THREADS]


def leave(status: int) -> None:
    """End the process like :func:`sys.exit`, but without tearing down the interpreter.

    Returns, so that the caller exits as usual, if that is needed: other threads run, a profiler or debugger
    is active, or output cannot be written.
    """
    # Else an interrupt would turn the exit into a death by SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not _is_command_line or sys.gettrace() is not None or sys.getprofile() is not None:
        return
    if "threading" in sys.modules and sys.modules["threading"].active_count() > 1:
        return
    import atexit

    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(status)
