"""Test headers made from this kernel's BTF: compiled by BCC, checked in bytecode, and used on real values."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.compile import layout_check
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.compile.headers.generated import make_tree
from pytracer.bpf.compile.layout_check import MemberOffset
from pytracer.bpf.toolchain import import_bcc
from pytracer.errors import HeadersError, SchemaError
from pytracer.kernel.btf import COMPOSITES, ENUMS, VMLINUX, Btf, BtfKind
from support.needs import needs

pytestmark = [
    pytest.mark.kernel,
    # BCC's own modules import what newer Pythons deprecate, and leave files to the garbage collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]

BIG = "task_struct sk_buff request sock net tcp_sock inode file mm_struct super_block bio dentry nsproxy"
EXTENSIONS = ["-fms-extensions", "-Wno-microsoft"]
BCCS = ("bpf_", "btf_ptr", "sk_", "__")  # how names begin that the bpf.h of BCC may have


@pytest.fixture(scope="module", autouse=True)
def btf() -> Btf:
    needs("BTF", VMLINUX.exists())
    return Btf.load()


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    tmp_path.chmod(0o700)
    return CacheDir(tmp_path)


@contextlib.contextmanager
def compiled(text: str, source: Path, cflags: Sequence[str] = ()) -> Iterator[Any]:
    """Yield BCC's object for ``text``; it is cleaned up at the end."""
    before = os.environ.get("BCC_KERNEL_SOURCE")
    os.environ["BCC_KERNEL_SOURCE"] = str(source)
    try:
        program = import_bcc().BPF(text=text, cflags=list(cflags))
    finally:
        if before is None:
            del os.environ["BCC_KERNEL_SOURCE"]
        else:
            os.environ["BCC_KERNEL_SOURCE"] = before
    try:
        yield program
    finally:
        program.cleanup()


def declare_all_names(btf: Btf, ids: Sequence[int]) -> tuple[str, list[int]]:
    """Return a text that names these structs and all their members, and those of them that their name
    means."""
    expected = [i for i in ids if btf.find(COMPOSITES, btf.name(i)) == i]
    lines = []
    for i in expected:
        keyword = "union" if btf.kind(i) is BtfKind.UNION else "struct"
        lines.append(f"{keyword} {btf.name(i)}; {' '.join(m.name for m in btf.walk(i))}")
    return "\n".join(lines), expected


def assert_all_checked(btf: Btf, ids: Sequence[int], checks: Sequence[MemberOffset]) -> None:
    """Assert that each member of each struct has a check, which agrees with BTF."""
    offsets = {(check.record.split()[1], check.member): check.offset for check in checks}
    for i in ids:
        name = btf.name(i)
        expected = {m.name: m.bit_offset // 8 for m in btf.walk(i) if not m.bits}
        assert {member: offsets.get((name, member)) for member in expected} == expected, name


def assert_bytecode(checks: Sequence[MemberOffset], source: Path) -> None:
    with compiled(layout_check.check_functions(checks), source) as program:
        layout_check.verify_all(program.dump_func, checks)


def test_every_member_of_the_big_structs_is_where_btf_has_it(btf: Btf, cache: CacheDir) -> None:
    names = [i for name in BIG.split() if (i := btf.find(COMPOSITES, name))]
    text, expected = declare_all_names(btf, names)
    tree = make_tree(text, cache)
    assert_all_checked(btf, expected, tree.checks)
    assert_bytecode(tree.checks, tree.path)


def test_every_member_of_some_hundred_structs_is_where_btf_has_it(btf: Btf, cache: CacheDir) -> None:
    named_structs = [i for i in btf.ids(*COMPOSITES) if btf.name(i) and not btf.name(i).startswith(BCCS)]
    text, expected = declare_all_names(
        btf, random.Random(23).sample(named_structs, min(300, len(named_structs)))
    )
    tree = make_tree(text, cache)
    assert_all_checked(btf, [i for i in expected if btf.name(i) != "pt_regs"], tree.checks)
    assert_bytecode(tree.checks, tree.path)


def test_every_typedef_and_enum_has_its_size(btf: Btf, cache: CacheDir) -> None:
    sizes: dict[str, int] = {}
    for i in btf.ids(BtfKind.TYPEDEF, *ENUMS):
        prefix = "" if btf.kind(i) is BtfKind.TYPEDEF else "enum "
        expected = btf.find(BtfKind.TYPEDEF if not prefix else ENUMS, btf.name(i))
        if expected == i and re.fullmatch(r"[A-Za-z_]\w*", btf.name(i)):
            with contextlib.suppress(HeadersError):
                sizes[prefix + btf.name(i)] = btf.size_of(i)
    # What a struct and an enum are both called can be only one of them in C.
    sizes = {k: v for k, v in sizes.items() if not k.startswith("enum ") or not btf.find(COMPOSITES, k[5:])}
    tree = make_tree("\n".join(f"{name} x;" for name in sizes), cache)
    asserts = [f'_Static_assert(sizeof({name}) == {size}, "{name}");' for name, size in sizes.items()]
    with compiled("\n".join(asserts) + "\nint f(void *ctx) { return 0; }", tree.path) as program:
        assert program.dump_func("f")
    assert len(sizes) > 1000


def test_a_wrong_expectation_is_found(btf: Btf, cache: CacheDir) -> None:
    tree = make_tree("struct task_struct tgid pid", cache)
    wrong_checks = [c._replace(offset=c.offset + 4) if c.member == "tgid" else c for c in tree.checks]
    with compiled(layout_check.check_functions(tree.checks), tree.path) as program:
        code = program.dump_func(f"{layout_check.FUNCTION}_0")
    offset = btf.member_offset("task_struct", "tgid")
    assert offset is not None
    with pytest.raises(SchemaError, match=rf"task_struct\.tgid .* {offset + 4} .* {offset}$"):
        layout_check.verify(code, wrong_checks)


def test_the_check_finds_errors_that_offsetof_misses(cache: CacheDir) -> None:
    """LLVM merges padding bit-fields into 128 bits; whether members shift depends on its version."""
    text = """
struct trap { long a; long : 64; long : 64; int tgid; int rest; };
int reads(struct trap *t) { return t->tgid; }
"""
    checks = [MemberOffset("struct trap", "tgid", 24)]
    tree = make_tree(text, cache)
    with compiled(text + layout_check.check_functions(checks), tree.path) as program:
        code, reads = program.dump_func(f"{layout_check.FUNCTION}_0"), program.dump_func("reads")
    offset = int.from_bytes(reads[2:4], "little")
    if offset == 24:
        layout_check.verify(code, checks)
    else:
        with pytest.raises(SchemaError, match=f"offset {offset}$"):
            layout_check.verify(code, checks)


BITS = """
struct task_struct;
int copy(void *ctx)
{
    struct task_struct *t = (struct task_struct *)ctx;
    return t->sched_reset_on_fork | t->sched_contributes_to_load << 1 | t->in_execve << 2 | t->tgid << 3;
}
"""


def test_bit_fields_have_their_byte_offsets(btf: Btf, cache: CacheDir) -> None:
    tree = make_tree(BITS, cache)
    with compiled(BITS + layout_check.check_functions(tree.checks), tree.path) as program:
        layout_check.verify_all(program.dump_func, tree.checks)
        code = program.dump_func("copy")
    loads = {
        int.from_bytes(code[i + 2 : i + 4], "little")
        for i in range(0, len(code), 8)
        if code[i] & 0xE7 == 0x61
    }
    expected = {
        btf.member_offset("task_struct", name)
        for name in ("sched_reset_on_fork", "sched_contributes_to_load", "in_execve", "tgid")
    }
    assert loads == expected


@pytest.mark.parametrize("name", ["tcphdr", "iphdr", "sk_buff", "sock"])
def test_bit_fields_have_the_values_of_their_bits(btf: Btf, cache: CacheDir, name: str) -> None:
    """Read a map value of random bytes as a kernel struct."""
    needs("little-endian", sys.byteorder == "little")  # bits are counted from the low end
    struct_id = btf.find(BtfKind.STRUCT, name)
    assert struct_id
    size, fields = btf.size_of(struct_id), [m for m in btf.walk(struct_id) if m.bits]
    assert fields
    text = f"""
struct bytes {{ u64 raw[{size // 8 + 1}]; }};
struct values {{ u64 value[{len(fields)}]; }};
BPF_ARRAY(input, struct bytes, 1);
BPF_ARRAY(output, struct values, 1);
BPF_ARRAY(only, u32, 1);
int entered(void *ctx)
{{
    int zero = 0;
    u32 *tgid = only.lookup(&zero);
    struct bytes *in = input.lookup(&zero);
    struct values *out = output.lookup(&zero);
    if (!tgid || !in || !out || bpf_get_current_pid_tgid() >> 32 != *tgid)
        return 0;
    struct {name} *it = (struct {name} *)in;
    {" ".join(f"out->value[{i}] = it->{m.name};" for i, m in enumerate(fields))}
    return 0;
}}
"""
    data = random.Random(name).randbytes((size // 8 + 1) * 8)
    tree = make_tree(text, cache)
    with compiled(text, tree.path) as program:
        program["input"][ctypes.c_int(0)] = program["input"].Leaf.from_buffer_copy(data)
        program["only"][ctypes.c_int(0)] = ctypes.c_uint(os.getpid())
        program.attach_raw_tracepoint(tp=b"sys_enter", fn_name=b"entered")
        os.getppid()
        program.detach_raw_tracepoint(tp=b"sys_enter")
        values = list(program["output"][ctypes.c_int(0)].value)
    bits = int.from_bytes(data, "little")
    assert dict(zip([m.name for m in fields], values, strict=True)) == {
        m.name: bits >> m.bit_offset & ((1 << m.bits) - 1) for m in fields
    }


CONTEXTS = """
int filter(struct __sk_buff *skb) { return skb->len + skb->protocol; }
int pass(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    struct ethhdr *eth = data;
    if (data + sizeof(*eth) > end)
        return XDP_PASS;
    return eth->h_proto == htons(ETH_P_IP) ? XDP_PASS : XDP_DROP;
}
int raw(struct bpf_raw_tracepoint_args *ctx) { return ctx->args[1] != 0; }
int sample(struct bpf_perf_event_data *ctx) { return ctx->sample_period + PT_REGS_IP(&ctx->regs); }
BPF_STACK_TRACE(stacks, 1000);
BPF_RINGBUF_OUTPUT(ring, 8);
BPF_PERF_OUTPUT(events);
int probe(struct pt_regs *ctx)
{
    u64 now = bpf_ktime_get_ns();
    events.perf_submit(ctx, &now, sizeof(now));
    ring.ringbuf_output(&now, sizeof(now), BPF_RB_NO_WAKEUP);
    return stacks.get_stackid(ctx, BPF_F_USER_STACK);
}
"""


def test_contexts_load(cache: CacheDir) -> None:
    """The verifier accepts only loads of full width from a context."""
    tree = make_tree(CONTEXTS, cache)
    with compiled(CONTEXTS, tree.path) as program:
        kinds = import_bcc().BPF
        for name, kind in (
            ("filter", kinds.SOCKET_FILTER),
            ("pass", kinds.XDP),
            ("raw", kinds.RAW_TRACEPOINT),
            ("sample", kinds.PERF_EVENT),
            ("probe", kinds.RAW_TRACEPOINT),
        ):
            assert program.load_func(name, kind).fd > 0


READS = """
#include <uapi/linux/ptrace.h>
#include <linux/sched.h>
#include <linux/nsproxy.h>
#include <linux/ns_common.h>
#include <net/net_namespace.h>
struct seen { u64 tgid, parent, netns, status, start; char comm[TASK_COMM_LEN]; };
BPF_ARRAY(seen, struct seen, 1);
BPF_ARRAY(only, u32, 1);
int entered(struct bpf_raw_tracepoint_args *ctx)
{
    int zero = 0;
    u32 *tgid = only.lookup(&zero);
    struct seen *at = seen.lookup(&zero);
    if (!tgid || !at || bpf_get_current_pid_tgid() >> 32 != *tgid)
        return 0;
    struct task_struct *t = (struct task_struct *)bpf_get_current_task();
    at->tgid = t->tgid;
    at->parent = t->real_parent->tgid;
    at->netns = t->nsproxy->net_ns->ns.inum;
    at->start = t->start_boottime;
    bpf_probe_read_kernel_str(at->comm, sizeof(at->comm), t->comm);
    STATUS
    return 0;
}
"""


@pytest.mark.parametrize("cflags", [[], EXTENSIONS])
def test_values_read_are_the_true_ones(cache: CacheDir, btf: Btf, cflags: list[str]) -> None:
    has_status = btf.member_offset("task_struct", "thread_info.status") is not None
    text = READS.replace("STATUS", "at->status = t->thread_info.status;" if has_status else "")
    tree = make_tree(text, cache)
    with compiled(text + layout_check.check_functions(tree.checks), tree.path, cflags) as program:
        layout_check.verify_all(program.dump_func, tree.checks)
        program["only"][ctypes.c_int(0)] = ctypes.c_uint(os.getpid())
        program.attach_raw_tracepoint(tp=b"sys_enter", fn_name=b"entered")
        os.getppid()
        program.detach_raw_tracepoint(tp=b"sys_enter")
        values_read = program["seen"][ctypes.c_int(0)]
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert values_read.tgid == os.getpid()
    assert values_read.parent == os.getppid()
    assert values_read.netns == Path("/proc/self/ns/net").stat().st_ino
    assert values_read.start * os.sysconf("SC_CLK_TCK") // 10**9 == int(stat[19])
    assert values_read.comm.decode() == Path("/proc/self/comm").read_text().strip()
    assert values_read.status == 0


def test_a_tree_is_kept_and_found_again(cache: CacheDir) -> None:
    first = make_tree(READS, cache)
    second = make_tree(READS + "/* another comment */", cache)
    assert (first.cached, second.cached) == (False, True)
    assert (second.path, second.checks) == (first.path, first.checks)
    assert make_tree(READS + "pid", cache).path != first.path


def test_a_tampered_tree_is_rebuilt(cache: CacheDir) -> None:
    tree = make_tree("struct task_struct pid", cache)
    kconfig = tree.path / "include/linux/kconfig.h"
    text = kconfig.read_text()
    kconfig.chmod(0o666)
    second = make_tree("struct task_struct pid", cache)
    assert not second.cached
    assert kconfig.read_text() == text
    assert kconfig.stat().st_mode & 0o022 == 0
    kconfig.unlink()
    assert not make_tree("struct task_struct pid", cache).cached
    assert make_tree("struct task_struct pid", cache).cached
    assert len(list((cache.path / "headers").iterdir())) == 1


def test_trees_that_nothing_uses_are_dropped(cache: CacheDir) -> None:
    old, used, half = (make_tree(f"struct file {name}", cache).path for name in ("f_op", "f_pos", "f_flags"))
    half = half.rename(half.with_name(".new-killed"))
    for path in (old, used, half):
        os.utime(path, (0, 0))
    assert make_tree("struct file f_pos", cache).cached
    make_tree("struct file f_mode", cache)
    assert (old.exists(), used.exists(), half.exists()) == (False, True, False)


def test_two_concurrent_starts_both_get_the_tree(cache: CacheDir) -> None:
    trees = []
    threads = [
        threading.Thread(target=lambda: trees.append(make_tree("struct file f_op", cache))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({tree.path for tree in trees}) == 1
    assert len(trees) == 4
    assert len(list((cache.path / "headers").iterdir())) == 1


def test_find_headers_prefers_btf(monkeypatch: pytest.MonkeyPatch, cache: CacheDir) -> None:
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(cache.path))
    headers = find_headers("struct task_struct tgid")
    assert headers.source == "btf"
    assert headers.describe == "types from /sys/kernel/btf/vmlinux"
    assert find_headers("struct task_struct tgid").describe.endswith("(cached)")
    assert [check.member for check in headers.checks] == ["tgid"]
