"""Test stacks from rows of numbers to every format; golden files as in test_sinks.py."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from pytracer.bpf.attach import perf_sample
from pytracer.cli import tracer_parser
from pytracer.enrich import decoders
from pytracer.enrich.result_rows import Ranking, ReadTime
from pytracer.enrich.stacks import (
    StackNames,
    _cut_at_wrong_frame,
    _drop_unwind_marks,
    _insert_caller,
    shape_stacks,
)
from pytracer.errors import UsageError
from pytracer.kernel.facts import Support
from pytracer.model import Loss, StackSnapshot
from pytracer.model.reduce import Rows
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import FORMATS, make_sink
from pytracer.spec import EVENTS, PerfSample, Rate, TaskSample, registry
from pytracer.symbols.python import FUNCTION
from pytracer.symbols.unwind.stack import Stack, WalkEnd
from pytracer.symbols.user import ASTRAY
from support.fake_kernel import FakeKernel

GOLDEN = Path(__file__).parents[2] / "golden"
SUFFIX = {
    "table": "txt",
    "json": "json",
    "csv": "csv",
    "yaml": "yaml",
    "markdown": "md",
    "folded": "folded",
    "speedscope": "speedscope.json",
}
FILES = (*FORMATS, "folded", "speedscope")  # tests/unit/sinks has those of the others
NOON = 1_699_963_200.25  # 2023-11-14 12:00:00.250 UTC
PROFILE = registry.get("profile")
SCHEMA = make_plan(Request(PROFILE), FakeKernel()).schema
LOST = Loss("stacks_full", 12, "samples without a place", NOON)


def stored(addresses, end=WalkEnd.FALLBACK):
    return Stack(np.array(addresses, np.uint64), end)


def stacks(kind):
    return StackSnapshot(
        kind,
        NOON,
        2.5,
        {
            "pid": [23, 24, 4_194_304, 2],
            "comm": ["make", "make", "a;b 7\x1b[2J\n", "kthreadd"],
            "kernel": [("vfs_read", "do_syscall_64"), ("vfs_read", "do_syscall_64"), (), ("schedule",)],
            "user": [("read", "main"), ("read", "main"), ("f(int; char)", "a.so+0x10", "[unknown]"), ()],
            "samples": np.array([101, 23, 7, 2**63], dtype="u8"),
        },
    )


CASES = {
    "profile-run": ([stacks("row"), LOST, stacks("summary")], False),
    "profile-timestamps": ([stacks("summary"), LOST], True),
    "profile-empty": ([StackSnapshot("summary", NOON, 1.0, {c.name: [] for c in SCHEMA.columns})], False),
}


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def render(form, items, *, timestamps=False):
    stream = io.StringIO()
    sink = make_sink(form, stream, timestamps=timestamps, terminal=False)
    sink.open(SCHEMA)
    for item in items:
        sink.emit(item)
    sink.close()
    return stream.getvalue()


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("case", CASES)
def test_golden(case, form):
    items, timestamps = CASES[case]
    text = render(form, items, timestamps=timestamps)
    path = GOLDEN / f"{case}.{SUFFIX[form]}"
    if os.environ.get("PYTRACER_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_names_of_functions_do_not_reach_the_terminal_as_they_are():
    names = stacks("summary")
    names.columns["kernel"][0] = ("vfs_read\x1b[2J",)
    names.columns["user"][0] = ("f\u202e(\r)", "main\x9b")
    text = render("table", [names])
    assert [character for character in text if character != "\n" and not character.isprintable()] == []
    assert text.splitlines()[3:7] == ["  vfs_read\\x1b[2J", "  --", "  f\\u202e(\\r)", "  main\\u009b"]


def test_every_golden_file_has_a_test():
    own_files = {f"{case}.{SUFFIX[form]}" for case in CASES for form in FILES}
    assert {path.name for path in GOLDEN.glob("profile-*")} == own_files


def test_folded_stacks_have_the_names_that_rows_are_distinguished_by():
    schema = make_plan(
        Request(registry.get("stackcount"), options={"by": ("target", "comm")}), FakeKernel()
    ).schema
    stream = io.StringIO()
    sink = make_sink("folded", stream, timestamps=False, terminal=False)
    sink.open(schema)
    columns = {"target": ["k:f"], "comm": ["make"], "kernel": [("f", "g")], "user": [()]}
    sink.emit(StackSnapshot("summary", NOON, 1.0, columns | {schema.counters[0].name: [23]}))
    sink.close()
    assert stream.getvalue() == "k:f;make;g;f 23\n"


def test_folded_stacks_of_no_process_begin_with_a_dash():
    schema = make_plan(Request(registry.get("biostacks")), FakeKernel()).schema
    stream = io.StringIO()
    sink = make_sink("folded", stream, timestamps=False, terminal=False)
    sink.open(schema)
    columns = {"pid": [None], "comm": [None], "kernel": [("f", "g")], "user": [()]}
    sink.emit(
        StackSnapshot("summary", NOON, 1.0, columns | {column.name: [23] for column in schema.counters})
    )
    sink.close()
    assert stream.getvalue() == "-;g;f 23\n"


def test_frames_of_the_probe_mechanism_are_left_out_of_a_stack():
    names = StackNames(lambda _: stored([0, 0, 0]), annotate=False, probed=True)
    names.kernel.names = lambda addresses: ["bpf_trampoline_6442464113"] * len(addresses)
    assert names.of_kernel(np.array([1, 1])) == [(), ()]
    assert _drop_unwind_marks(
        ("bpf_prog_6deef7357e7b4530_hit", "bpf_trace_run2", "vfs_read", "bpf_map_x")
    ) == (
        "vfs_read",
        "bpf_map_x",
    )
    assert _drop_unwind_marks(("0xffffffffc059903f", "__x64_sys_close")) == ("__x64_sys_close",)
    assert _drop_unwind_marks(("0xffffffffc059903f", "0xffffffff81000000")) == (
        "0xffffffffc059903f",
        "0xffffffff81000000",
    )


@pytest.mark.parametrize(
    ("stack", "render"),
    [
        (("a", "b"), ("a", "b")),
        (("a", ASTRAY, "b"), ("a", ASTRAY)),
        ((ASTRAY, "b", ASTRAY, "c"), ("[unknown]", "b", ASTRAY)),
        ((), ()),
    ],
)
def test_stacks_end_where_frame_pointers_do(stack, render):
    assert _cut_at_wrong_frame(stack) == render


@pytest.mark.parametrize(
    ("stack", "caller", "with_caller"),
    [
        ([1, 3], 2, [1, 2, 3]),
        ([1, 2, 3], 2, [1, 2, 3]),
        ([1], 2, [1, 2]),
        ([1, 3], 0, [1, 3]),
        ([], 2, []),
    ],
)
def test_the_caller_of_a_function_without_a_frame(stack, caller, with_caller):
    assert _insert_caller(stored(stack), caller).frames.tolist() == with_caller


def test_folded_lines_are_frames_and_a_number():
    lines = render("folded", [stacks("row"), LOST, stacks("summary")]).splitlines()
    parsed = [re.fullmatch(r"(\S.*) (\d+)", line) for line in lines]
    assert all(parsed)
    assert [int(line[2]) for line in parsed] == [2**63, 124, 12, 7]  # make's two processes are one
    assert parsed[1][1].split(";") == ["make", "main", "read", "do_syscall_64", "vfs_read"]
    assert parsed[2][1].split(";") == ["[lost]", "stacks_full"]
    assert len(parsed[3][1].split(";")) == 4
    assert all(line.isprintable() for line in lines)


def test_folded_lines_of_one_count_are_in_the_order_of_their_names():
    def losses(*reasons):
        return [Loss(reason, 5, "", NOON) for reason in reasons]

    lines = render("folded", losses("b", "c", "a")).splitlines()
    assert lines == ["[lost];a 5", "[lost];b 5", "[lost];c 5"]


def test_json_has_arrays_innermost_first():
    record = json.loads(render("json", [stacks("summary")]).splitlines()[0])
    assert record["kernel"] == ["vfs_read", "do_syscall_64"]
    assert record["user"] == ["read", "main"]
    assert record["samples"] == 101


def test_csv_has_a_cell_a_part():
    rows = list(csv.DictReader(io.StringIO(render("csv", [stacks("summary")]))))
    assert rows[0]["user"] == "read;main"
    assert rows[2]["user"].split(";") == [r"f(int\x3b char)", "a.so+0x10", "[unknown]"]


# From numbers to names.

STACKS = {1: [0x10, 0x21], 2: [0x10, 0x21, 0x31], 3: [0x12, 0x21], 4: [0x10] * 5}


class Names:
    """Names addresses by the tens."""

    def __init__(self, prefix):
        self.prefix = prefix
        self.requests = []

    def account(self, *_):
        return None

    def names(self, *arguments):
        *identity, addresses = arguments
        self.requests.append((*identity, addresses.tolist()))
        return [f"{self.prefix}{address // 16}" for address in addresses.tolist()]


def stack_table(*rows, top=None, annotate=False):
    """Return rows of (pid, image, kernel, user, comm, samples)."""
    names = StackNames(lambda number: stored(STACKS.get(number, [])), annotate=annotate)
    names.kernel, names.user = Names("k"), Names("u")
    key = np.dtype(
        [
            ("image", "u8"),
            ("generation", "u8"),
            ("pid", "u4"),
            ("kernel_stack", "i4"),
            ("user_stack", "i4"),
            ("comm", "S16"),
        ]
    )
    keys = np.array([(image, 5, pid, kernel, user, comm) for pid, image, kernel, user, comm, _ in rows], key)
    values = np.array([(row[-1],) for row in rows], [("samples", "u8")])
    item = shape_stacks(
        Rows(keys, values),
        SCHEMA,
        Ranking("samples", top),
        decoders({}),
        ReadTime("summary", NOON, 1.0),
        names,
    )
    return item, names


def test_frames_are_where_calls_were_made():
    item, names = stack_table((1, 9, 1, 2, b"x", 3))
    assert item.columns["kernel"] == [("k1", "k2")]
    assert item.columns["user"] == [("u1", "u2", "u3")]
    # the innermost is where it is, the others are where a call returns to
    assert names.kernel.requests == [([0x10, 0x20],)]
    assert names.user.requests == [(1, 9, 5, [0x10, 0x20, 0x30])]


def test_code_where_none_is_mapped_is_unknown_though_nothing_else_is():
    """No other frame has that name already."""
    names = StackNames(lambda number: stored(STACKS[number]), annotate=False)
    names.user = Names("u")
    names.user.names = lambda *args: [
        ASTRAY if address < 0x20 else f"u{address // 16}" for address in args[-1].tolist()
    ]
    rows = np.array(
        [(1, 9, 5, 2)], [("pid", "u4"), ("image", "u8"), ("generation", "u8"), ("user_stack", "i4")]
    )
    assert names.of_user(rows) == [("[unknown]", "u2", "u3")]
    names.user = None  # what was shown is not looked up again
    assert names.of_user(rows) == [("[unknown]", "u2", "u3")]


def test_rows_that_look_alike_are_one():
    item, _ = stack_table((1, 9, 1, -1, b"x", 3), (1, 9, 3, -1, b"x", 4), (2, 9, 1, -1, b"x", 5))
    assert list(item.value_rows()) == [
        {"pid": 1, "comm": "x", "kernel": ("k1", "k2"), "user": (), "samples": 7},
        {"pid": 2, "comm": "x", "kernel": ("k1", "k2"), "user": (), "samples": 5},
    ]


def test_the_most_frequent_come_first_and_the_others_are_cut():
    item, _ = stack_table((1, 9, 1, -1, b"x", 3), (1, 9, -1, 1, b"x", 40), (1, 9, -1, -1, b"x", 5), top=2)
    assert item.columns["samples"].tolist() == [40, 5]


def test_inlined_functions_come_before_the_one_that_they_are_in():
    """Their names are shown like any other: demangled, with a mark. Python's functions have none."""

    class Sources:
        def inlined(self, pid, image, address, generation):
            assert (pid, image, generation) == (1, 9, 5)
            return {0x20: ("_ZN1a1fEv", "g")}.get(address, ())

    python = FUNCTION | 0x7F0000000010
    names = StackNames(lambda _: stored([0x10, 0x21, python + 1]), annotate=False)
    names.user, names._sources = Names("u"), Sources()
    rows = np.array(
        [(1, 9, 5, 2)], [("pid", "u4"), ("image", "u8"), ("generation", "u8"), ("user_stack", "i4")]
    )
    [frames] = names.of_user(rows)
    assert frames[:4] == ("u1", "a::f (inlined)", "g (inlined)", "u2")
    assert frames[4].startswith("[python ")
    assert len(frames) == 5


@pytest.mark.parametrize(
    ("end", "mark"),
    [
        (WalkEnd.WHOLE, ()),
        (WalkEnd.FALLBACK, ()),
        (WalkEnd.DEPTH, ("[cut]",)),
        (WalkEnd.NO_ENTRY, (ASTRAY,)),
        (WalkEnd.UNMAPPED, ("[unmapped code]",)),
        (WalkEnd.MEMORY, ("[broken stack]",)),
        (WalkEnd.EXPRESSION, ("[unwind expression]",)),
        (WalkEnd.REGISTER, ("[unwind register]",)),
    ],
)
def test_a_stack_says_why_it_ends_before_the_start_of_the_thread(end, mark):
    names = StackNames(lambda _: stored([0x10, 0x21], end), annotate=False)
    names.user = Names("u")
    rows = np.array(
        [(1, 9, 5, 2)], [("pid", "u4"), ("image", "u8"), ("generation", "u8"), ("user_stack", "i4")]
    )
    assert names.of_user(rows) == [("u1", "u2", *mark)]


def test_the_kernels_functions_can_be_marked():
    item, _ = stack_table((1, 9, 1, 1, b"x", 3), annotate=True)
    assert item.columns["kernel"] == [("k1_[k]", "k2_[k]")]
    assert item.columns["user"] == [("u1", "u2")]


def test_an_empty_stack_table_has_no_rows():
    item, _ = stack_table()
    assert len(item) == 0


# What is asked for.


def defines(*words):
    request, _ = tracer_parser.parse(PROFILE, words)
    return dict(make_plan(request, FakeKernel()).defines)


def test_options_are_macros():
    assert "USER_ONLY" not in defines()
    assert "USER_ONLY" in defines("-U")
    assert "KERNEL_ONLY" in defines("--kernel-only")
    assert defines()["PT_STACKS_MAX"] == "16384"
    assert defines("--max-stacks", "512")["PT_STACKS_MAX"] == "512"


def chosen(*words):
    request, _ = tracer_parser.parse(PROFILE, words)
    return make_plan(request, OnlyNamed()).probes[0]


class OnlyNamed(FakeKernel):
    """A kernel that takes samples only of named tasks."""

    def probe(self, probe):
        """See FakeKernel."""
        if isinstance(probe, TaskSample) and not (probe.processes or probe.threads or probe.command):
            return Support(False, reason="no process is named")
        return super().probe(probe)


def test_the_sampling_rate_is_passed_to_the_attachment():
    assert chosen().rate == Rate(frequency=99)
    assert chosen().target == "perf_sample cpu-clock (99 Hz)"
    assert chosen("-F", "999").rate == Rate(frequency=999)
    assert chosen("--period", "1000000").rate == Rate(period=1000000)
    faults = chosen("--event", "page-faults")
    assert (faults.rate, faults.target) == (Rate(period=1), "perf_sample page-faults (each)")
    assert chosen("--event", "page-faults", "-F", "7").rate == Rate(frequency=7)
    assert chosen("--event", "cycles", "--period", "1000").target == "perf_sample cycles (one of 1000)"


def test_the_sampled_tasks_are_passed_to_the_attachment():
    own_pid = os.getpid()
    assert chosen().probe == PerfSample("sample")
    assert chosen("-p", str(own_pid)).probe == TaskSample("sample", processes=(own_pid,))
    assert chosen("-p", str(own_pid), "--tid", "1").probe == TaskSample("sample", threads=(1,))
    assert chosen("--", "true").probe == TaskSample("sample", command=True)
    assert chosen("-p", str(own_pid), "--", "true").probe == TaskSample("sample", processes=(own_pid,))
    probe = chosen("-p", str(own_pid), "--event", "page-faults").probe
    assert probe == TaskSample("sample", event="page-faults", processes=(own_pid,), each=True)


def test_every_event_can_be_opened():
    assert set(perf_sample.EVENTS) == set(EVENTS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-U", "-K"], "--user-only and --kernel-only do not go together"),
        (["--sort", "pid"], "--sort is for tables"),
        (["-F", "0"], "no whole number from 1"),
        (["-F", "many"], "no whole number from 1"),
        (["--max-stacks", "2000000"], "to 1048576"),
        (["1", "5", "-f", "folded"], "INTERVAL does not go with folded"),
    ],
)
def test_contradictory_requests_are_refused(words, message):
    with pytest.raises(UsageError) as raised:
        defines(*words)
    assert message in raised.value.message


def test_folded_is_for_stacks():
    with pytest.raises(UsageError):
        tracer_parser.parse(registry.get("syscalls"), ["-f", "folded"])


def test_stacks_of_several_counters_are_ranked_by_the_one_that_is_requested():
    request, _ = tracer_parser.parse(registry.get("offcputime"), ["--sort", "count"])
    assert make_plan(request, FakeKernel()).sort == "count"
    schema = make_plan(request, FakeKernel()).schema
    key = np.dtype([(c.source, "i4" if "stack" in c.source else "u4" if c.name in ("pid", "tid") else "S16")
                    for c in schema.keys])  # fmt: skip
    keys = np.zeros(2, key)
    keys["kernel_stack"] = 1, 2
    values = np.array([(900, 1), (20, 2)], [("total_ns", "u8"), ("count", "u8")])
    names = StackNames(lambda number: stored(STACKS.get(number, [])), annotate=False)
    names.kernel = Names("k")
    names.of_user = lambda rows: [()] * len(rows)
    for sort, order in (("", [900, 20]), ("total_ns", [900, 20]), ("count", [20, 900])):
        item = shape_stacks(
            Rows(keys, values), schema, Ranking(sort), decoders({}), ReadTime("summary", NOON, 1.0), names
        )
        assert item.columns["total_ns"].tolist() == order
