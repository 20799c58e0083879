"""Check that the image in a pack matches what the C declares: sizes, map types, functions.

Anybody can make a pack with correct checksums. Its programs pass the verifier like any others; but pytracer
reads and fills maps by their declarations, with buffers of those sizes, and the kernel would write or read
beyond them if a map's real sizes were larger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pytracer.bpf.image import Image, MapSpec
from pytracer.bpf.read.stack_ids import DEPTH
from pytracer.bpf.sys import MapType
from pytracer.record import record

_DECLARED = re.compile(r"^\s*BPF_(\w+)\s*\(([^;]*)\)\s*;", re.M)
_TABLES = {"TABLE", "TABLE_PUBLIC", "F_TABLE", "TABLE_PINNED", "TABLE_SHARED", "XDP_REDIRECT_MAP"}
_TYPES = {
    "HASH": MapType.HASH,
    "ARRAY": MapType.ARRAY,
    "PERCPU_HASH": MapType.PERCPU_HASH,
    "PERCPU_ARRAY": MapType.PERCPU_ARRAY,
    "LPM_TRIE": MapType.LPM_TRIE,
    "STACK_TRACE": MapType.STACK_TRACE,
    "CGROUP_ARRAY": MapType.CGROUP_ARRAY,
    "PROG_ARRAY": MapType.PROG_ARRAY,
    "RINGBUF_OUTPUT": MapType.RINGBUF,
    "PERF_OUTPUT": MapType.PERF_EVENT_ARRAY,
}
_SCALARS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "int": 4}
_BASE = {
    **dict.fromkeys(("_Bool", "bool", "char", "signed char", "unsigned char"), 1),
    **dict.fromkeys(("short", "unsigned short"), 2),
    **dict.fromkeys(("int", "unsigned int"), 4),
    **dict.fromkeys(("long", "unsigned long", "long long", "unsigned long long"), 8),
}
# Sizes that BCC does not describe; the kernel writes a whole stack into the reader's buffer.
_FIXED = {
    MapType.STACK_TRACE: (4, 8 * DEPTH),
    MapType.CGROUP_ARRAY: (4, 4),
    MapType.PROG_ARRAY: (4, 4),
    MapType.PERF_EVENT_ARRAY: (4, 4),
}


@record
class Declaration:
    """A map as the C declares it: its macro without ``BPF_``, and the arguments after its name."""

    macro: str
    arguments: tuple[str, ...]


def find_problem(image: Image, text: str) -> str:
    """Describe how an image differs from this C; "" if it matches."""
    declared = dict[str, list[Declaration]]()
    for name, declaration in _parse_declarations(text):
        declared.setdefault(name, []).append(declaration)
    for spec in image.maps:
        problems = [_describe_mismatch(spec, fields) for fields in declared.get(spec.name, ())]
        if not problems and not re.search(rf"\b{re.escape(spec.name)}\b", text):
            return f"a map {spec.name!r}, which its C does not have"
        if problems and all(problems):
            return f"a map {spec.name!r} {problems[0]}"
        for part, description, size in (
            ("keys", spec.key_type, spec.key_size),
            ("values", spec.value_type, spec.value_size),
        ):
            if size and (declared_size := _size(description)) not in (None, size):
                return (
                    f"a map {spec.name!r} with {part} of {size} bytes that are described as {declared_size}"
                )
    for program in image.programs:
        if not re.search(rf"\b{re.escape(program.name)}\s*\(", text):
            return f"a program {program.name!r}, which its C does not have"
    return ""


def _parse_declarations(text: str) -> Iterator[tuple[str, Declaration]]:
    for macro, argument_text in _DECLARED.findall(text):
        words = [word.strip() for word in argument_text.split(",")]
        if macro not in _TABLES:
            yield words[0], Declaration(macro, tuple(words[1:]))


def _describe_mismatch(spec: MapSpec, declared: Declaration) -> str:
    """Describe how a map differs from a declaration; "" if it does not, or its macro is unknown."""
    kind = _TYPES.get(declared.macro)
    if kind is None:
        return ""
    if spec.type != kind:
        return f"of type {spec.type}, declared as {kind.name} ({int(kind)})"
    if kind in _FIXED:
        if (spec.key_size, spec.value_size) != _FIXED[kind]:
            return f"of a size that no {kind.name} has"
        return ""
    if kind is MapType.RINGBUF:
        return "" if not spec.key_size and not spec.value_size else "of a size that no RINGBUF has"
    types = (
        declared.arguments[:2]
        if kind not in (MapType.ARRAY, MapType.PERCPU_ARRAY)
        else _is_array_of(declared)
    )
    sizes = (spec.key_type, spec.key_size), (spec.value_type, spec.value_size)
    for type_, (description, size) in zip(types, sizes, strict=False):
        if _SCALARS.get(type_, size) != size:
            return f"of {size} bytes where {type_} is declared"
        if type_.startswith("struct ") and _name(description) not in (
            "",
            type_.removeprefix("struct ").strip(),
        ):
            return f"of {_name(description)} where {type_} is declared"
    count = declared.arguments[-1] if declared.arguments else ""
    if count.isdecimal() and int(count) != spec.max_entries:
        return f"of {spec.max_entries} entries where {count} are declared"
    return ""


def _is_array_of(declared: Declaration) -> Sequence[str]:
    return ("int", *declared.arguments[:1])


def _name(description: str) -> str:
    node = _parse_node(description)
    return str(node[0]) if isinstance(node, list) and node else ""


def _parse_node(description: str) -> Any:
    try:
        return json.loads(description)
    except (ValueError, RecursionError):
        return None


def _size(description: str) -> int | None:
    """Return the size of a type in bytes by BCC's description; None if not known.

    The layout rules are those of :mod:`pytracer.bpf.read.dtypes`, without NumPy, which takes long to import.
    """
    if not description:
        return None
    try:
        layout = _lay_out(_parse_node(description))
    except (ValueError, TypeError, IndexError, RecursionError):
        return None
    return None if layout is None else layout[0]


def _lay_out(node: Any) -> tuple[int, int] | None:
    """Return the (size, alignment) of a type."""
    if isinstance(node, str):
        size = 4 if node.startswith("enum") else 8 if node.endswith("*") else _BASE.get(node)
        return None if size is None else (size, size)
    _, members, *kind = node
    form = kind[0] if kind else "struct"
    end, alignment = 0, 1
    for _, type_, *extra in members:
        if extra and isinstance(extra[0], int):  # a bit-field
            return None
        member_layout = _lay_out(type_)
        if member_layout is None:
            return None
        size, align = member_layout[0], 1 if form == "struct_packed" else member_layout[1]
        for length in extra[0] if extra and isinstance(extra[0], list) else ():
            size *= length
        begin = 0 if form == "union" else -(-end // align) * align
        end, alignment = max(end, begin + size), max(alignment, align)
    return -(-end // alignment) * alignment, alignment
