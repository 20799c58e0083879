"""The encoding of call frame programs: the operands of each instruction (DWARF 5, 6.4.2)."""

from __future__ import annotations

# What the operands are: u, s are LEB128 numbers, b a block behind its length, digits a number of so many
# bytes, p an encoded pointer. Primary opcodes (advance_loc, offset, restore) carry one in their low bits.
PRIMARY_OPERANDS = {0x40: "", 0x80: "u", 0xC0: ""}
OPERANDS = {
    0x00: "", 0x01: "p", 0x02: "1", 0x03: "2", 0x04: "4", 0x05: "uu", 0x06: "u", 0x07: "u", 0x08: "u",
    0x09: "uu", 0x0A: "", 0x0B: "", 0x0C: "uu", 0x0D: "u", 0x0E: "u", 0x0F: "b", 0x10: "ub", 0x11: "us",
    0x12: "us", 0x13: "s", 0x14: "uu", 0x15: "us", 0x16: "ub", 0x2D: "", 0x2E: "u", 0x2F: "uu",
}  # fmt: skip
