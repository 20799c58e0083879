"""A compiled program as data: maps to create, instructions to load, and the references between them.

BCC's compiler puts descriptors of its own process into the instructions that refer to maps. Without those, an
image can be stored, and loaded by bpf(2) alone: no compiler, no libbcc.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pytracer.bpf.digest import sha256
from pytracer.bpf.line_info import NO_DEBUG_INFO, FuncLineInfo
from pytracer.errors import PytracerError
from pytracer.record import as_dict, record

_MAGIC = b"pytracer image 5\n"
_LD_IMM64, _CALL, _SET = 0x18, 0x85, 0xB7
_MAP, _FUNCTION = 1, 4  # BPF_PSEUDO_MAP_FD, BPF_PSEUDO_FUNC
_LITTLE = sys.byteorder == "little"
_U32 = (1 << 32) - 1


# Placeholders for the results of functions of probes_c/include/target.h and calls.h, replaced when a program
# is loaded: pt_target, pt_pass, pt_point, pt_argument_count, pt_goroutine; and for the process of task.h.
TARGET = 0x7079547261636500
RESULT = 0x7079547261636501
POINT = 0x7079547261636502
ARGUMENTS = 0x7079547261636503
G_OFFSET = 0x7079547261636504
ONLY_PROCESS = 0x7079547261636505
# The values of TARGET that are no target id: where to get it from.
BY_COOKIE, BY_ADDRESS = 0x7FFFFFFE, 0x7FFFFFFF


class ImageError(PytracerError):
    """The data is not a whole image, or no image can be made of a program."""


@record
class MapSpec:
    """A map to create. ``key_type`` and ``value_type`` are BCC's descriptions of the C types; ``inner`` is
    the name of the map that serves as template for the inner maps of a map of maps, else ""."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    key_type: str
    value_type: str
    inner: str = ""


@record
class ProgramSpec:
    """A function: its instructions (``struct bpf_insn``) with empty map references.

    ``references`` maps the offset of an instruction (bytes) to the name of a map. ``func_line_info`` locates
    its C in the image's BTF (:mod:`pytracer.bpf.line_info`).
    """

    name: str
    code: bytes
    references: Mapping[int, str]
    func_line_info: FuncLineInfo = NO_DEBUG_INFO

    def link(self, descriptors: Mapping[str, int]) -> bytes:
        """Return the instructions with the descriptors of created maps."""
        code = bytearray(self.code)
        for offset, name in self.references.items():
            struct.pack_into("=i", code, offset + 4, descriptors[name])
        return bytes(code)


@record
class Image:
    """A compiled C file with everything that a run needs.

    ``key`` identifies its source (:mod:`pytracer.bpf.cache.image_cache`), ``kernel`` the kernel it was
    compiled for, ``made_by`` the files of the libraries that compiled it. ``btf`` names the functions and
    holds the lines of C.
    """

    key: str
    kernel: str
    made_by: tuple[str, ...]
    maps: tuple[MapSpec, ...]
    programs: tuple[ProgramSpec, ...]
    btf: bytes = b""

    def program(self, name: str) -> ProgramSpec:
        """Return the function of that name. Raises ImageError."""
        for program in self.programs:
            if program.name == name:
                return program
        raise ImageError(f"the image holds no program {name!r}")

    def encode(self) -> bytes:
        """Encode the image as the bytes of a file that ``decode`` reads."""
        body = {
            "key": self.key,
            "kernel": self.kernel,
            "made_by": self.made_by,
            "maps": [as_dict(spec) for spec in self.maps],
            "programs": [
                {
                    "name": program.name,
                    "code": program.code.hex(),
                    "references": {str(offset): name for offset, name in program.references.items()},
                    "functions": program.func_line_info.functions.hex(),
                    "lines": program.func_line_info.lines.hex(),
                }
                for program in self.programs
            ],
            "btf": self.btf.hex(),
        }
        text = json.dumps(body, separators=(",", ":")).encode()
        return _MAGIC + sha256(text).hexdigest().encode() + b"\n" + text


def decode(data: bytes) -> Image:
    """Decode an image from a file's bytes. Raises ImageError if they are cut, changed, or not an image."""
    if not data.startswith(_MAGIC):
        raise ImageError("not an image of this version")
    digest, _, text = data[len(_MAGIC) :].partition(b"\n")
    if sha256(text).hexdigest().encode() != digest:
        raise ImageError("the image is damaged")
    try:
        body = json.loads(text)
        image = Image(
            key=_check_text(body["key"]),
            kernel=_check_text(body["kernel"]),
            made_by=tuple(_check_text(identity) for identity in body["made_by"]),
            maps=tuple(_decode_map(spec) for spec in body["maps"]),
            programs=tuple(_decode_program(program) for program in body["programs"]),
            btf=bytes.fromhex(body["btf"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError("the image holds something else than it should") from error
    _check_references(image)
    return image


def unlink_maps(
    name: str, code: bytes, maps: Mapping[int, str], line_info: FuncLineInfo = NO_DEBUG_INFO
) -> ProgramSpec:
    """Make a ProgramSpec of a compiled function, without its references to ``maps`` (descriptor -> name).

    Raises ImageError if it refers to a map that is not among them.
    """
    blank, references = bytearray(code), dict[int, str]()
    for offset, descriptor in _iter_map_loads(code):
        if descriptor not in maps:
            raise ImageError(f"{name} refers to a map that is not its own")
        references[offset] = maps[descriptor]
        struct.pack_into("=i", blank, offset + 4, 0)
    return ProgramSpec(name, bytes(blank), references, line_info)


def patch_constants(code: bytes, constants: Mapping[int, int]) -> bytes:
    """Replace each 64-bit constant that is a key of ``constants`` by its value."""
    patched = bytearray(code)
    for offset, constant in iter_constants(code):
        value = constants.get(constant)
        if value is not None:
            struct.pack_into("=I", patched, offset + 4, value & _U32)
            struct.pack_into("=I", patched, offset + 12, value >> 32)
    return bytes(patched)


def drop_calls(code: bytes, helper: int) -> bytes:
    """Replace each call of a helper by the result 0, in branches that are never taken.

    Linux before 4.15 (c131187db2d3) looks up the helpers that are called there, too, and follows the null
    pointer that it gets for one that it does not have.
    """
    call, result = (struct.pack("=BBhi", code, 0, 0, value) for code, value in ((_CALL, helper), (_SET, 0)))
    if call not in code:  # as nearly always: no need to look at each instruction
        return code
    steps = (code[offset : offset + 8] for offset in range(0, len(code), 8))
    return b"".join(result if step == call else step for step in steps)


def iter_constants(code: bytes) -> Iterator[tuple[int, int]]:
    """Yield (offset, value) of each instruction that loads a 64-bit constant."""
    for offset, source in _iter_wide_loads(code):
        if not source and offset + 16 <= len(code):
            low, high = (
                struct.unpack_from("=I", code, position)[0] for position in (offset + 4, offset + 12)
            )
            yield offset, high << 32 | low


def encode_reference(constant: bytes, distance: int) -> bytes:
    """Encode an instruction that loads the address of a function, ``distance`` instructions after the next
    one, into the register of the instruction ``constant``."""
    return _encode_reference(constant, _FUNCTION, distance)


def encode_map_reference(constant: bytes, descriptor: int) -> bytes:
    """Encode an instruction that loads a map into the register of the instruction ``constant``."""
    return _encode_reference(constant, _MAP, descriptor)


def _encode_reference(constant: bytes, kind: int, value: int) -> bytes:
    register = constant[1] & 0xF if _LITTLE else constant[1] >> 4
    registers = kind << 4 | register if _LITTLE else register << 4 | kind
    return struct.pack("=BBhi8x", _LD_IMM64, registers, 0, value)


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _check_u32(value: object) -> int:
    """Check that a value is a ``__u32``."""
    if type(value) is not int or not 0 <= value <= _U32:
        raise TypeError(f"{value!r} is no number of 32 bits")
    return value


def _decode_map(spec: dict[str, object]) -> MapSpec:
    return MapSpec(
        name=_check_text(spec["name"]),
        type=_check_u32(spec["type"]),
        key_size=_check_u32(spec["key_size"]),
        value_size=_check_u32(spec["value_size"]),
        max_entries=_check_u32(spec["max_entries"]),
        flags=_check_u32(spec["flags"]),
        key_type=_check_text(spec["key_type"]),
        value_type=_check_text(spec["value_type"]),
        inner=_check_text(spec["inner"]),
    )


def _decode_program(program: dict[str, Any]) -> ProgramSpec:
    return ProgramSpec(
        name=_check_text(program["name"]),
        code=bytes.fromhex(program["code"]),
        references={int(offset): _check_text(name) for offset, name in program["references"].items()},
        func_line_info=FuncLineInfo(bytes.fromhex(program["functions"]), bytes.fromhex(program["lines"])),
    )


def _iter_map_loads(code: bytes) -> Iterator[tuple[int, int]]:
    """Yield (offset, descriptor) of each instruction that loads a map."""
    if not code or len(code) % 8:
        raise ImageError("the code is no whole number of instructions")
    for offset, source in _iter_wide_loads(code):
        if source == _MAP:
            yield offset, struct.unpack_from("=i", code, offset + 4)[0]
        elif source not in (0, _FUNCTION):
            raise ImageError(f"a reference of kind {source}, which an image has no place for")


def _iter_wide_loads(code: bytes) -> Iterator[tuple[int, int]]:
    """Yield (offset, source register) of each instruction that loads 64 bits and so takes two slots."""
    second = False
    for offset in range(0, len(code), 8):
        opcode, registers = code[offset : offset + 2]
        if not second and opcode == _LD_IMM64:
            yield offset, registers >> 4 if _LITTLE else registers & 0xF
        second = not second and opcode == _LD_IMM64


def _check_references(image: Image) -> None:
    """Check an image: every reference leads to something in it, and none is hidden in the code."""
    names = {spec.name for spec in image.maps}
    if len(names) < len(image.maps) or len({program.name for program in image.programs}) < len(
        image.programs
    ):
        raise ImageError("the image holds two maps or programs of one name")
    if not names.issuperset(spec.inner for spec in image.maps if spec.inner):
        raise ImageError("the image holds a map of maps of which none is in it")
    for program in image.programs:
        if {offset for offset, _ in _iter_map_loads(program.code)} != set(program.references):
            raise ImageError(f"the program {program.name} refers to other maps than it says")
        if not names.issuperset(program.references.values()):
            raise ImageError(f"the program {program.name} refers to a map that is not in the image")
        if not program.func_line_info.matches(program.code):
            raise ImageError(f"the program {program.name} has lines that are not its own")
