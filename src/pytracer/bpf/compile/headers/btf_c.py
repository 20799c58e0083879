"""Kernel types as C: from BTF, only what a probe's text names, laid out so that nothing can shift.

A struct gets the members whose names are words of the text, and everything between them becomes an array
of bytes. Three rules keep each offset what BTF says it is:

* Every struct is ``packed`` with explicit padding, so no compiler inserts any of its own. ``aligned`` gives
  back its natural alignment, so that a load stays one load of full width (the verifier refuses others on a
  context).
* BCC compiles for the host and then relabels the code as BPF, whose layout rules differ from the host's for
  128-bit integers. None is ever emitted, and bit-fields, which LLVM joins into integers of any width, stand
  in a wrapper of their own of at most eight bytes.
* Scalars keep size and sign but not their typedef's name, so there is little else that could go wrong.

The offsets are also listed (``Check``), for ``pytracer.bpf.compile.layout_check`` to verify in the
compiled bytecode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pytracer.bpf.compile.headers import macros
from pytracer.bpf.compile.headers.declarators import IDENTIFIER, TypeWriter
from pytracer.bpf.compile.headers.words import SourceWords
from pytracer.bpf.compile.layout_check import MemberOffset
from pytracer.errors import HeadersError
from pytracer.kernel.btf import COMPOSITES, ENUMS, Btf, BtfKind, BtfMember
from pytracer.record import record

# Given in full whether named or not: what programs get as context, and what BCC's helpers.h uses.
_BASE_STRUCTS = (
    "pt_regs user_pt_regs __sk_buff xdp_md bpf_raw_tracepoint_args bpf_perf_event_data bpf_perf_event_value "
    "bpf_sock bpf_tcp_sock bpf_sock_ops bpf_sock_addr bpf_sock_tuple bpf_sk_lookup sk_msg_md sk_reuseport_md "
    "bpf_sysctl bpf_sockopt bpf_cgroup_dev_ctx bpf_stack_build_id bpf_pidns_info bpf_spin_lock bpf_timer "
    "bpf_dynptr bpf_fib_lookup bpf_tunnel_key bpf_xfrm_state bpf_redir_neigh bpf_flow_keys btf_ptr"
)
_BASE_ENUMS = (
    "bpf_func_id bpf_map_type bpf_prog_type bpf_attach_type xdp_action sk_action bpf_ret_code "
    "bpf_adj_room_mode bpf_hdr_start_off bpf_lwt_encap_mode"
)

# PT_HAS_request__rq_disk: whether this kernel's struct request has a member rq_disk, 1 or 0.
_MEMBER = re.compile(r"PT_HAS_([a-z]\w*?)__(\w+)")

_MODE = {1: "QI", 2: "HI", 8: "DI"}


@record
class Header:
    """A finished header: its C text, and the member offsets to verify in bytecode compiled with it."""

    text: str
    checks: tuple[MemberOffset, ...]


def write_header(
    btf: Btf,
    names: SourceWords,
    *,
    version: tuple[int, int, int] = (0, 0, 0),
    page_size: int = 4096,
    wanted_enumerators: Iterable[str] = (),
) -> Header:
    """Write the header for a text with the words ``names``.

    ``version`` and ``page_size`` (bytes) become LINUX_VERSION_CODE and PAGE_SIZE. ``wanted_enumerators`` are
    names that must exist for BCC's helpers.h to compile; those that this kernel lacks get a number that no
    kernel has, so that the verifier rejects calls of them.
    """
    defines, names = _defines(names, version, page_size)
    try:
        return _Writer(btf, names, defines, wanted_enumerators).write()
    except RecursionError:
        raise HeadersError(f"{btf.origin} is damaged: its types contain each other without end") from None


def _defines(
    names: SourceWords, version: tuple[int, int, int], page_size: int
) -> tuple[dict[str, str], SourceWords]:
    """Return the macros that ``names`` needs (name -> line), and the names with those in the macros added."""
    values: dict[str, str] = {}
    todo = sorted(macros.ALWAYS | names.words)
    while todo:
        word = todo.pop()
        if word in values or word in names.own:
            continue
        line = macros.define(word, version=version, page_size=page_size)
        if line is not None:
            values[word] = line
            words = names.also(line)
            todo += sorted(words.words - names.words)
            if word in names.words:
                names = words
    return dict(sorted(values.items())), names


class _Writer:
    """One header under construction."""

    def __init__(
        self, btf: Btf, names: SourceWords, defines: dict[str, str], wanted_names: Iterable[str]
    ) -> None:
        self.btf = btf
        self.names = names
        self.c = TypeWriter(btf, names)
        self.defines = defines
        self.wanted = wanted_names
        self.out: list[str] = []
        self.checks: list[MemberOffset] = []
        self.full: set[int] = set()
        self.done: dict[int, bool] = {}  # composite -> finished (False while its own members are written)
        self.queue: list[int] = []
        # Ordinary identifiers (typedefs, enumerators) share one name space in C; so do tags.
        self.ordinary: dict[str, int | None] = dict.fromkeys(names.own | macros.PROLOGUE_NAMES)
        self._select: dict[int, list[BtfMember]] = {}

    def write(self) -> Header:
        """Write all declarations in an order that C accepts."""
        for name in _BASE_STRUCTS.split():
            self._want_full(self.c.tagged(name, "struct"))
        for kind, name in sorted(self.names.tags):
            if kind != "enum" and (type_id := self.c.tagged(name, kind)):
                self.queue.append(type_id)
        typedefs = self._typedefs()
        self._enums()
        while self.queue:
            self._composite(self.queue.pop())
        self.out += typedefs
        self.out += [text for name, text in macros.FALLBACKS.items() if name not in self.c.tags]
        lines = [line for name, line in self.defines.items() if name not in self.ordinary]
        lines += self._members()
        text = "\n".join([macros.PROLOGUE, *self.out, "", *lines, macros.EPILOGUE])
        return Header(text, tuple(self.checks))

    def _members(self) -> list[str]:
        """Return the PT_HAS_ macros that the text uses, 1 or 0."""
        questions = filter(None, map(_MEMBER.fullmatch, sorted(self.names.words)))
        return [f"#define {m[0]} {int(self.btf.member(m[1], m[2]) is not None)}" for m in questions]

    # Which types

    def _want_full(self, type_id: int) -> None:
        """Write this struct with all members, and so the structs that it holds by value."""
        todo = [type_id]
        while todo:
            current = todo.pop()
            if current and current not in self.full:
                self.full.add(current)
                self.queue.append(current)
                inner = (self.c.element(m.type) for m in self.btf.members(current))
                todo += [i for i in inner if self.btf.kind(i) in COMPOSITES]

    def _typedefs(self) -> list[str]:
        """Return the typedefs that are named, as C, to be put after the structs."""
        lines = []
        for name in sorted(self.names.words.union(macros.TYPEDEFS)):
            # Those the compiler has of its own (__builtin_va_list) are not to be defined again.
            if (
                name.startswith("__builtin_")
                or name in self.ordinary
                or (type_id := self.btf.find(BtfKind.TYPEDEF, name)) is None
            ):
                continue
            target = self.c.element(type_id)
            if self.btf.kind(target) in COMPOSITES:
                self.queue.append(target)
            line = self.c.declare(type_id, name)
            if line is not None:
                self.ordinary[name] = None
                lines.append(f"typedef {line};")
        return lines

    # Enums

    def _enums(self) -> None:
        btf = self.btf
        self._enumerators(None, macros.BPF_CONSTANTS.items(), "")
        for name in _BASE_ENUMS.split() + sorted(n for kind, n in self.names.tags if kind == "enum"):
            enum_id = btf.find(ENUMS, name)
            if enum_id is not None and name not in self.c.tags and name not in self.names.own_tags:
                self.c.tags[name] = enum_id
                size = btf.size_of(enum_id)
                mode = f" __attribute__((mode({_MODE[size]})))" if size in _MODE else ""
                self._enumerators(name, btf.enumerators(enum_id), mode)
        for enum_id in btf.ids(*ENUMS):
            first, _ = next(btf.enumerators(enum_id), ("", 0))
            if first.startswith("BPF_") and not btf.name(enum_id):
                self._enumerators(None, btf.enumerators(enum_id), "")
        # Enumerators in lower case are too likely to be variables of the text.
        words = [w for w in self.names.words if not w.islower() and w not in self.ordinary]
        for name, places in sorted(btf.enumerators_named(words).items()):
            values_of = {value for _, value in places}
            if len(values_of) == 1:
                self._enumerators(None, [(name, values_of.pop())], "")
            elif name not in self.ordinary:
                self.out.append(f"/* {name} is {sorted(values_of)} in enums that differ: name the enum */")
        missing = [name for name in sorted(set(self.wanted)) if name not in self.ordinary]
        self._enumerators(None, [(name, 0x7FFFFFFF) for name in missing], "")

    def _enumerators(self, tag: str | None, values: Iterable[tuple[str, int]], mode: str) -> None:
        """Write an enum, without enumerators whose names exist already."""
        parts = []
        for name, value in values:
            if name not in self.ordinary and IDENTIFIER.match(name):
                self.ordinary[name] = value
                parts.append(f"{name} = {_literal(value)}")
        if tag or parts:
            # C wants one enumerator at least.
            parts = parts or [f"__{tag}_is_an_enum"]
            head = f"enum {tag}" if tag else "enum"
            self.out.append(f"{head} {{ {', '.join(parts)} }}{mode};")

    # Structs

    def _select_members(self, type_id: int) -> list[BtfMember]:
        """Return the members of a struct or union to write; an unnamed inner one only if it has any."""
        if type_id not in self._select:
            self._select[type_id] = []  # ends a type that contains itself
            words, is_complete = self.names.words, type_id in self.full
            self._select[type_id] = [
                m
                for m in self.btf.members(type_id)
                if (
                    is_complete or m.name in words
                    if m.name
                    else self._inner(m) and self._select_members(self._inner(m))
                )
            ]
        return self._select[type_id]

    def _inner(self, member: BtfMember) -> int:
        """Return the struct or union of a member without a name, or 0."""
        type_id = self.btf.resolve(member.type)
        return type_id if not member.name and self.btf.kind(type_id) in COMPOSITES else 0

    def _composite(self, type_id: int) -> None:
        """Write a struct or union with a tag, after those that it holds by value."""
        if type_id in self.done:
            return
        self.done[type_id] = False
        self._needs(type_id)
        align, size = self.c.alignment(type_id), self.btf.size_of(type_id)
        spelling = self.c.spelling(type_id)
        lines: list[str] = []
        self._body(type_id, spelling if type_id not in self.full else "", 0, lines, "\t")
        attributes = f"__attribute__((packed, aligned({align})))"
        self.out += [f"{spelling} {{", *lines, f"}} {attributes};"]
        self.out.append(f'_Static_assert(sizeof({spelling}) == {size}, "{spelling}");')
        self.done[type_id] = True

    def _needs(self, type_id: int) -> None:
        for member in self._select_members(type_id):
            element_id = self.c.element(member.type)
            if self._inner(member):
                self._needs(element_id)
            elif self.btf.kind(element_id) in COMPOSITES:
                if self.done.get(element_id) is False:
                    raise HeadersError(
                        f"{self.btf.origin} is damaged: {self.c.spelling(element_id)} contains itself"
                    )
                self._composite(element_id)
            elif (
                type_id not in self.full
                and (pointee_id := self.c.pointee(member.type))
                and self._select_members(pointee_id)
            ):
                self.queue.append(pointee_id)

    def _body(self, type_id: int, checked: str, base: int, lines: list[str], tab: str) -> None:
        """Write the members of a struct or union whose byte 0 is byte ``base`` of the checked one."""
        btf, size = self.btf, self.btf.size_of(type_id)
        union = btf.kind(type_id) is BtfKind.UNION
        bit_offset = 0
        members = self._select_members(type_id)
        runs = _bit_runs(members, union)
        for i, member in enumerate(members):
            start, end = (runs[i][1], runs[i][2]) if i in runs else (member.bit_offset // 8, 0)
            if i in runs and runs[i][0] != i:
                continue
            if not union:
                if start < bit_offset:
                    raise HeadersError(
                        f"{btf.origin} is damaged: members of {self.c.spelling(type_id)} overlap"
                    )
                if start > bit_offset:
                    lines.append(f"{tab}unsigned char __pad_{len(lines)}[{start - bit_offset}];")
            if i in runs:
                run = [m for k, m in enumerate(members) if k in runs and runs[k][0] == i]
                self._bits(run, start, end, checked, base, lines, tab)
                bit_offset = max(bit_offset, end)
                continue
            inner = self._inner(member)
            if inner:
                # Opened in place even if it has a tag, as in 7.x kernels: plain C has no such thing.
                lines.append(f"{tab}{self.c.keyword(inner)} {{")
                self._body(inner, checked, base + start, lines, tab + "\t")
                lines.append(f"{tab}}} __attribute__((packed));")
            else:
                lines.append(f"{tab}{self.c.declare(member.type, member.name)};")
                if checked:
                    self.checks.append(MemberOffset(checked, member.name, base + start))
            bit_offset = max(bit_offset, start + btf.size_of(member.type))
        if bit_offset > size:
            raise HeadersError(f"{btf.origin} is damaged: {self.c.spelling(type_id)} is too small")
        if union and size:
            lines.append(f"{tab}unsigned char __all_{len(lines)}[{size}];")
        elif bit_offset < size:
            lines.append(f"{tab}unsigned char __pad_{len(lines)}[{size - bit_offset}];")

    def _bits(
        self, run: list[BtfMember], start: int, end: int, checked: str, base: int, lines: list[str], tab: str
    ) -> None:
        """Write bit-fields that share the bytes ``start`` up to ``end``; the first byte gets a name to
        check."""
        mark, bit_offset = f"__bits_{len(lines)}", start * 8
        if end - start > 8:
            lines.append(f"{tab}unsigned char {mark}[{end - start}]; /* {', '.join(m.name for m in run)} */")
            return
        fields = []
        for member in run:
            if member.bit_offset > bit_offset:
                fields.append(f"unsigned char : {member.bit_offset - bit_offset};")
            fields.append(f"{self.c.scalar(self.btf.resolve(member.type))} {member.name} : {member.bits};")
            bit_offset = member.bit_offset + member.bits
        lines.append(
            f"{tab}union {{ unsigned char {mark}[{end - start}]; "
            f"struct {{ {' '.join(fields)} }} __attribute__((packed)); }} __attribute__((packed));"
        )
        if checked:
            self.checks.append(MemberOffset(checked, mark, base + start))


def _literal(value: int) -> str:
    """Format a number as a C constant that has the same value in 64 bits."""
    if -(1 << 31) < value < 1 << 31:
        return str(value)
    return f"{value}ULL" if value > 0 else f"(-{-value - 1}LL - 1)"


def _bit_runs(members: list[BtfMember], union: bool) -> dict[int, tuple[int, int, int]]:
    """Map each bit-field to the first one that it shares bytes with, and those bytes: (index, from, to)."""
    runs: dict[int, tuple[int, int, int]] = {}
    first = end = -1
    for i, member in enumerate(members):
        if not member.bits:
            first = -1
            continue
        last = -(-(member.bit_offset + member.bits) // 8)
        if first < 0 or union or member.bit_offset // 8 >= end:
            first, end = i, 0
        end = max(end, last)
        runs[i] = (first, members[first].bit_offset // 8, end)
        for k in range(first, i):
            runs[k] = (first, members[first].bit_offset // 8, end)
    return runs
