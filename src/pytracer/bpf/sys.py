"""The system calls bpf(2), perf_event_open(2) and membarrier(2), with their constants."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from enum import IntEnum

from pytracer.errors import UnsupportedError

_NUMBERS = {  # machine: (bpf, perf_event_open, membarrier)
    "x86_64": (321, 298, 324),
    "aarch64": (280, 241, 283),
    "riscv64": (280, 241, 283),
    "loongarch64": (280, 241, 283),
    "ppc64le": (361, 319, 365),
    "s390x": (351, 331, 356),
}
_libc = ctypes.CDLL(None, use_errno=True)
_ATTR_SIZE = 128


class Command(IntEnum):
    """``enum bpf_cmd``: the commands that pytracer uses."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_ATTACH = 8
    PROG_DETACH = 9
    PROG_TEST_RUN = 10
    PROG_GET_NEXT_ID = 11
    MAP_GET_NEXT_ID = 12
    PROG_GET_FD_BY_ID = 13
    MAP_GET_FD_BY_ID = 14
    OBJ_GET_INFO_BY_FD = 15
    PROG_QUERY = 16
    RAW_TRACEPOINT_OPEN = 17
    BTF_LOAD = 18
    BTF_GET_FD_BY_ID = 19
    TASK_FD_QUERY = 20
    MAP_LOOKUP_BATCH = 24
    MAP_LOOKUP_AND_DELETE_BATCH = 25
    MAP_UPDATE_BATCH = 26
    MAP_DELETE_BATCH = 27
    LINK_CREATE = 28
    LINK_GET_FD_BY_ID = 30
    LINK_GET_NEXT_ID = 31
    ENABLE_STATS = 32
    ITER_CREATE = 33


class ProgType(IntEnum):
    """``enum bpf_prog_type``: the types that pytracer uses."""

    SOCKET_FILTER = 1
    KPROBE = 2
    SCHED_CLS = 3
    TRACEPOINT = 5
    XDP = 6
    PERF_EVENT = 7
    CGROUP_SKB = 8
    CGROUP_SOCK = 9
    RAW_TRACEPOINT = 17
    CGROUP_SOCK_ADDR = 18
    TRACING = 26
    LSM = 29


class MapType(IntEnum):
    """``enum bpf_map_type``: the types that pytracer uses."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERF_EVENT_ARRAY = 4
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    STACK_TRACE = 7
    CGROUP_ARRAY = 8
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    LPM_TRIE = 11
    ARRAY_OF_MAPS = 12
    HASH_OF_MAPS = 13
    QUEUE = 22
    SK_STORAGE = 24
    RINGBUF = 27
    INODE_STORAGE = 28
    TASK_STORAGE = 29
    CGRP_STORAGE = 32


LOCAL_STORAGE = frozenset(
    {MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE}
)
PER_CPU = frozenset({MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH})


def _syscall_number(command: int) -> int:
    try:
        return _NUMBERS[os.uname().machine][command]
    except KeyError:
        raise UnsupportedError(f"pytracer does not know the system calls of {os.uname().machine}") from None


def address(buffer: bytearray) -> int:
    """Return the address of a writable buffer; the caller keeps it alive while the kernel uses it."""
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def bpf(command: int, attr: bytes) -> int:
    """Call bpf(2). ``attr`` is the front of ``union bpf_attr``; the rest is zero. Raises OSError."""
    result, _ = bpf_inout(command, attr)
    return result


def bpf_inout(command: int, attr: bytes) -> tuple[int, bytes]:
    """Call bpf(2) and return its result with the ``attr`` that the kernel wrote back. Raises OSError."""
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    result = _libc.syscall(_syscall_number(0), command, buffer, _ATTR_SIZE)
    if result < 0:
        error = ctypes.get_errno()
        raise BpfError(error, command, buffer.raw)
    return result, buffer.raw


class SyscallError(OSError):
    """A system call failed; ``call`` names it, such as ``bpf(BPF_PROG_LOAD)``."""

    def __init__(self, error: int, call: str) -> None:
        super().__init__(error, os.strerror(error))
        self.call = call


class BpfError(SyscallError):
    """bpf(2) failed; ``attr`` are the attributes as the kernel left them (the count of a batch is there)."""

    def __init__(self, error: int, command: int, attr: bytes) -> None:
        command_name = Command(command).name if command in Command.__members__.values() else str(command)
        super().__init__(error, f"bpf(BPF_{command_name})")
        self.attr = attr


def map_create(
    kind: int,
    key_size: int,
    value_size: int,
    max_entries: int,
    flags: int = 0,
    *,
    name: str = "",
    inner: int = 0,
    btf: int = 0,
) -> int:
    """Create a map and return its descriptor.

    ``name`` is its name in the kernel. ``inner`` is the template map of a map of maps. ``btf`` is a
    descriptor of the types of local storage, the first that of keys, the second that of values
    (:mod:`pytracer.bpf.load.local_storage`). Raises OSError.
    """
    attr = struct.pack("IIIIII", kind, key_size, value_size, max_entries, flags, inner)
    if btf:
        attr = attr.ljust(48, b"\0") + struct.pack("III", btf, 1, 2)  # btf_fd, of keys, of values
    return _create_named(Command.MAP_CREATE, attr, 28, name)  # map_name


def map_update(fd: int, key: bytes, value: bytes) -> None:
    """Set one entry of a map; ``value`` in the kernel's layout. A queue has no ``key``. Raises OSError."""
    k, v = bytearray(key), bytearray(value)
    attr = struct.pack("IxxxxQQQ", fd, address(k) if k else 0, address(v), 0)
    bpf(Command.MAP_UPDATE_ELEM, attr)


def prog_load(
    kind: int,
    instructions: bytes,
    *,
    log: bytearray | None = None,
    level: int = 1,
    version: int = 0,
    flags: int = 0,
    attach_type: int = 0,
    btf_id: int = 0,
    name: str = "",
    btf: int = -1,
    functions: bytes = b"",
    lines: bytes = b"",
) -> int:
    """Load a program and return its descriptor. Raises OSError.

    Args:
        kind: The program type.
        instructions: The code, ``struct bpf_insn`` records.
        log: A buffer for the verifier log.
        level: The log level: 1, 2 for more, 4 for statistics.
        version: LINUX_VERSION_CODE, which old kernels require.
        flags: BPF_F_* flags.
        attach_type: A value of ``enum bpf_attach_type``, if the type needs one.
        btf_id: The target's id in the kernel's BTF, if the type needs one.
        name: The program's name in the kernel.
        btf: A descriptor of the BTF for ``functions`` and ``lines``.
        functions: ``struct bpf_func_info`` records.
        lines: ``struct bpf_line_info`` records.
    """
    code, licence = bytearray(instructions), bytearray(b"GPL\0")
    debug_info = bytearray(functions), bytearray(lines)
    attr = struct.pack(
        "IIQQIIQII",
        kind,
        len(code) // 8,
        address(code),
        address(licence),
        level if log else 0,
        len(log) if log else 0,
        address(log) if log else 0,
        version,
        flags,
    )
    attr = attr.ljust(68, b"\0") + struct.pack("I", attach_type)  # expected_attach_type
    if btf >= 0 and functions:  # prog_btf_fd, func_info, line_info
        attr += struct.pack("IIQI", btf, 8, address(debug_info[0]), len(functions) // 8)
        attr += struct.pack("=IQI", 16, address(debug_info[1]), len(lines) // 16) if lines else b""
    attr = attr.ljust(108, b"\0") + struct.pack("I", btf_id)  # attach_btf_id
    return _create_named(Command.PROG_LOAD, attr, 48, name)  # prog_name


def btf_load(data: bytes) -> int:
    """Load the BTF of programs and maps and return its descriptor. Raises OSError."""
    types = bytearray(data)
    return bpf(Command.BTF_LOAD, struct.pack("QQI", address(types), 0, len(types)))


def _create_named(command: Command, attr: bytes, name_offset: int, name: str) -> int:
    """Call bpf(2) for an object with a name; without it on kernels before 4.15 (cb4d2b3f03d8)."""
    label = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name).encode()[:15]
    if label:
        named_attr = bytearray(attr.ljust(name_offset + 16, b"\0"))
        named_attr[name_offset : name_offset + len(label)] = label
        try:
            return bpf(command, bytes(named_attr))
        except OSError as error:
            if error.errno not in (errno.E2BIG, errno.EINVAL):
                raise
    return bpf(command, attr)


def raw_tracepoint_open(event: str, program: int) -> int:
    """Open a descriptor that keeps ``program`` on a raw tracepoint, or ("") on the target it was loaded for.

    Raises OSError.
    """
    name = bytearray(event.encode() + b"\0")
    return bpf(Command.RAW_TRACEPOINT_OPEN, struct.pack("QI", address(name) if event else 0, program))


def test_run(program: int) -> None:
    """Run a program for raw tracepoints once, without arguments (Linux 5.10, 1b4d60ec162f).

    Raises OSError.
    """
    bpf(Command.PROG_TEST_RUN, struct.pack("I", program))


def link_create(
    program: int, attach_type: int, type_attrs: bytes = b"", *, target: int = 0, flags: int = 0
) -> int:
    """Create a link and return its descriptor. ``type_attrs`` are the attributes of the attach type,
    ``target`` a descriptor of the attach target, or the index of an interface. Raises OSError."""
    return bpf(Command.LINK_CREATE, struct.pack("iIII", program, target, attach_type, flags) + type_attrs)


def program_by_id(number: int) -> int:
    """Open any program by its id. Raises OSError."""
    return bpf(Command.PROG_GET_FD_BY_ID, struct.pack("I", number))


def program_info(program: int) -> tuple[int, str]:
    """Return the id of a program, and its name ("" before Linux 4.15). Raises OSError."""
    info = bytearray(80)  # struct bpf_prog_info up to name
    object_info(program, info)
    name = info[64:80].partition(b"\0")[0].decode(errors="replace")
    return struct.unpack_from("I", info, 4)[0], name


def object_info(descriptor: int, info: bytearray) -> int:
    """Fill ``info`` with the kernel's information on a program, map, link or BTF. Returns the number of bytes
    that this kernel knows. Raises OSError."""
    attr = struct.pack("IIQ", descriptor, len(info), address(info))
    _, attr = bpf_inout(Command.OBJ_GET_INFO_BY_FD, attr)
    return int(struct.unpack_from("I", attr, 4)[0])


def recursion_misses(program: int) -> int:
    """Return how often the kernel skipped ``program`` since one already ran on that CPU (0 before Linux
    5.12)."""
    info = bytearray(232)  # struct bpf_prog_info up to verified_insns
    try:
        object_info(program, info)
    except OSError:
        return 0
    return int(struct.unpack_from("Q", info, 208)[0])


def perf_event_open(attr: bytes, pid: int, cpu: int) -> int:
    """Call perf_event_open(2), close-on-exec; ``attr`` is a struct perf_event_attr. Raises OSError."""
    buffer = ctypes.create_string_buffer(attr, _ATTR_SIZE)
    close_on_exec = 8  # PERF_FLAG_FD_CLOEXEC
    result = _libc.syscall(_syscall_number(1), buffer, pid, cpu, -1, ctypes.c_ulong(close_on_exec))
    if result < 0:
        raise SyscallError(ctypes.get_errno(), "perf_event_open")
    return int(result)


def membarrier(command: int) -> int:
    """Call membarrier(2) without flags. Raises OSError."""
    result = _libc.syscall(_syscall_number(2), command, 0, 0)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)
