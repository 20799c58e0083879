"""Read the names of Python functions that the kernel has met (probes_c/include/python_frames.h)."""

from __future__ import annotations

from pytracer.arrays import np
from pytracer.bpf.read.maps import Map
from pytracer.symbols.python import FunctionNames


def read_new(names: Map, functions: FunctionNames) -> None:
    """Add the elements of the map ``python_names`` that ``functions`` does not have yet."""
    [header] = np.frombuffer(names.look_up(0), names.value)
    count = min(int(header["pid"]), names.max_entries - 1)
    for number in range(len(functions), count + 1):
        element = np.frombuffer(names.look_up(number), names.value)
        if not element["is_complete"][0]:  # a program is just writing it
            break
        functions.add(element)
