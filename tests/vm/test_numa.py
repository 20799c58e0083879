"""Test numamove in virtual machines with two memory nodes.

Run only when named, since every test boots: scripts/test tests/vm/test_numa.py. PYTRACER_LAB_KERNELS
chooses the kernels (6.12); they are fetched if they are not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNELS = os.environ.get("PYTRACER_LAB_KERNELS", "6.12").split(",")
LIMIT = 900


@pytest.fixture(autouse=True)
def _named(request: pytest.FixtureRequest) -> None:
    if not any("tests/vm" in str(Path(word).resolve()) for word in request.config.args):
        pytest.skip("boots virtual machines: only when tests/vm is named")


@pytest.mark.parametrize("kernel", KERNELS)
def test_pages_move_between_the_nodes_of_a_machine(kernel: str) -> None:
    python = str(ROOT / ".venv/bin/python")
    words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernel/test_numamove.py"]
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts/lab"), kernel, "--memory-nodes", "2", "--", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 passed" in result.stdout
