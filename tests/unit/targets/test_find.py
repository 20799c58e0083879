"""Test targets that users name, on a simulated machine: functions that can be probed, and why not others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.errors import HeadersError, UnknownNameError, UnsupportedError, UsageError
from pytracer.kernel import functions, tracefs
from pytracer.kernel.facts import NamedTarget
from pytracer.spec import SPELLINGS, parse_source
from pytracer.targets import find, trace_events
from pytracer.targets import kernel_functions as finder

SYMBOLS = """ffffffff81000000 T vfs_read
ffffffff81000010 T vfs_write
ffffffff81000020 t vfs_several
ffffffff81000030 t vfs_several
ffffffff81000040 T vfs_forbidden
ffffffff81000050 T vfs_notrace
ffffffff81000058 T old_alias
ffffffff81000058 T new_alias
ffffffff81000060 t vfs_split.isra.0
ffffffff81000070 t vfs_read.cold
ffffffff81000080 D vfs_data
ffffffff81000090 t ext_read
ffffffff810000a0 t ext_read.cold
ffffffff810000b0 t ext_read.constprop.0
ffffffffc0000000 t vfs_module\t[ext4]
ffffffffc0000010 t bpf_prog_1_vfs_x\t[bpf]
ffffffffc0000020 t vfs_trampoline\t[__builtin__ftrace]
"""
TRACEABLE = """vfs_read
vfs_write
vfs_several
vfs_several
vfs_forbidden
vfs_split.isra.0
ext_read
ext_read.constprop.0
old_alias
vfs_module [ext4]
"""
EVENTS = "sched:sched_switch\nsched:sched_waking\nirq:irq_handler_entry\n"


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Use folders in place of tracefs and debugfs, with a symbol table."""
    (tmp_path / "kallsyms").write_text(SYMBOLS)
    monkeypatch.setattr(functions, "SYMBOLS", tmp_path / "kallsyms")
    root = tmp_path / "tracing"
    (root / "kprobes").mkdir(parents=True)
    (root / "kprobes/blacklist").write_text("0xffffffff81000040-0xffffffff81000050\tvfs_forbidden\n")
    (root / "available_filter_functions").write_text(TRACEABLE)
    (root / "available_events").write_text(EVENTS)
    monkeypatch.setattr(tracefs, "root", lambda: root)
    monkeypatch.setattr(tracefs, "DEBUG", root)
    monkeypatch.setattr(functions.mounts, "ensure_mounted", lambda fstype, path: False)
    monkeypatch.setattr(finder, "Btf", Types)
    monkeypatch.setattr(trace_events, "Btf", Types)
    caches = functions.named, functions.traceable, functions.traceable_at, functions.blacklist
    for cache in caches:
        cache.cache_clear()
    yield root
    for cache in caches:
        cache.cache_clear()


class Types:
    """BTF with a function and two tracepoints."""

    known = frozenset({"vfs_read", "btf_trace_sched_switch", "btf_trace_sys_enter", "u64"})

    @classmethod
    def load(cls) -> Types:
        return cls()

    def names(self, _kind: object) -> frozenset[str]:
        return self.known

    def find(self, _kind: object, name: str) -> int | None:
        return 7 if name in self.known else None


def names_of(text: str) -> list[str]:
    return [target.name for target in find(parse_source(text)).targets]


def test_a_pattern_selects_probeable_functions_and_counts_the_others() -> None:
    matches = find(parse_source("k:vfs_*"))
    assert matches.targets == (
        NamedTarget("vfs_module", 0xFFFFFFFFC0000000),
        NamedTarget("vfs_read", 0xFFFFFFFF81000000),
        NamedTarget("vfs_several@1", 0xFFFFFFFF81000020, symbol="vfs_several"),
        NamedTarget("vfs_several@2", 0xFFFFFFFF81000030, symbol="vfs_several"),
        NamedTarget("vfs_split.isra.0", 0xFFFFFFFF81000060),
        NamedTarget("vfs_write", 0xFFFFFFFF81000010),
    )
    assert matches.skipped == {
        "that may not be probed (noprobe)": 1,
        "that may not be traced (notrace)": 2,
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [("k:new_alias", ["new_alias"]), ("k:new_*", ["new_alias"]), ("k:*_alias", ["old_alias"])],
)
def test_a_function_of_several_names_is_found_once(text: str, names: list[str]) -> None:
    assert names_of(text) == names


@pytest.mark.parametrize(
    ("text", "versions"),
    [("k:ext_read", ("ext_read.constprop.0",)), ("k:ext_read+4", ()), ("k:ext_*", ()), ("k:vfs_read", ())],
)
def test_versions_that_the_compiler_made_of_a_function(text: str, versions: tuple[str, ...]) -> None:
    for _ in range(2):
        matches = find(parse_source(text))
        assert matches.versions == versions
        assert "ext_read.cold" not in [target.name for target in matches.targets]


def test_trampolines_need_btf_of_the_function() -> None:
    matches = find(parse_source("f:vfs_*"))
    assert [target.name for target in matches.targets] == ["vfs_read"]
    assert matches.skipped["unknown to the kernel's BTF"] == 3


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("f:vfs_several", "is a function of a name that several functions bear", "k: takes all"),
        ("k:vfs_forbidden", "is a function that may not be probed (noprobe)", ""),
        ("kr:vfs_notrace", "is a function that may not be traced (notrace)", ""),
        ("k:vfs_split", "only parts of it or variants (vfs_split.isra.0)", "k:vfs_split.*"),
        ("f:vfs_write", "unknown to the kernel's BTF", "k: does without"),
        ("k:vfs_n*", "matches no function that can be probed: 1 that may not be traced", ""),
    ],
)
def test_reasons_for_unattachable_functions(text: str, message: str, hint: str) -> None:
    with pytest.raises(UnsupportedError) as excinfo:
        find(parse_source(text))
    assert message in excinfo.value.message
    assert hint in excinfo.value.hint


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("k:vfs_raed", "vfs_read"),
        ("t:shed:sched_switch", "sched:sched_switch"),
        ("rt:sched_swich", "sched_switch"),
        ("k:nothing_like_it", "inline"),
        ("t:none:*", "there is irq:irq_handler_entry"),
    ],
)
def test_near_names(text: str, hint: str) -> None:
    with pytest.raises(UnknownNameError) as excinfo:
        find(parse_source(text))
    assert hint in excinfo.value.hint


def test_a_place_must_be_within_the_function() -> None:
    assert names_of("vfs_read+0xf") == ["vfs_read"]
    with pytest.raises(UsageError, match="vfs_read is 16 bytes long"):
        find(parse_source("vfs_read+0x10"))


def test_every_function_is_tried_without_a_list_of_traceable_ones(kernel: Path) -> None:
    (kernel / "available_filter_functions").unlink()
    assert "vfs_notrace" in names_of("vfs_n*")


def test_without_btf_there_are_no_trampolines(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Types:
        raise HeadersError("no BTF")

    monkeypatch.setattr(Types, "load", none)
    with pytest.raises(UnsupportedError, match="f:vfs_read: this kernel has no BTF"):
        find(parse_source("f:vfs_read"))


def test_trace_events() -> None:
    assert names_of("t:sched:*") == ["sched:sched_switch", "sched:sched_waking"]
    assert names_of("t:*:*_entry") == ["irq:irq_handler_entry"]


def test_raw_tracepoints_are_found_by_btf_or_symbols_and_events(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert names_of("rt:s*") == ["sched_switch", "sys_enter"]
    monkeypatch.setattr(Types, "known", frozenset())
    assert names_of("rt:sched_*") == ["sched_switch", "sched_waking"]
    functions.SYMBOLS.write_text("ffffffff82000000 D __tracepoint_sys_exit\n")
    assert names_of("rt:s*") == ["sys_exit"]


def test_a_raw_tracepoint_that_nothing_lists_is_requested(
    kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Types, "known", frozenset())
    (kernel / "available_events").unlink()
    assert names_of("rt:sched_switch") == ["sched_switch"]


def test_the_fields_of_a_trace_event(kernel: Path) -> None:
    folder = kernel / "events/sched/sched_switch"
    folder.mkdir(parents=True)
    (folder / "id").write_text("7\n")
    (folder / "format").write_text(
        "name: sched_switch\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
        "\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
        "\tfield:__data_loc char[] name;\toffset:24;\tsize:4;\tsigned:0;\n\nprint fmt: REC->x\n"
    )
    assert tracefs.fields("sched:sched_switch") == ["char prev_comm[16]", "__data_loc char[] name"]


def test_every_kind_of_source_can_be_found() -> None:
    from pytracer.targets import _FILES

    assert set(_FILES) == set(SPELLINGS)


@pytest.mark.parametrize("modules", [("capability",), ("capability", "bpf")])
def test_hooks_of_security_modules_by_bpf_are_called_where_bpf_is_one(
    kernel: Path, monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...]
) -> None:
    (kernel.parent / "kallsyms").write_text(SYMBOLS + "ffffffff81000090 T bpf_lsm_file_open\n")
    (kernel / "available_filter_functions").write_text(TRACEABLE + "bpf_lsm_file_open\n")
    monkeypatch.setattr(finder.policy, "read_lsms", lambda: modules)
    if "bpf" in modules:
        assert find(parse_source("k:bpf_lsm_file_open")).targets == (
            NamedTarget("bpf_lsm_file_open", 0xFFFFFFFF81000090),
        )
        return
    with pytest.raises(UnsupportedError) as excinfo:
        find(parse_source("k:bpf_lsm_file_open"))
    assert "without callers: bpf is not among the security modules in force" in excinfo.value.message
