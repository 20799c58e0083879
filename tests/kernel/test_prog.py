"""Test pytracer prog against bpftool."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytracer.bpf.attach import clsact, tcx, xdp
from pytracer.bpf.attach.perf import attach_program, pack_event_attr
from pytracer.bpf.compile.bcc import BccModule
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.holders import find_holders
from pytracer.bpf.objects import ObjectKind, iter_ids, open_object
from pytracer.bpf.sys import Command, ProgType, bpf, link_create, program_info, raw_tracepoint_open
from pytracer.bpf.trial import return_code
from pytracer.kernel import tracefs
from pytracer.prog import pins
from pytracer.prog.attachments import Attachment, attachments
from pytracer.prog.link_targets import TargetNames
from pytracer.prog.links import links
from pytracer.prog.own_pins import BPFFS, FOLDER
from pytracer.prog.program_list import ProgramLister, list_maps
from pytracer.prog.run_stats import SYSCTL, count_runs
from pytracer.text import to_bytes
from support import packets
from support.bpftool import Filtered, array, bpftool, by_id, number, program, update
from support.bpftool import counting as counts
from support.cgroups import cgroup
from support.cli import COMMAND, EarlyExit, Result, run, start, stop, wait_for
from support.hostile_names import HOSTILE, hostile_process
from support.needs import needs, running
from support.unprivileged import python
from support.workloads import workload

pytestmark = pytest.mark.kernel
CGROUP_SKB, CGROUP_EGRESS = 8, 1


@contextlib.contextmanager
def our_programs() -> Iterator[set[int]]:
    """Load programs of several types, with maps and without. Yields their ids."""
    with contextlib.ExitStack() as stack:
        table = array(7, "test_counts")
        stack.callback(os.close, table)
        descriptors = [
            (ProgType.SOCKET_FILTER, return_code(0), "test_socket"),
            (ProgType.XDP, return_code(2), "test_xdp"),
            (ProgType.SCHED_CLS, return_code(-1), ""),
            (ProgType.RAW_TRACEPOINT, counts(table, os.getpid()), "test_raw"),
            (ProgType.TRACEPOINT, counts(table, os.getpid()), "test_fifteen_ch"),
        ]
        yield {stack.enter_context(program(kind, code, name=name))[1] for kind, code, name in descriptors}


def bpftool_record(info: Any) -> dict[str, Any]:
    """Return one of our programs with bpftool's field names."""
    message = {
        "id": info.id,
        "type": info.type,
        "name": info.info.name,
        "tag": info.info.tag,
        "gpl_compatible": info.info.gpl,
        "loaded_at": pytest.approx(info.loaded, abs=1.5),  # it cuts to seconds
        "uid": info.info.uid,
        "bytes_xlated": info.info.xlated_size,
        "jited": bool(info.info.jited_size),
        "bytes_jited": info.info.jited_size,
        "bytes_memlock": info.memory,
        "map_ids": list(info.info.map_ids),
        "btf_id": info.info.btf_id,
    }
    return {name: value for name, value in message.items() if value not in ("", [], 0) or name == "uid"}


@pytest.mark.lab
def test_programs_and_maps_equal_those_of_bpftool():
    with our_programs() as own_programs:
        reference, actual = by_id(bpftool("prog", "show")), ProgramLister().list()
        assert own_programs <= reference.keys() & actual.keys()
        for id_ in own_programs:
            assert reference[id_] == bpftool_record(actual[id_])
        used = {number for id_ in own_programs for number in actual[id_].info.map_ids}
        assert len(used) == 1
        reference, maps = by_id(bpftool("map", "show")), list_maps()
        for id_ in used:
            info = maps[id_].info
            expected = {
                "id": id_,
                "type": maps[id_].type,
                "name": info.name,
                "flags": info.flags,
                "bytes_key": info.key_size,
                "bytes_value": info.value_size,
                "max_entries": info.max_entries,
                "bytes_memlock": maps[id_].memory,
            }
            assert {name: reference[id_][name] for name in expected} == expected
    assert not own_programs & ProgramLister().list().keys()


@pytest.mark.alone
def test_programs_of_tracers_equal_those_of_bpftool():
    tracer = start("syscalls", "-f", "json", 60)
    reference, actual = by_id(bpftool("prog", "show")), ProgramLister().list()
    own_ids = {
        record["id"] for record in run("prog", 0.1, "-f", "json").records if tracer.pid in record["pids"]
    }
    assert len(own_ids) >= 4
    for id_ in own_ids:
        assert reference[id_] == bpftool_record(actual[id_])
    assert stop(tracer).status == 0


@pytest.mark.lab
@pytest.mark.smoke
def test_a_tracer_is_listed_with_its_owner_and_its_places():
    tracer = start("syscalls", "-f", "json", "-p", os.getpid(), 60)
    result = run("prog", 0.1, "-f", "json")
    own_rows = [record for record in result.of("row") if record["pids"] == [tracer.pid]]
    assert stop(tracer).status == 0
    assert own_rows, result.err
    assert {record["owner"][0] for record in own_rows} == {f"pytracer syscalls ({tracer.pid})"}
    assert all(record["attached"] and record["uid"] == 0 and record["memory"] >= 4096 for record in own_rows)
    assert all(record["map_memory"] > 0 for record in own_rows)
    assert any(record["runs"] for record in own_rows)


@pytest.mark.lab
def test_links_equal_those_of_bpftool():
    with program(ProgType.RAW_TRACEPOINT, return_code(0), name="test_raw") as (descriptor, id_):
        link = raw_tracepoint_open("sched_process_fork", descriptor)
        reference = [record for record in bpftool("link", "show") if record["prog_id"] == id_]
        actual = [record for record in links(ProgramLister().list(), TargetNames()) if record.program == id_]
        os.close(link)
    assert [(record["id"], record["prog_id"], f"rt:{record['tp_name']}") for record in reference] == [
        (record.id, record.program, record.where) for record in actual
    ]
    assert len(actual) == 1


@pytest.mark.lab
def test_programs_on_perf_events_equal_those_of_bpftool():
    event = tracefs.event_id("sched", "sched_process_fork")
    with program(ProgType.TRACEPOINT, return_code(1)) as (descriptor, id_):
        link = attach_program(pack_event_attr(2, event), descriptor)
        reference = [record for record in bpftool("perf", "show") if record["prog_id"] == id_]
        events = find_holders().events
        places = attachments(ProgramLister().list(), find_holders(), TargetNames())
        os.close(link)
    assert [(record["pid"], record["fd"], f"t:{record['tracepoint']}") for record in reference] == [
        (record.process, record.descriptor, record.where) for record in events if record.program == id_
    ]
    assert [record.where for record in places if record.program == id_] == ["t:sched:sched_process_fork"]


def on_network() -> dict[tuple[str, str], int]:
    """Return what bpftool shows of the network namespace: (kind, interface) -> the program's id."""
    [reference] = bpftool("net", "show")
    actual = {("xdp", record["devname"]): record["id"] for record in reference["xdp"]}
    return actual | {(record["kind"], record["devname"]): record["id"] for record in reference["tc"]}


@pytest.mark.lab
def test_programs_on_interfaces_equal_those_of_bpftool():
    with packets.namespace(), program(ProgType.SCHED_CLS, return_code(-1), name="test_tc") as (tc, tc_id):
        first, second = packets.veth()
        with program(ProgType.XDP, return_code(2), name="test_xdp") as (frames, xdp_id):
            has_created_qdisc = clsact._create_qdisc(second)
            assert has_created_qdisc
            tc_filter = clsact.TrafficControlFilter(second, tcx.EGRESS, 7, 7, "test")
            clsact._request_filter(tc_filter, clsact._NEWFILTER, 0x600, tc)
            link = link_create(frames, 37, target=first, flags=xdp.GENERIC)
            reference = on_network()
            places = set(attachments(ProgramLister().list(), find_holders(), TargetNames()))
            link_id = next(
                link.id for link in links(ProgramLister().list(), TargetNames()) if link.program == xdp_id
            )
            os.close(link)
            clsact._remove_qdisc(second)
    assert reference == {("xdp", "va"): xdp_id, ("clsact/egress", "vb"): tc_id}
    assert Attachment(xdp_id, "xdp:va", link_id) in places
    assert Attachment(tc_id, "tc/egress:vb") in places
    assert [target.where for target in places if target.program == xdp_id] == ["xdp:va"]


def test_interfaces_of_another_namespace_are_not_mistaken_for_ours():
    with packets.namespace():
        namespace_inode = Path("/proc/thread-self/ns/net").stat().st_ino
        tracer = start("tccount", "-f", "json", "lo", 60)
    result = run("prog", 0.1, "-f", "json")
    [own_row] = [record for record in result.of("row") if record["pids"] == [tracer.pid]]
    assert stop(tracer).status == 0
    assert len(own_row["attached"]) == 1
    assert own_row["attached"][0].endswith(f"ingress:lo in netns {namespace_inode}")


@pytest.mark.lab
def test_programs_on_cgroups_are_found_by_links_and_without():
    with cgroup() as folder, program(CGROUP_SKB, return_code(1)) as (descriptor, id_):
        opened_folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            link = link_create(descriptor, CGROUP_EGRESS, target=opened_folder)
            by_link = [
                record
                for record in attachments(ProgramLister().list(), find_holders(), TargetNames())
                if record.program == id_
            ]
            [reference] = [record for record in bpftool("link", "show") if record["prog_id"] == id_]
            inode = folder.stat().st_ino
            os.close(link)
            bpf(Command.PROG_ATTACH, struct.pack("IIII", opened_folder, descriptor, CGROUP_EGRESS, 0))
            without_links = [
                record
                for record in attachments(ProgramLister().list(), find_holders(), TargetNames())
                if record.program == id_
            ]
        finally:
            os.close(opened_folder)
    [attachment] = by_link
    assert (reference["id"], reference["cgroup_id"], reference["type"]) == (
        attachment.link,
        inode,
        "cgroup",
    )
    assert reference["attach_type"].endswith("egress")
    assert attachment.where == f"cgroup/egress:/{folder.name}"
    assert without_links == [Attachment(id_, attachment.where)]


def ran(id_: int) -> tuple[int, int]:
    """Return how often the kernel counted a program, and for how long."""
    info = ProgramLister().list()[id_].info
    return info.run_count, info.run_time


@pytest.mark.lab
@pytest.mark.alone  # the kernel counts runs for everybody, or for nobody
def test_runs_are_counted_to_the_last_one_and_only_while_requested():
    needs("BPF statistics", True)
    with Filtered() as filtered:
        filtered.send(5)
        assert ran(filtered.id) == (0, 0)
        with count_runs():
            filtered.send(23)
        count, time = ran(filtered.id)
        assert count == 23
        assert time > 0
        filtered.send(5)
        assert ran(filtered.id) == (count, time)
        [reference] = [record for record in bpftool("prog", "show") if record["id"] == filtered.id]
        assert (reference["run_cnt"], reference["run_time_ns"]) == (count, time)


@pytest.mark.lab
def test_23_calls_of_getppid_are_23_runs():
    """Other processes may call it, too: the program counts its runs by process."""
    event = tracefs.event_id("syscalls", "sys_enter_getppid")
    table = array(2)
    with count_runs(), program(ProgType.TRACEPOINT, counts(table, os.getpid())) as (descriptor, id_):
        link = attach_program(pack_event_attr(2, event), descriptor)
        for _ in range(23):
            os.getppid()
        os.close(link)
        count, _ = ran(id_)
        assert number(table, 1) == 23
        assert number(table, 0) == count
    os.close(table)


@pytest.mark.parametrize("disposition", [signal.SIG_DFL, signal.SIG_IGN])  # a shell's & ignores it
def test_the_list_and_the_top_count_the_same_runs(disposition):
    with Filtered() as filtered:
        watch = subprocess.Popen(
            [*COMMAND, "prog", "top", "0.2", "-f", "json"],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, disposition),
        )
        assert watch.stdout is not None
        first = watch.stdout.readline()
        assert '"row"' in first
        filtered.send(101)
        watch.send_signal(signal.SIGINT)
        output, _ = watch.communicate()
        records = [json.loads(line) for line in (first + output).splitlines()]
        own_records = [record for record in records if record["id"] == filtered.id]
        assert watch.returncode == 0
        assert sum(record["runs"] for record in own_records if record["kind"] == "row") == 101
        assert [record["runs"] for record in own_records if record["kind"] == "summary"] == [101]
        assert ran(filtered.id)[0] == 101


@pytest.mark.alone  # the kernel counts runs for everybody, or for nobody
def test_counting_ends_with_the_process_however_that_ends():
    with Filtered() as filtered:
        watch = subprocess.Popen([*COMMAND, "prog", "60"], stdout=subprocess.DEVNULL)

        def counts_now() -> bool:
            before = ran(filtered.id)
            filtered.send(1)
            return ran(filtered.id) != before

        wait_for(counts_now, "pytracer prog has the kernel count")
        watch.kill()
        watch.wait()
        assert not counts_now()


@pytest.mark.alone  # the kernel counts runs for everybody, or for nobody
def test_a_sysctl_that_was_on_stays_on():
    before = SYSCTL.read_text()
    assert not int(before)
    with Filtered() as filtered:
        try:
            SYSCTL.write_text("1")
            assert run("prog", 0.1).status == 0
            assert int(SYSCTL.read_text()) == 1
            count = ran(filtered.id)[0]
            filtered.send(23)
            assert ran(filtered.id)[0] == count + 23
        finally:
            SYSCTL.write_text(before)
        count = ran(filtered.id)[0]
        filtered.send(5)
        assert ran(filtered.id)[0] == count


def test_missing_privileges_are_reported():
    result = python("-m", "pytracer", "prog")
    assert result.returncode == 5
    assert result.stderr.startswith("pytracer: error: pytracer prog needs CAP_SYS_ADMIN")


def test_holders_that_may_not_be_inspected_are_reported():
    without_links = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    pid_namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    expected = [
        (without_links, "may not be read without CAP_SYS_PTRACE"),
        (pid_namespace, "outside it are hidden"),
    ]
    with program(ProgType.SOCKET_FILTER, return_code(0)) as (_, id_):  # else there is no holder
        for before, reason in expected:
            for words, holders in (
                (["prog"], "OWNER and ATTACHED"),
                (["prog", "show", id_], "owner and attached"),
            ):
                command = [*before, *COMMAND, *map(str, words)]
                listing = subprocess.run(command, capture_output=True, text=True, check=True)
                [line] = [line for line in listing.stderr.splitlines() if reason in line]
                assert line.endswith(f"; {holders} lack theirs")
                assert "attach target holds it" not in listing.stdout
        assert "CAP_SYS_PTRACE" not in run("prog").err


def test_a_holder_is_found_although_its_main_thread_has_exited():
    with program(ProgType.SOCKET_FILTER, return_code(0)) as (descriptor, id_):
        command = [workload("marks"), "headless", "1"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[descriptor]
        ) as headless:
            assert headless.stdout.readline() == "ready\n"
            holders = {holder.pid: holder.comm for holder in find_holders().programs[id_]}
            headless.kill()
    assert holders.keys() == {os.getpid(), headless.pid}
    assert holders[headless.pid] == "marks"


def test_a_holder_may_have_any_name():
    with (
        program(ProgType.SOCKET_FILTER, return_code(0)) as (descriptor, id_),
        hostile_process([descriptor]) as pid,
    ):
        holders = {holder.pid: holder.comm for holder in find_holders().programs[id_]}
    assert to_bytes(holders[pid]) == HOSTILE


def test_names_that_spreadsheets_run_are_guarded_unless_raw_csv_is_wanted():
    path = Path("/proc/self/comm")
    before = path.read_text().rstrip("\n")
    with program(ProgType.SOCKET_FILTER, return_code(0), name="guarded"):
        path.write_text("=1+1")
        try:
            guarded, raw = (run("prog", "-f", "csv", *words).out for words in ([], ["--csv-raw"]))
        finally:
            path.write_text(before)
    owner = f"=1+1 ({os.getpid()})"
    assert f",'{owner}," in guarded
    assert f",{owner}," in raw
    assert f",'{owner}," not in raw


def test_a_whole_name_comes_from_the_types_of_a_program():
    name = "a_name_that_the_kernel_cuts"
    text = f"int {name}(void *context) {{ return 0; }}"
    module = BccModule("names", text, [], find_headers(text))
    try:
        id_ = program_info(module.load(name, ProgType.RAW_TRACEPOINT))[0]
        assert ProgramLister().list()[id_].name == name
        assert by_id(bpftool("prog", "show"))[id_]["name"] == name
    finally:
        module.close()


@contextlib.contextmanager
def start_tracer(*words: object) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a tracer, and yield it with the ids of its programs."""
    tracer = start(*words)  # type: ignore[arg-type]
    try:
        own_ids = [
            record["id"]
            for record in run("prog", 0.1, "-f", "json").of("row")
            if tracer.pid in record["pids"]
        ]
        assert own_ids
        yield tracer, own_ids
    finally:
        tracer.kill()
        tracer.communicate()


RAW = ("--hook", "syscall=raw", "--hook", "exit=raw", "--hook", "switch=raw")  # by links, on every kernel


@pytest.fixture
def unpinned():
    """Unpin and unmount everything at the end."""
    mounts = set(pins.list_mounts())
    yield
    result = run("prog", "unload")
    assert result.status == 0, result.err
    assert not FOLDER.exists()
    assert set(pins.list_mounts()) == mounts


@pytest.mark.lab
@pytest.mark.alone
@pytest.mark.usefixtures("unpinned")
def test_a_program_pinned_with_links_counts_until_it_is_unloaded():
    with start_tracer("syscalls", "-f", "json", *RAW, 60) as (_, own_ids):
        result = run("prog", "pin", "tracer-owned", "--attached", "-f", "json")
        assert result.status == 0, result.err
        stored = {record["id"]: record for record in result.of("pinned")}
        assert sorted(stored) == own_ids
        assert all(record["links"] for record in stored.values())
        assert all(Path(record["path"]).stat().st_mode & 0o777 == 0o700 for record in stored.values())
        assert FOLDER.stat().st_mode & 0o777 == 0o700
        assert run("prog", "pin", own_ids[0], "--attached").status == 0  # again is no work
        with open_object(ObjectKind.PROGRAM, own_ids[0]) as descriptor:
            assert pins.read_pin(f"{stored[own_ids[0]]['path']}/program").id == program_info(descriptor)[0]
    rows = {record["id"]: record for record in run("prog", 0.2, "-f", "json").of("row")}
    assert stored.keys() <= rows.keys()
    for id_, record in stored.items():
        assert rows[id_]["pids"] == []
        assert rows[id_]["attached"]
        assert rows[id_]["pins"] == [
            f"{record['path']}/program",
            *(f"{record['path']}/link-{n}" for n in record["links"]),
        ]
    assert any(rows[id_]["runs"] for id_ in stored)
    assert run("prog", "unload", own_ids[0]).out.startswith(f"unpinned {own_ids[0]} ")
    wait_for(lambda: own_ids[0] not in iter_ids(ObjectKind.PROGRAM), "the program goes with its pin")
    assert set(own_ids[1:]) <= set(iter_ids(ObjectKind.PROGRAM))
    assert [record["id"] for record in run("prog", "unload", "-f", "json").of("unpinned")] == own_ids[1:]
    wait_for(lambda: not set(own_ids) & set(iter_ids(ObjectKind.PROGRAM)), "all go with their pins")


@pytest.mark.alone
@pytest.mark.usefixtures("unpinned")
def test_trace_events_stay_attached_too():
    events = ("--hook", "syscall=tracepoint", "--hook", "exit=tracepoint", "--hook", "switch=tracepoint")
    with start_tracer("syscalls", "-f", "json", *events, 60) as (_, own_ids):
        assert run("prog", "pin", *own_ids, "--attached").status == 0
    rows = {record["id"]: record for record in run("prog", 0.1, "-f", "json").of("row")}
    assert {target for id_ in own_ids for target in rows[id_]["attached"]} == {
        "t:raw_syscalls:sys_enter",
        "t:raw_syscalls:sys_exit",
        "t:sched:sched_process_exit",
        "t:sched:sched_switch",
    }
    assert any(rows[id_]["runs"] for id_ in own_ids)


@pytest.mark.alone
@pytest.mark.usefixtures("unpinned")
def test_a_program_pinned_without_links_stays_without_running():
    with start_tracer("sockcount", "-f", "json", "lo", 60) as (_, [own_id]):
        refused = run("prog", "pin", own_id, "--attached")
        assert refused.status == 1
        assert "is not on links alone" in refused.err
        assert run("prog", "pin", own_id).status == 0
        unload = run("prog", "unload", own_id)
        assert f"still held by pytracer sockcount ({_.pid})" in unload.out
        for words in ((f"0{own_id}", f"0{own_id}"), (own_id, "tracer-owned")):
            assert [
                run("prog", *words_of_command).status
                for words_of_command in zip(("pin", "unload"), words, strict=True)
            ] == [
                0,
                0,
            ]
            assert not FOLDER.exists()
        assert run("prog", "pin", own_id).status == 0
    [row] = [record for record in run("prog", 0.1, "-f", "json").of("row") if record["id"] == own_id]
    assert (row["pids"], row["attached"]) == ([], [])
    assert run("prog", "show", own_id).status == 0


@pytest.mark.lab
@pytest.mark.alone
@pytest.mark.usefixtures("unpinned")
def test_programs_of_others_are_neither_pinned_nor_unloaded():
    with program(ProgType.SOCKET_FILTER, return_code(0), name="somebodys") as (descriptor, id_):
        refused = run("prog", "pin", id_)
        assert refused.status == 1
        assert f"program {id_} is not one that a running pytracer loaded: nothing was pinned" in refused.err
        assert run("prog", "unload", id_).err.startswith(
            f"pytracer: error: {id_} is no program that pytracer pinned\n"
        )
        with start_tracer("syscalls", "-f", "json", 60) as (_, own_ids):
            assert run("prog", "pin", *own_ids, id_).status == 1
            assert not FOLDER.exists()
            assert run("prog", "pin", own_ids[0]).status == 0
        foreign_pin = FOLDER / "theirs"
        pins.create_pin(descriptor, str(foreign_pin))
        folder = next(path for path in FOLDER.iterdir() if path != foreign_pin)
        pins.create_pin(descriptor, str(folder / "link-7"))
        refused = run("prog", "unload")
        assert refused.status == 1
        assert f"{folder}/link-7 is not pytracer's: nothing was removed" in refused.err
        (folder / "link-7").unlink()
        assert run("prog", "unload").status == 0
        assert foreign_pin.exists()
        assert not folder.exists()
        foreign_pin.unlink()
        FOLDER.rmdir()
    if (str(BPFFS), "pytracer") in pins.list_mounts():
        subprocess.run(["umount", BPFFS], check=True)


@pytest.mark.lab
def test_a_program_is_shown_with_its_map_contents():
    table = array(7, "test_counts")
    with program(ProgType.RAW_TRACEPOINT, counts(table, os.getpid()), name="test_raw") as (_, id_):
        for slot, count in ((1, 23), (5, 101)):
            update(table, slot, count)
        result = run("prog", "show", id_, "-f", "json")
        text = run("prog", "show", id_)
        reference = bpftool("prog", "dump", "xlated", "id", id_)
        [map_id] = result.of("program")[0]["maps"]
        map_dump = bpftool("map", "dump", "id", map_id)
    os.close(table)
    assert result.status == 0, result.err
    [map_record] = result.of("map")
    assert (
        map_record["id"],
        map_record["name"],
        map_record["type"],
        map_record["entries"],
        map_record["zero"],
    ) == (
        map_id,
        "test_counts",
        "array",
        2,
        5,
    )
    assert "  (5 more zero entries left out)\n" in text.out
    assert [(record["key"], record["value"]) for record in result.of("entry")] == [(1, 23), (5, 101)]
    used = {
        int("".join(byte[2:] for byte in reversed(record["key"])), 16): record["value"]
        for record in map_dump
        if set(record["value"]) != {"0x00"}
    }
    assert used == {1: ["0x17", *["0x00"] * 7], 5: ["0x65", *["0x00"] * 7]}
    assert len(result.of("instruction")) == len([record for record in reference if "disasm" in record])
    assert (
        sum(len(record["bytes"]) // 2 for record in result.of("native")) == result.of("program")[0]["native"]
    )
    assert text.status == 0
    assert "  1: 23\n  5: 101\n" in text.out
    assert f"program {id_}: test_raw\n" in text.out


def test_contents_are_shown_by_the_types_that_came_with_the_map():
    text = """
    enum colour { RED = 1, BLUE = 2 };
    struct key { u32 pid; char comm[16]; };
    struct value { u64 count; s32 change; u8 bytes[3]; u16 low:3, high:13; };
    BPF_HASH(things, struct key, struct value, 16);
    int one(void *context) { struct key key = {}; things.lookup(&key); return 0; }
    """
    module = BccModule("typed", text, [], find_headers(text))
    try:
        id_ = program_info(module.load("one", ProgType.RAW_TRACEPOINT))[0]
        key = struct.pack("I16s", 23, b"a\x1b[2Jb")
        module.maps["things"].update(key, struct.pack("=Qi3BBH6x", 101, -5, 1, 2, 3, 5, 23))
        [entry] = run("prog", "show", id_, "-f", "json").of("entry")
        assert entry["key"] == {"pid": 23, "comm": "a\x1b[2Jb"}
        assert entry["value"] == {"count": 101, "change": -5, "bytes": [1, 2, 3], "low": 5, "high": 23}
        text = run("prog", "show", id_).out
        assert r"comm=a\x1b[2Jb" in text
        assert "\x1b" not in text
    finally:
        module.close()


@pytest.mark.lab
def test_instructions_are_shown_with_their_source_lines():
    with start_tracer("syscalls", "-f", "json", 60) as (_, own_ids):
        records = [record for id_ in own_ids for record in run("prog", "show", id_, "-f", "json").records]
    text = (Path(__file__).parents[2] / "probes_c/syscalls.c").read_text().splitlines()
    for kind in ("instruction", "native"):
        shown_lines = [record for record in records if record["kind"] == kind and "line" in record]
        own_programs = {
            (record["line"], record["source"])
            for record in shown_lines
            if record["file"] == "probes_c/syscalls.c"
        }
        assert own_programs
        assert all(text[number - 1].strip() == source.strip() for number, source in own_programs)


def test_missing_programs_are_an_error():
    result = run("prog", "show", 4294967295)
    assert result.status == 2
    assert result.err.startswith("pytracer: error: no program '4294967295'")


FUNCTION = "__x64_sys_close"
TOLD = {"k": (6, 6), "kr": (6, 6), "f": (5, 13), "fr": (5, 13), "t": (6, 6), "rt": (4, 17)}


@pytest.mark.lab
@pytest.mark.parametrize(
    "source",
    [f"{kind}:{FUNCTION}" for kind in ("k", "kr", "f", "fr")]
    + ["t:syscalls:sys_enter_close", "rt:sys_enter"],
)
def test_attach_targets_have_the_names_that_users_know(source):
    """Attach points have the names that users write, or none if the kernel does not report them."""
    refused = Result(0, "", "")
    try:
        tracer = start("funccount", "-f", "json", source, 60)
    except EarlyExit as error:
        refused = error.result
    if refused.status:
        assert refused.status in (4, 5), refused.err
        assert "cloud" not in platform.release(), refused.err  # Debian's have them all
        return
    rows = run("prog", 0.1, "-f", "json").of("row")
    assert stop(tracer).status == 0
    [row] = [record for record in rows if record["pids"] == [tracer.pid]]
    kind = source.partition(":")[0]
    assert row["attached"] in (
        [source],
        *([] if running().version >= TOLD[kind] else ([f"{kind}:?"], ["perf:?"])),
    )
