"""Test numbers of each width and sign in each conversion against the program's own printf.

The program is tests/workloads/widths.c.
"""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path

import pytest

from support import packets
from support.cli import run
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]
SHORT = [
    "s8",
    "u8",
    "s16",
    "u16",
    "s32",
    "u32",
    "c",
    "b",
    "below",
    "never_below",
    "port",
    "u3",
    "s5",
    "b1",
    "e4",
    "u31",
]
LONG = [*SHORT, "s64", "u64", "address"]
WHOLE = ("ld", "lld", "llu", "lx", "zu")
ARGUMENTS = ["s8", "u8", "s16", "u16", "c", "b"]
OPERANDS = ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"]
PORT = 50000


@functools.cache
def printed() -> dict[str, list[dict[str, str]]]:
    """Return printf's output by conversion: every member of each value."""
    actual: dict[str, list[dict[str, str]]] = {}
    for line in subprocess.check_output([workload("widths"), "0"], text=True).splitlines():
        conversion, _, run_trace = line.partition("|")
        members = LONG if conversion in WHOLE else SHORT
        actual.setdefault(conversion, []).append(dict(zip(members, run_trace.split("/"), strict=True)))
    return actual


def run_trace(folder: Path, *specs: str, port: int = 0) -> list[dict[str, object]]:
    """Return the events of a run, without the program's own output."""
    path = folder / "events"
    result = run("trace", "-f", "json", "-o", path, *specs, "--", workload("widths"), port)
    assert result.status == 0, result.err
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if record["kind"] == "event"]


def conversion_specs(probe: str, names: dict[str, str]) -> list[str]:
    """Return a probe spec for each conversion; ``names`` has the probe's name of each member."""
    specs = []
    for conversion in printed():
        present = [text for member, text in names.items() if conversion in WHOLE or member in SHORT]
        form = "/".join([f"%{conversion}"] * len(present))
        specs.append(f'{probe} "{conversion}|{form}", {", ".join(present)}')
    return specs


def check(events: list[dict[str, object]], names: dict[str, str]) -> None:
    for conversion, values in printed().items():
        present = [member for member in names if conversion in WHOLE or member in SHORT]
        lines = [str(event["text"]).partition("|")[2] for event in events]
        lines = [
            line
            for line, event in zip(lines, events, strict=True)
            if str(event["text"]).startswith(f"{conversion}|")
        ]
        assert lines == ["/".join(value[member] for member in present) for value in values], conversion


@pytest.mark.smoke
@pytest.mark.parametrize("part", [slice(0, 9), slice(9, None)], ids=["numbers", "others"])
def test_members_by_debug_information(tmp_path, part):
    names = {member: f"all->{member}" for member in LONG[part]}
    check(run_trace(tmp_path, *conversion_specs(f"u:{workload('widths')}:take", names)), names)


def test_arguments_by_debug_information_and_by_a_signature(tmp_path):
    names = {member: member for member in ARGUMENTS}
    check(run_trace(tmp_path, *conversion_specs(f"u:{workload('widths')}:narrow", names)), names)
    signature = "(int8_t s8, uint8_t u8, int16_t s16, uint16_t u16, char c, bool b)"
    check(run_trace(tmp_path, *conversion_specs(f"u:{workload('widths')}:narrow{signature}", names)), names)


def test_return_values_casts_and_entry_values(tmp_path):
    names = {"u16": "retval", "port": "(uint16_t)retval", "s8": "$entry(s8)", "u8": "(u8)$entry(u8)"}
    check(run_trace(tmp_path, *conversion_specs(f"ur:{workload('widths')}:narrow", names)), names)


def test_operands_of_a_usdt_probe(tmp_path):
    names = {member: f"arg{number}" for number, member in enumerate(OPERANDS, 1)}
    check(run_trace(tmp_path, *conversion_specs(f"usdt:{workload('widths')}:forms:sizes", names)), names)


def test_json_has_the_number_that_the_format_shows_and_a_filter_sees_the_same(tmp_path):
    members = ("s8", "u8", "s16", "u16", "u32", "u3", "never_below")
    present = ", ".join(f"all->{member}" for member in members)
    spec = f'u:{workload("widths")}:take (all->u8 > 127 && all->s8 < 0) "{" %d" * len(members)}", {present}'
    values = [value for value in printed()["d"] if int(value["u8"]) > 127 and int(value["s8"]) < 0]
    assert values
    for event, value in zip(run_trace(tmp_path, spec), values, strict=True):
        assert [event[f"all->{member}"] for member in members] == [int(value[member]) for member in members]


def test_a_distribution_has_the_same_numbers(tmp_path):
    path, source = tmp_path / "rows", f"u:{workload('widths')}:take()"
    for member in ("s8", "u8", "s16", "u16", "below", "never_below", "u3"):
        words = ["-f", "json", "-o", path, f"{source}::all->{member}", "--", workload("widths"), 0]
        assert run("argdist", *words).status == 0
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        counts = {row[f"all->{member}"]: row["count"] for row in rows if row["kind"] == "summary"}
        conversion = "u" if member == "never_below" else "d"
        expected = [int(value[member]) for value in printed()[conversion]]
        assert counts == {number: expected.count(number) for number in expected}, member


def test_members_of_the_kernels_structs_and_fields_of_its_events(tmp_path):
    """The kernel has a port in host order in skc_num, and in network order in inet_sport."""
    sport = (PORT & 0xFF) << 8 | PORT >> 8
    with packets.namespace():
        events = run_trace(
            tmp_path,
            'rt:inet_sock_set_state (newstate == 10) "%d %u %x %hhd", sk->__sk_common.skc_num, '
            "sk->__sk_common.skc_num, (uint16_t)sk->__sk_common.skc_num, sk->__sk_common.skc_num",
            'rt:inet_sock_set_state (newstate == 10) "%d", ((struct inet_sock *)sk)->inet_sport',
            't:sock:inet_sock_set_state (newstate == 10) "%d %lld %x", sport, sport, args->sport',
            port=PORT,
        )
    texts = sorted(str(event["text"]) for event in events)
    assert texts == sorted([f"{PORT} {PORT} {PORT:x} 80", f"{PORT} {PORT} {PORT:x}", str(sport)])
