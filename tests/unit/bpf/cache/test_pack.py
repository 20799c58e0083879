"""Test packs as bytes, the images in them, and messages about missing ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytracer import packing
from pytracer.bpf.cache import pack, pack_check
from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.cache.pack import Pack, PackEntry, PackError, decode
from pytracer.bpf.cache.pack_check import find_problem
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.image import Image, MapSpec, ProgramSpec
from pytracer.bpf.read.dtypes import dtype_of
from pytracer.cli.main import main
from pytracer.cli.pack import chosen
from pytracer.errors import UnknownNameError, UnsupportedError, UsageError
from pytracer.kernel.btf import ENUMS, BtfKind
from pytracer.kernel.btf_facts import BtfKernelInfo
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import (
    Clsact,
    Fexit,
    Kprobe,
    KprobeEvents,
    KretprobeMulti,
    RawTracepoint,
    SocketFilter,
    Tcx,
    Tracepoint,
    Uprobe,
    UprobeMulti,
    Uretprobe,
    UretprobeMulti,
    Xdp,
    XdpNetlink,
    registry,
)
from pytracer.spec.calls import CallProbe
from support.btf_builder import INT, LONG, basic

MAGIC = b"pytracer pack 1\n"
RETURN = bytes.fromhex("b700000000000000 9500000000000000")
BTF, OTHER = "a" * 64, "b" * 64
TEXT = "BPF_HASH(rows, u64, u64, 10); int enter(void *ctx); int leave(void *ctx);"


def image(*programs: str) -> Image:
    rows = MapSpec("rows", 1, 8, 8, 10, 0, '"u64"', '"u64"')
    return Image("", "", (), (rows,), tuple(ProgramSpec(name, RETURN, {}) for name in programs))


def a_pack() -> Pack:
    """Return two kernels; a tracer in two shapes for the first, in one for the second."""
    source = pack.digest(TEXT)
    entries = (
        PackEntry(BTF, "tracer", "tracer", source, ("-DA",), 0),
        PackEntry(BTF, "tracer", "tracer --b", source, ("-DA", "-DB"), 1),
        PackEntry(OTHER, "tracer", "tracer", source, ("-DA",), 0),
    )
    return Pack({BTF: "6.98", OTHER: "6.99"}, entries, (image("enter", "leave"), image("enter")))


def recipe(*cflags: str, text: str = TEXT, programs: tuple[str, ...] = ("enter",), **fields: Any) -> Recipe:
    return Recipe("tracer.c", text, cflags, programs, **fields)


def seal(content: bytes) -> bytes:
    return MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def alter(change: Callable[[Any], object]) -> bytes:
    """Return the bytes of a changed pack, with a correct checksum."""
    body = json.loads(zlib.decompress(a_pack().encode()[len(MAGIC) + 65 :]))
    change(body)
    return seal(zlib.compress(json.dumps(body).encode()))


def test_data_round_trips() -> None:
    assert decode(a_pack().encode()) == a_pack()
    assert decode(alter(lambda body: None)) == a_pack()
    assert a_pack().tracers == ["tracer"]


def test_cut_or_flipped_anywhere_it_is_no_pack() -> None:
    data = bytearray(a_pack().encode())
    for position in range(len(data)):
        with pytest.raises(PackError):
            decode(bytes(data[:position]))
        data[position] ^= 1 << position % 8
        with pytest.raises(PackError):
            decode(bytes(data))
        data[position] ^= 1 << position % 8
    with pytest.raises(PackError, match="damaged"):
        decode(bytes(data) + b"\n")


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b"7"])
def test_complete_files_of_another_kind(text: bytes) -> None:
    with pytest.raises(PackError, match="something else"):
        decode(seal(zlib.compress(text)))
    with pytest.raises(PackError, match="something else"):
        decode(seal(text))


def test_damaged_or_trailing_compressed_data() -> None:
    content = a_pack().encode()[len(MAGIC) + 65 :]
    for bad in (content[:-1], content + b"more", content + content, content[:20]):
        with pytest.raises(PackError, match="something else"):
            decode(seal(bad))


def test_a_small_file_that_would_fill_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "MAX_CONTENT", 10_000)
    with pytest.raises(PackError, match="something else"):
        decode(alter(lambda body: body.update(more="x" * 1_000_000)))
    assert decode(a_pack().encode()) == a_pack()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kernels",), []),
        (("kernels", BTF), 7),
        (("entries",), None),
        (("entries", 0), []),
        (("entries", 0, 0), 7),
        (("entries", 0, 1), None),
        (("entries", 0, 2), []),
        (("entries", 0, 3), {}),
        (("entries", 0, 4), "-DA"),
        (("entries", 0, 4), [7]),
        (("entries", 0, 5), 2),
        (("entries", 0, 5), -1),
        (("entries", 0, 5), True),
        (("entries", 0, 5), "0"),
        (("images",), {"a": 1}),
        (("images", 0), None),
        (("images", 0), "pytracer image 4\nno image"),
    ],
)
def test_values_of_another_kind_are_refused(path: tuple[Any, ...], value: object) -> None:
    def change(body: Any) -> None:
        for step in path[:-1]:
            body = body[step]
        body[path[-1]] = value

    with pytest.raises(PackError, match="something else"):
        decode(alter(change))


def test_the_image_of_a_plan_is_found() -> None:
    first, one_pack = a_pack().images
    assert a_pack().find(recipe("-DA"), BTF, "x") == first
    assert a_pack().find(recipe("-DA", programs=("enter", "leave")), BTF, "x") == first
    assert a_pack().find(recipe("-DA", "-DB"), BTF, "x") == one_pack
    assert a_pack().find(recipe("-DA"), OTHER, "x") == first


@pytest.mark.parametrize(
    ("recipe", "btf", "message", "hint"),
    [
        (recipe("-DA"), "c" * 64, "x has no image for this kernel", "made for 6.98, 6.99;"),
        (recipe("-DC"), BTF, "these options (asked for: C; in the pack: A)", "tracer; tracer --b"),
        (recipe("-DA", "-DB", "-DC=1"), BTF, "not with these options (asked for: C=1)", "--b"),
        (recipe("-DB", "-DA"), BTF, "x holds tracer for this kernel, but not", "tracer; tracer --b"),
        (recipe("-DA", "-DB"), OTHER, "x holds tracer for this kernel, but not", "it holds tracer"),
        (recipe("-DA", "-DB", programs=("leave",)), BTF, "but not with these options", "tracer --b"),
        (recipe("-DA", text=TEXT + "\n"), BTF, "x was not made from this tracer.c", "make it again"),
        (recipe("-DA", events=("sched:exit",)), BTF, "trace event sched:exit", "--dry-run"),
    ],
)
def test_missing_names_are_reported(recipe: Recipe, btf: str, message: str, hint: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape(message)) as excinfo:
        a_pack().find(recipe, btf, "x")
    assert hint in excinfo.value.hint
    assert excinfo.value.exit_code == 4


def test_files_that_are_no_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    os.mkfifo(tmp_path / "fifo")
    for name, kind, words in (
        ("absent", UsageError, "No such file"),
        ("fifo", UsageError, "no plain file"),
        (".", UsageError, "Is a directory"),
        ("rubbish", PackError, "rubbish is not a pack of this version"),
    ):
        with pytest.raises(kind, match=words):
            pack.load(str(tmp_path / name))
    monkeypatch.setattr(pack, "MAX_FILE", 100)
    (tmp_path / "big").write_bytes(a_pack().encode())
    with pytest.raises(PackError, match="too big"):
        pack.load(str(tmp_path / "big"))


def test_a_kernel_without_btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good").write_bytes(a_pack().encode())
    monkeypatch.setattr(pack, "VMLINUX", tmp_path / "none")
    with pytest.raises(UnsupportedError, match="no BTF"):
        pack.image_for(recipe("-DA", pack=str(tmp_path / "good")))
    (tmp_path / "btf").write_bytes(b"types")
    key = hashlib.sha256(b"types").hexdigest()
    local = Pack(
        {key: "here"}, (PackEntry(key, *list(vars(a_pack().entries[0]).values())[1:]),), a_pack().images
    )
    (tmp_path / "here").write_bytes(local.encode())
    monkeypatch.setattr(pack, "VMLINUX", tmp_path / "btf")
    assert pack.image_for(recipe("-DA", pack=str(tmp_path / "here"))) == a_pack().images[0]


# The command line of pytracer run.


@pytest.fixture
def one_pack(tmp_path: Path) -> str:
    """Make a pack of one tracer."""
    path = tmp_path / "one"
    path.write_bytes(
        Pack({BTF: "6.98"}, (PackEntry(BTF, "syscalls", "syscalls", "", (), 0),), (image("a"),)).encode()
    )
    return str(path)


@pytest.fixture
def two_packs(tmp_path: Path) -> str:
    """Make a pack of two tracers."""
    entries = tuple(PackEntry(BTF, name, name, "", (), 0) for name in ("syscalls", "sockcount"))
    path = tmp_path / "two"
    path.write_bytes(Pack({BTF: "6.98"}, entries, (image("a"),)).encode())
    return str(path)


def test_the_tracer_may_be_left_out_where_there_is_one(one_pack: str) -> None:
    assert chosen([one_pack]) == (one_pack, "syscalls", [])
    assert chosen([one_pack, "1", "5"]) == (one_pack, "syscalls", ["1", "5"])
    assert chosen([one_pack, "--", "sockcount"]) == (one_pack, "syscalls", ["--", "sockcount"])
    assert chosen([one_pack, "syscalls", "--", "ls", "--headers"]) == (
        one_pack,
        "syscalls",
        ["--", "ls", "--headers"],
    )


def test_one_of_several_packs_is_named(two_packs: str) -> None:
    assert chosen([two_packs, "sockcount", "lo"]) == (two_packs, "sockcount", ["lo"])
    for words in ([two_packs], [two_packs, "-d", "1"], [two_packs, "syscals"]):
        with pytest.raises(UsageError, match="more than one tracer") as excinfo:
            chosen(words)
        assert excinfo.value.hint == "there is sockcount, syscalls"


def test_words_that_make_no_sense(one_pack: str) -> None:
    for words in ([], ["-v", one_pack]):
        with pytest.raises(UsageError, match="needs the file"):
            chosen(words)
    with pytest.raises(UnknownNameError, match="no tracer in"):
        chosen([one_pack, "sockcount", "lo"])
    with pytest.raises(UsageError, match="--headers"):
        chosen([one_pack, "--headers", "btf"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["syscalls"], "required: -o/--output"),
        (["syscalls", "-o", "/nonexistent/x"], "cannot write '/nonexistent/x'"),
        (["syscalls", "-o", "/dev/null"], "no plain file"),
        (["syscals", "-o", "{}"], "did you mean syscalls?"),
        (["syscalls 'x", "-o", "{}"], "No closing quotation"),
        (["", "-o", "{}"], "needs the name of a tracer"),
        (["syscalls --headers package", "-o", "{}"], "a pack uses the types of BTF"),
        (["syscalls --by colour", "-o", "{}"], "keys: syscall, pid, comm"),
    ],
)
def test_packing_words_that_make_no_sense(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pack", *(word.format(tmp_path / "x.pack") for word in words)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert [line.partition(": ")[0] for line in err.splitlines()] in (["pytracer"], ["pytracer", "hint"])
    assert list(tmp_path.iterdir()) == []


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["pack", "--help"], ["run", "--help"]):
        assert main(words) == 0
        assert capsys.readouterr().out.startswith(f"usage: pytracer {words[0]} ")


# What BTF tells of a kernel.


def test_facts_from_btf() -> None:
    built = basic()
    built.struct("pt_regs", 8, ("orig_ax", LONG, 0))
    proto = built.add(BtfKind.FUNC_PROTO, "", 0)
    built.add(BtfKind.FUNC, "x64_sys_call", proto)
    built.typedef("btf_trace_sys_enter", LONG)
    built.enum("bpf_func_id", {"BPF_FUNC_unspec": 0, "BPF_FUNC_probe_read_kernel": 113})
    built.enum("bpf_map_type", {"BPF_MAP_TYPE_UNSPEC": 0, "BPF_MAP_TYPE_RINGBUF": 27})
    built.enum("bpf_attach_type", {"BPF_CGROUP_INET_INGRESS": 0, "BPF_TRACE_UPROBE_MULTI": 48})
    facts = BtfKernelInfo(built.btf(), runs_compat=True)
    assert facts.architecture == "x86_64"
    assert facts.probe(Uprobe("", file="libc", symbol="malloc")).is_supported
    assert facts.probe(UretprobeMulti("", file="libc", symbol="malloc")).is_supported
    assert (facts.has_map_type(27), facts.has_map_type(28)) == (True, False)
    assert not facts.probe(KretprobeMulti("", patterns=("vfs_*",))).is_supported
    assert not facts.probe(KprobeEvents("", patterns=("vfs_*",))).is_supported
    assert (facts.has_helper(113), facts.has_helper(114)) == (True, False)
    assert facts.probe(RawTracepoint("", event="sys_enter")).is_supported
    assert not facts.probe(RawTracepoint("", event="sys_exit")).is_supported
    assert facts.probe(Kprobe("", symbols=("x64", "x64_sys_call"))).name == "x64_sys_call"
    assert not facts.probe(Kprobe("", symbols=("x64",))).is_supported
    assert facts.probe(Fexit("", function="x64_sys_call")).is_supported
    assert not facts.probe(Fexit("", function="x64")).is_supported
    assert not facts.probe(Tracepoint("", category="raw_syscalls", event="sys_enter")).is_supported
    assert facts.probe(SocketFilter("")).is_supported
    assert facts.runs_compat
    assert not BtfKernelInfo(built.btf(), runs_compat=False).runs_compat
    assert built.btf().find(ENUMS, "bpf_func_id")


@pytest.mark.parametrize(("last", "xdp", "tcx"), [(36, False, False), (37, True, False), (47, True, True)])
def test_links_on_interfaces_are_in_btf(last: int, xdp: bool, tcx: bool) -> None:
    built = basic()
    built.enum("bpf_attach_type", {f"BPF_{number}": number for number in range(last + 1)})
    facts = BtfKernelInfo(built.btf(), runs_compat=False)
    assert (facts.probe(Xdp("")).is_supported, facts.probe(Tcx("")).is_supported) == (xdp, tcx)
    assert facts.probe(XdpNetlink("")).is_supported
    assert facts.probe(Clsact("")).is_supported


def test_facts_from_other_btf() -> None:
    built = basic()
    built.struct("pt_regs", 8, ("pstate", LONG, 0), ("pc", INT, 32))
    facts = BtfKernelInfo(built.btf(), runs_compat=False)
    assert facts.architecture == "aarch64"
    assert not facts.has_helper(113)
    assert facts.probe(Uretprobe("", file="libc", symbol="malloc")).is_supported
    assert not facts.probe(UprobeMulti("", file="libc", symbol="malloc")).is_supported
    assert BtfKernelInfo(basic().btf(), runs_compat=False).architecture == ""


# What is compiled.


def test_c_that_checks_the_kernel_version_cannot_be_packed() -> None:
    for tracer in registry.all_tracers():
        packing._check_version(tracer.c_file, read_source(tracer.c_file))
    private = "#ifdef PT_PACKAGED_HEADERS\n#if LINUX_VERSION_CODE < 7\n#endif\n#else\nint a;\n#endif\n"
    packing._check_version("x.c", private)
    for text in ("#if LINUX_VERSION_CODE < 7\n#endif\n", private + "int v = LINUX_VERSION_CODE;\n"):
        with pytest.raises(UnsupportedError, match=r"x\.c asks for the kernel's version"):
            packing._check_version("x.c", text)


def test_btf_of_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = basic()
    built.struct("pt_regs", 8, ("pstate", LONG, 0))
    (tmp_path / "arm.btf").write_bytes(built.data())
    kernel = packing.PackKernel("arm", tmp_path / "arm.btf")
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    with pytest.raises(UnsupportedError, match="is of a kernel for aarch64") as excinfo:
        packing._read(kernel)
    assert excinfo.value.hint == "run pytracer pack on aarch64"
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="aarch64"))
    assert packing._read(kernel)[1] == hashlib.sha256(built.data()).hexdigest()


def test_every_alternative_that_needs_no_trace_event_is_planned() -> None:
    """Both hooks by raw tracepoints, the calls by kprobes too, with and without 32-bit programs."""
    built = basic()
    built.struct("pt_regs", 8, ("orig_ax", LONG, 0))
    for event in ("sys_enter", "sys_exit", "sched_process_exit", "sched_switch"):
        built.typedef(f"btf_trace_{event}", LONG)
    request = Request(tracer=registry.get("syscalls"))
    kernel = packing.PackKernel("test", Path("test.btf"))
    few = list(packing._iter_plans(request, built.btf(), kernel))
    assert len(few) == 2
    assert {programs for _, programs in few} == {("enter", "leave", "gone", "pt_switched")}
    proto = built.add(BtfKind.FUNC_PROTO, "", 0)
    for function in ("x64_sys_call", "syscall_exit_to_user_mode_prepare"):  # the optional one is absent
        built.add(BtfKind.FUNC, function, proto)
    plans = list(packing._iter_plans(request, built.btf(), kernel))
    flags = {tuple(plan.cflags) for plan, _ in plans}
    assert len(flags) == len(plans) == 4
    assert sum("-DPT_COMPAT" in one_pack for one_pack in flags) == 2
    assert sum("-DHOOK_SYSCALL_KPROBE_DISPATCH" in one_pack for one_pack in flags) == 2
    assert not any("PT_HAS_PROBE_READ_KERNEL" in flag for one_pack in flags for flag in one_pack)
    with pytest.raises(UnsupportedError, match="cannot be packed for test"):
        list(packing._iter_plans(request, basic().btf(), kernel))


C = """
BPF_HASH(rows, u64, struct row_value, 1024);
BPF_STACK_TRACE(stacks, PT_STACKS_MAX);
BPF_RINGBUF_OUTPUT(events, PT_RING_PAGES);
#ifdef OTHERWISE
BPF_PERF_OUTPUT(events);
#endif
BPF_PERCPU_ARRAY(pt_losses, u64, PT_LOSS_REASONS);
BPF_TABLE("hash", u32, u32, table, 8);
int enter(void *ctx) { return 0; }
"""
VALUE = '["row_value", [["calls", "unsigned long long"], ["comm", "char", [16]], ["flag", "char"]], "struct"]'
MAPS = {
    "rows": MapSpec("rows", 1, 8, 32, 1024, 0, '"unsigned long long"', VALUE),
    "stacks": MapSpec(
        "stacks", 7, 4, 1016, 77, 0, '"int"', '["bpf_stacktrace", [["ip", "unsigned long long", [127]]]]'
    ),
    "events": MapSpec("events", 27, 0, 0, 4096, 0, '"int"', '"int"'),
    "pt_losses": MapSpec("pt_losses", 6, 4, 8, 3, 0, '"int"', '"unsigned long long"'),
    "table": MapSpec("table", 1, 4, 4, 8, 0, '"unsigned int"', '"unsigned int"'),
}


def contents(program: str = "enter", **changed: dict[str, Any]) -> Image:
    maps = tuple(replace(spec, **changed.get(name, {})) for name, spec in MAPS.items())
    return Image("", "", (), maps, (ProgramSpec(program, RETURN, {}),))


def test_a_source_that_can_be_the_c_is_accepted() -> None:
    assert find_problem(contents(), C) == ""
    ring = {"type": 4, "key_size": 4, "value_size": 4}
    assert find_problem(contents(events=ring), C) == ""


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"rows": {"type": 2}}, "a map 'rows' of type 2, declared as HASH (1)"),
        ({"rows": {"key_size": 4}}, "a map 'rows' of 4 bytes where u64 is declared"),
        (
            {"rows": {"value_size": 1 << 20}},
            "a map 'rows' with values of 1048576 bytes that are described as 32",
        ),
        (
            {"rows": {"value_type": '["other", [["a", "int"]]]'}},
            "of other where struct row_value is declared",
        ),
        ({"rows": {"max_entries": 1 << 31}}, "a map 'rows' of 2147483648 entries where 1024 are declared"),
        ({"rows": {"name": "elsewhere"}}, "a map 'elsewhere', which its C does not have"),
        ({"stacks": {"value_size": 8 * 1000}}, "a map 'stacks' of a size that no STACK_TRACE has"),
        ({"events": {"type": 1, "key_size": 4, "value_size": 4}}, "of type 1, declared as RINGBUF (27)"),
        ({"pt_losses": {"value_size": 16}}, "a map 'pt_losses' of 16 bytes where u64 is declared"),
        ({"pt_losses": {"type": 2}}, "of type 2, declared as PERCPU_ARRAY (6)"),
        ({"table": {"value_size": 12}}, "a map 'table' with values of 12 bytes that are described as 4"),
        ({"program": "other"}, "a program 'other', which its C does not have"),
    ],
)
def test_a_source_that_cannot_be_the_c_is_refused(changed: dict[str, Any], problem: str) -> None:
    assert problem in find_problem(contents(**changed), C)


@pytest.mark.parametrize(
    "description",
    [
        '"unsigned long long"',
        VALUE,
        '["a", [["b", "char"], ["c", "short"], ["d", ["e", [["f", "int"]], "union"]]], "struct_packed"]',
        '["a", [["b", "int *"], ["c", "enum x"], ["d", "short", [3, 5]]], "struct"]',
        '["a", [["b", "int"], ["c", "char", [7]], ["d", "long"]], "union"]',
    ],
)
def test_sizes_are_those_that_maps_are_read_by(description: str) -> None:
    size = pack_check._size(description)
    assert size is not None
    dtype_of(description, size)  # which raises SchemaError for any other


def test_a_pack_with_wrong_contents_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = contents(stacks={"value_size": 1 << 16})
    held = Pack({BTF: "here"}, (PackEntry(BTF, "tracer", "tracer", pack.digest(C), (), 0),), (spoilt,))
    monkeypatch.setattr(pack, "load", lambda _: held)
    monkeypatch.setattr(pack, "btf_digest", lambda _: BTF)
    with pytest.raises(PackError) as excinfo:
        pack.image_for(recipe(text=C, pack="file"))
    assert excinfo.value.message == "file holds a map 'stacks' of a size that no STACK_TRACE has"
    assert excinfo.value.hint


@pytest.mark.parametrize("tracer", registry.names())
def test_btf_decides_whether_each_hook_exists(tracer: str) -> None:
    facts = BtfKernelInfo(basic().btf(), runs_compat=False)
    for hook in registry.get(tracer).hooks:
        for alternative in hook.alternatives:
            for probe in alternative.probes:
                if isinstance(probe, CallProbe):
                    continue  # the planner replaces it
                assert facts.probe(probe).is_supported in (True, False)
