"""Know where each version of CPython keeps what its stacks need: from its own debug offsets, or from a table.

``scripts/python-layout`` prints the entries of the tables from an interpreter's debug information. On x86-64.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from pytracer.record import record

Version = tuple[int, int]

_COOKIE = b"xdebugpy"
_MEMBER_LIMIT = 1 << 20  # the offset of a member that is larger is nonsense
_ENTRY_FRAMES = 3  # FRAME_OWNED_BY_CSTACK, from 3.14 on FRAME_OWNED_BY_INTERPRETER: those of no function
_TEXT_HEADER = 16  # PyCompactUnicodeObject is so much larger than PyASCIIObject: utf8_length and utf8
_CODE_LIMIT = 128  # PT_PYTHON_WORDS, in bytes


@record
class Layout:
    """The offsets of members in a version's structs. A member that a version does not have is 0."""

    interpreters: int
    """_PyRuntime.interpreters.head"""
    interpreter_next: int
    interpreter_threads: int
    thread_next: int
    thread_id: int
    thread_frame: int
    """The current frame, or the struct that has it."""
    cframe_frame: int
    frame_code: int
    frame_previous: int
    frame_kind: int
    """The member that says that a call of the interpreter begins with the frame: is_entry (3.11), owner."""
    code_filename: int
    code_name: int
    code_qualname: int
    code_firstlineno: int
    code_linetable: int
    frame_instruction: int
    """The instruction that a frame is at: its number (3.9, 3.10), or its address."""
    code_instructions: int
    text_length: int
    text_state: int
    text_ascii: int
    text_data: int
    """The offsets of a string's characters, if all are ASCII and if not."""


MEMBERS: tuple[str, ...] = tuple(Layout.__annotations__)

# From Python 3.9.18, 3.10.13, 3.11.7 and 3.12.1.
LAYOUTS: dict[Version, Sequence[int]] = {
    (3, 9): (32, 0, 8, 8, 176, 24, 0, 32, 24, 0, 104, 112, 112, 40, 120, 104, 0, 16, 32, 48, 72),
    (3, 10): (32, 0, 8, 8, 176, 24, 0, 32, 24, 0, 104, 112, 112, 40, 120, 96, 0, 16, 32, 48, 72),
    (3, 11): (40, 0, 16, 8, 152, 56, 8, 32, 48, 68, 112, 120, 128, 72, 136, 56, 184, 16, 32, 48, 72),
    (3, 12): (40, 0, 72, 8, 136, 56, 0, 0, 8, 70, 112, 120, 128, 68, 136, 56, 192, 16, 32, 40, 56),
}

# Where the same members are in _Py_DebugOffsets, with which _PyRuntime begins, but for two that it has not.
# From Python 3.13.0 and 3.14.10.
DEBUG_OFFSETS: dict[Version, Sequence[int]] = {
    (3, 13): (40, 64, 72, 168, 192, 184, 0, 240, 232, 264, 280, 288, 296, 312, 304, 248, 344, 552, 544, 560),
    (3, 14): (40, 64, 72, 192, 216, 208, 0, 264, 256, 288, 320, 328, 336, 352, 344, 272, 384, 632, 624, 640),
}
_FREE_THREADED = 16


def find_layout(version: Version, read: Callable[[int], bytes]) -> Layout | None:
    """Return the layout of a version; None if it is none that is known. ``read`` returns so many bytes from
    the start of a process's _PyRuntime."""
    if version in LAYOUTS:
        return Layout(*LAYOUTS[version])
    places = DEBUG_OFFSETS.get(version)
    if places is None:
        return None
    size = max(places) + 8
    offsets = read(size)
    if len(offsets) < size or not offsets.startswith(_COOKIE) or any(offsets[_FREE_THREADED:][:8]):
        return None
    members = [struct.unpack_from("<Q", offsets, place)[0] if place else 0 for place in places]
    members.append(members[-1] + _TEXT_HEADER)
    return Layout(*members) if max(members) < _MEMBER_LIMIT else None


def pack(version: Version, layout: Layout) -> bytes:
    """Return the members of ``struct pt_python`` behind the addresses."""
    has_entry_frames = version >= (3, 12)
    end_kind = _ENTRY_FRAMES if has_entry_frames else int(version == (3, 11))
    start = layout.code_firstlineno & ~7
    return struct.pack(
        "=28I",
        version in ((3, 11), (3, 12)),
        has_entry_frames,
        version < (3, 12),
        end_kind,
        layout.interpreter_next,
        layout.interpreter_threads,
        layout.thread_next,
        layout.thread_id,
        layout.thread_frame,
        layout.cframe_frame,
        layout.frame_code,
        layout.frame_previous,
        layout.frame_kind,
        max(layout.frame_code, layout.frame_previous, layout.frame_kind & ~7) + 8,
        start,
        min(layout.code_linetable + 8 - start, _CODE_LIMIT),
        layout.code_filename,
        layout.code_name,
        layout.code_qualname,
        layout.code_firstlineno,
        layout.text_length,
        layout.text_state,
        layout.text_ascii,
        layout.text_data,
        layout.code_linetable,
        layout.frame_instruction,
        layout.code_instructions,
        version[1],
    )
