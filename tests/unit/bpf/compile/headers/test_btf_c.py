"""Test the C written from BTF that the test makes; nothing is compiled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytracer.bpf.compile.headers.btf_c import Header, write_header
from pytracer.bpf.compile.headers.words import SourceWords
from pytracer.bpf.compile.layout_check import MemberOffset
from pytracer.errors import HeadersError
from pytracer.kernel.btf import BtfKind
from support.btf_builder import INT, LONG, Builder, basic


def write(builder: Builder, text: str, **options: object) -> Header:
    return write_header(builder.btf(), SourceWords.of(text, tracefs=()), **options)  # type: ignore[arg-type]


def block(header: Header, head: str) -> str:
    """Return one definition with normalized white space."""
    match = re.search(rf"^{re.escape(head)}.*?^\}}[^;]*;|^{re.escape(head)}[^\n]*;", header.text, re.M | re.S)
    assert match is not None, f"no {head} in\n{header.text}"
    return " ".join(match.group().split())


def test_only_named_members_are_written_and_the_rest_is_padding() -> None:
    b = basic()
    b.struct("task", 32, ("state", INT, 0), ("flags", LONG, 64), ("pid", INT, 128), ("tail", LONG, 192))
    header = write(b, "int f(struct task *t) { return t->pid; }")
    assert block(header, "struct task") == (
        "struct task { unsigned char __pad_0[16]; int pid; unsigned char __pad_2[12]; } "
        "__attribute__((packed, aligned(8)));"
    )
    assert header.checks == (MemberOffset("struct task", "pid", 16),)
    assert "flags" not in header.text
    assert '_Static_assert(sizeof(struct task) == 32, "struct task");' in header.text


def test_structs_that_the_text_does_not_name_are_not_written() -> None:
    b = basic()
    b.struct("task", 4, ("pid", INT, 0))
    assert "struct task" not in write(b, "int pid; int task;").text
    assert "struct task" not in write(b, '/* struct task */ char *s = "struct task";').text


def test_pointers_are_followed_to_what_is_named_there() -> None:
    b = basic()
    ns = b.struct("ns", 8, ("inum", INT, 32))
    net = b.struct("net", 16, ("ns", ns, 64))
    proxy = b.struct("proxy", 8, ("net", b.ptr(b.typedef("net_t", net)), 0))
    other = b.struct("other", 8, ("x", INT, 0))
    b.struct("task", 16, ("proxy", b.ptr(proxy), 0), ("other", b.ptr(other), 64))
    header = write(b, "struct task *t; t->proxy->net->ns.inum; t->other;")
    assert header.checks == (
        MemberOffset("struct task", "proxy", 0),
        MemberOffset("struct task", "other", 8),
        MemberOffset("struct proxy", "net", 0),
        MemberOffset("struct ns", "inum", 4),
        MemberOffset("struct net", "ns", 8),
    )
    assert "struct other *other;" in header.text
    # What is held by value has to come first, what is only pointed to does not have to come at all.
    assert header.text.index("struct ns {") < header.text.index("struct net {")
    assert "struct other {" not in header.text


def test_unnamed_inner_structs_are_kept_where_something_in_them_is_named() -> None:
    b = basic()
    inner = b.struct("", 8, ("x", INT, 0), ("y", INT, 32))
    either = b.struct("", 8, ("whole", LONG, 0), ("", inner, 0), union=True)
    b.struct("outer", 24, ("a", LONG, 0), ("", either, 64), ("b", LONG, 128))
    header = write(b, "struct outer *o; o->y;")
    assert block(header, "struct outer") == (
        "struct outer { unsigned char __pad_0[8]; union { struct { unsigned char __pad_3[4]; int y; } "
        "__attribute__((packed)); unsigned char __all_6[8]; } __attribute__((packed)); "
        "unsigned char __pad_8[8]; } __attribute__((packed, aligned(8)));"
    )
    assert header.checks == (MemberOffset("struct outer", "y", 12),)
    assert "union" not in block(write(b, "struct outer *o; o->b;"), "struct outer")


def test_a_tagged_struct_without_a_name_is_opened_in_place() -> None:
    """Kernels from 7.0 on have such structs; plain C does not."""
    b = basic()
    b.struct("outer", 16, ("a", LONG, 0), ("", b.struct("group", 8, ("x", INT, 0), ("y", INT, 32)), 64))
    header = write(b, "struct outer *o; o->y; struct group g;")
    assert "struct { unsigned char __pad_2[4]; int y; }" in block(header, "struct outer")
    assert MemberOffset("struct outer", "y", 12) in header.checks


def test_bit_fields_stand_in_a_wrapper_of_their_own_bytes() -> None:
    b = basic()
    unsigned = b.int("unsigned int", 4, encoding=0)
    b.bits(
        "flags", 8, ("whole", INT, 0, 0), ("a", unsigned, 32, 3), ("b", unsigned, 35, 1), ("c", INT, 41, 7)
    )
    header = write(b, "struct flags f; f.b; f.c;")
    assert block(header, "struct flags") == (
        "struct flags { unsigned char __pad_0[4]; "
        "union { unsigned char __bits_1[1]; struct { unsigned char : 3; unsigned int b : 1; } "
        "__attribute__((packed)); } __attribute__((packed)); "
        "union { unsigned char __bits_2[1]; struct { unsigned char : 1; int c : 7; } "
        "__attribute__((packed)); } __attribute__((packed)); "
        "unsigned char __pad_3[2]; } __attribute__((packed, aligned(4)));"
    )
    assert header.checks == (
        MemberOffset("struct flags", "__bits_1", 4),
        MemberOffset("struct flags", "__bits_2", 5),
    )


def test_bit_fields_that_share_a_byte_share_a_wrapper() -> None:
    b = basic()
    b.bits("flags", 4, ("a", INT, 2, 3), ("b", INT, 7, 4), ("c", INT, 11, 2))
    assert (
        "union { unsigned char __bits_0[2]; struct { unsigned char : 2; int a : 3; unsigned char : 2; "
        "int b : 4; int c : 2; } __attribute__((packed)); } __attribute__((packed));"
    ) in block(write(b, "struct flags f; f.a f.b f.c"), "struct flags")


def test_unusual_members() -> None:
    b = basic()
    wide = b.int("__int128", 16)
    double = b.add(BtfKind.FLOAT, "double", 8)
    point = b.struct("point", 8, ("x", INT, 0), ("y", INT, 32))
    function = b.add(BtfKind.FUNC_PROTO, "", INT)
    small = b.enum("small", {"A": 0}, size=1)
    negative = b.enum("negative", {"B": -1}, flag=True)
    missing = b.add(BtfKind.FWD, "missing", 0)
    foreign = b.struct("core::Option<u8>", 2)
    b.struct(
        "odd", 144, ("wide", wide, 0), ("real", double, 128), ("grid", b.array(b.array(INT, 3), 2), 192),
        ("points", b.array(point, 2), 384), ("call", b.ptr(function), 512), ("kind", small, 576),
        ("sign", negative, 608), ("hidden", b.ptr(missing), 640), ("row", b.ptr(b.array(INT, 4)), 704),
        ("rust", b.ptr(foreign), 768), ("any", b.ptr(0), 832),
        ("text", b.ptr(b.add(BtfKind.CONST, "", 2)), 896),
        ("rows", b.ptr(b.array(point, 2)), 960), ("one", b.array(b.array(b.ptr(INT), 2), 1), 1024),
        ("flexible", b.array(LONG, 0), 1152),
    )  # fmt: skip
    names = "wide real grid points call kind sign hidden row rust any text rows one flexible x"
    body = block(write(b, f"struct odd; {names}"), "struct odd")
    for part in (
        "unsigned long long wide[2];", "unsigned char real[8];", "int grid[2][3];", "struct point points[2];",
        "void *call;", "unsigned char kind;", "signed int sign;", "struct missing *hidden;", "int (*row)[4];",
        f"struct __anon_{foreign} *rust;",
        "void *any;", "char *text;", "void *rows;", "int *one[1][2];", "long int flexible[0];",
    ):  # fmt: skip
        assert part in body


def test_alignment_is_natural_and_packed_structs_are_left_packed() -> None:
    b = basic()
    b.struct("packed", 12, ("a", INT, 0), ("b", LONG, 32))
    b.struct("bytes", 3, ("c", 2, 0))
    b.struct("empty", 0)
    text = write(b, "struct packed p; struct bytes b; struct empty e;").text
    ends = re.findall(r"struct (\w+) \{[^}]*\} __attribute__\(\(packed, aligned\((\d)\)\)\);", text)
    assert dict(ends) == {"packed": "4", "bytes": "1", "empty": "1"}


def test_a_second_struct_of_the_same_name_is_distinguished() -> None:
    b = basic()
    small = b.struct("twin", 4, ("x", INT, 0))
    large = b.struct("twin", 8, ("x", INT, 0), ("y", INT, 32))
    b.struct("user", 24, ("one", b.ptr(small), 0), ("two", b.ptr(large), 64), ("own", small, 128))
    header = write(b, "struct user u; u.one->x; u.two->y; u.own.x")
    assert f"struct twin___{small} *one; struct twin *two; struct twin___{small} own;" in block(
        header, "struct user"
    )
    assert f"struct twin___{small} {{" in header.text
    assert "struct twin {" in header.text


def test_struct_and_typedef_of_one_name_live_side_by_side() -> None:
    b = basic()
    first = b.struct("thing", 4, ("x", INT, 0))
    b.typedef("thing", b.ptr(first))
    b.typedef("kuid_t", b.struct("", 4, ("val", INT, 0)))
    b.typedef("pid_t", INT)
    b.typedef("handler_t", b.ptr(b.add(BtfKind.FUNC_PROTO, "", 0)))
    text = write(b, "struct thing a; thing b; a.x; kuid_t u; u.val; handler_t h;").text
    assert "typedef struct thing *thing;" in text
    assert re.search(r"struct __anon_(\d+) \{\n\tint val;\n\}.*typedef struct __anon_\1 kuid_t;", text, re.S)
    assert "typedef void *handler_t;" in text
    assert "typedef int pid_t;" in text


def test_types_defined_in_the_text_are_not_defined_again() -> None:
    b = basic()
    key_struct = b.struct("key_t", 4, ("x", INT, 0))
    b.struct("user", 8, ("key", key_struct, 0))
    b.typedef("start", INT)
    b.typedef("mine_t", INT)
    b.typedef("helper", INT)
    b.enum("", {"OWN_A": 5, "OTHER": 6, "OWN_C": 7})
    text = """
struct key_t { int x; };
typedef struct key_t mine_t;
enum { OWN_A = 1 };
#define OWN_C 2
BPF_HASH(start, u32, u64);
static int helper(int a) { return OTHER + OWN_C + ETH_P_IP; }
struct user *u;
#define ETH_P_IP 0x800
u->key
"""
    actual = write(b, text).text
    assert "struct key_t {" not in actual
    assert f"struct key_t___{key_struct} key;" in actual
    assert "enum { OTHER = 6 };" in actual
    for name in ("start", "mine_t", "helper", "OWN_A", "OWN_C", "ETH_P_IP"):
        assert not re.search(rf"\b{name}\b", actual), name


def test_enums_and_their_sizes() -> None:
    b = basic()
    b.enum("state", {"IDLE": -1, "BUSY": 2}, flag=True)
    b.enum("tiny", {"T0": 0}, size=1)
    b.enum64("wide", {"HUGE": 1 << 40, "LEAST": -(1 << 63)}, flag=True)
    b.enum("bpf_map_type", {"BPF_MAP_TYPE_HASH": 1})
    b.enum("", {"BPF_F_NEW": 0xFFFFFFFF})
    b.enum("first", {"DIFFERS": 1, "SAME": 3})
    b.enum("second", {"DIFFERS": 2, "SAME": 3})
    text = write(b, "enum state s; enum tiny t; enum wide w; DIFFERS SAME enum nobody").text
    assert "enum state { IDLE = -1, BUSY = 2 };" in text
    assert "enum tiny { T0 = 0 } __attribute__((mode(QI)));" in text
    wide = "HUGE = 1099511627776ULL, LEAST = (-9223372036854775807LL - 1)"
    assert f"enum wide {{ {wide} }} __attribute__((mode(DI)));" in text
    assert "enum bpf_map_type { BPF_MAP_TYPE_HASH = 1 };" in text
    assert "enum { BPF_F_NEW = 4294967295ULL };" in text
    assert "enum { SAME = 3 };" in text
    assert "/* DIFFERS is [1, 2] in enums that differ: name the enum */" in text
    assert "enum second { DIFFERS = 2, SAME = 3 };" in write(b, "enum second s; DIFFERS").text


def test_missing_helpers_get_an_unused_number() -> None:
    b = basic()
    b.enum("bpf_func_id", {"BPF_FUNC_old": 1})
    text = write(b, "", wanted_enumerators=["BPF_FUNC_old", "BPF_FUNC_new"]).text
    assert "enum bpf_func_id { BPF_FUNC_old = 1 };" in text
    assert "enum { BPF_FUNC_new = 2147483647 };" in text


def test_macros_come_as_named_and_bring_the_members_they_name() -> None:
    b = basic()
    common = b.struct("sock_common", 8, ("skc_family", INT, 32))
    b.struct("sock", 16, ("__sk_common", common, 0))
    b.enum("", {"IPPROTO_TCP": 6, "TASK_COMM_LEN": 16})
    text = write(
        b,
        "struct sock *sk; sk->sk_family; IPPROTO_TCP EINVAL htons TASK_COMM_LEN",
        version=(6, 1, 7),
        page_size=16384,
    ).text
    assert "#define sk_family __sk_common.skc_family" in text
    assert "\tint skc_family;" in text
    assert "#define LINUX_VERSION_CODE KERNEL_VERSION(6, 1, 7)" in text
    assert "#define PAGE_SIZE 16384UL" in text
    assert "#define PAGE_SHIFT 14" in text
    assert "#define EINVAL 22" in text
    assert "#define htons(x)" in text
    assert "#define TASK_COMM_LEN" not in text
    assert "ETH_P_IP" not in text


def test_base_structs_are_whole() -> None:
    b = basic()
    b.struct("pt_regs", 16, ("di", LONG, 0), ("si", LONG, 64))
    header = write(b, "")
    assert block(header, "struct pt_regs") == (
        "struct pt_regs { long int di; long int si; } __attribute__((packed, aligned(8)));"
    )
    assert header.checks == ()


def test_damaged_btf_is_an_error() -> None:
    b = basic()
    b.struct("overlap", 8, ("x", INT, 0), ("y", INT, 16))
    b.struct("small", 4, ("x", LONG, 0))
    b.struct("selfish", 4, ("me", 6, 0))
    b.struct("too_small", 4, ("x", LONG, 0), union=True)
    b.struct("endless", 4, ("x", b.array(9, 1), 0))
    b.ptr(10)
    b.struct("turning", 8, ("x", 11, 0))
    for name in ("overlap", "small", "selfish", "too_small", "endless", "turning"):
        with pytest.raises(HeadersError):
            write(b, f"struct {name}; x y me")


def test_names_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "events/sched/sched_switch").mkdir(parents=True)
    (tmp_path / "events/sched/sched_switch/format").write_text(
        "name: sched_switch\nformat:\n\tfield:pid_t prev_pid;\toffset:0;\n"
        "\tfield:enum zone zone;\toffset:8;\n"
        "\tfield:char prev_comm[16];\toffset:16;\nprint fmt: field:nothing x;\n"
    )
    names = SourceWords.of(
        """
#include <linux/sched.h>
#include "net/sock.h" // struct comment
struct own { int a; } __attribute__((packed));
typedef int (*callback)(void);
BPF_TABLE("hash", u32, struct own, table, 10);
TRACEPOINT_PROBE(sched, sched_switch) { return 0; }
struct task_struct *t = "struct string";
""",
        tracefs=(tmp_path,),
    )
    assert names.includes == {"linux/sched.h", "net/sock.h"}
    assert names.tags == {("struct", "task_struct"), ("enum", "zone")}
    assert names.own_tags == {"own"}
    assert {"callback", "table"} <= names.own
    assert "pid_t" in names.words
    assert "nothing" not in names.words
    assert "return" not in names.words


def test_the_digest_depends_on_names_only() -> None:
    first = SourceWords.of("struct a *x; /* one */ x->b;", tracefs=()).digest()
    assert first == SourceWords.of("struct  a *x;\n\nx->b; x->b; // two", tracefs=()).digest()
    assert first != SourceWords.of("struct a *x; x->c;", tracefs=()).digest()
    assert first != SourceWords.of("union a *x; x->b;", tracefs=()).digest()


def test_optional_members_have_a_macro() -> None:
    b = basic()
    inner = b.struct("", 8, ("deep", LONG, 0))
    b.struct("request", 16, ("rq_disk", LONG, 0), ("", inner, 64))
    text = "PT_HAS_request__rq_disk PT_HAS_request__deep PT_HAS_request__part PT_HAS_gone__x PT_HAS_RINGBUF"
    lines = [line for line in write(b, text).text.splitlines() if "PT_HAS" in line]
    assert sorted(lines) == [
        "#define PT_HAS_gone__x 0",
        "#define PT_HAS_request__deep 1",
        "#define PT_HAS_request__part 0",
        "#define PT_HAS_request__rq_disk 1",
    ]
