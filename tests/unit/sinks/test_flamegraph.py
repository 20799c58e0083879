"""Test flame graphs and the other formats for stacks: totals, positions, hostile names, reading back."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

from pytracer.errors import UsageError
from pytracer.model import Loss, StackSnapshot
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.sinks import call_tree, make_sink
from pytracer.sinks.flamegraph import Picture, compare
from pytracer.sinks.saved_stacks import read_stacks
from pytracer.spec import Column, Unit, registry
from support.fake_kernel import FakeKernel

SVG = "{http://www.w3.org/2000/svg}"
SCHEMA = make_plan(Request(registry.get("profile")), FakeKernel()).schema
OFFCPU = make_plan(Request(registry.get("offcputime")), FakeKernel()).schema
WAKERS = make_plan(Request(registry.get("offwaketime")), FakeKernel()).schema
LOST = Loss("stacks_full", 12, "samples without a place", 0.0)
HOSTILE = """</title><script>alert(1)</script>"'&]]><!--\x00\x1b[2J\ud800\ufffe\u202e"""
COUNT = Column("count", "", unit=Unit.COUNT)


def summary(*rows, schema=SCHEMA):
    """Return rows of pid, comm, kernel, user, counters."""
    names = [column.name for column in schema.columns]
    columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    counters = {column.name: np.array(columns[column.name], dtype="u8") for column in schema.counters}
    return StackSnapshot("summary", 1_699_963_200.25, 2.5, columns | counters)


RUN = summary(
    (23, "make", ("vfs_read", "do_syscall_64"), ("read", "main"), 101),
    (24, "make", ("vfs_read", "do_syscall_64"), ("read", "main"), 23),
    (25, "make", (), ("spin", "main"), 7),
    (2, "kthreadd", ("schedule",), (), 1),
)


def render(form, items, schema=SCHEMA, **options):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    sink = make_sink(form, stream, timestamps=False, terminal=False, **options)
    sink.open(schema)
    for item in items:
        sink.emit(item)
    sink.close()
    return stream.buffer.getvalue()


def frames(svg):
    """Return each frame's name, with its begin, count and depth, and whether it is a kernel's."""
    root = ElementTree.fromstring(svg)
    matches = root.findall(f".//{SVG}g[@data-name]")
    return {
        (g.get("data-name"), int(g.get("data-d"))): (
            int(g.get("data-x")),
            int(g.get("data-n")),
            g.get("class"),
        )
        for g in matches
    }


def test_frames_are_as_wide_as_their_counts():
    svg = render("flamegraph", [RUN, LOST])
    assert ElementTree.fromstring(svg).get("data-total") == str(101 + 23 + 7 + 1 + 12)
    assert frames(svg) == {
        ("all", 0): (0, 144, "name"),
        ("[lost]", 1): (0, 12, "lost"),
        ("stacks_full", 2): (0, 12, "lost"),
        ("kthreadd", 1): (12, 1, "name"),
        ("schedule", 2): (12, 1, "kernel"),
        ("make", 1): (13, 131, "name"),
        ("main", 2): (13, 131, "user"),
        ("read", 3): (13, 124, "user"),
        ("do_syscall_64", 4): (13, 124, "kernel"),
        ("vfs_read", 5): (13, 124, "kernel"),
        ("spin", 3): (137, 7, "user"),
    }


def test_losses_are_shown_below():
    assert "lost: 12 samples without a place" in render("flamegraph", [RUN, LOST]).decode()


def test_callers_are_below_or_above():
    rows = {}
    for icicle in (False, True):
        root = ElementTree.fromstring(render("flamegraph", [RUN], icicle=icicle))
        for name in ("all", "vfs_read"):
            [g] = root.findall(f".//{SVG}g[@data-name='{name}']")
            rows[name, icicle] = int(g.find(f"{SVG}rect").get("y"))
    assert rows["all", True] == rows["vfs_read", False] < rows["vfs_read", True] == rows["all", False]


def test_counts_of_time_are_written_as_time():
    row = (7, "sleep", ("schedule",), ("nap",), 1_500_000_000, 3)
    svg = render("flamegraph", [summary(row, schema=OFFCPU)], OFFCPU).decode()
    assert "nap: 1.500 s, 100.00%, 0 ns of its own" in svg
    assert 'data-total="1500000000"' in svg


def test_wakers_are_behind_a_line():
    row = ("sleeper", "waker", ("schedule",), ("nap",), ("try_to_wake_up",), ("kick",), 1000, 1)
    svg = render("flamegraph", [summary(row, schema=WAKERS)], WAKERS)
    assert sorted(frames(svg), key=lambda frame: frame[1]) == [
        ("all", 0), ("sleeper", 1), ("waker", 2), ("nap", 3), ("schedule", 4), ("--", 5),
        ("try_to_wake_up", 6), ("kick", 7),
    ]  # fmt: skip


def test_wakers_of_wakers_follow_each_behind_a_line():
    schema = make_plan(Request(registry.get("offwaketime"), options={"depth": 3}), FakeKernel()).schema
    blocked, woken = (("schedule",), ("nap",)), (("wake",), ("kick",))
    row = ("sleeper", "waker", *blocked, *woken, "first", *woken, "[interrupt]", (), (), 1000, 1)
    lines = render("folded", [summary(row, schema=schema)], schema).decode().splitlines()
    assert lines == ["sleeper;waker;first;[interrupt];nap;schedule;--;wake;kick;--;wake;kick 1000"]
    [*_, table] = render("table", [summary(row, schema=schema)], schema).decode().split("\n\n")
    assert table.splitlines()[1:] == [
        "  schedule", "  --", "  nap", "  -- woken by", "  wake", "  --", "  kick", "  -- woken by", "  wake",
        "  --", "  kick",
    ]  # fmt: skip


def test_an_empty_run_is_a_picture():
    assert b"nothing seen" in render("flamegraph", [summary()])


def test_hostile_names_are_text():
    svg = render("flamegraph", [summary((1, HOSTILE, (HOSTILE,), (HOSTILE,), 7))]).decode()
    root = ElementTree.fromstring(svg)
    assert [element.tag for element in root.iter(f"{SVG}script")] == [f"{SVG}script"]
    assert "alert" not in root.find(f"{SVG}script").text
    assert len(root.findall(f".//{SVG}g[@data-name]")) == 4
    assert svg.count("<script") == svg.count("]]>") == 1
    assert not [character for character in svg if not character.isprintable() and character != "\n"]
    escaped = "\\x00\\x1b[2J\\ud800\\ufffe\\u202e"
    names = {g.get("data-name") for g in root.findall(f".//{SVG}g[@data-name]")}
    assert names == {"all", HOSTILE.partition("\x00")[0] + escaped}


def test_the_narrowest_of_too_many_frames_are_left_out():
    root = call_tree.call_tree([(((f"f{n}", call_tree.Part.USER),), (n,)) for n in range(1, 24)])
    placed, left_out = call_tree.place(root, limit=8)
    assert left_out == 16
    assert placed[0].node.name == "all"
    assert {frame.node.name for frame in placed} == {"all", *(f"f{n}" for n in range(17, 24))}
    assert len({frame.begin for frame in placed[1:]}) == 7


def test_folded_stacks_can_be_read_back():
    folded = render("folded", [RUN, LOST]).decode()
    saved = read_stacks(folded.splitlines(), "a")
    assert sum(saved.counts.values()) == 144
    assert "".join(f"{';'.join(stack)} {count}\n" for stack, count in saved.counts.items()) == folded


def test_json_can_be_read_back_as_folded_stacks_are():
    hostile = summary((1, "a;b\n", (HOSTILE,), ("f(int; char)",), 5), (2, "[no name]", (), ("",), 3))
    for items in ([RUN, LOST], [hostile]):
        of_json = read_stacks(render("json", items).decode().splitlines(), "a")
        of_folded = read_stacks(render("folded", items).decode().splitlines(), "a")
        assert of_json.counts == of_folded.counts
        assert of_json.column.name == "samples"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["main;f 23", "nothing"], "a:2: no folded stack"),
        (["{"], "a:1: no line of -f json"),
        (["{}"], "a:1: no line of -f json"),
        (['{"kind": "row"}'], "a:1: no stacks of a whole run"),
        (['{"kind": "summary", "calls": 7}'], "a has no stacks"),
        (['{"kind": "summary", "kernel": "f", "samples": 7}'], "a has no stacks"),
        (
            ['{"kind": "summary", "kernel": [], "n": 7}', '{"kind": "summary", "kernel": [], "n": "7"}'],
            "do not have the same fields",
        ),
        (['{"kind": "loss", "reason": "map_full", "lost": "many"}'], "no line of -f json"),
    ],
)
def test_a_file_without_stacks_is_refused(lines, message):
    with pytest.raises(UsageError, match=message):
        read_stacks(lines, "a")


def test_two_runs_are_compared_by_their_shares():
    samples = [(("main", "f"), (10, 30)), (("main", "g"), (10, 0)), (("h",), (20, 30))]
    svg = compare(samples, Picture("a to b", COUNT))
    assert frames(svg) == {
        ("all", 0): (0, 60, "name"),
        ("h", 1): (0, 30, "user"),
        ("main", 1): (30, 30, "user"),
        ("f", 2): (30, 30, "user"),
    }
    assert "f: 10 before, 30 after (+20), 25.00% to 50.00%" in svg
    assert "10 count before were in stacks that are no more" in svg
    colours = {
        g.get("data-name"): g.find(f"{SVG}rect").get("fill")
        for g in ElementTree.fromstring(svg).findall(f".//{SVG}g[@data-name]")
    }
    assert colours["main"] == colours["h"] == "hsl(216,0%,100%)"
    assert colours["f"] == "hsl(8,80%,55%)"


def test_speedscope_has_a_profile_for_each_counter():
    rows = ((7, "sleep", ("schedule",), ("nap",), 1_500, 3), (8, "sleep", (), ("spin",), 500, 1))
    document = json.loads(render("speedscope", [summary(*rows, schema=OFFCPU)], OFFCPU))
    names = [frame["name"] for frame in document["shared"]["frames"]]
    time, count = document["profiles"]
    assert (time["unit"], time["endValue"], count["unit"], count["endValue"]) == (
        "nanoseconds",
        2000,
        "none",
        4,
    )
    for profile, weights in ((time, [1500, 500]), (count, [3, 1])):
        assert profile["type"] == "sampled"
        assert profile["weights"] == weights
        assert [[names[index] for index in stack] for stack in profile["samples"]] == [
            ["sleep", "nap", "schedule"],
            ["sleep", "spin"],
        ]


def fields(data):
    """Yield the fields of a message: (number, value), where the value is a number or bytes."""
    index = 0

    def number():
        nonlocal index
        value = shift = 0
        while True:
            byte = data[index]
            index += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while index < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            assert key & 7 == 2
            size = number()
            yield key >> 3, data[index : index + size]
            index += size


def test_pprof_has_every_counter_and_label():
    rows = ((7, "sleep", ("schedule",), ("nap",), 1 << 40, 3), (8, "a\n", (), ("spin",), 500, 1))
    data = gzip.decompress(render("pprof", [summary(*rows, schema=OFFCPU), LOST], OFFCPU))
    profile = list(fields(data))
    strings = [value.decode() for number, value in profile if number == 6]
    assert strings[0] == ""
    functions = {dict(fields(v))[1]: strings[dict(fields(v))[2]] for n, v in profile if n == 5}
    of_locations = {dict(fields(v))[1]: dict(fields(dict(fields(v))[4]))[1] for n, v in profile if n == 4}
    kinds = [tuple(strings[dict(fields(v))[field]] for field in (1, 2)) for n, v in profile if n == 1]
    assert kinds == [("total_ns", "nanoseconds"), ("count", "count")]

    def packed(value):
        return [v for _, v in fields(b"".join(bytes([8]) + part for part in split(value)))]

    def split(value):
        start = 0
        for index, byte in enumerate(value):
            if byte < 0x80:
                yield value[start : index + 1]
                start = index + 1

    samples = []
    for number, value in profile:
        if number == 2:
            sample = dict(fields(value))
            label = dict(fields(sample[3])) if 3 in sample else {}
            names = [functions[of_locations[frame]] for frame in packed(sample[1])]
            samples.append(
                (names, packed(sample[2]), strings[label[1]] if label else "", label and strings[label[2]])
            )
    assert samples == [
        (["schedule", "nap"], [1 << 40, 3], "comm", "sleep"),
        (["spin"], [500, 1], "comm", "a\\n"),
        (["stacks_full", "[lost]"], [12, 0], "", {}),
    ]
    assert dict(profile)[10] == 2_500_000_000


def test_gos_pprof_reads_it(tmp_path):
    """Google's reader comes with Go."""
    go = shutil.which("go")
    assert go, "scripts/setup --dev installs it"
    file = tmp_path / "profile.pb.gz"
    file.write_bytes(render("pprof", [RUN, LOST]))
    environment = {
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
        "GOFLAGS": "-mod=mod",
        "PPROF_TMPDIR": str(tmp_path),
    }
    result = subprocess.run(
        [go, "tool", "pprof", "-top", "-cum", str(file)],
        capture_output=True, text=True, check=False, env=environment, timeout=60,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "Total samples = 144" in result.stdout
    rows = {line.split()[-1]: line.split()[:4] for line in result.stdout.splitlines() if "%" in line}
    assert rows["main"][3] == "131"
    assert rows["vfs_read"][0] == rows["vfs_read"][3] == "124"
    assert rows["[lost]"][3] == "12"
