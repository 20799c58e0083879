"""Test images as bytes: they round-trip, and damaged or forged ones are refused."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from pytracer.bpf.image import (
    Image,
    ImageError,
    MapSpec,
    ProgramSpec,
    decode,
    drop_calls,
    encode_reference,
    iter_constants,
    patch_constants,
    unlink_maps,
)

MAGIC = b"pytracer image 5\n"
LD_IMM64, MAP_FD, MAP_VALUE = 0x18, 1, 2


def instruction(code: int, dst: int = 0, src: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, offset, immediate)


def wide_load(src: int, immediate: int, *, upper: int = 0) -> bytes:
    """Return a load of 64 bits, two instructions long."""
    return instruction(LD_IMM64, 1, src, 0, immediate) + instruction(0, immediate=upper)


RETURN = instruction(0xB7) + instruction(0x95)
ROWS = MapSpec("rows", 1, 8, 16, 1024, 0, '["key", []]', '["value", []]')
SLOTS = MapSpec("slots", 2, 4, 8, 3, 0, '"int"', '"u64"')


def image() -> Image:
    """Return two maps; a program that refers to both, one of them twice, and one that refers to none."""
    code = wide_load(MAP_FD, 0) + wide_load(0, 7) + wide_load(MAP_FD, 0) + wide_load(MAP_FD, 0) + RETURN
    enter = ProgramSpec("enter", code, {0: "rows", 32: "slots", 48: "rows"})
    return Image(
        "a key", "6.18.0", ("/lib/libbcc.so 5 7",), (ROWS, SLOTS), (enter, ProgramSpec("no", RETURN, {}))
    )


def alter(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return the bytes of a changed image, with a correct checksum."""
    body = json.loads(image().encode()[len(MAGIC) + 65 :])
    change(body)
    return seal(json.dumps(body).encode())


def seal(text: bytes) -> bytes:
    return MAGIC + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def coded(code: bytes, references: dict[str, str]) -> bytes:
    """Return an image with this code as its first program."""

    def change(body: dict[str, Any]) -> None:
        body["programs"][0] |= {"code": code.hex(), "references": references}

    return alter(change)


def test_data_round_trips():
    assert decode(image().encode()) == image()
    assert alter(lambda body: None).startswith(MAGIC)
    assert decode(alter(lambda body: None)) == image()


def test_cut_at_any_length_it_is_no_image():
    data = image().encode()
    for length in range(len(data)):
        with pytest.raises(ImageError):
            decode(data[:length])


def test_with_any_byte_flipped_it_is_no_image():
    data = bytearray(image().encode())
    for index in range(len(data)):
        data[index] ^= 1 << index % 8
        with pytest.raises(ImageError):
            decode(bytes(data))
        data[index] ^= 1 << index % 8
    assert decode(bytes(data)) == image()


def test_with_something_behind_it_it_is_no_image():
    with pytest.raises(ImageError, match="damaged"):
        decode(image().encode() + b"\n")


@pytest.mark.parametrize("magic", [b"pytracer image 4\n", b"pytracer image 6\n", b"", b"\x7fELF"])
def test_another_version_is_not_read(magic):
    with pytest.raises(ImageError, match="this version"):
        decode(magic + image().encode()[len(MAGIC) :])


@pytest.mark.parametrize(
    "text", [b"", b"null", b"[]", b"7", b'"text"', b"{}", b"{", b"\xff\xfe", b"[" * 100_000, b"NaN"]
)
def test_complete_files_of_another_kind(text):
    with pytest.raises(ImageError, match="something else"):
        decode(seal(text))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("key",), 7),
        (("kernel",), None),
        (("made_by",), [7]),
        (("made_by",), None),
        (("maps",), {"rows": 1}),
        (("maps", 0), []),
        (("maps", 0, "name"), 7),
        (("maps", 0, "type"), "1"),
        (("maps", 0, "type"), True),
        (("maps", 0, "max_entries"), -1),
        (("maps", 0, "max_entries"), 1 << 32),
        (("maps", 0, "key_size"), 8.0),
        (("maps", 0, "value_type"), None),
        (("maps", 0, "inner"), 1),
        (("programs",), 7),
        (("programs", 0), "enter"),
        (("programs", 0, "name"), None),
        (("programs", 0, "code"), 7),
        (("programs", 0, "code"), "not hex!"),
        (("programs", 0, "code"), "ä"),
        (("programs", 0, "functions"), 3),
        (("programs", 0, "lines"), None),
        (("programs", 0, "references"), []),
        (("programs", 0, "references"), {"zero": "rows"}),
        (("programs", 0, "references"), {"0": 7, "32": "slots", "48": "rows"}),
    ],
)
def test_values_of_another_kind_are_refused(path, value):
    def change(body: Any) -> None:
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] = value

    with pytest.raises(ImageError, match="something else"):
        decode(alter(change))


@pytest.mark.parametrize(
    "path", [("key",), ("kernel",), ("made_by",), ("maps",), ("programs",), ("maps", 0, "flags")]
)
def test_missing_fields_are_refused(path):
    def change(body: Any) -> None:
        for step in path[:-1]:
            body = body[step]
        del body[path[-1]]

    with pytest.raises(ImageError, match="something else"):
        decode(alter(change))


def test_a_reference_to_a_map_that_is_not_there():
    with pytest.raises(ImageError, match="enter refers to a map that is not in the image"):
        decode(alter(lambda body: body["maps"].pop()))


def test_a_reference_that_is_not_listed():
    with pytest.raises(ImageError, match="refers to other maps than it says"):
        decode(alter(lambda body: body["programs"][0]["references"].pop("48")))


@pytest.mark.parametrize("offset", ["16", "8", "64", "1", "-32", "8000"])
def test_a_listed_reference_where_none_is(offset):
    """Offset 16 is a number, 8 the second half of a reference, the rest no loads at all."""
    with pytest.raises(ImageError, match="refers to other maps than it says"):
        decode(alter(lambda body: body["programs"][0]["references"].update({offset: "rows"})))


@pytest.mark.parametrize("code", [b"", RETURN[:-1], RETURN + b"\0", b"\x95"])
def test_code_that_is_no_whole_number_of_instructions(code):
    with pytest.raises(ImageError, match="no whole number of instructions"):
        decode(coded(code, {}))
    with pytest.raises(ImageError, match="no whole number of instructions"):
        unlink_maps("enter", code, {})


def test_a_reference_of_another_kind():
    """Such as a reference to a map's value, which old BCC does not make, and which images cannot
    represent."""
    with pytest.raises(ImageError, match="of kind 2"):
        decode(coded(wide_load(MAP_VALUE, 0) + RETURN, {"0": "rows"}))
    with pytest.raises(ImageError, match="of kind 2"):
        unlink_maps("enter", wide_load(MAP_VALUE, 5) + RETURN, {5: "rows"})


def test_a_reference_to_a_function_is_kept():
    code = wide_load(MAP_FD, 5) + encode_reference(wide_load(0, 0), 2) + RETURN + RETURN
    blank = unlink_maps("enter", code, {5: "rows"})
    assert blank.references == {0: "rows"}
    assert blank.link({"rows": 5}) == code
    assert decode(coded(blank.code, {"0": "rows"})).program("enter").code == blank.code


def test_constants_are_found():
    code = (
        wide_load(MAP_FD, 5)
        + wide_load(0, 7, upper=1)
        + encode_reference(wide_load(0, 0), 1)
        + wide_load(0, LD_IMM64)
        + RETURN
    )
    assert list(iter_constants(code)) == [(16, 1 << 32 | 7), (48, LD_IMM64)]


@pytest.mark.parametrize("section", ["maps", "programs"])
def test_two_maps_or_programs_of_one_name_are_refused(section):
    with pytest.raises(ImageError, match="two maps or programs of one name"):
        decode(alter(lambda body: body[section].append(body[section][0])))


def test_a_map_of_maps_that_are_not_there():
    def change(body: Any) -> None:
        body["maps"][0]["inner"] = "others"

    with pytest.raises(ImageError, match="a map of maps of which none is in it"):
        decode(alter(change))
    assert decode(alter(lambda body: body["maps"][0].update(inner="slots"))).maps[0].inner == "slots"


def test_map_references_are_taken_out_and_put_in():
    code = wide_load(MAP_FD, 5) + wide_load(0, 5) + wide_load(MAP_FD, 1000) + RETURN
    blank = unlink_maps("enter", code, {5: "rows", 1000: "slots", 6: "other"})
    assert blank == ProgramSpec(
        "enter",
        wide_load(MAP_FD, 0) + wide_load(0, 5) + wide_load(MAP_FD, 0) + RETURN,
        {0: "rows", 32: "slots"},
    )
    assert blank.link({"rows": 5, "slots": 1000}) == code
    relinked = blank.link({"rows": 23, "slots": 7})
    assert relinked == wide_load(MAP_FD, 23) + wide_load(0, 5) + wide_load(MAP_FD, 7) + RETURN
    assert blank.code == wide_load(MAP_FD, 0) + wide_load(0, 5) + wide_load(MAP_FD, 0) + RETURN


def test_the_second_half_of_a_load_is_no_load():
    """Its opcode is 0, and the upper half of a number may look like anything."""
    second = instruction(LD_IMM64, 1, MAP_FD, 0, 5)
    code = instruction(LD_IMM64, 1) + second + RETURN
    assert unlink_maps("enter", code, {}) == ProgramSpec("enter", code, {})


def test_a_map_that_is_somebody_elses():
    with pytest.raises(ImageError, match="enter refers to a map that is not its own"):
        unlink_maps("enter", wide_load(MAP_FD, 5) + RETURN, {6: "rows"})


def test_a_program_that_is_not_there():
    assert image().program("no").code == RETURN
    with pytest.raises(ImageError, match="no program 'leave'"):
        image().program("leave")


def test_constants_are_replaced_whole_and_nothing_else_is():
    magic, other = 0x7079547261636500, 0x7079547261636501
    low, high = magic & 0xFFFFFFFF, magic >> 32
    code = (
        wide_load(0, low, upper=high)
        + wide_load(MAP_FD, low, upper=high)  # a map's descriptor, as it were
        + wide_load(0, low, upper=high + 1)
        + wide_load(0, low + 1, upper=high)
        + instruction(0xB7, immediate=low)
        + RETURN
    )
    assert patch_constants(code, {}) == code
    assert patch_constants(code, {magic: 7 << 32 | 5}) == wide_load(0, 5, upper=7) + code[16:]
    assert patch_constants(code, {other: 9})[48:64] == wide_load(0, 9)


def test_only_calls_of_one_helper_are_dropped():
    call, other, function = (
        instruction(0x85, immediate=174),
        instruction(0x85, immediate=14),
        struct.pack("=BBhi", 0x85, 0x10, 0, 174),  # BPF_PSEUDO_CALL: of a function that far away
    )
    between = wide_load(0, 174, upper=0x85) + other + function
    result = instruction(0xB7, immediate=0)
    assert drop_calls(call + between + call + RETURN, 174) == result + between + result + RETURN
