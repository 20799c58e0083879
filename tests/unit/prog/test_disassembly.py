"""Test instructions as text: BPF in the verifier's notation, and native ones."""

from __future__ import annotations

import struct
import sys

import pytest

from pytracer.bpf.asm.assembler import R0, R1, R6, R10, Assembler, W
from pytracer.prog import native_code
from pytracer.prog.disassembly import BytecodeLine, KernelReferenceFormatter, ReferenceFormatter, listing
from pytracer.symbols.kernel import KernelSymbols

little = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes below are a little-endian machine's")


def encoded(code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("=BBhi", code, src << 4 | dst, off, imm)


# In the verifier's notation; before each stands the code in round brackets.
TEXTS = [
    ((0xB7, 0, 0, 0, -1), "r0 = -1"),
    ((0xB4, 3, 0, 0, 7), "w3 = 7"),
    ((0xBF, 6, 1), "r6 = r1"),
    ((0xBC, 6, 1), "w6 = w1"),
    ((0xBF, 6, 1, 8), "r6 = (s8)r1"),
    ((0xBC, 6, 1, 16), "w6 = (s16)w1"),
    ((0xBF, 6, 1, -1), "r6 = &(void __percpu *)(r1)"),
    ((0xBF, 6, 1, 1, 0x10000), "r6 = addr_space_cast(r1, 1, 0)"),
    ((0x3F, 1, 2), "r1 /= r2"),
    ((0x3F, 1, 2, 1), "r1 s/= r2"),
    ((0x94, 1, 0, 1, 9), "w1 s%= 9"),
    ((0xC7, 2, 0, 0, 32), "r2 s>>= 32"),
    ((0x87, 4), "r4 = -r4"),
    ((0xDC, 1, 0, 0, 16), "r1 = be16 r1"),
    ((0xD4, 1, 0, 0, 64), "r1 = le64 r1"),
    ((0xD7, 1, 0, 0, 32), "r1 = bswap32 r1"),
    ((0x71, 2, 1, 4), "r2 = *(u8 *)(r1 +4)"),
    ((0x79, 2, 10, -8), "r2 = *(u64 *)(r10 -8)"),
    ((0x81, 2, 1, 4), "r2 = *(s32 *)(r1 +4)"),
    ((0x63, 10, 1, -4), "*(u32 *)(r10 -4) = r1"),
    ((0x6A, 10, 0, -2, 5), "*(u16 *)(r10 -2) = 5"),
    ((0xC2,), "nospec"),
    ((0xDB, 0, 1, 8, 0x00), "lock *(u64 *)(r0 +8) += r1"),
    ((0xC3, 0, 1, 8, 0x40), "lock *(u32 *)(r0 +8) |= r1"),
    ((0xDB, 0, 1, 0, 0x01), "r1 = atomic64_fetch_add((u64 *)(r0 +0), r1)"),
    ((0xC3, 0, 1, 0, 0xE1), "r1 = atomic_xchg((u32 *)(r0 +0), r1)"),
    ((0xDB, 3, 1, 0, 0xF1), "r0 = atomic64_cmpxchg((u64 *)(r3 +0), r0, r1)"),
    ((0xDB, 0, 1, 0, 0x100), "r0 = load_acquire((u64 *)(r1 +0))"),
    ((0xC3, 0, 1, 4, 0x110), "store_release((u32 *)(r0 +4), r1)"),
    ((0x30, 0, 0, 0, 23), "r0 = *(u8 *)skb[23]"),
    ((0x48, 0, 7, 0, 2), "r0 = *(u16 *)skb[r7 + 2]"),
    ((0x05, 0, 0, 3), "goto pc+3"),
    ((0x06, 0, 0, 0, -2), "gotol pc-2"),
    ((0xE5, 0, 0, 4), "may_goto pc+4"),
    ((0x15, 1, 0, 2, -1), "if r1 == 0xffffffff goto pc+2"),
    ((0xCE, 1, 2, -3), "if w1 s< w2 goto pc-3"),
    ((0x45, 1, 0, 1, 8), "if r1 & 0x8 goto pc+1"),
    ((0x85, 0, 0, 0, 14), "call helper#14"),
    ((0x85, 0, 1, 5, 1), "call pc+5"),
    ((0x95,), "exit"),
]


@little
@pytest.mark.parametrize(("fields", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_texts(fields, text):
    (instruction,) = listing(encoded(*fields))
    assert instruction.text == f"({fields[0]:02x}) {text}"
    assert instruction.raw == encoded(*fields)


@little
def test_constants_of_two_instructions():
    class Mine(ReferenceFormatter):
        def map(self, number: int) -> str:
            return {5: "rows"}.get(number) or super().map(number)

    def wide(src: int, low: int, high: int = 0) -> bytes:
        return encoded(0x18, 1, src, 0, low) + encoded(0, 0, 0, 0, high)

    code = wide(0, -1, 1) + wide(1, 5) + wide(1, 6) + wide(2, 5, 12) + wide(4, 7) + encoded(0x95)
    assert [(instruction.number, instruction.text) for instruction in listing(code, Mine())] == [
        (0, "(18) r1 = 0x1ffffffff"),
        (2, "(18) r1 = map[rows]"),
        (4, "(18) r1 = map[id:6]"),
        (6, "(18) r1 = map[rows][0]+12"),
        (8, "(18) r1 = subprog[+7]"),
        (10, "(95) exit"),
    ]


def test_jumps_have_their_targets():
    a = Assembler()
    a.load(W, R0, R1, 0)
    a.jump_if(R0, "!=", 0, "out")
    a.load_constant(R6, 1 << 40)
    a.store(W, R10, -4, R0)
    a.label("out")
    a.exit()
    assert [(instruction.number, instruction.target) for instruction in listing(a.assemble())] == [
        (0, None),
        (1, 5),
        (2, None),
        (4, None),
        (5, None),
    ]


@little
@pytest.mark.parametrize("code", [0x8F, 0xE7, 0xF5, 0x66 | 0x80, 0x00, 0xA2])
def test_unknown_instructions_are_shown_in_hexadecimal(code):
    (instruction,) = listing(encoded(code, 1, 2, 3, 4))
    assert instruction.text == f"({code:02x}) unknown: {code:02x} 21 03 00 04 00 00 00"


def test_helpers_by_the_kernels_symbols(tmp_path):
    symbols = tmp_path / "kallsyms"
    lines = ["ffffffff81000000 T _stext", "ffffffff81100000 T __bpf_call_base"]
    lines += [
        "ffffffff81100230 T bpf_ktime_get_ns",
        "ffffffff810ff000 T bpf_below",
        "ffffffff82000000 T _etext",
    ]
    symbols.write_text("\n".join(lines) + "\n")
    names = KernelReferenceFormatter({3: "rows"}, KernelSymbols(symbols))
    assert names.helper(0x230) == "bpf_ktime_get_ns"
    assert names.helper(-0x1000) == "bpf_below"
    assert names.map(3) == "rows"
    assert names.map(4) == "id:4"


def test_a_hidden_helper_is_reported_as_hidden(tmp_path):
    symbols = tmp_path / "kallsyms"
    symbols.write_text("0000000000000000 T _stext\n0000000000000000 T __bpf_call_base\n")
    code = struct.pack("=BBhi", 0x85, 0, 0, 0x230)
    (instruction,) = listing(code, KernelReferenceFormatter({}, KernelSymbols(symbols)))
    assert instruction.text == "(85) call a function whose name is hidden"


def test_a_cut_instruction_is_left_out():
    assert list(listing(b"\x95" + bytes(7) + b"\x95\0\0")) == [
        BytecodeLine(0, b"\x95" + bytes(7), "(95) exit")
    ]


# push rbp; mov rbp, rsp; call +0x10; jmp to the ret; ret
X86 = bytes.fromhex("55 48 89 e5 e8 10 00 00 00 eb 00 c3")


def test_x86():
    actual, hint = native_code.disassemble(
        X86, 0x1000, machine="x86_64", name_of=lambda address: f"f_{address:x}"
    )
    assert hint == ""
    assert [(instruction.address, instruction.text, instruction.target) for instruction in actual] == [
        (0x1000, "push rbp", None),
        (0x1001, "mov rbp, rsp", None),
        (0x1004, "call 0x1019 <f_1019>", 0x1019),
        (0x1009, "jmp 0x100b", 0x100B),
        (0x100B, "ret", None),
    ]


def test_arm64():
    code = bytes.fromhex("fd7bbfa9 c0035fd6 05000014 40000034")
    actual, hint = native_code.disassemble(code, 0x1000, machine="aarch64")
    assert hint == ""
    assert [(instruction.text, instruction.target) for instruction in actual] == [
        ("stp x29, x30, [sp, #-0x10]!", None),
        ("ret", None),
        ("b #0x101c", 0x101C),
        ("cbz w0, #0x1014", 0x1014),
    ]


def test_all_bytes_are_shown():
    code = b"\x55" + bytes([0x06]) * 5 + b"\xc3"  # 06 is no instruction in 64-bit mode
    actual, _ = native_code.disassemble(code, 0, machine="x86_64")
    assert b"".join(instruction.raw for instruction in actual) == code
    assert actual[-1].text == "ret"
    assert actual[1].text.startswith(".byte")


def test_code_of_another_machine_is_shown_as_bytes():
    actual, hint = native_code.disassemble(bytes(20), 0x10, machine="s390x")
    assert [(instruction.address, len(instruction.raw), instruction.text) for instruction in actual] == [
        (0x10, 16, ""),
        (0x20, 4, ""),
    ]
    assert "s390x" in hint
