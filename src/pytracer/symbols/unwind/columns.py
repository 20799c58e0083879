"""The columns of a row of call frame information, and the encoding of their values."""

from __future__ import annotations

from pytracer.arrays import Array, np

# Columns: the register and offset of the CFA, and where the caller's registers are.
CFA_REGISTER, CFA_OFFSET, RBP, RETURN, RSP = range(5)
COLUMNS = 5
BY_REGISTER = {6: RBP, 16: RETURN, 7: RSP}  # by DWARF's number
# CFA_REGISTER is DWARF's number, or below 0 for an expression (see expression), which leaves CFA_OFFSET as it
# is: one that no rule is for; *(rbp - number); what the kernel pushed for a signal handler; that of .plt;
# *(rsp or rbp + signed number) + 8, see SAVED_LIMIT.
OTHER, DEREF_RBP, SIGNAL_CFA, PLT, SAVED_RSP = range(1, 6)
SAVED_LIMIT = 1 << 14  # words; the number of SAVED_RSP is (words + limit) * 2, and 1 more by RBP
# A register is at CFA + a negative number, or SAME, or one of these.
SAME, UNDEFINED, ELSEWHERE, AT_RBP, IN_CONTEXT = 0, 1, 2, 3, 4

_BREG6, _BREG7, _BREG16, _DEREF = 0x76, 0x77, 0x80, 0x06
_PLT_HEAD, _PLT_TAIL = bytes((_BREG7, 8, _BREG16, 0, 0x3F, 0x1A)), bytes((0x2A, 0x33, 0x24, 0x22))


_PLUS_8 = bytes((_DEREF, 0x23, 8))
_OFFSET_LIMIT = 8 << 16


def expression(kind: int, number: int = 0) -> int:
    """Return CFA_REGISTER for an expression."""
    return -(number << 4 | kind)


def split_expressions(registers: Array) -> tuple[Array, Array]:
    """Return the kinds and numbers of CFA_REGISTER, kind 0 where it is a register."""
    negated = np.maximum(-registers, 0)
    return negated & 0xF, negated >> 4


def parse_cfa(block: bytes) -> int:
    """Return CFA_REGISTER for an expression's bytes."""
    if block[-1:] == bytes((_DEREF,)) and block[0] in (_BREG6, _BREG7):
        offset = _parse_sleb(block[1:-1])
        if block[0] == _BREG6 and offset is not None and -_OFFSET_LIMIT < offset <= 0:
            return expression(DEREF_RBP, -offset)
        if block[0] == _BREG7 and offset == 160:
            return expression(SIGNAL_CFA)
    if block[-3:] == _PLUS_8 and block[0] in (_BREG6, _BREG7):
        offset = _parse_sleb(block[1:-3])
        if offset is not None and offset % 8 == 0 and -SAVED_LIMIT <= offset // 8 < SAVED_LIMIT:
            return expression(SAVED_RSP, (offset // 8 + SAVED_LIMIT) * 2 + (block[0] == _BREG6))
    if len(block) == 11 and block[:6] == _PLT_HEAD and block[7:] == _PLT_TAIL and 0x30 <= block[6] <= 0x3F:
        return expression(PLT, block[6] - 0x30)
    return expression(OTHER)


_IN_UCONTEXT = {RBP: 120, RSP: 160, RETURN: 168}  # by the kernel's struct ucontext


def parse_place(column: int, block: bytes) -> int:
    """Return where an expression says that a register is."""
    offset = _parse_sleb(block[1:])
    if block[:1] == bytes((_BREG6,)) and offset == 0 and column == RBP:
        return AT_RBP
    if block[:1] == bytes((_BREG7,)) and offset == _IN_UCONTEXT[column]:
        return IN_CONTEXT
    return ELSEWHERE


def _parse_sleb(data: bytes) -> int | None:
    """Return the number that these bytes are, all of them; None if they are none."""
    if not data or data[-1] & 0x80 or not all(byte & 0x80 for byte in data[:-1]):
        return None
    value = sum((byte & 0x7F) << (7 * index) for index, byte in enumerate(data))
    return value - (1 << (7 * len(data))) if data[-1] & 0x40 else value
