"""Test numbers against C's printf: widened by their type, then read by the conversion."""

from __future__ import annotations

import ctypes
import itertools

import pytest

from pytracer.kernel.facts import NamedTarget
from pytracer.lang.arithmetic import number, widen
from pytracer.lang.formats import Conversion, parse_format
from pytracer.lang.scope import Lvalue
from pytracer.lang.types import INT, RAW, U32, U64, ArrayType, IntType, of_bits
from pytracer.plan.btf_types import BtfTypes
from pytracer.plan.scopes import scope_of
from pytracer.spec import parse_source
from support.btf_builder import Builder
from support.probe_spec_kernel import kernel

LIBC = ctypes.CDLL(None)
VALUES = (0, 1, -1, 7, 200, -100, 50000, -40000, 4000000000, 1 << 63, -(1 << 63), 0x123456789ABCDEF1)
FLAGS = ["".join(some) for count in range(4) for some in itertools.combinations("-+ #0", count)]


def conversion(form: str) -> Conversion:
    [piece] = parse_format(form, 0, len(form))
    assert isinstance(piece, Conversion)
    return piece


def printed(form: str, value: int) -> str:
    """Return what C's own printf makes of a value that is passed in a register of 64 bits."""
    room = ctypes.create_string_buffer(64)
    LIBC.snprintf(room, len(room), form.encode(), ctypes.c_longlong(value))
    return room.value.decode()


@pytest.mark.parametrize("sign", "diuxXo")
def test_flags_widths_and_precisions_are_those_of_printf(sign):
    for flags, width, precision in itertools.product(FLAGS, ("", "1", "9"), ("", ".", ".0", ".4")):
        form = f"%{flags}{width}{precision}ll{sign}"
        for value in VALUES:
            value = (value & (1 << 64) - 1) - (1 << 64 if sign in "di" and value & 1 << 63 else 0)
            assert conversion(form).show(value) == printed(form, value), (form, value)


@pytest.mark.parametrize("kind", [IntType(size, signed) for size in (1, 2, 4, 8) for signed in (True, False)])
@pytest.mark.parametrize("length", ["hh", "h", "", "l", "ll", "z"])
def test_each_width_and_sign_by_each_conversion(kind, length):
    """As printf does with an argument that C has promoted, or cast if the conversion is wider."""
    for sign, value in itertools.product("diuxXo", VALUES):
        value &= (1 << 8 * kind.size) - 1
        if kind.signed and value >> 8 * kind.size - 1:
            value -= 1 << 8 * kind.size
        form = f"%{length}{sign}"
        full_form = form if length in ("hh", "h") or kind.size < 8 else f"%ll{sign}"
        widened = widen(number(value, kind), conversion(form))
        assert widened.constant is not None
        assert conversion(form).show(widened.constant) == printed(full_form, value), (form, value)


def test_the_conversion_sets_the_width_of_a_register():
    expected_values = {"%d": -1, "%u": 4294967295, "%ld": 0x1FFFFFFFF, "%hhx": 255, "%hd": -1}
    for form, expected in expected_values.items():
        assert widen(number(0x1FFFFFFFF, RAW), conversion(form)).constant == expected


def test_bit_fields_are_promoted_by_their_width():
    assert of_bits(U32, 3) == of_bits(U64, 31) == of_bits(INT, 32) == INT
    assert of_bits(U32, 32) == of_bits(U64, 32) == U32
    assert of_bits(U64, 40) == U64
    assert of_bits(IntType(1, False, boolean=True), 1).boolean


@pytest.mark.parametrize(("message", "plain", "sign"), [(0, 0, True), (1, 0, False), (1, 1, True)])
def test_the_signedness_of_char_by_architecture(message, plain, sign):
    """If BTF has an encoding for "signed char", its absence on "char" means unsigned; old BTF has it on
    neither."""
    b = Builder()
    char, signed = b.int("char", 1, encoding=plain), b.int("signed char", 1, encoding=message)
    types = BtfTypes(b.btf())
    assert (types.type(char), types.type(signed)) == (IntType(1, sign, char=True), IntType(1, True))


FORMAT = """name: sys_enter_add_key
format:
\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:key_serial_t ringid;\toffset:16;\tsize:8;\tsigned:0;
\tfield:enum rule kind;\toffset:24;\tsize:8;\tsigned:0;
"""
EVENT = """name: seen
format:
\tfield:__u16 port;\toffset:8;\tsize:2;\tsigned:0;
\tfield:s8 small;\toffset:10;\tsize:1;\tsigned:1;
\tfield:__data_loc u64[] many;\toffset:12;\tsize:4;\tsigned:0;
\tfield:pid_t some[4];\toffset:16;\tsize:16;\tsigned:1;
\tfield:char name[4];\toffset:32;\tsize:4;\tsigned:0;
"""


def test_fields_have_the_sign_of_their_format_or_type():
    b = Builder()
    b.typedef("key_serial_t", b.int("int", 4))
    b.enum("rule", {"BELOW": -1}, flag=True)
    formats = {"syscalls:sys_enter_add_key": FORMAT, "x:seen": EVENT}
    facts = kernel(types=b.btf(), formats=formats)

    def fields(name: str) -> dict[str, object]:
        scope = scope_of(parse_source(f"t:{name}"), NamedTarget(name), facts)
        return {name: actual.type for name, actual in scope.named.items() if isinstance(actual, Lvalue)}

    of_call, of_event = fields("syscalls:sys_enter_add_key"), fields("x:seen")
    assert of_call == {"__syscall_nr": INT, "ringid": INT, "kind": IntType(4, True, enum="rule")}
    assert of_event == {
        "port": IntType(2, False),
        "small": IntType(1, True),
        "many": ArrayType(U64, 0),
        "some": ArrayType(INT, 4),
        "name": ArrayType(IntType(1, False, char=True), 4),
    }
