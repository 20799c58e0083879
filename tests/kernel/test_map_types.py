"""Test map types by programs of a few instructions, which the test runs."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading

import pytest

from pytracer.bpf.asm.assembler import Assembler, HelperId, Register, Size
from pytracer.bpf.image import MapSpec
from pytracer.bpf.load import local_storage
from pytracer.bpf.read import maps
from pytracer.bpf.sys import Command, MapType, ProgType, address, bpf, map_create, map_update
from pytracer.bpf.trial import load
from pytracer.features import feature_table
from pytracer.kernel.cpus import possible_cpus
from pytracer.kernel.policy import raise_memlock
from support.needs import needs
from support.prog_test_run import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register
LOOKUP_AND_DELETE = 21  # enum bpf_cmd
STACK, BLOOM_FILTER = 23, 30  # enum bpf_map_type
NO_PREALLOC, CREATE = 1, 1  # BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE


@pytest.fixture
def close_later():
    """Collect descriptors, and close them at the end."""
    raise_memlock()
    with contextlib.ExitStack() as stack:

        def keep(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        yield keep


def u32(number):
    return struct.pack("I", number)


def element(command, table, key, value=b"", flags=0):
    """Return an operation of one entry; the value as it then is."""
    k, v = bytearray(key or b"\0"), bytearray(value)
    bpf(command, struct.pack("IxxxxQQQ", table, address(k) if key else 0, address(v) if v else 0, flags))
    return bytes(v)


def lookup(table, key, size=4):
    """Return the value, or None."""
    try:
        return element(Command.MAP_LOOKUP_ELEM, table, key, bytes(size))
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def program(a):
    return load(ProgType.RAW_TRACEPOINT, a.assemble())


def at_stack(a, register, offset):
    """Set a register to an address on the stack."""
    a.mov(register, R10)
    a.add(register, offset)


def count_up(a):
    """Increment the value that R0 points to, and load it into R0; return 0 if R0 is null."""
    a.jump_if(R0, "!=", 0, "there")
    a.exit()
    a.label("there")
    a.load(Size.W, R1, R0, 0)
    a.add(R1, 1)
    a.store(Size.W, R0, 0, R1)
    a.mov(R0, R1)
    a.exit()


def test_an_lru_map_evicts_the_least_recently_used(close_later):
    table = close_later(map_create(MapType.LRU_HASH, 4, 4, 256))
    for number in range(1009):
        map_update(table, u32(number), u32(number))
    stored = [number for number in range(1009) if lookup(table, u32(number)) is not None]
    assert 0 < len(stored) <= 256
    assert 1008 in stored
    assert 0 not in stored


def test_a_trie_finds_the_longest_prefix(close_later):
    table = close_later(map_create(MapType.LPM_TRIE, 8, 4, 23, NO_PREALLOC))
    for bits, octets, value in ((0, (0,) * 4, 1), (8, (10, 0, 0, 0), 2), (24, (10, 1, 2, 0), 3)):
        map_update(table, struct.pack("I4B", bits, *octets), u32(value))
    requests = {(10, 1, 2, 3): 3, (10, 1, 3, 3): 2, (192, 0, 2, 1): 1}
    for octets, value in requests.items():
        a = Assembler()
        a.store(Size.W, R10, -8, 32)
        a.store(Size.W, R10, -4, int.from_bytes(bytes(octets), "little", signed=True))
        a.load_map(R1, table)
        at_stack(a, R2, -8)
        a.call(HelperId.map_lookup_elem)
        a.jump_if(R0, "==", 0, "out")
        a.load(Size.W, R0, R0, 0)
        a.label("out")
        a.exit()
        assert run(close_later(program(a))) == value


@pytest.mark.parametrize(("kind", "order"), [(MapType.QUEUE, 1), (STACK, -1)], ids=["queue", "stack"])
def test_queues_and_stacks(close_later, kind, order):
    table = close_later(map_create(kind, 0, 4, 23))
    for number in range(23):
        map_update(table, b"", u32(number))
    with pytest.raises(OSError, match=os.strerror(errno.E2BIG)):
        map_update(table, b"", u32(23))
    a = Assembler()
    a.load_map(R1, table)
    at_stack(a, R2, -4)
    a.store(Size.W, R10, -4, 0)
    a.call(HelperId.map_pop_elem)
    a.jump_if(R0, "!=", 0, "empty")
    a.load(Size.W, R0, R10, -4)
    a.exit()
    a.label("empty")
    a.mov(R0, -1)
    a.exit()
    popped = close_later(program(a))
    numbers = list(range(23))[::order]
    assert [run(popped) for _ in range(11)] == numbers[:11]
    values = [element(LOOKUP_AND_DELETE, table, b"", bytes(4)) for _ in range(12)]
    assert [struct.unpack("I", value)[0] for value in values] == numbers[11:]
    assert run(popped) == -1
    a = Assembler()
    a.store(Size.W, R10, -4, 101)
    a.load_map(R1, table)
    at_stack(a, R2, -4)
    a.mov(R3, 0)
    a.call(HelperId.map_push_elem)
    a.exit()
    assert run(close_later(program(a))) == 0
    assert element(Command.MAP_LOOKUP_ELEM, table, b"", bytes(4)) == u32(101)


@pytest.mark.parametrize("kind", [MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS])
def test_maps_in_a_map_can_be_changed_for_others(close_later, kind):
    inner_maps = [close_later(map_create(MapType.ARRAY, 4, 4, 1)) for _ in range(2)]
    outer = close_later(map_create(kind, 4, 4, 1, inner=inner_maps[0]))
    a = Assembler()
    a.store(Size.W, R10, -4, 0)
    a.load_map(R1, outer)
    at_stack(a, R2, -4)
    a.call(HelperId.map_lookup_elem)
    a.jump_if(R0, "!=", 0, "inside")
    a.exit()
    a.label("inside")
    a.mov(R1, R0)
    at_stack(a, R2, -4)
    a.call(HelperId.map_lookup_elem)
    count_up(a)
    counts = close_later(program(a))
    assert run(counts) == 0
    for table, times in ((inner_maps[0], 23), (inner_maps[1], 7), (inner_maps[0], 1)):
        map_update(outer, u32(0), u32(table))
        for _ in range(times):
            run(counts)
    assert [lookup(table, u32(0)) for table in inner_maps] == [u32(24), u32(7)]


def test_a_program_tail_calls_others(close_later):
    counter_map = close_later(map_create(MapType.ARRAY, 4, 4, 1))
    programs = close_later(map_create(MapType.PROG_ARRAY, 4, 4, 2))

    def step(number):
        """Count, and call the other program until 23 runs are counted."""
        a = Assembler()
        a.mov(R6, R1)
        a.store(Size.W, R10, -4, 0)
        a.load_map(R1, counter_map)
        at_stack(a, R2, -4)
        a.call(HelperId.map_lookup_elem)
        a.jump_if(R0, "==", 0, "out")
        a.load(Size.W, R1, R0, 0)
        a.add(R1, 1)
        a.store(Size.W, R0, 0, R1)
        a.jump_if(R1, ">=", 23, "out")
        a.mov(R1, R6)
        a.load_map(R2, programs)
        a.mov(R3, 1 - number)
        a.call(HelperId.tail_call)
        a.label("out")
        a.mov(R0, 100 + number)
        a.exit()
        return close_later(program(a))

    steps = [step(0), step(1)]
    for number, program_fd in enumerate(steps):
        map_update(programs, u32(number), u32(program_fd))
    assert run(steps[0]) == 100  # the first did the last of 23
    assert lookup(counter_map, u32(0)) == u32(23)
    element(Command.MAP_DELETE_ELEM, programs, u32(1))
    map_update(counter_map, u32(0), u32(0))
    assert run(steps[0]) == 100  # nowhere to go on
    assert lookup(counter_map, u32(0)) == u32(1)


def is_granted(name):
    [feature] = [
        candidate for candidate in feature_table.FEATURES if (candidate.kind, candidate.name) == ("map", name)
    ]
    return feature_table.probe(feature).status == feature_table.GRANTED


def test_storage_is_each_tasks_own(close_later):
    can = is_granted("task_storage") and not feature_table.helper_refusal(
        ProgType.RAW_TRACEPOINT, HelperId.task_storage_get
    )
    needs("task storage", can)
    types = close_later(local_storage.storage_types(4))
    table = close_later(map_create(MapType.TASK_STORAGE, 4, 4, 0, NO_PREALLOC, btf=types))
    a = Assembler()
    a.call(HelperId.get_current_task_btf)
    a.mov(R2, R0)
    a.load_map(R1, table)
    a.mov(R3, 0)
    a.mov(R4, CREATE)
    a.call(HelperId.task_storage_get)
    count_up(a)
    counts = close_later(program(a))
    values_by_task = []
    thread = threading.Thread(target=lambda: values_by_task.extend(run(counts) for _ in range(7)))
    assert [run(counts) for _ in range(23)] == list(range(1, 24))
    thread.start()
    thread.join()
    assert values_by_task == list(range(1, 8))
    assert run(counts) == 24


def test_a_bloom_filter_misses_nothing(close_later):
    needs("bloom filter", is_granted("bloom_filter"))
    table = close_later(map_create(BLOOM_FILTER, 0, 4, 101))
    for number in range(101):
        map_update(table, b"", u32(number))

    def has(number):
        try:
            element(Command.MAP_LOOKUP_ELEM, table, b"", u32(number))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    assert all(map(has, range(101)))
    assert sum(map(has, range(101, 1110))) < 1009 // 2
    a = Assembler()
    a.store(Size.W, R10, -4, 7)
    a.load_map(R1, table)
    at_stack(a, R2, -4)
    a.call(HelperId.map_peek_elem)
    a.exit()
    assert run(close_later(program(a))) == 0


@pytest.mark.parametrize("walks", [False, True])
@pytest.mark.parametrize("kind", [MapType.HASH, MapType.PERCPU_HASH])
def test_entries_without_numpy_are_those_with_it(monkeypatch, close_later, kind, walks):
    """The other way, for kernels that read no batches, takes two system calls for each entry."""
    if walks:

        def refuse(*_):
            raise OSError(errno.EINVAL, "")

        monkeypatch.setattr(maps, "bpf_inout", refuse)
    spec = MapSpec("table", kind, 4, 4, 301, 0, '"unsigned int"', '"unsigned int"')
    table = maps.Map.of(spec, close_later(map_create(kind, 4, 4, 301)), 301)
    assert (table.is_empty, table.entries()) == (True, [])
    cpus = possible_cpus() if kind is MapType.PERCPU_HASH else 1
    padding = bytes(4 * (kind is MapType.PERCPU_HASH))
    expected = {u32(n): b"".join(u32(1000 * n + cpu) + padding for cpu in range(cpus)) for n in range(300)}
    for key, value in expected.items():
        table.update(key, value)
    entries = table.entries()
    assert (len(entries), dict(entries)) == (300, expected)
    keys, values = table.read()
    assert [(u32(key), numbers.tobytes()) for key, numbers in zip(keys.tolist(), values, strict=True)] == [
        (key, b"".join(value[i : i + 4] for i in range(0, len(value), 4 + len(padding))))
        for key, value in entries
    ]
    assert not table.is_empty
