"""Find the source of code in processes: its lines, and the functions that were inlined there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from pytracer.budget import Account, OverBudgetError
from pytracer.symbols import elf_tables, memory_maps
from pytracer.symbols.elf import Elf
from pytracer.symbols.elf_tables import ElfError
from pytracer.symbols.memory_maps import Mapping
from pytracer.symbols.user import UserSymbols

if TYPE_CHECKING:
    from pytracer.symbols.source_frames import SourceFile, SourceFrame

_Found = TypeVar("_Found")
_FileKey = tuple[str, int, str]
_Place = tuple[_FileKey, int]


class ProcessSources:
    """Looks up debug information of the files that processes have mapped, and keeps it open."""

    def __init__(self, user: UserSymbols) -> None:
        """``user`` knows the processes, and pays for what is read."""
        self._user = user
        self._files: dict[_FileKey, SourceFile | None] = {}
        self._frames: dict[_Place, tuple[SourceFrame, ...]] = {}
        self._inlined: dict[_Place, tuple[str, ...]] = {}
        self._open = contextlib.ExitStack()

    def close(self) -> None:
        """Close files."""
        self._open.close()

    def frames(self, pid: int, image: int, address: int) -> tuple[SourceFrame, ...]:
        """Return the places in the source of an address of a process, the innermost inlined function first;
        none in a file without debug information."""
        return self._look_up(self._frames, lambda file, place: file.frames(place), pid, image, address)

    def inlined(self, pid: int, image: int, address: int, generation: int | None = None) -> tuple[str, ...]:
        """Return the functions that were inlined at an address of a process, the innermost first, by their
        mangled names; ``generation`` is as for :meth:`UserSymbols.names`."""
        return self._look_up(
            self._inlined, lambda file, place: file.inlined(place), pid, image, address, generation
        )

    def _look_up(
        self,
        known: dict[_Place, tuple[_Found, ...]],
        find: Callable[[SourceFile, int], tuple[_Found, ...]],
        pid: int,
        image: int,
        address: int,
        generation: int | None = None,
    ) -> tuple[_Found, ...]:
        """Return what is found at the place in a file that an address is from, always the same; what is too
        much to read is not found."""
        location = self._user.locate(pid, image, address, generation)
        mapping = self._user.mapping(pid, image, address, generation)
        account = self._user.account(pid, image)
        if location is None or mapping is None or account is None or not mapping.inode:
            return ()
        key = mapping.device, mapping.inode, location[0].build_id
        place = key, location[0].to_address(location[1])
        if place not in known:
            known[place] = ()
            with contextlib.suppress(OverBudgetError), account.timed():
                if key not in self._files:
                    self._files[key] = None  # also if it is too much: once is enough
                    self._files[key] = self._read(pid, mapping, location[0], account)
                file = self._files[key]
                known[place] = () if file is None else find(file, place[1])
        return known[place]

    def _read(self, pid: int, mapping: Mapping, file: Elf, account: Account) -> SourceFile | None:
        """Read the debug information of a mapped file; None if it has none. Raises OverBudgetError."""
        from pytracer.symbols.source_frames import SourceFile  # DWARF

        handle = memory_maps.find_file(pid, mapping, is_exact=False)
        if handle is None:
            return None
        with handle, contextlib.suppress(ElfError, OSError):
            descriptor = handle.open()
            self._open.callback(os.close, descriptor)
            tables = elf_tables.read(descriptor, account)
            # Another one may have its name, and its inode, by now.
            return SourceFile(tables) if tables.build_id() == file.build_id else None
        return None
