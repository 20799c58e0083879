"""List the programs that are in the kernel, of any owner.

See "Explain and prog" in docs/internals.md.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterator

from pytracer import ktime
from pytracer.bpf.obj_info import MapInfo, ProgramInfo, read_map, read_program
from pytracer.bpf.objects import ObjectKind, iter_ids, open_object, own_file_info
from pytracer.features.table.map_types import MAP_NAMES
from pytracer.features.table.program_types import PROGRAM_NAMES
from pytracer.record import record

_CUT = 15  # characters of a name that the kernel keeps
_GONE = (errno.ENOENT, errno.EAGAIN)  # it went between two questions


@record
class KernelProgram:
    """A program: the kernel's information (without its code), its full ``name``, the bytes of ``memory`` it
    takes, and when it was ``loaded`` (seconds since the epoch)."""

    info: ProgramInfo
    name: str
    memory: int
    loaded: float

    @property
    def id(self) -> int:
        """The program's id."""
        return self.info.id

    @property
    def type(self) -> str:
        """The program's type, in lower case as in ``enum bpf_prog_type``."""
        return PROGRAM_NAMES.get(self.info.type, f"type {self.info.type}")


@record
class KernelMap:
    """A map: the kernel's information, and the bytes of ``memory`` it takes."""

    info: MapInfo
    memory: int

    @property
    def type(self) -> str:
        """The map's type, in lower case as in ``enum bpf_map_type``."""
        return MAP_NAMES.get(self.info.type, f"type {self.info.type}")


class ProgramLister:
    """Lists all programs repeatedly, and caches their names, which take long to read."""

    def __init__(self) -> None:
        """Create the lister."""
        self._names: dict[int, str] = {}

    def list(self) -> dict[int, KernelProgram]:
        """Return the loaded programs by id, without those that are unloaded meanwhile. Raises OSError."""
        programs = {}
        boot_time = time.time() - ktime.boottime_ns() / 1e9
        for number in iter_ids(ObjectKind.PROGRAM):
            with ignore_vanished(), open_object(ObjectKind.PROGRAM, number) as descriptor:
                programs[number] = self._read(descriptor, boot_time)
        self._names = {number: name for number, name in self._names.items() if number in programs}
        return programs

    def _read(self, descriptor: int, boot_time: float) -> KernelProgram:
        info = read_program(descriptor, code=False)
        if info.id not in self._names:
            self._names[info.id] = _full_name(descriptor, info)
        memory = int(own_file_info(descriptor).get("memlock", 0))
        return KernelProgram(info, self._names[info.id], memory, boot_time + info.load_time / 1e9)


def list_maps() -> dict[int, KernelMap]:
    """Return the maps by id. Raises OSError."""
    maps = {}
    for number in iter_ids(ObjectKind.MAP):
        with ignore_vanished(), open_object(ObjectKind.MAP, number) as descriptor:
            maps[number] = read_kernel_map(descriptor)
    return maps


def read_kernel_map(descriptor: int) -> KernelMap:
    """Read the kernel's information on a map. Raises OSError."""
    return KernelMap(read_map(descriptor), int(own_file_info(descriptor).get("memlock", 0)))


def _full_name(descriptor: int, info: ProgramInfo) -> str:
    """Return the full name: a name that the kernel cut is completed from the program's BTF."""
    if len(info.name) < _CUT or not info.btf_id:
        return info.name
    functions = read_program(descriptor).functions
    full_name = functions[0].name if functions else ""
    return full_name if full_name.startswith(info.name) else info.name


@contextlib.contextmanager
def ignore_vanished() -> Iterator[None]:
    """Ignore the errors of an object that no longer exists."""
    try:
        yield
    except OSError as error:
        if error.errno not in _GONE:
            raise
