"""Supply the unwind tables that the stacks in a script's values need (probes_c/include/script_values.h)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from pytracer.arrays import Array
from pytracer.bpf.load.unwind_maps import UnwindMaps, has_unwinder
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.python_names import read_new
from pytracer.bpf.read.streams.mmap_events import MappingEvents
from pytracer.budget import Budget
from pytracer.enrich.script_symbols import ScriptSymbols
from pytracer.kernel.policy import in_initial_namespace
from pytracer.request import Request
from pytracer.symbols import memory_maps
from pytracer.symbols.python import FunctionNames
from pytracer.trace.unwinding import TableSupply

_AGAIN = 1.0  # seconds between two looks at all processes, where no event tells of new mappings


class ScriptUnwinding:
    """Loads the unwind tables of the processes whose stacks a script takes."""

    def __init__(
        self, maps: Mapping[str, Map], symbols: ScriptSymbols, request: Request, budget: Budget
    ) -> None:
        """Load the tables of the processes that are traced by their ids."""
        self._supply = TableSupply(UnwindMaps(maps))
        self._images, self._names = maps["images"], maps["python_names"]
        self._functions, self._met = FunctionNames(), set[int]()
        self._symbols, self._request, self._budget = symbols, request, budget
        symbols.name_functions = self._name_functions
        self._known = set[tuple[int, int]]()  # processes with their images
        self._next_look = 0.0
        self._events: MappingEvents | None = None
        if in_initial_namespace("pid"):  # else the kernel records other ids than programs see
            with contextlib.suppress(OSError):
                self._events = MappingEvents()
        for pid in request.processes:
            self._add(pid, memory_maps.image_of(pid))
        self._supply.flush()

    @property
    def poll_interval(self) -> float:
        """See :class:`~pytracer.trace.unwinding.TableSupply`."""
        return self._supply.poll_interval

    def start(self) -> None:
        """Load the tables of the command, before it runs."""
        if self._request.command:
            self._supply.preload(self._request.command, self._budget)

    def poll(self) -> None:
        """Load the tables of processes whose stacks were taken for the first time, or that mapped code."""
        keys, values = self._images.read()
        processes = set(zip(keys.tolist(), values["image"].tolist(), strict=True))
        changed = self._find_changed({pid for pid, _ in processes})
        for pid, image in processes:
            if pid in changed or (pid, image) not in self._known:
                self._add(pid, image)
        self._known = processes
        self._supply.flush()

    def describe_fallbacks(self) -> str:
        """See :class:`~pytracer.trace.unwinding.TableSupply`."""
        return self._supply.describe_fallbacks()

    def close(self) -> None:
        """Close the events."""
        if self._events is not None:
            self._events.close()

    def _find_changed(self, pids: set[int]) -> set[int]:
        """Return those processes that mapped code since the last look, or may have."""
        if self._events is not None:
            has_gaps = bool(self._events.drain())
            changed = set[int]()
            for event in self._events.mapped_by(pids):
                changed.add(event.pid)
                if event.mapping is not None:
                    self._supply.add_file(event.pid, event.mapping, self._budget)
            return pids if has_gaps else changed
        if time.monotonic() < self._next_look:
            return set()
        self._next_look = time.monotonic() + _AGAIN
        return pids

    def _add(self, pid: int, image: int) -> None:
        self._symbols.notice(pid)
        account = self._symbols.user.account(pid, image)
        if account is not None:
            self._supply.add(pid, image, self._symbols.user.mappings(pid, image), account)

    def _name_functions(self, functions: Array) -> list[str]:
        """Return the names of Python functions in a stack."""
        new = set(functions.tolist()) - self._met
        if new:
            self._met |= new
            read_new(self._names, self._functions)
        return self._functions.find(functions)


def open_unwinding(
    maps: Mapping[str, Map], symbols: ScriptSymbols, request: Request, budget: Budget
) -> ScriptUnwinding | None:
    """Return what supplies the tables; None if the script's programs use frame pointers."""
    return ScriptUnwinding(maps, symbols, request, budget) if has_unwinder(maps) else None
