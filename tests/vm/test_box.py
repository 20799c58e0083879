"""Test the Vagrant box with another kernel: start, reboot into it, both commands, and cleanup.

Run only when named, since it boots twice: sudo scripts/test tests/vm/test_box.py. PYTRACER_KERNEL chooses the
kernel. It needs what scripts/box needs; the box is built if it is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab.box_try import COMMANDS, START_TRAFFIC

ROOT = Path(__file__).resolve().parents[2]
KERNEL = os.environ.get("PYTRACER_KERNEL") or "6.12"
SUFFIX = " -f json"


def is_named(request: pytest.FixtureRequest) -> bool:
    return any("tests/vm" in str(Path(word).resolve()) for word in request.config.args)


def interfaces() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_the_box_boots_into_the_kernel_and_traces(request):
    if not is_named(request):
        pytest.skip("boots a virtual machine twice: only when tests/vm is named")
    before = interfaces()
    traced = [f"{command}{SUFFIX}" for command in COMMANDS if "pytracer" in command]
    result = subprocess.run(
        [sys.executable, ROOT / "scripts/box", "try", "uname -r", START_TRAFFIC, *traced],
        capture_output=True, text=True, check=False, timeout=3600,
        env=os.environ | {"PYTRACER_KERNEL": KERNEL},
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "booted from the next start on" in result.stdout
    # By the guest's own words.
    number = f"{KERNEL}." if KERNEL[0].isdigit() else ""
    releases = [word for word in result.stdout.split() if word.endswith("-cloud-amd64")]
    assert any(release.startswith(number) for release in releases), result.stdout
    rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith('{"kind"')]
    assert any(row.get("syscall") and row.get("calls", 0) > 0 for row in rows)
    assert any(row.get("interface") == "lo" and row["protocol"] == "UDP" for row in rows)
    assert interfaces() == before
