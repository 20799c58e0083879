"""Test the table of programs in the kernel: links, owners, rows, the command line."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import json
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.bpf import holders, objects, process_mark
from pytracer.bpf.holders import Process, format_target
from pytracer.bpf.obj_info import ProgramInfo
from pytracer.bpf.objects import ObjectKind
from pytracer.budget import Account
from pytracer.cli.main import main
from pytracer.errors import NotPermittedError, UnknownNameError, UnsupportedError
from pytracer.model import Snapshot
from pytracer.prog import links, program_tables, run_stats
from pytracer.prog import program_list as in_kernel
from pytracer.prog.attachments import Attachment, _take_attachment
from pytracer.prog.link_targets import TargetNames
from pytracer.prog.links import LinkInfo
from pytracer.prog.network_attachments import NetworkAttachment
from pytracer.prog.pins import Pin
from pytracer.prog.program_list import KernelProgram
from pytracer.prog.run_stats import RunCount, subtract
from pytracer.sinks import make_sink
from support import budgets


def info(number: int = 7, **fields: object) -> ProgramInfo:
    values: dict[str, object] = {
        "id": number, "type": 17, "tag": "0123456789abcdef", "name": "enter", "load_time": 5 * 10**9,
        "uid": 0, "gpl": True, "map_ids": (), "btf_id": 0, "xlated_size": 280, "jited_size": 180,
        "xlated": b"", "jited": b"", "lines": (), "functions": (), "counts_runs": True,
        "run_time": 0, "run_count": 0,
        "recursion_misses": 0, "verified": 30, "attach_btf_object": 0, "attach_btf_id": 0,
    }  # fmt: skip
    return ProgramInfo(**(values | fields))  # type: ignore[arg-type]


def program(number: int = 7, **fields: object) -> KernelProgram:
    program_info = info(number, **fields)
    return KernelProgram(program_info, program_info.name, 4096, 1000.0)


class KnownNames(TargetNames):
    """Names that do not need a kernel."""

    def function_at(self, address: int) -> str:
        return {0xFFFF0010: "vfs_read"}.get(address, hex(address))

    def function(self, btf: int, number: int) -> str:
        return {(1, 23): "bpf_lsm_file_open", (1, 24): "vfs_read"}.get((btf, number), "")

    def event(self, name: str) -> str:
        return f"sched:{name}"

    def cgroup(self, number: int) -> str:
        return {42: "/system.slice/a.service"}[number]


def link_info(kind: int, *fields: tuple[int, str, int]) -> bytes:
    """Return a struct bpf_link_info of link 9, on program 7: fields are (offset, format, value)."""
    data = bytearray(128)
    struct.pack_into("III", data, 0, kind, 9, 7)
    for offset, form, value in fields:
        struct.pack_into(form, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("kind", "fields", "pointed", "expected"),
    [
        (1, [], {16: b"sched_switch\0"}, "rt:sched_switch"),
        (2, [(16, "I", 24), (20, "I", 1), (24, "I", 24)], {}, "f:vfs_read"),
        (2, [(16, "I", 25), (20, "I", 1), (24, "I", 24)], {}, "fr:vfs_read"),
        (2, [(16, "I", 27), (20, "I", 1), (24, "I", 23)], {}, "lsm:file_open"),
        (2, [(16, "I", 24), (20, "I", 7), (24, "I", 2)], {}, "f:program 7 (enter)"),
        (2, [(16, "I", 24)], {}, "f:?"),  # before Linux 5.13
        (3, [(16, "Q", 42), (24, "I", 1)], {}, "cgroup/egress:/system.slice/a.service"),
        (4, [], {16: b"task_file\0"}, "iter:task_file"),
        (5, [(16, "I", 4026531840), (20, "I", 36)], {}, "sk_lookup:netns 4026531840"),
        (6, [(16, "I", 0)], {}, "xdp:(gone)"),
        (7, [(16, "I", 3), (36, "I", 0)], {24: b"vfs_read\0"}, "k:vfs_read"),
        (7, [(16, "I", 4), (36, "I", 8)], {24: b"vfs_read\0"}, "kr:vfs_read+8"),
        (7, [(16, "I", 3), (40, "Q", 0xFFFF0010)], {24: b"\0"}, "k:0xffff0010"),
        (7, [(16, "I", 1), (36, "I", 0x1234)], {24: b"/bin/bash\0"}, "u:/bin/bash:0x1234"),
        (7, [(16, "I", 5)], {24: b"sched_switch\0"}, "t:sched:sched_switch"),
        (7, [(16, "I", 6), (24, "Q", 0), (32, "I", 1)], {}, "perf:1/0"),
        (7, [], {}, "perf:?"),  # before Linux 6.6
        (8, [(24, "I", 2)], {16: struct.pack("QQ", 0xFFFF0010, 5)}, "k:vfs_read and 1 more"),
        (8, [(24, "I", 1), (28, "I", 1)], {16: struct.pack("Q", 0xFFFF0010)}, "kr:vfs_read"),
        (8, [], {}, "k:?"),
        (9, [(16, "I", 33)], {}, "struct_ops:map 33"),
        (10, [(16, "I", 2), (20, "I", 4)], {}, "netfilter:ip/4"),
        (12, [(52, "I", 1)], {16: b"/bin/bash\0", 24: struct.pack("Q", 64)}, "u:/bin/bash:0x40"),
        (14, [(16, "I", 33), (20, "I", 38)], {}, "skb_verdict:map 33"),
        (99, [], {}, ""),
    ],
)
def test_a_link_holds_its_program(monkeypatch, kind, fields, pointed, expected):
    def reported(_descriptor: int, room: bytearray) -> int:
        for offset, data in pointed.items():
            pointer = struct.unpack_from("Q", room, offset)[0]
            if pointer:
                ctypes.memmove(pointer, data, len(data))
        requests = bytes(room)
        room[:] = link_info(kind, *fields)
        for offset in pointed:
            room[offset : offset + 8] = requests[offset : offset + 8]
        return 64

    monkeypatch.setattr(links, "object_info", reported)
    monkeypatch.setattr(links, "iter_ids", lambda _: [9])
    monkeypatch.setattr(links, "open_object", lambda _kind, number: contextlib.nullcontext(number))
    [link] = links.links({7: program()}, KnownNames())
    assert (link.id, link.program, link.where) == (9, 7, expected)


def test_programs_unloaded_meanwhile_are_left_out(monkeypatch):
    @contextlib.contextmanager
    def open_object(_kind: ObjectKind, number: int):
        if number == 2:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        yield number

    monkeypatch.setattr(in_kernel, "iter_ids", lambda _: [1, 2, 3])
    monkeypatch.setattr(in_kernel, "open_object", open_object)
    monkeypatch.setattr(in_kernel, "read_program", lambda number, code=True: info(number))
    monkeypatch.setattr(in_kernel, "own_file_info", lambda _: {"memlock": "8192"})
    actual = in_kernel.ProgramLister().list()
    assert list(actual) == [1, 3]
    assert actual[3].memory == 8192


def test_links_of_a_kernel_that_has_no_ids_for_them_are_none(monkeypatch):
    def refuse(_command: int, _attr: bytes) -> tuple[int, bytes]:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(objects, "bpf_inout", refuse)
    assert list(objects.iter_ids(ObjectKind.LINK)) == []
    with pytest.raises(OSError, match="Invalid"):
        list(objects.iter_ids(ObjectKind.PROGRAM))


def test_places_are_spelled_as_users_name_them():
    assert format_target("k", "vfs_read") == "k:vfs_read"
    assert format_target("k", "vfs_read", 4) == "k:vfs_read+4"
    assert format_target("k", "", 0, 0xFFFF) == "k:0xffff"
    assert format_target("u", "/bin/bash", 0x10) == "u:/bin/bash:0x10"


def a_process(root: Path, pid: int, comm: str, links_to: dict[int, str], infos: dict[int, str]) -> Path:
    process = root / str(pid)
    for folder in ("fd", "fdinfo", "ns"):
        (process / folder).mkdir(parents=True)
    (process / "comm").write_text(comm + "\n")
    for number, target in links_to.items():
        (process / "fd" / str(number)).symlink_to(target)
    for number, text in infos.items():
        (process / "fdinfo" / str(number)).write_text(text)
    return process


def test_holders_are_found_and_those_that_end_meanwhile_are_not(tmp_path, monkeypatch):
    program_info = "pos:\t0\nprog_type:\t17\nmemlock:\t4096\nprog_id:\t7\n"
    link = "pos:\t0\nlink_type:\traw_tracepoint\nlink_id:\t9\nprog_tag:\tab\nprog_id:\t8\n"
    fds = {3: "anon_inode:bpf-prog", 4: "anon_inode:bpf_link", 5: "/dev/null", 6: "anon_inode:bpf-map"}
    infos = {3: program_info, 4: link, 5: "prog_id:\t99\n", 6: "map_id:\t5\n"}
    a_process(tmp_path, 100, "agent", fds, infos)
    a_process(tmp_path, 101, "gone", {3: "anon_inode:bpf-prog"}, {})  # its descriptor was closed
    (tmp_path / "102").mkdir()
    monkeypatch.setattr(holders, "PROC", tmp_path)
    actual = holders.find_holders()
    agent = Process(100, "agent")
    assert actual.programs == {7: [agent], 8: [agent]}
    assert actual.links == {9: [agent]}


def test_processes_of_users_over_the_budget_are_not_inspected(tmp_path, monkeypatch):
    info = "pos:\t0\nprog_type:\t17\nmemlock:\t4096\nprog_id:\t7\n"
    for number in (100, 101):
        a_process(tmp_path, number, "agent", {3: "anon_inode:bpf-prog"}, {3: info})
    budget, messages = budgets.budget_with(cpu=0.0, share=0.0), []
    budget.listen(messages.append)

    def account(_: int, reason: str) -> Account:
        return budget.account(budgets.UID if reason == "process 101" else 0, reason)

    monkeypatch.setattr(holders, "current", lambda: SimpleNamespace(account=account))
    monkeypatch.setattr(holders, "PROC", tmp_path)
    assert holders.find_holders().programs == {7: [Process(100, "agent")]}
    [line] = messages
    assert line.startswith(f"process 101 exceeds what is spent for user {budgets.UID}: ")


def test_a_mark_is_read_back_while_its_descriptor_is_open(monkeypatch):
    monkeypatch.setattr(process_mark, "program_info", lambda descriptor: (descriptor + 100, "enter"))
    mark = process_mark.set_mark("syscalls", [7, 8])
    try:
        assert process_mark.read_mark(Path("/proc/self")) == ("syscalls", frozenset({107, 108}))
    finally:
        os.close(mark)
    assert process_mark.read_mark(Path("/proc/self")) == ("", frozenset())


@pytest.mark.parametrize(
    "messages", [b'{"tracer": "a", "programs": [Infinity]}', b"[" * 100_000, b"7", b"\xff", b"{}"]
)
def test_a_foreign_mark_is_ignored(messages):
    mark = os.memfd_create("pytracer")
    try:
        os.write(mark, messages)
        assert process_mark.read_mark(Path("/proc/self"))[1] == frozenset()
    finally:
        os.close(mark)


def test_runs_of_a_program_between_two_readings():
    before = {7: program(run_count=10, run_time=1000, recursion_misses=2)}
    now = {
        7: program(run_count=33, run_time=3300, recursion_misses=5),
        8: program(8, run_count=4, run_time=40),
    }
    first, second = subtract(before, now)
    assert (first.runs, first.time, first.missed) == (23, 2300, 3)
    assert (second.runs, second.time, second.missed) == (4, 40, 0)
    [old] = subtract({}, {7: program(recursion_misses=None)})
    assert old.missed is None


def test_before_linux_5_1_the_runs_are_not_known():
    info = program(counts_runs=False, recursion_misses=None)
    [old] = subtract({7: info}, {7: info})
    cells = program_tables.row(old, 2.0, program_tables.TableContext())
    assert [cells[name] for name in ("runs", "rate", "total_ns", "avg_ns", "cpu", "run_cnt")] == [None] * 6


def test_before_linux_5_8_the_sysctl_is_put_back_as_it_was(tmp_path, monkeypatch):
    def refuse(_command: int, _attr: bytes) -> int:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(run_stats, "bpf", refuse)
    monkeypatch.setattr(run_stats, "SYSCTL", tmp_path / "bpf_stats_enabled")
    for before in ("0\n", "1\n"):
        run_stats.SYSCTL.write_text(before)
        with run_stats.count_runs():
            assert int(run_stats.SYSCTL.read_text()) == 1
        assert run_stats.SYSCTL.read_text() == before
    run_stats.SYSCTL.unlink()
    absence = r"this kernel has no run counts of programs \(Linux 5.1\)"
    with pytest.raises(UnsupportedError, match=absence), run_stats.count_runs():
        pass


HOSTILE = "a\x1b[2Jb"
KNOWN = program_tables.TableContext(
    {7: [Process(100, HOSTILE), Process(101, "python", "syscalls", frozenset({7}))]},
    {7: [Attachment(7, "rt:sys_enter", 9), Attachment(7, f"u:/tmp/{HOSTILE}:0x1")]},
    {7: [Pin("/sys/fs/bpf/x", ObjectKind.LINK, 9, 7)]},
)


def render(form: str, view: str = "list", *, wide: bool = False) -> str:
    row = program_tables.row(
        RunCount(program(run_count=50, run_time=5000, name="enter"), 23, 2300, 1), 2.0, KNOWN
    )
    text = io.StringIO()
    sink = make_sink(form, text, timestamps=False, terminal=False, wide=wide)
    sink.open(program_tables.schema(view))
    sink.emit(Snapshot("row", 0.0, 2.0, {name: [row[name]] for name in program_tables.COLUMNS}))
    sink.close()
    return text.getvalue()


def test_a_row_has_all_that_is_known():
    record = json.loads(render("json"))
    assert list(record) == ["kind", "time_ns", "interval_ns", *program_tables.COLUMNS]
    assert record["owner"] == [f"{HOSTILE} (100)", "pytracer syscalls (101)", "/sys/fs/bpf/x"]
    assert record["attached"] == ["rt:sys_enter", f"u:/tmp/{HOSTILE}:0x1"]
    assert (record["pids"], record["links"], record["pins"]) == ([100, 101], [9], ["/sys/fs/bpf/x"])
    assert (record["runs"], record["rate"], record["total_ns"], record["avg_ns"]) == (23, 11.5, 2300, 100)
    assert (record["run_cnt"], record["run_time_ns"], record["missed"], record["verified"]) == (
        50,
        5000,
        1,
        30,
    )
    assert record["type"] == "raw_tracepoint"


@pytest.mark.parametrize("form", ["table", "csv"])
def test_names_cannot_mislead_a_terminal(form):
    text = render(form, wide=True)
    assert "\x1b" not in text
    assert r"a\x1b[2Jb" in text


def test_tables_show_the_first_of_several_and_how_many_more():
    assert r"a\x1b[2Jb (100) +2  rt:sys_enter +1" in render("table")
    assert "23      11.5  2.300 us" in render("table", "top")


def test_csv_has_all_of_several():
    assert "rt:sys_enter;u:/tmp/" in render("csv")
    assert ",100;101,9,/sys/fs/bpf/x," in render("csv")


def test_rows_are_ranked_with_unknown_values_last():
    rows = [
        program_tables.row(
            RunCount(program(number, name=name), runs, 100 * runs, None), 1.0, program_tables.TableContext()
        )
        for number, name, runs in ((1, "b", 5), (2, "a", 0), (3, "c", 23))
    ]
    assert [row["id"] for row in program_tables.rank(rows, "runs")] == [3, 1, 2]
    assert [row["id"] for row in program_tables.rank(rows, "name")] == [2, 1, 3]
    assert [row["id"] for row in program_tables.rank(rows, "avg_ns")] == [1, 3, 2]
    assert [row["id"] for row in program_tables.rank(rows, "id")] == [1, 2, 3]
    with pytest.raises(UnknownNameError, match="no column 'run'"):
        program_tables.rank([], "run")


def test_a_link_on_an_interface_has_the_name_of_the_attachment_found_there():
    loose = [
        NetworkAttachment(7, "xdp", "xdp:lo in netns blue", 1),
        NetworkAttachment(8, "xdp", "xdp:eth0", 2),
    ]
    assert _take_attachment(LinkInfo(9, "xdp", 7, "xdp:lo", 1), loose) == "xdp:lo in netns blue"
    assert [row.program for row in loose] == [8]
    assert _take_attachment(LinkInfo(10, "xdp", 7, "xdp:lo", 1), loose) == "xdp:#1 in another netns"


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["prog", "nonsense"], "prog list takes no 'nonsense'"),
        (["prog", "1", "2"], "a list is shown once"),
        (["prog", "-d", "1"], "a list is shown once"),
        (["prog", "top", "0"], "INTERVAL: '0' is no length of time"),
        (["prog", "--top", "0"], "'0' is no positive whole number"),
        (["prog", "--sort", "run"], "no column 'run'"),
    ],
)
def test_mistakes_are_reported(capsys, words, messages):
    assert main(words) == 2
    assert messages in capsys.readouterr().err


def test_help_has_every_column(capsys):
    assert main(["prog", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in program_tables.COLUMNS)


def test_refusals_of_the_kernel_are_reported(monkeypatch):
    def refuse() -> None:
        raise PermissionError(errno.EPERM, "")

    monkeypatch.setattr(program_tables.ProgramLister, "list", lambda _: refuse())
    monkeypatch.setattr("pytracer.kernel.policy.missing_capabilities", lambda _: ["CAP_SYS_ADMIN"])
    with pytest.raises(NotPermittedError, match="CAP_SYS_ADMIN"):
        program_tables.ProgramTable()
