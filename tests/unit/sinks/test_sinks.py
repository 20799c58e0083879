"""Test sinks: golden files for every format, tables that refresh in place, and hostile strings.

``PYTRACER_UPDATE_GOLDEN=1 pytest tests/unit/sinks/test_sinks.py`` writes the golden files: read the diff.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

from pytracer.enrich import decoders
from pytracer.enrich.decode import decode
from pytracer.enrich.event_batches import EventDecoder
from pytracer.enrich.strings import text as decode_text
from pytracer.model import Batch, Histograms, Loss, Schema, Snapshot
from pytracer.model.buckets import power_bounds
from pytracer.plan import make_plan
from pytracer.record import replace
from pytracer.request import Request
from pytracer.sinks import FORMATS, formatting, make_sink, table
from pytracer.sinks.formatting import clock, duration, timestamp
from pytracer.sinks.json_schema import json_schema
from pytracer.spec import Column, Stream, Unit, registry
from support.fake_kernel import FakeKernel

GOLDEN = Path(__file__).parents[2] / "golden"
SUFFIX = {"table": "txt", "json": "json", "csv": "csv", "yaml": "yaml", "markdown": "md"}
NOON = 1_699_963_200.25  # 2023-11-14 12:00:00.250 UTC

PATH_MAX = 4096
CUT = Loss("truncated", 1, "strings that are shown without their end", NOON)
LOST_EVENTS = Loss("ring_full", 23, "events that found the ring full (--buffer)", NOON)
LOST = Loss("map_full", 12, "rows that did not fit into the map of rows", NOON)


def schema_of(tracer, **options):
    return make_plan(Request(registry.get(tracer), options=options), FakeKernel()).schema


def syscalls(kind, time, seconds):
    """Return two calls; the averages as the session makes them."""
    columns = {
        "syscall": ["read", "syscall_999"],
        "calls": np.array([101, 7], dtype="u8"),
        "errors": np.array([23, 0], dtype="u8"),
        "interrupted": np.array([5, 0], dtype="u8"),
        "total_ns": np.array([23_456_789, 999], dtype="u8"),
        "avg_ns": [232_245, 142],
    }
    return Snapshot(kind, time, seconds, columns)


def by_process(kind):
    columns = {
        "pid": np.array([1, 4_194_304], dtype="u4"),
        "syscall": ["openat", "i386:openat"],
        "comm": ["systemd", "a b\x1b[2J"],
        "calls": np.array([0, 2**64 - 1], dtype="u8"),
        "errors": np.array([0, 1], dtype="u8"),
        "interrupted": np.array([0, 2], dtype="u8"),
        "total_ns": np.array([0, 2**64 - 1], dtype="u8"),
        "avg_ns": [None, 1],
    }
    return Snapshot(kind, NOON, 1.0, columns)


def latency(kind):
    counts = np.zeros((2, 64), dtype="u8")
    counts[0, 0], counts[0, 10], counts[0, 12] = 1, 40, 20
    counts[1, 63] = 3
    values = {
        "total_ns": np.array([100_000, 3 << 63], dtype="O"),
        "avg_ns": [1639, 1 << 63],
        "max_ns": np.array([8191, 2**64 - 1], dtype="u8"),
        "p50_ns": [1087, 2**63],
        "p90_ns": [4351, 2**63],
        "p99_ns": [8191, 2**63],
        "p999_ns": [8191, 2**63],
    }
    return Histograms(kind, NOON, 1.0, {"syscall": ["read", "futex"]}, "calls", counts, values)


def errnos(kind):
    columns = {
        "syscall": ["openat", "read"],
        "errno": ["ENOENT", "ERESTARTSYS"],
        "errors": np.array([23, 0], dtype="u8"),
        "interrupted": np.array([0, 5], dtype="u8"),
    }
    return Snapshot(kind, NOON, 1.0, columns)


def packets(kind):
    columns = {
        "interface": ["lo", "eth0"],
        "protocol": ["TCP", "ethertype_0x88b5"],
        "packets": np.array([101, 1], dtype="u8"),
        "bytes": np.array([10_100, 2**40], dtype="u8"),
    }
    return Snapshot(kind, NOON, 1.0, columns)


def event_batch(tracer, *rows):
    """Return a batch of events: each a millisecond after the other, the columns' raw values in their
    order."""
    schema = schema_of(tracer)
    fields = [(c.source, f"S{PATH_MAX}" if c.decode == "text" else "i8") for c in schema.columns]
    fields = [(name, "O" if name == "args" else kind) for name, kind in fields]
    records = np.array(
        [(number * 1_000_000, *row) for number, row in enumerate(rows)], [("ns", "u8"), *fields]
    )
    batch = EventDecoder(schema, decoders({})).batch(records)
    times = records["ns"].astype("i8") + int(NOON * 4) * 250_000_000
    return Batch(batch.names, batch.records, times, batch.read)


def opens():
    return event_batch(
        "opensnoop",
        (7, b"ls", 3, 0, 0o2000000, b"/etc/ld.so.cache"),
        (4_194_304, b"fifteen-letters", 1_048_575, 0, 0o2000101, b"x" * 100),
        (8, b"a\x1b[2J\xff", -1, 2, 2, b'a "b",\n'),
        (8, b"sh", -1, 512, 0, b""),
    )


def executions():
    return event_batch(
        "execsnoop",
        (7, 1, 0, 0, b"ls", 0, b"ls\0-l\0a b\0\0"),
        (4_194_304, 4_194_303, 65_534, 0, b"fifteen-letters", 13, b"/nowhere/x\0\xff\x1b[2J\0"),
        (8, 7, 0, 0, b"true", 0, b""),
    )


def connections():
    """Return connections as the ring holds them: an IPv4 one, an IPv6 one that was refused, a hostile
    name."""
    kind = np.dtype("u8,u8,u4,u4,u4,u4,u4,i4,(16,)u1,(16,)u1,S16,i8,i8")
    counted = ("tx_bytes", "rx_bytes")  # -1: not a close
    kind.names = (
        "ns",
        "duration_ns",
        "type",
        "pid",
        "netns",
        "sport",
        "dport",
        "error",
        *ENDS,
        "comm",
        *counted,
    )
    ipv4, ipv6 = (list(socket.inet_pton(socket.AF_INET6, a)) for a in ("::ffff:192.0.2.1", "2001:db8::1"))
    rows = [
        (0, 1_234_567, 0, 4711, 4_026_531_833, 53422, 443, 0, ipv4, ipv4, b"curl", -1, -1),
        (1, 23_000_000_000, 2, 0, 4_026_531_833, 443, 53422, 0, ipv4, ipv4, b"", 517, 23_000),
        (2_000_000, 23_456, 3, 4_194_304, 4_026_532_178, 65535, 1, 111, ipv6, ipv6, b"a b\x1b[2J", -1, -1),
    ]
    batch = EventDecoder(TCPTRACER, decoders({})).batch(np.array(rows, dtype=kind))
    return replace(batch, times=batch.records["ns"].astype("i8") + int(NOON * 4) * 250_000_000)


def events(*rows):
    """Return opened files, the first at noon; the last at the end of a second, where a float would round
    it up."""
    kinds = [("ns", "i8"), ("pid", "u4"), ("comm", "S16"), ("took_ns", "u8"), ("path", "S64")]
    records = np.array(list(rows), dtype=kinds)

    def read(name, records):
        values = records[name]
        return decode(decode_text, values) if values.dtype.kind == "S" else values

    return Batch(("pid", "comm", "took_ns", "path"), records, records["ns"], read)


FILES = events(
    (1_699_963_200_250_000_000, 1, b"systemd", 999, b"/etc/passwd"),
    (1_699_963_200_250_999_999, 4_194_304, b"a b\x1b[2J, \xff", 2**64 - 1, b'/tmp/"new\nline"\xe2\x80\xae,x'),
    (1_699_963_200_999_999_999, 7, b"", 0, b""),
)


def empty_snapshot(schema, kind="row"):
    return Snapshot(kind, NOON, 1.0, {column.name: [] for column in schema.columns})


SYSCALLS = schema_of("syscalls")
BY_PROCESS = schema_of("syscalls", by=("pid", "syscall"))
LATENCY = schema_of("syscalls", latency=True)
ERRNO = schema_of("syscalls", errno=True)
SOCKCOUNT = schema_of("sockcount")
OPENSNOOP = schema_of("opensnoop")
EXECSNOOP = schema_of("execsnoop")
TCPTRACER = schema_of("tcptracer")
PERCENTILES = ("p50_ns", "p90_ns", "p99_ns", "p999_ns")
ENDS = ("saddr", "daddr")
EVENTS = Schema(
    tracer="files",
    keys=(),
    values=(
        Column("pid", "process id"),
        Column("comm", "its name", decode="text", width=16),
        Column("took_ns", "how long", unit=Unit.NANOSECONDS),
        Column("path", "the file", decode="text"),
    ),
    output=Stream(),
)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "'", "'=1", "a=1", "\t=1", "\r", "", "\\"])
def test_text_that_a_spreadsheet_would_run_is_guarded_in_csv(text):
    def cell(raw):
        stream = io.StringIO()
        sink = make_sink("csv", stream, timestamps=False, terminal=False, raw=raw)
        sink.open(BY_PROCESS)
        sink.emit(row_with_name(text))
        sink.close()
        return next(csv.DictReader(io.StringIO(stream.getvalue())))["comm"]

    assert cell(raw=False)[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert cell(raw=False).removeprefix("'") == cell(raw=True)
    assert (cell(raw=False) != cell(raw=True)) is text.startswith(("=", "+", "-", "@", "'"))


@pytest.mark.parametrize("unit", [Unit.NONE, Unit.NANOSECONDS])
def test_columns_of_a_histogram_are_aligned(unit):
    counts = [0] * 64
    counts[0], counts[7], counts[62] = 1, 12345678901234, 3
    lines = table.histogram_bars(counts, unit)
    assert len(lines) == 63
    assert len({line.index("|") for line in lines}) == 1
    assert len({len(line) for line in lines}) == 1
    assert " 12345678901234 |" in lines[7]


def test_a_histogram_of_nothing_has_no_lines():
    assert table.histogram_bars([0] * 64, Unit.NONE) == []


NO_HISTOGRAM = Histograms("row", NOON, 1.0, {"syscall": []}, "calls", np.zeros((0, 64), dtype="u8"))

CASES = {  # name: schema, items, timestamps
    "syscalls-run": (
        SYSCALLS,
        [
            syscalls("row", NOON, 1.0),
            LOST,
            syscalls("row", NOON + 1, 1.0),
            syscalls("summary", NOON + 2, 2.5),
        ],
        False,
    ),
    "syscalls-by-process": (BY_PROCESS, [by_process("row")], False),
    "syscalls-errno": (ERRNO, [errnos("summary")], False),
    "syscalls-latency": (LATENCY, [latency("row"), LOST, latency("summary")], False),
    "syscalls-timestamps": (SYSCALLS, [syscalls("row", NOON, 1.0), LOST], True),
    "syscalls-latency-timestamps": (LATENCY, [latency("row"), LOST], True),
    "syscalls-empty": (SYSCALLS, [empty_snapshot(SYSCALLS), empty_snapshot(SYSCALLS, "summary")], False),
    "syscalls-latency-empty": (LATENCY, [NO_HISTOGRAM], False),
    "sockcount-run": (SOCKCOUNT, [packets("row"), LOST, packets("summary")], False),
    "sockcount-timestamps": (SOCKCOUNT, [packets("row")], True),
    "sockcount-empty": (SOCKCOUNT, [empty_snapshot(SOCKCOUNT)], False),
    "opensnoop-run": (OPENSNOOP, [opens(), CUT, opens()], False),
    "opensnoop-timestamps": (OPENSNOOP, [opens(), CUT], True),
    "execsnoop-run": (EXECSNOOP, [executions()], False),
    "tcptracer": (TCPTRACER, [connections(), LOST], False),
    "tcptracer-timestamps": (TCPTRACER, [connections()], True),
    "events-run": (EVENTS, [FILES, LOST_EVENTS, events(), FILES], False),
    "events-timestamps": (EVENTS, [FILES, LOST_EVENTS], True),
    "events-empty": (EVENTS, [], False),
}


@pytest.mark.parametrize("case", CASES)
def test_json_conforms_to_its_schema(case):
    schema, items, timestamps = CASES[case]
    validator = Draft202012Validator(json_schema(schema))
    lines = render("json", schema, items, timestamps=timestamps).splitlines()
    for line in lines:
        validator.validate(json.loads(line))
        assert not validator.is_valid(json.loads(line) | {"more": 1})
        assert not validator.is_valid(without_key(json.loads(line), "time_ns"))


@pytest.mark.parametrize("case", CASES)
def test_yaml_equals_json(case):
    schema, items, timestamps = CASES[case]
    text = render("yaml", schema, items, timestamps=timestamps)
    assert not [character for character in text if not character.isprintable() and character != "\n"]
    lines = render("json", schema, items, timestamps=timestamps).splitlines()
    assert (yaml.safe_load(text) or []) == [json.loads(line) for line in lines]


def test_markdown_escapes_all_markup():
    hostile = "# <img src=x onerror=alert(1)> | *a* [b](c) `d`\n| e & \\"
    item = Snapshot("row", NOON, 1.0, syscalls("row", NOON, 1.0).columns | {"syscall": [hostile, "-"]})
    rows = [line for line in render("markdown", SYSCALLS, [item]).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {6}
    assert rows[2].startswith(r"| \# \<img src=x onerror=alert(1)\> \| \*a\* \[b\](c) \`d\`\\n\| e \& \\ |")


def without_key(record, name):
    return {key: value for key, value in record.items() if key != name}


def tzset():
    """Apply the time zone of the environment, and discard text written in another."""
    time.tzset()
    timestamp.cache_clear()
    clock.cache_clear()


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    tzset()
    yield
    monkeypatch.undo()
    tzset()


def render(form, schema, items, *, timestamps=False, terminal=False, wide=False):
    stream = io.StringIO()
    sink = make_sink(form, stream, timestamps=timestamps, terminal=terminal, wide=wide)
    sink.open(schema)
    for item in items:
        sink.emit(item)
    sink.close()
    return stream.getvalue()


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_golden(case, form):
    schema, items, timestamps = CASES[case]
    text = render(form, schema, items, timestamps=timestamps)
    path = GOLDEN / f"{case}.{SUFFIX[form]}"
    if os.environ.get("PYTRACER_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_every_golden_file_has_a_test():
    own_files = {f"{case}.{SUFFIX[form]}" for case in CASES for form in FORMATS}
    prefixes = tuple({case.partition("-")[0] for case in CASES})
    assert {path.name for path in GOLDEN.iterdir() if path.name.startswith(prefixes)} == own_files


# What must hold whatever the golden files say.


@pytest.mark.parametrize("case", CASES)
def test_json_is_one_object_a_line_with_the_columns_names(case):
    schema, items, timestamps = CASES[case]
    for line in render("json", schema, items, timestamps=timestamps).splitlines():
        record = json.loads(line)
        assert ("time" in record) == timestamps
        if record["kind"] == "loss":
            assert set(record) - {"time"} == {"kind", "time_ns", "reason", "lost", "meaning"}
        else:
            extra = {"latency_ns", *PERCENTILES} if schema.is_histogram else set()
            extra |= {"time_ns"} if schema.is_stream else {"time_ns", "interval_ns"}
            assert set(record) - {"time"} == {"kind"} | {c.name for c in schema.columns} | extra


@pytest.mark.parametrize("case", CASES)
def test_csv_is_as_wide_as_its_header(case):
    schema, items, timestamps = CASES[case]
    header, *rows = csv.reader(io.StringIO(render("csv", schema, items, timestamps=timestamps)))
    assert len(header) == len(set(header))
    assert {column.name for column in schema.columns} < set(header)
    assert {len(row) for row in rows} <= {len(header)}


def test_wide_tables_have_every_column():
    narrow, wide = (render("table", TCPTRACER, [connections()], wide=wide).splitlines() for wide in (0, 1))
    assert narrow[0].split() == [column.header for column in TCPTRACER.columns if not column.wide]
    assert wide[0].split() == [column.header for column in TCPTRACER.columns]
    assert wide[1].split()[-5:] == ["4026531833", "1.235", "ms", "-", "-"]
    assert wide[3].split()[-5:] == ["23.456", "us", "ECONNREFUSED", "-", "-"]
    assert all(len(line) <= 80 for line in narrow[:3])


def test_numbers_stay_exact():
    record = json.loads(render("json", BY_PROCESS, [by_process("row")]).splitlines()[1])
    assert record["total_ns"] == 2**64 - 1
    rows = list(csv.DictReader(io.StringIO(render("csv", BY_PROCESS, [by_process("row")]))))
    assert rows[1]["total_ns"] == str(2**64 - 1)
    assert rows[0]["avg_ns"] == ""


def test_buckets_of_json_and_csv_are_the_same():
    records = [json.loads(line) for line in render("json", LATENCY, [latency("row")]).splitlines()]
    rows = csv.DictReader(io.StringIO(render("csv", LATENCY, [latency("row")])))
    actual = [(row["syscall"], int(row["low"]), int(row["high"]), int(row["count"])) for row in rows]
    assert actual == [
        (record["syscall"], bucket["low"], bucket["high"], bucket["count"])
        for record in records
        for bucket in record["latency_ns"]
    ]
    assert actual[0] == ("read", 0, 2, 1)
    assert actual[-1] == ("futex", 2**63, 2**64, 3)


def test_timestamps_carry_the_offset_of_the_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "XXX-5:30")
    tzset()
    record = json.loads(render("json", SOCKCOUNT, [packets("row")], timestamps=True).splitlines()[0])
    assert record["time"] == "2023-11-14T17:30:00.250+05:30"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.000 us"),
        (231_456, "231.456 us"),
        (1_234_567, "1.235 ms"),
        (999_999_999, "1.000 s"),
        (12_345_000_000, "12.345 s"),
    ],
)
def test_duration(nanoseconds, text):
    assert duration(nanoseconds) == text


@pytest.mark.parametrize("slot", range(64))
def test_bounds_are_those_of_the_slot(slot):
    low, high = power_bounds(slot)
    assert (high - 1).bit_length() - 1 == slot
    assert max(low, 1).bit_length() - 1 == slot
    assert low == (power_bounds(slot - 1)[1] if slot else 0)


# Strings that the traced system chose.

HOSTILE = {
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "newline": "a\nb\r\nc",
    "c1": "\x9b31m\x85",
    "delete": "a\x7f\b",
    "bidi": "\u202egnp.exe\u2066",
    "zero-width": "a\u200bb\ufeff",
    "line-separator": "a\u2028b\u2029c",
    "surrogate": "a\udcffb",
    "quotes": "a\"b','c",
    "backslash": "a\\x1b",
    "tab": "a\tb",
    "tabulate-separator": "\x01",
    "nul": "a\0b",
    "invalid-utf-8": decode_text(b"a\xff\xfeb"),
    "cut-utf-8": decode_text("äöüßäöüß".encode()[:15]),
}


def row_with_name(comm):
    item = by_process("row")
    return Snapshot(item.kind, item.time, item.seconds, item.columns | {"comm": [comm, "next"]})


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_tables_show_hostile_strings_as_text_on_one_line(hostile, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = render("table", BY_PROCESS, [row_with_name(hostile)], terminal=terminal)
    assert len(text.encode().splitlines()) == 4  # title, header, two rows
    assert [c for c in text if c != "\n" and not c.isprintable()] == []
    lines = text.splitlines()
    assert lines[2].startswith("      1  openat")
    assert lines[3].startswith("4194304  i386:openat  next ")


def test_blanks_that_a_name_begins_with_stay():
    *_, first, second = render("table", BY_PROCESS, [row_with_name("  a")]).splitlines()
    begin = second.index("next")
    assert first[begin : begin + 4] == "  a "


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_csv_shows_hostile_strings_as_text_on_one_line(hostile):
    text = render("csv", BY_PROCESS, [row_with_name(hostile)])
    assert len(text.encode().splitlines()) == 3
    assert [c for c in text if c != "\n" and not c.isprintable()] == []
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[1]["comm"] == "next"
    if hostile.isprintable():
        assert rows[0]["comm"] == hostile


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_json_gives_hostile_strings_back_and_is_ascii(hostile):
    text = render("json", BY_PROCESS, [row_with_name(hostile)])
    first, second = text.splitlines()
    assert json.loads(first)["comm"] == hostile
    assert json.loads(second)["comm"] == "next"
    assert re.fullmatch(r"[ -~\n]*", text)


@pytest.mark.parametrize("form", ["table", "csv"])
def test_hostile_keys_of_histograms_are_shown_as_text(form):
    item = Histograms("row", NOON, 1.0, {"syscall": ["\x1b[2J\n"]}, "calls", latency("row").counts[:1])
    text = render(form, LATENCY, [item])
    assert "\\x1b[2J\\n" in text
    assert "\x1b" not in text


# Tables that refresh in place.


class Screen:
    """A minimal terminal: lines, wrapping, scrolling, cursor up, erase below."""

    def __init__(self, columns, lines):
        self.columns, self.height = columns, lines
        self.lines = [""]
        self.row = 0
        self.top = 0

    def write(self, text):
        for code, count, char in re.findall(r"(\x1b\[(\d*)[AJ])|(.)", text, re.S):
            if code.endswith("J"):
                del self.lines[self.row + 1 :]
                self.lines[self.row] = ""
            elif code:
                self.row = max(self.row - int(count), self.top)
            elif char == "\n":
                self._down()
            else:
                wide = 2 if unicodedata.east_asian_width(char) in "WF" else 1
                if self._width() + wide > self.columns:
                    self._down()
                self.lines[self.row] += char

    def _width(self):
        return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in self.lines[self.row])

    def _down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")
        self.top = max(self.top, self.row - self.height + 1)


@pytest.fixture
def screen(monkeypatch, request):
    columns, lines = getattr(request, "param", (80, 24))
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    return Screen(columns, lines)


def many_rows(rows, time=NOON):
    columns = {
        "syscall": [f"syscall_{900 + number}" for number in range(rows)],
        "calls": np.arange(rows, dtype="u8"),
        "errors": np.zeros(rows, dtype="u8"),
        "interrupted": np.zeros(rows, dtype="u8"),
        "total_ns": np.full(rows, 12_345_678_901, dtype="u8"),
        "avg_ns": [1] * rows,
    }
    return Snapshot("row", time, 1.0, columns)


def test_an_interval_overwrites_the_one_before(screen):
    screen.write(render("table", SYSCALLS, [many_rows(9), many_rows(2, NOON + 1)], terminal=True))
    assert [line[:11] for line in screen.lines] == [
        "12:00:01, 1",
        "SYSCALL    ",
        "syscall_900",
        "syscall_901",
        "",
    ]


def test_the_summary_overwrites_the_last_interval_and_is_whole(screen):
    summary = Snapshot("summary", NOON, 9.0, many_rows(100).columns)
    screen.write(render("table", SYSCALLS, [many_rows(3), summary], terminal=True))
    assert screen.lines[0] == "whole run, 9.0 s"
    assert screen.lines[-2].startswith("syscall_999")
    assert len(screen.lines) == 103


def test_nothing_overwrites_the_summary(screen):
    summary = Snapshot("summary", NOON, 9.0, many_rows(1).columns)
    screen.write(render("table", SYSCALLS, [summary, many_rows(2, NOON + 1)], terminal=True))
    assert [line[:11] for line in screen.lines] == [
        "whole run, ",
        "SYSCALL    ",
        "syscall_900",
        "12:00:01, 1",
        "SYSCALL    ",
        "syscall_900",
        "syscall_901",
        "",
    ]


def test_a_loss_stays_on_the_screen(screen):
    screen.write(
        render(
            "table",
            SYSCALLS,
            [many_rows(1), LOST, many_rows(1, NOON + 1), many_rows(2, NOON + 2)],
            terminal=True,
        )
    )
    text = "\n".join(screen.lines)
    assert "lost: 12 rows that did not fit into the map of rows" in text
    assert "12:00:00" in text, "the interval that lost something stays above"
    assert "12:00:01" not in text
    assert "12:00:02" in text


@pytest.mark.parametrize("screen", [(80, 24), (30, 10), (20, 8)], indirect=True)
@pytest.mark.parametrize("item", [many_rows(50), latency("row")], ids=["table", "histogram"])
def test_tables_never_scroll_or_wrap(screen, item):
    schema = LATENCY if isinstance(item, Histograms) else SYSCALLS
    screen.write(render("table", schema, [item, item, item], terminal=True))
    assert screen.top == 0
    assert len(screen.lines) <= screen.height
    assert sum(line.startswith("12:00:00") for line in screen.lines) == 1


def test_hidden_rows_are_reported(screen):
    screen.write(render("table", SYSCALLS, [many_rows(50)], terminal=True))
    assert re.match(r"\.\.\. and (\d+) more lines", screen.lines[-2])
    hidden = int(screen.lines[-2].split()[2])
    shown_rows = sum(line.startswith("syscall_") for line in screen.lines)
    assert shown_rows + hidden == 50


@pytest.mark.parametrize(
    ("screen", "kept_lines"), [((80, 5), 3), ((80, 7), 3), ((80, 8), 4), ((80, 10), 6)], indirect=["screen"]
)
def test_four_lines_of_the_screen_are_left_free_unless_it_is_too_small(screen, kept_lines):
    lines = render("table", SYSCALLS, [many_rows(5)], terminal=True).splitlines()
    summary = render("table", SYSCALLS, [many_rows(5)]).splitlines()
    assert lines == [
        *summary[:kept_lines],
        f"... and {7 - kept_lines} more lines; --top N, or a pipe, for a choice",
    ]


@pytest.mark.parametrize("screen", [(80, 11)], indirect=True)
def test_rows_that_fit_are_shown_whole(screen):
    assert render("table", SYSCALLS, [many_rows(5)], terminal=True) == render(
        "table", SYSCALLS, [many_rows(5)]
    )


@pytest.mark.parametrize("text", ["plain", "\u6f22\u5b57", "e\u0301clair", "\U0001f389"])
def test_columns_are_aligned_for_characters_of_any_width(text):
    item = many_rows(2)
    item.columns["syscall"][:] = ["a name of some length", text]
    lines = render("table", SYSCALLS, [item]).splitlines()[1:]
    assert len(lines) == 3
    assert len({formatting.display_width(line) for line in lines}) == 1
    assert formatting.display_width("\u6f22e\u0301") == 3


@pytest.mark.parametrize(
    ("line", "columns", "cut"),
    [
        ("abcd", 3, "abc"),
        ("漢字", 3, "漢"),
        ("漢字", 4, "漢字"),
        ("aä漢b", 4, "aä漢"),
        ("ä", 0, ""),
        ("e\u0301a", 1, "e\u0301"),
    ],
)
def test_a_line_is_truncated_by_the_width_of_its_characters(line, columns, cut):
    assert table._cut(line, columns) == cut


@pytest.mark.parametrize("screen", [(70, 24)], indirect=True)
def test_wide_characters_do_not_wrap(screen):
    item = by_process("row")
    wide = Snapshot("row", NOON, 1.0, item.columns | {"comm": ["漢字漢字漢"] * 2})
    screen.write(render("table", BY_PROCESS, [wide, wide], terminal=True))
    assert sum(line.startswith("12:00:00") for line in screen.lines) == 1


def test_a_pipe_gets_one_table_after_the_other_without_escapes():
    text = render("table", SYSCALLS, [many_rows(2), many_rows(2, NOON + 1)])
    assert "\x1b" not in text
    assert text.count("\n\n") == 1
    assert len(text.splitlines()) == 9


@pytest.mark.parametrize("form", FORMATS)
def test_every_item_is_flushed(form):
    class Stream(io.StringIO):
        unflushed = False

        def write(self, text):
            self.unflushed = True
            return super().write(text)

        def flush(self):
            self.unflushed = False

    stream = Stream()
    sink = make_sink(form, stream, timestamps=False, terminal=False)
    sink.open(SYSCALLS)
    for item in (many_rows(1), LOST):
        sink.emit(item)
        assert stream.getvalue()
        assert not stream.unflushed
