"""Names of the addresses that scripts store: functions of the kernel, and of processes that may end early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pytracer.arrays import Array, np
from pytracer.enrich.script_values import split_process
from pytracer.lang.script.types import TARGET_SYMBOL
from pytracer.symbols import memory_maps
from pytracer.symbols.history import UNLOADED
from pytracer.symbols.kernel import KernelSymbols
from pytracer.symbols.process_sources import ProcessSources
from pytracer.symbols.user import ANONYMOUS, ASTRAY, UNKNOWN, UserSymbols
from pytracer.text import harmless

if TYPE_CHECKING:
    from pytracer.symbols.source_frames import SourceFrame

_NO_NAMES = (UNKNOWN, ANONYMOUS, ASTRAY, UNLOADED)
_FUNCTION = 1 << 63  # FUNCTION of pytracer.symbols.python
_FAR = 1 << 20  # no function is that long: what is further behind its start is in no known function


class ScriptSymbols:
    """Looks up functions. A process that was noticed keeps its names after its end."""

    def __init__(self) -> None:
        self._kernel: KernelSymbols | None = None
        self._user = UserSymbols()
        self.name_functions: Callable[[Array], list[str]] | None = None
        """Names the functions of Python that stacks have instead of addresses: of a process those that are
        at least 1 << 63; None if there are none."""
        self._images = dict[int, int]()
        self._sources = ProcessSources(self._user)

    def close(self) -> None:
        """Close files."""
        self._user.close()
        self._sources.close()

    def notice(self, pid: int) -> None:
        """Read the mappings of a process."""
        image = memory_maps.image_of(pid)
        if image and self._user.notice(pid):
            self._images[pid] = image

    def notice_new(self, pids: Iterator[int]) -> None:
        """Read the mappings of processes whose mappings were not read before."""
        for pid in pids:
            if pid not in self._images:
                self.notice(pid)

    def names(self, user: bool, pid: int, addresses: Sequence[int], *, offsets: bool = False) -> list[str]:
        """Return the function at each address, with the distance from its start if requested."""
        array = np.array(addresses, dtype=np.uint64)
        if not addresses:
            return []
        found = self._user_names(pid, array) if user else self._kernel_names(array)
        return [
            f"{address:#x}"
            if name in _NO_NAMES
            else f"{name}+{offset}"
            if offsets and offset is not None
            else name
            for (name, offset), address in zip(found, addresses, strict=True)
        ]

    def build_ids(self, pid: int, addresses: Sequence[int]) -> list[str]:
        """Return the build id of the file of each address of a process, and the offset in it."""
        self.notice(pid)
        places = (self._user.locate(pid, self._images.get(pid, 0), address) for address in addresses)
        return [
            f"{address:#x}" if location is None else f"{location[0].build_id} {location[1]:#x}"
            for location, address in zip(places, addresses, strict=True)
        ]

    def files(self, pid: int, addresses: Sequence[int]) -> list[str]:
        """Return the file that a process has mapped at each address; "" where there is none."""
        image = self._images.get(pid, 0)
        mappings = (self._user.mapping(pid, image, address) for address in addresses)
        return ["" if mapping is None else harmless(mapping.path) for mapping in mappings]

    def source_frames(self, pid: int, addresses: Sequence[int]) -> list[tuple[SourceFrame, ...]]:
        """Return the places in the source of each address of a process, the innermost inlined function first;
        none for an address in a file without debug information."""
        self.notice(pid)
        return [self._sources.frames(pid, self._images.get(pid, 0), address) for address in addresses]

    @property
    def user(self) -> UserSymbols:
        """The names of functions of programs."""
        return self._user

    def _user_names(self, pid: int, addresses: Array) -> list[tuple[str, int | None]]:
        is_function = addresses >= np.uint64(_FUNCTION)
        if self.name_functions is not None and is_function.any():
            functions = iter(self.name_functions(addresses[is_function]))
            others = iter(self._user_names(pid, addresses[~is_function]))
            return [(next(functions), None) if is_one else next(others) for is_one in is_function.tolist()]
        self.notice(pid)
        image = self._images.get(pid, 0)
        names = self._user.names(pid, image, None, addresses)
        places = (self._user.locate(pid, image, address) for address in addresses.tolist())
        return [
            (name, None if location is None else location[0].function_offset(location[1]))
            for name, location in zip(names, places, strict=True)
        ]

    def _kernel_names(self, addresses: Array) -> list[tuple[str, int | None]]:
        self._kernel = self._kernel or KernelSymbols()
        names = self._kernel.names(addresses)
        starts = [self._kernel.address(name) for name in names]
        return [
            (name, address - start if start and 0 <= address - start < _FAR else None)
            for name, start, address in zip(names, starts, addresses.tolist(), strict=True)
        ]


def processes(words: Array, columns: Sequence[int]) -> Iterator[int]:
    """Yield the processes in these columns of rows of words."""
    for column in columns:
        for word in np.unique(words[:, column]).tolist():
            if word and not word & TARGET_SYMBOL:
                yield split_process(word)[0]
