"""Find the native code of BPF programs with its sizes, which kallsyms does not have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pytracer.bpf.obj_info import read_program
from pytracer.bpf.objects import ObjectKind, iter_ids, open_object


def program_ranges() -> Iterator[tuple[int, int]]:
    """Yield the begin and end of each function of each program; nothing if the kernel hides them."""
    with contextlib.suppress(OSError):  # not for us to see
        for number in iter_ids(ObjectKind.PROGRAM):
            with contextlib.suppress(OSError), open_object(ObjectKind.PROGRAM, number) as descriptor:
                for function in read_program(descriptor).functions:
                    if function.address:
                        yield function.address, function.address + function.size
