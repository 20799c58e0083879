"""Test the features of this kernel against bpftool and against each other."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytracer.features import feature_table
from pytracer.kernel.btf import Btf, BtfKind

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def feature_records() -> dict[tuple[str, str], dict[str, Any]]:
    """Return all features by (kind, name), probed in a process of its own, since that may enter a mount
    namespace."""
    command = [sys.executable, "-W", "error", "-m", "pytracer", "doctor", "-f", "json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    assert result.stderr == ""
    records = [json.loads(line) for line in result.stdout.splitlines()]
    return {(record["group"], record["name"]): record for record in records if record["kind"] == "feature"}


def is_granted(record: dict[str, Any]) -> bool:
    return bool(record["status"] == feature_table.GRANTED)


def test_everything_was_tried(feature_records: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert len(feature_records) == len(feature_table.FEATURES)
    assert {record["status"] for record in feature_records.values()} <= {
        "granted",
        "absent",
        "refused",
        "untried",
    }
    without_reason = [
        key for key, record in feature_records.items() if not is_granted(record) and not record["found"]
    ]
    assert not without_reason
    assert is_granted(feature_records["hook", "raw tracepoint"])


@pytest.mark.parametrize("kind", ["program", "map"])
def test_bpftool_agrees(feature_records: dict[tuple[str, str], dict[str, Any]], kind: str) -> None:
    """Compare with bpftool where it is installed."""
    if shutil.which("bpftool") is None:
        return
    result = subprocess.run(["bpftool", "feature", "probe"], capture_output=True, text=True, check=False)
    pattern = rf"^eBPF {kind}_type (\w+) is (NOT )?available$"
    other = {name: not absent for name, absent in re.findall(pattern, result.stdout, re.M)}
    own_names = {
        name: is_granted(record) for (group, name), record in feature_records.items() if group == kind
    }
    if kind == "program":
        # It asks for fentry, which a policy may refuse where other programs of the type are granted.
        own_names["tracing"] = is_granted(feature_records["hook", "fentry"])
    common = own_names.keys() & other.keys()
    assert len(common) > 25
    assert {name: own_names[name] for name in common} == {name: other[name] for name in common}


@pytest.mark.parametrize(
    ("kind", "enum", "prefix"),
    [
        ("program", "bpf_prog_type", "BPF_PROG_TYPE_"),
        ("map", "bpf_map_type", "BPF_MAP_TYPE_"),
        ("helper", "bpf_func_id", "BPF_FUNC_"),
    ],
)
def test_numbers_are_those_of_the_kernel(kind: str, enum: str, prefix: str) -> None:
    btf = Btf.load()
    number = btf.find(BtfKind.ENUM, enum)
    assert number is not None
    kernels = {name.removeprefix(prefix).lower(): value for name, value in btf.enumerators(number)}
    for feature in feature_table.FEATURES:
        if feature.kind == kind:
            assert kernels.get(feature.name, feature.number) == feature.number, feature.name


def test_helpers_are_seen_as_the_kernel_has_them(
    feature_records: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert is_granted(feature_records["helper", "ktime_get_ns"])
    assert is_granted(feature_records["helper", "get_current_pid_tgid"])


def test_a_policy_is_distinguished_from_absence(
    feature_records: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """Hooks that attach by the same kernel interface have the same status."""
    for entry_hook, other in (("fentry", "fexit"), ("kprobe", "kretprobe"), ("uprobe", "uretprobe")):
        assert feature_records["hook", entry_hook]["status"] == feature_records["hook", other]["status"]
    if not Path("/sys/bus/event_source/devices/kprobe").is_dir():
        assert feature_records["hook", "kprobe"]["status"] == feature_table.ABSENT


def test_the_table_is_for_people() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pytracer", "doctor"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert result.stdout.endswith("pytracer can run here\n")
