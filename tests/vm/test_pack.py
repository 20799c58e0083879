"""Test a pack made on this machine for lab kernels, run in them without BCC, LLVM or headers.

Run only when named, since every test boots: scripts/test tests/vm/test_pack.py. PYTRACER_LAB_KERNELS chooses
the kernels (6.1,6.12); they are fetched if they are not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import run
from support.hidden_toolchain import HIDE
from support.known_workloads import KNOWN
from support.packs import LINES

ROOT = Path(__file__).resolve().parents[2]
KERNELS = os.environ.get("PYTRACER_LAB_KERNELS", "6.1,6.12").split(",")
TESTS = (
    "test_every_tracer_is_exact",
    "test_every_interface_packet_is_counted_and_no_compiler_is_there",
)
GUEST = f"""{HIDE}
exec "$1" -m pytest -q -p no:cacheprovider tests/kernel/test_pack.py -k "$2"
"""


def lab(kernel: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts/lab"), kernel, *options, "--", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a pack for all kernels from their BTF."""
    if not any("tests/vm" in str(Path(word).resolve()) for word in request.config.args):
        pytest.skip("boots virtual machines: only when tests/vm is named")
    folder = tmp_path_factory.mktemp("btf")
    for kernel in KERNELS:
        copy = ("cp", "/sys/kernel/btf/vmlinux", str(folder / f"{kernel}.btf"))
        completed = lab(kernel, *copy, options=("--rw", str(folder)))
        assert completed.returncode == 0, completed.stderr
    result = run("pack", *LINES, "-o", folder / "lab.pack", "--btf", *sorted(folder.glob("*.btf")))
    assert result.status == 0, result.err
    print(result.out)
    return folder / "lab.pack"


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_pack_counts_exactly_without_a_compiler(packed: Path, kernel: str) -> None:
    result = lab(
        kernel,
        *("bash", "-c", GUEST, "guest", sys.executable, " or ".join(TESTS)),
        options=("--env", f"PYTRACER_TEST_PACK={packed}", "--timeout", "400"),
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(KNOWN) + len(TESTS) - 1} passed" in result.stdout
