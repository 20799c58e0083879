"""Mark a process that runs a tracer with the tracer's name and the ids of its programs.

The mark is a nameless file that the process keeps open, so it ends with the process. A user who may read
the descriptors of the process can read it; only the process itself can have made it. So ``prog`` names the
tracer, also for ``pytracer.open`` in another program, and ``prog pin`` does not pin what a running
pytracer does not claim.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path

from pytracer.bpf.sys import program_info

_NAME = "pytracer"
_LINK = f"/memfd:{_NAME} (deleted)"
_LIMIT = 1 << 20  # bytes: more than any list of programs takes


def set_mark(tracer: str, programs: Iterable[int]) -> int:
    """Mark this process as running ``tracer``, with these programs (descriptors).

    Returns the mark's descriptor, to be closed with the programs. Returns -1 if no file may be written
    (ulimit -f 0); pytracer prog then does not show the tracer's name. Raises OSError.
    """
    ids = [program_info(program)[0] for program in programs]
    descriptor = os.memfd_create(_NAME)
    try:
        os.write(descriptor, json.dumps({"tracer": tracer, "programs": ids}).encode())
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EFBIG:
            return -1
        raise
    return descriptor


def read_mark(process: Path) -> tuple[str, frozenset[int]]:
    """Read the tracer's name and program ids from a process (its folder in /proc); "" if there is no mark.

    If the process runs several tracers: the first one's name, and the programs of all.
    """
    tracers, programs = list[str](), set[int]()
    with contextlib.suppress(OSError):
        for path in sorted((process / "fd").iterdir(), key=lambda path: int(path.name)):
            # A hostile process may have written anything into a file of that name.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
                if str(path.readlink()) == _LINK:
                    with path.open("rb") as file:
                        mark = json.loads(file.read(_LIMIT))
                    tracers.append(str(mark["tracer"]))
                    programs.update(map(int, mark["programs"]))
    return tracers[0] if tracers else "", frozenset(programs)
