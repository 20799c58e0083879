"""Interpret classic BPF and BPF in a few lines, and run the kernel's own interpreter: the result of a
filter for a packet."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import socket
import struct
from collections.abc import Sequence

from pytracer.bpf.asm.assembler import HelperId
from pytracer.bpf.asm.packet_filter import PacketContext
from pytracer.bpf.attach.socket_filter import SO_ATTACH_BPF
from pytracer.bpf.sys import ProgType, address, bpf_inout, prog_load
from pytracer.bpf.trial import return_code
from pytracer.kernel.pcap import ClassicInstruction

SO_ATTACH_FILTER, PROG_TEST_RUN = 26, 10
MATCH = 1  # what a program returns of packets that match, in these tests, and of others
PASSES = {PacketContext.SKB: 0, PacketContext.FRAME: 2}
_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)


def classic(code: Sequence[ClassicInstruction], packet: bytes) -> bool:
    """Return whether the packet matches, as the kernel did (net/core/filter.c before Linux 3.15)."""
    a = x = index = 0
    memory = [0] * 16
    while True:
        instruction = code[index]
        index += 1
        kind, mode = instruction.code & 7, instruction.code & 0xE0
        if kind in (LD, LDX) and mode in (0x20, 0x40, 0xA0):
            size = 1 if mode == 0xA0 else _SIZES[instruction.code & 0x18]
            offset = (instruction.k + (x if mode == 0x40 else 0)) & _U32
            if offset + size > len(packet):
                return False
            value = int.from_bytes(packet[offset : offset + size], "big")
            if mode == 0xA0:
                x = (value & 0xF) * 4
            else:
                a = value
        elif kind in (LD, LDX):
            value = {0x00: instruction.k, 0x60: memory[instruction.k & 15], 0x80: len(packet)}[mode]
            a, x = (value, x) if kind == LD else (a, value)
        elif kind in (ST, STX):
            memory[instruction.k] = a if kind == ST else x
        elif kind == ALU:
            other = x if instruction.code & 8 else instruction.k
            operation = instruction.code & 0xF0
            if operation in (0x30, 0x90) and other == 0:
                return False
            a = calculate(operation, a, other)
        elif kind == JMP:
            other = x if instruction.code & 8 else instruction.k
            operation = instruction.code & 0xF0
            if operation == 0:
                index += instruction.k
            else:
                true = {0x10: a == other, 0x20: a > other, 0x30: a >= other, 0x40: bool(a & other)}
                index += instruction.jt if true[operation] else instruction.jf
        elif kind == RET:
            return bool(a if instruction.code & 0x18 == 0x10 else instruction.k)
        elif instruction.code & 0xF8:
            a = x
        else:
            x = a


def calculate(operation: int, a: int, b: int, mask: int = _U32) -> int:
    """Calculate with 32 bits, or as many as ``mask`` has."""
    return {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: a // b,
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << (b & mask.bit_length() - 1),
        0x70: lambda: a >> (b & mask.bit_length() - 1),
        0x80: lambda: -a,
        0x90: lambda: a % b,
        0xA0: lambda: a ^ b,
        0xB0: lambda: b,
    }[operation]() & mask


def machine(code: bytes, packet: bytes, context: PacketContext) -> int:
    """Return what BPF instructions return, for one of our prologues and what comes behind: R0."""
    base, stack = 1 << 20, 1 << 30
    r = [0] * 11
    r[1], r[10] = 1 << 40, stack
    memory: dict[int, int] = {}
    index = 0
    while True:
        opcode, registers, off, imm = struct.unpack_from("<BBhi", code, index * 8)
        dst, src = registers & 15, registers >> 4
        index += 1
        kind = opcode & 7
        if kind in (4, 7):
            mask = _U32 if kind == 4 else _U64
            other = (r[src] if opcode & 8 else imm) & mask
            if opcode & 0xF0 == 0xD0:
                swapped_bytes = (r[dst] & ((1 << imm) - 1)).to_bytes(imm // 8, "little")
                r[dst] = int.from_bytes(swapped_bytes, "big")
            else:
                r[dst] = calculate(opcode & 0xF0, r[dst] & mask, other, mask)
        elif kind == 5:
            operation = opcode & 0xF0
            other = (r[src] if opcode & 8 else imm) & _U64
            if operation == 0x90:
                return r[0] & _U32
            if operation == 0x80:
                assert imm == HelperId.skb_load_bytes
                _call(r, memory, packet, stack)
            elif (
                operation == 0
                or {
                    0x10: r[dst] == other,
                    0x20: r[dst] > other,
                    0x30: r[dst] >= other,
                    0x40: bool(r[dst] & other),
                    0x50: r[dst] != other,
                }[operation]
            ):
                index += off
        elif kind == 1:
            size, address = _SIZES[opcode & 0x18], r[src] + off
            if address >= 1 << 40:
                members = (
                    {0: base, 4: base + len(packet)} if context is PacketContext.FRAME else {0: len(packet)}
                )
                r[dst] = members[address - (1 << 40)]
            elif address < stack - 512:
                assert base <= address <= base + len(packet) - size, "beyond the packet"
                r[dst] = int.from_bytes(packet[address - base :][:size], "little")
            else:
                r[dst] = sum(memory[address + i] << 8 * i for i in range(size))
        else:
            value = r[src] if kind == 3 else imm & _U64
            for i in range(_SIZES[opcode & 0x18]):
                memory[r[dst] + off + i] = value >> 8 * i & 0xFF


def _call(r: list[int], memory: dict[int, int], packet: bytes, stack: int) -> None:
    """Call skb_load_bytes(R1, R2, R3, R4), and clobber the registers that a call may clobber."""
    offset, dst, size = r[2] & _U32, r[3], r[4]
    fits = offset <= 0xFFFF and offset + size <= len(packet)
    assert stack - 512 <= dst <= stack - size
    for i in range(size):
        memory[dst + i] = packet[offset + i] if fits else 0
    r[0] = 0 if fits else _U64
    r[1:6] = [0xDEAD] * 5


def kernel_verdicts(code: Sequence[ClassicInstruction], packets_sent: Sequence[bytes]) -> list[bool]:
    """Return the verdict of the kernel's classic BPF on each packet."""
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(program, len(program))
    filtered = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    return _between_sockets(SO_ATTACH_FILTER, filtered, packets_sent)


def program_verdicts(prologue: bytes, context: PacketContext, packets_sent: Sequence[bytes]) -> list[bool]:
    """Return what the prologue makes of each packet (14 bytes and more), before a program that takes all it
    sees."""
    frame = context is PacketContext.FRAME
    program = prog_load(ProgType.XDP if frame else ProgType.SOCKET_FILTER, prologue + return_code(MATCH))
    try:
        if not frame:
            return _between_sockets(SO_ATTACH_BPF, struct.pack("i", program), packets_sent)
        verdicts = [_run_once(program, packet) for packet in packets_sent]
        assert set(verdicts) <= {MATCH, PASSES[context]}
        return [verdict == MATCH for verdict in verdicts]
    finally:
        os.close(program)


def _between_sockets(option: int, filtered: bytes, packets_sent: Sequence[bytes]) -> list[bool]:
    """Return which datagrams pass from one socket of this process to another one with the filter."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    came = []
    with sender, receiver:
        sender.setsockopt(socket.SOL_SOCKET, option, filtered)
        for packet in packets_sent:
            with contextlib.suppress(PermissionError):  # the filter's no
                receiver.send(packet)
            try:
                sender.recv(1)
            except BlockingIOError:
                came.append(False)
            else:
                came.append(True)
    return came


def _run_once(program: int, packet: bytes) -> int:
    """Return what the kernel has an XDP program return for a packet (BPF_PROG_TEST_RUN)."""
    data = bytearray(packet)
    attr = struct.pack("IIIIQQII", program, 0, len(data), 0, address(data), 0, 1, 0)
    _, answer = bpf_inout(PROG_TEST_RUN, attr)
    return int(struct.unpack_from("I", answer, 4)[0])


def random_program(dice: random.Random) -> list[ClassicInstruction]:
    """Generate classic BPF that the kernel accepts: every kind of instruction, loads that may miss,
    forward jumps."""
    length = dice.randrange(1, 24)
    code = []
    stored_slots: list[int] = []
    for index in range(length):
        left = length - index - 1  # instructions in between here and the end
        k = dice.choice([dice.randrange(64), dice.randrange(1 << 16), dice.randrange(1 << 32), 0xFFFFF])
        size = dice.choice([0x00, 0x08, 0x10])
        instructions = [
            ClassicInstruction(LD | size | 0x20, 0, 0, dice.randrange(80)),
            ClassicInstruction(LD | size | 0x40, 0, 0, dice.choice([dice.randrange(40), k & 0x7FFFFFFF])),
            ClassicInstruction(LDX | 0xB0, 0, 0, dice.randrange(80)),
            ClassicInstruction(LD, 0, 0, k),
            ClassicInstruction(LDX, 0, 0, dice.choice([k, dice.randrange(20)])),
            ClassicInstruction(LD | 0x80, 0, 0, 0),
            ClassicInstruction(LDX | 0x80, 0, 0, 0),
            ClassicInstruction(dice.choice([0x07, 0x87]), 0, 0, 0),
            ClassicInstruction(dice.choice([ST, STX]), 0, 0, dice.randrange(16)),
            _arithmetic(dice, k),
            _arithmetic(dice, k),
        ]
        if stored_slots:
            instructions.append(
                ClassicInstruction(dice.choice([LD | 0x60, LDX | 0x60]), 0, 0, dice.choice(stored_slots))
            )
        if left:
            jt, jf = dice.randrange(left), dice.randrange(left)
            instructions += [
                ClassicInstruction(
                    JMP | dice.choice([0x10, 0x20, 0x30, 0x40]) | dice.choice([0, 8]), jt, jf, k
                )
            ] * 3
            instructions.append(ClassicInstruction(JMP, 0, 0, jt))
        instruction = dice.choice(instructions)
        if instruction.code in (ST, STX):
            stored_slots.append(instruction.k)
        code.append(instruction)
    # The kernel wants to see each slot stored on every way to a load: so all are, in the beginning.
    slots = sorted({instruction.k for instruction in code if instruction.code in (LD | 0x60, LDX | 0x60)})
    returns = [ClassicInstruction(RET | 0x10, 0, 0, 0), ClassicInstruction(RET, 0, 0, 1)]
    return [*(ClassicInstruction(ST, 0, 0, slot) for slot in slots), *code, dice.choice(returns)]


def _arithmetic(dice: random.Random, k: int) -> ClassicInstruction:
    operation = dice.choice([0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xA0])
    by_index = dice.choice([0, 8])
    if operation in (0x60, 0x70):
        by_index, k = 0, k & 31  # a shift by more is not defined
    if operation == 0x80:
        by_index = 0
    return ClassicInstruction(ALU | operation | by_index, 0, 0, k or 1)
