"""Programs that use maps of each type several times in a row, for lab/guest/hook_costs.py to measure."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from pytracer.bpf.asm.assembler import Assembler, HelperId, Register, Size
from pytracer.bpf.attach.perf import ATTR_SIZE
from pytracer.bpf.load import local_storage
from pytracer.bpf.sys import PER_CPU, MapType, ProgType, map_create, map_update, perf_event_open
from pytracer.bpf.trial import load, return_code
from pytracer.kernel.cpus import online_cpus, possible_cpus

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register
KEY, VALUE, SIZE = -8, -24, 16  # where on the stack they are; what a value takes
ENTRIES, ROOM = 1024, 1 << 25  # of a table; bytes of a ring, which nobody empties meanwhile
CURRENT_CPU = 0xFFFFFFFF  # BPF_F_CURRENT_CPU
NO_PREALLOC, NO_WAKEUP, REUSE, CREATE = 1, 1, 1 << 10, 1  # BPF_F_..., BPF_RB_NO_WAKEUP, ..._GET_F_CREATE
# enum bpf_map_type, where nothing else needs it
CGROUP_STORAGE, PERCPU_CGROUP_STORAGE, STACK, BLOOM_FILTER = 19, 21, 23, 30
SOFTWARE, BPF_OUTPUT, SAMPLE_RAW = 1, 10, 1 << 10  # include/uapi/linux/perf_event.h


@dataclass(frozen=True)
class Operation:
    """An operation of a program on ``hook`` with a map, repeated ``times`` times.

    ``made`` creates the map. ``code`` writes one repetition, given an assembler, the map and the number of
    the repetition.
    """

    name: str
    made: Callable[[], contextlib.AbstractContextManager[int]]
    code: Callable[[Assembler, int, int], None]
    times: int = 4
    hook: str = "raw tracepoint"

    def program(self, table: int, times: int, result: int) -> bytes:
        """Assemble the program: a key of zeros and a value of zeros on the stack, R6 the context, then the
        code."""
        a = Assembler()
        a.mov(R6, R1)
        for offset in (KEY, VALUE, VALUE + 8):
            a.store(Size.DW, R10, offset, 0)
        for time in range(times):
            self.code(a, table, time)
        a.mov(R0, result)
        a.exit()
        return a.assemble()


@contextlib.contextmanager
def alone(
    kind: int, key: int, value: int, entries: int, flags: int = 0, *, inner: int = 0, btf: int = 0
) -> Iterator[int]:
    """Create a map without entries."""
    fd = map_create(kind, key, value, entries, flags, inner=inner, btf=btf)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def table(kind: int, *, key: bytes = bytes(4), flags: int = 0, entries: int = ENTRIES) -> Iterator[int]:
    """Create a map with one entry, of zeros."""
    with alone(kind, len(key), SIZE, entries, flags) as fd:
        map_update(fd, key, bytes(SIZE * (possible_cpus() if kind in PER_CPU else 1)))
        yield fd


def counter() -> contextlib.AbstractContextManager[int]:
    """Create the map in which ``counting`` counts."""
    return table(MapType.PERCPU_HASH)


def counting(fd: int, result: int) -> bytes:
    """Return a program that looks up a row in a hash, and counts in it."""
    a = Assembler()
    a.store(Size.DW, R10, KEY, 0)
    look_up(a, fd, 0)
    a.jump_if(R0, "==", 0, "out")
    a.load(Size.DW, R1, R0, 0)
    a.add(R1, 1)
    a.store(Size.DW, R0, 0, R1)
    a.label("out")
    a.mov(R0, result)
    a.exit()
    return a.assemble()


def at_stack(a: Assembler, register: Register, offset: int) -> None:
    """Set a register to the address of a place on the stack."""
    a.mov(register, R10)
    a.add(register, offset)


def look_up(a: Assembler, fd: int, _: int) -> None:
    """Look up the key: R0 = the value's address."""
    a.load_map(R1, fd)
    at_stack(a, R2, KEY)
    a.call(HelperId.map_lookup_elem)


def look_up_prefix(a: Assembler, fd: int, time: int) -> None:
    """Look up an address of 32 bits, of which a trie holds the first 0."""
    a.store(Size.W, R10, KEY, 32)
    look_up(a, fd, time)


def update(a: Assembler, fd: int, _: int) -> None:
    """Update the same key."""
    a.load_map(R1, fd)
    at_stack(a, R2, KEY)
    at_stack(a, R3, VALUE)
    a.mov(R4, 0)
    a.call(HelperId.map_update_elem)


def push_and_pop(a: Assembler, fd: int, _: int) -> None:
    """Push a value, and pop one."""
    a.load_map(R1, fd)
    at_stack(a, R2, VALUE)
    a.mov(R3, 0)
    a.call(HelperId.map_push_elem)
    a.load_map(R1, fd)
    at_stack(a, R2, VALUE)
    a.call(HelperId.map_pop_elem)


def peek(a: Assembler, fd: int, _: int) -> None:
    """Peek at a value. The buffer is written first: for the verifier of Linux 7.2 the helper overwrites
    it."""
    for offset in (VALUE, VALUE + 8):
        a.store(Size.DW, R10, offset, 0)
    a.load_map(R1, fd)
    at_stack(a, R2, VALUE)
    a.call(HelperId.map_peek_elem)


def output(a: Assembler, fd: int, _: int) -> None:
    """Output a record, copied."""
    a.load_map(R1, fd)
    at_stack(a, R2, VALUE)
    a.mov(R3, SIZE)
    a.mov(R4, NO_WAKEUP)
    a.call(HelperId.ringbuf_output)


def reserve_and_submit(a: Assembler, fd: int, time: int) -> None:
    """Reserve a record, and submit it."""
    a.load_map(R1, fd)
    a.mov(R2, SIZE)
    a.mov(R3, 0)
    a.call(HelperId.ringbuf_reserve)
    a.jump_if(R0, "==", 0, f"full {time}")
    a.mov(R1, R0)
    a.mov(R2, NO_WAKEUP)
    a.call(HelperId.ringbuf_submit)
    a.label(f"full {time}")


def perf_output(a: Assembler, fd: int, _: int) -> None:
    """Output a record to the ring of this CPU."""
    a.mov(R1, R6)
    a.load_map(R2, fd)
    a.load_constant(R3, CURRENT_CPU)
    at_stack(a, R4, VALUE)
    a.mov(R5, SIZE)
    a.call(HelperId.perf_event_output)


def take_stack(a: Assembler, fd: int, _: int) -> None:
    """Get the id of the kernel's stack."""
    a.mov(R1, R6)
    a.load_map(R2, fd)
    a.mov(R3, REUSE)
    a.call(HelperId.get_stackid)


def tail_call(a: Assembler, fd: int, _: int) -> None:
    """Jump to another program, which ends at once."""
    a.mov(R1, R6)
    a.load_map(R2, fd)
    a.mov(R3, 0)
    a.call(HelperId.tail_call)


def of_task(a: Assembler, fd: int, _: int) -> None:
    """Get the storage of the running task."""
    a.call(HelperId.get_current_task_btf)
    a.mov(R2, R0)
    a.load_map(R1, fd)
    a.mov(R3, 0)
    a.mov(R4, CREATE)
    a.call(HelperId.task_storage_get)


def of_cgroup(a: Assembler, fd: int, _: int) -> None:
    """Get the storage of the cgroup to which the program is attached."""
    a.load_map(R1, fd)
    a.mov(R2, 0)
    a.call(HelperId.get_local_storage)


@contextlib.contextmanager
def filled(kind: int) -> Iterator[int]:
    """Create a map without keys and with one value."""
    with alone(kind, 0, SIZE, ENTRIES) as fd:
        map_update(fd, b"", bytes(SIZE))
        yield fd


@contextlib.contextmanager
def nested(kind: int) -> Iterator[int]:
    """Create a map with another in it."""
    with table(MapType.ARRAY, entries=1) as inner, alone(kind, 4, 4, 1, inner=inner) as outer:
        map_update(outer, bytes(4), struct.pack("I", inner))
        yield outer


@contextlib.contextmanager
def stored(kind: int) -> Iterator[int]:
    """Create storage of tasks: values of four bytes."""
    types = local_storage.storage_types(4)
    try:
        with alone(kind, 4, 4, 0, NO_PREALLOC, btf=types) as fd:
            yield fd
    finally:
        os.close(types)


@contextlib.contextmanager
def programs() -> Iterator[int]:
    """Create a program array with a program that does nothing."""
    with alone(MapType.PROG_ARRAY, 4, 4, 1) as fd:
        program = load(ProgType.RAW_TRACEPOINT, return_code(0))
        try:
            map_update(fd, bytes(4), struct.pack("I", program))
            yield fd
        finally:
            os.close(program)


@contextlib.contextmanager
def rings() -> Iterator[int]:
    """Open an overwritable ring on each CPU: readers cannot write to its pages."""
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(alone(MapType.PERF_EVENT_ARRAY, 4, 4, possible_cpus()))
        attr = struct.pack("IIQQQ", SOFTWARE, ATTR_SIZE, BPF_OUTPUT, 1 << 40, SAMPLE_RAW).ljust(
            ATTR_SIZE, b"\0"
        )
        for cpu in online_cpus():
            event = perf_event_open(attr, -1, cpu)
            stack.callback(os.close, event)
            stack.enter_context(mmap.mmap(event, 65 * mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ))
            map_update(fd, struct.pack("I", cpu), struct.pack("I", event))
        yield fd


def _tables(kind: int, *, key: bytes = bytes(4), flags: int = 0) -> tuple[Operation, ...]:
    create = partial(table, kind, key=key, flags=flags)
    lookup = look_up_prefix if kind == MapType.LPM_TRIE else look_up
    return Operation("look up", create, lookup), Operation("update", create, update)


OPERATIONS = {
    "hash": _tables(MapType.HASH),
    "array": _tables(MapType.ARRAY),
    "prog_array": (Operation("tail call", programs, tail_call, times=1),),
    "perf_event_array": (Operation("output", rings, perf_output),),
    "percpu_hash": _tables(MapType.PERCPU_HASH),
    "percpu_array": _tables(MapType.PERCPU_ARRAY),
    "stack_trace": (Operation("take", partial(alone, MapType.STACK_TRACE, 4, 127 * 8, ENTRIES), take_stack),),
    "lru_hash": _tables(MapType.LRU_HASH),
    "lru_percpu_hash": _tables(MapType.LRU_PERCPU_HASH),
    "lpm_trie": _tables(MapType.LPM_TRIE, key=bytes(8), flags=NO_PREALLOC),
    "array_of_maps": (Operation("look up", partial(nested, MapType.ARRAY_OF_MAPS), look_up),),
    "hash_of_maps": (Operation("look up", partial(nested, MapType.HASH_OF_MAPS), look_up),),
    "cgroup_storage": (
        Operation("get", partial(alone, CGROUP_STORAGE, 16, SIZE, 0), of_cgroup, hook="cgroup skb"),
    ),
    "percpu_cgroup_storage": (
        Operation("get", partial(alone, PERCPU_CGROUP_STORAGE, 16, SIZE, 0), of_cgroup, hook="cgroup skb"),
    ),
    "queue": (Operation("push and pop", partial(filled, MapType.QUEUE), push_and_pop),),
    "stack": (Operation("push and pop", partial(filled, STACK), push_and_pop),),
    "ringbuf": (
        Operation("output", partial(alone, MapType.RINGBUF, 0, 0, ROOM), output),
        Operation("reserve, submit", partial(alone, MapType.RINGBUF, 0, 0, ROOM), reserve_and_submit),
    ),
    "task_storage": (Operation("get", partial(stored, MapType.TASK_STORAGE), of_task),),
    "bloom_filter": (Operation("peek", partial(filled, BLOOM_FILTER), peek),),
}
"""By the types' names in :data:`pytracer.features.feature_table.FEATURES`."""
