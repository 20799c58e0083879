"""Read the kernel's information on a program or map, by its descriptor (BPF_OBJ_GET_INFO_BY_FD).

Fields that an older kernel does not have are None or empty; fields that it hides from this process are empty,
but their size is known. The structures have only ever grown (include/uapi/linux/bpf.h): one layout serves
all.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence

from pytracer.bpf.sys import Command, address, bpf, object_info
from pytracer.errors import PytracerError
from pytracer.kernel.btf import Btf
from pytracer.record import record

_PROGRAM = struct.Struct("=II8sIIQQQIIQ16sIIQQIIQQIIQIIQQIIIIQQQQIII4x")
_MAP = struct.Struct("=IIIIII16sIIQQIIIIQ")
_BTF = struct.Struct("=QIIQII")
# Linux 5.1 (492ecee892c2), 5.12 (9ed9e9ba2337), 5.16 (aba64c7da983)
_RUN_COUNT_END, _RECURSION_END, _VERIFIED_END = 208, 216, 220
_GPL = 1


@record
class SourceLine:
    """The first instruction of a line of C.

    ``insn`` is the index among the translated instructions (after the verifier), ``address`` that of its
    native code, 0 if there is none or the kernel hides it.
    """

    insn: int
    file: str
    line: int
    column: int
    text: str
    address: int = 0


@record
class FuncInfo:
    """A function of a program: the first is the program itself, others are its subprograms. ``name`` is ""
    without BTF, ``address`` and ``size`` (bytes) are those of its native code."""

    insn: int
    name: str
    address: int
    size: int


@record
class ProgramInfo:
    """``struct bpf_prog_info`` with the arrays that it points to.

    ``type`` is of ``enum bpf_prog_type``; ``load_time`` in ns since boot; ``uid`` the user who loaded it.
    ``xlated`` are the instructions after the verifier, ``jited`` the native code of all functions in order;
    both are empty if the kernel hides them or they were not requested. ``run_time`` (ns) and ``run_count``
    count only while statistics are enabled; the kernel ``counts_runs`` since Linux 5.1. ``verified`` is the
    number of instructions that the verifier processed.
    """

    id: int
    type: int
    tag: str
    name: str
    load_time: int
    uid: int
    gpl: bool
    map_ids: tuple[int, ...]
    btf_id: int
    xlated_size: int
    jited_size: int
    xlated: bytes
    jited: bytes
    lines: tuple[SourceLine, ...]
    functions: tuple[FuncInfo, ...]
    counts_runs: bool
    run_time: int
    run_count: int
    recursion_misses: int | None
    verified: int | None
    attach_btf_object: int
    attach_btf_id: int


@record
class MapInfo:
    """``struct bpf_map_info``: sizes in bytes, ``type`` of ``enum bpf_map_type``. The BTF ids are 0 if the
    map was created without types of keys and values."""

    id: int
    type: int
    name: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    btf_id: int
    btf_key_type: int
    btf_value_type: int
    extra: int


def read_program(descriptor: int, *, code: bool = True) -> ProgramInfo:
    """Read the kernel's information on a program; without ``code``, no instructions and no lines of C.

    Raises OSError.
    """
    buffer = bytearray(_PROGRAM.size)
    object_info(descriptor, buffer)
    raw = _Program(buffer)
    # The second call passes buffers of the sizes that the first one returned.
    sizes = {"map_ids": 4 * raw.map_count}
    if code:
        sizes |= {
            "xlated": raw.xlated_size,
            "jited": raw.jited_size,
            "ksyms": 8 * raw.ksym_count,
            "lengths": 4 * raw.length_count,
            "func_info": raw.func_size * raw.func_count,
            "line_info": raw.line_size * raw.line_count,
            "jited_line_info": raw.jited_line_size * raw.jited_line_count,
        }
    buffers = {name: bytearray(size) for name, size in sizes.items() if size}
    second_request = bytearray(_PROGRAM.size)
    for name, (count_at, pointer_at) in _Program.PLACES.items():
        if name in buffers:
            struct.pack_into("=I", second_request, count_at, struct.unpack_from("=I", buffer, count_at)[0])
            struct.pack_into("=Q", second_request, pointer_at, address(buffers[name]))
    for size_at in _Program.RECORD_SIZES:
        second_request[size_at : size_at + 4] = buffer[size_at : size_at + 4]
    known_size = object_info(descriptor, second_request)
    raw = _Program(second_request)
    # The kernel resets the pointer of an array that it hides (kernel.kptr_restrict, no CAP_SYSLOG).
    arrays = {name: bytes(data) for name, data in buffers.items() if raw.pointer(name)}
    btf = _load_types(raw.btf_id) if code and raw.btf_id else None
    return ProgramInfo(
        id=raw.id,
        type=raw.type,
        tag=raw.tag.hex(),
        name=raw.name,
        load_time=raw.load_time,
        uid=raw.uid,
        gpl=raw.gpl,
        map_ids=_unpack_u32(arrays.get("map_ids", b""))[: raw.map_count],
        btf_id=raw.btf_id,
        xlated_size=raw.xlated_size,
        jited_size=raw.jited_size,
        xlated=arrays.get("xlated", b""),
        jited=arrays.get("jited", b""),
        lines=tuple(_read_lines(raw, arrays, btf)),
        functions=tuple(_read_functions(raw, arrays, btf)),
        counts_runs=known_size >= _RUN_COUNT_END,
        run_time=raw.run_time,
        run_count=raw.run_count,
        recursion_misses=raw.recursion_misses if known_size >= _RECURSION_END else None,
        verified=raw.verified if known_size >= _VERIFIED_END else None,
        attach_btf_object=raw.attach_btf_object,
        attach_btf_id=raw.attach_btf_id,
    )


def read_map(descriptor: int) -> MapInfo:
    """Read the kernel's information on a map. Raises OSError."""
    buffer = bytearray(_MAP.size)
    object_info(descriptor, buffer)
    fields = _MAP.unpack(buffer)
    kind, number, key_size, value_size, max_entries, flags, name = fields[:7]
    btf_id, key_type, value_type, _, extra = fields[11:]
    return MapInfo(
        id=number,
        type=kind,
        name=_decode_name(name),
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        flags=flags,
        btf_id=btf_id,
        btf_key_type=key_type,
        btf_value_type=value_type,
        extra=extra,
    )


def read_btf(number: int) -> bytes:
    """Read the BTF of that id, as it was loaded. Raises OSError."""
    descriptor = bpf(Command.BTF_GET_FD_BY_ID, struct.pack("I", number))
    try:
        info = bytearray(_BTF.size)
        object_info(descriptor, info)
        data = bytearray(_BTF.unpack(info)[1])
        object_info(descriptor, bytearray(_BTF.pack(address(data), len(data), 0, 0, 0, 0)))
        return bytes(data)
    finally:
        os.close(descriptor)


class _Program:
    """A ``struct bpf_prog_info`` as bytes, its members by name."""

    # For each array: the offset of its count and that of its pointer.
    PLACES = {
        "jited": (16, 24),
        "xlated": (20, 32),
        "map_ids": (52, 56),
        "ksyms": (104, 112),
        "lengths": (108, 120),
        "func_info": (144, 136),
        "line_info": (148, 152),
        "jited_line_info": (168, 160),
    }
    RECORD_SIZES = (132, 172, 176)

    def __init__(self, data: bytearray) -> None:
        self._data = data
        fields = _PROGRAM.unpack(data)
        self.type, self.id, self.tag, self.jited_size, self.xlated_size = fields[:5]
        self.load_time, self.uid, self.map_count = fields[7:10]
        self.name = _decode_name(fields[11])
        self.gpl = bool(fields[13] & _GPL)
        self.ksym_count, self.length_count = fields[16:18]
        self.btf_id, self.func_size = fields[20:22]
        self.func_count, self.line_count = fields[23:25]
        self.jited_line_count, self.line_size, self.jited_line_size = fields[27:30]
        self.run_time, self.run_count, self.recursion_misses = fields[32:35]
        self.verified, self.attach_btf_object, self.attach_btf_id = fields[35:38]

    def pointer(self, name: str) -> int:
        """Return the pointer to that array; 0 if it was not passed or the kernel reset it."""
        return int(struct.unpack_from("=Q", self._data, self.PLACES[name][1])[0])


def _read_lines(raw: _Program, arrays: dict[str, bytes], btf: Btf | None) -> Iterator[SourceLine]:
    if btf is None:
        return
    places = _unpack_u64(arrays.get("jited_line_info", b""))
    records = _iter_records(arrays.get("line_info", b""), raw.line_size)
    for number, (insn, file, text, position) in enumerate(records):
        yield SourceLine(
            insn=insn,
            file=btf.string(file),
            line=position >> 10,
            column=position & 0x3FF,
            text=btf.string(text),
            address=places[number] if number < len(places) else 0,
        )


def _read_functions(raw: _Program, arrays: dict[str, bytes], btf: Btf | None) -> Iterator[FuncInfo]:
    starts = _unpack_u64(arrays.get("ksyms", b""))
    sizes = _unpack_u32(arrays.get("lengths", b""))
    records = list(_iter_records(arrays.get("func_info", b""), raw.func_size))
    for number in range(max(len(starts), len(records))):
        insn, type_id = records[number][:2] if number < len(records) else (0, 0)
        yield FuncInfo(
            insn=insn,
            name=btf.name(type_id) if btf and type_id else "",
            address=starts[number] if number < len(starts) else 0,
            size=sizes[number] if number < len(sizes) else 0,
        )


def _load_types(number: int) -> Btf | None:
    with contextlib.suppress(OSError, PytracerError):
        return Btf(read_btf(number), origin=f"BTF {number}")
    return None


def _iter_records(data: bytes, size: int) -> Iterator[Sequence[int]]:
    """Yield each record as words: later kernels may have longer records."""
    for offset in range(0, len(data) if size else 0, size or 1):
        yield struct.unpack_from(f"={size // 4}I", data, offset)


def _unpack_u32(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // 4}I", data)


def _unpack_u64(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(data) // 8}Q", data)


def _decode_name(name: bytes) -> str:
    return name.partition(b"\0")[0].decode(errors="replace")
