"""Test compactsnoop of a process that has all memory compacted: a line for each zone that /proc/zoneinfo
has."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
WORKLOAD = """
open("/proc/self/comm", "wb").write(b"packs\\n\\x1b[31m")
open("/proc/sys/vm/compact_memory", "w").write("1")
"""


def zones():
    """Return the node and name of each zone that has pages."""
    matches = re.findall(
        r"^Node (\d+), zone +(\w+)\n(?:(?!Node).*\n)*? +present +(\d+)",
        Path("/proc/zoneinfo").read_text(),
        re.M,
    )
    return sorted((int(node), name.lower()) for node, name, present in matches if int(present))


def compacted(*words):
    result = run("compactsnoop", *words, "--", sys.executable, "-c", WORKLOAD)
    assert result.status == 0, result.err
    return result


@pytest.mark.smoke
@pytest.mark.lab
def test_each_zone_is_compacted_once():
    events = compacted("-f", "json").of("event")
    assert sorted((event["node"], event["zone"]) for event in events) == zones()
    assert {event["comm"] for event in events} == {"packs\n\x1b[31m"}
    assert len({event["pid"] for event in events}) == 1
    # No order is wanted: of all of the zone, and with waiting.
    assert {(event["order"], event["mode"]) for event in events} == {(None, "sync")}
    assert {event["result"] for event in events} <= {"complete", "partial_skipped", "contended"}
    assert all(event["took_ns"] > 0 for event in events)


def test_only_long_ones_and_hostile_names():
    assert "packs" not in compacted("--min", "100s").out
    out = compacted().out
    assert "\x1b" not in out
    assert r"packs\n\x1b[31m" in out
