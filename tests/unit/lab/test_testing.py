"""Test the lab's test runs: what runs in which kernel, and the counts, whatever happens to a kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import testing
from lab.errors import LabError
from lab.kernels import KERNELS
from lab.testing import Counts, counted

ALL = list(KERNELS)


@pytest.mark.parametrize(
    ("line", "status", "expected"),
    [
        ("====== 25 passed, 157 deselected in 61.50s (0:01:01) ======", 0, Counts(25)),
        ("== 1 failed, 2 passed, 3 skipped, 1 error in 1.00s ==", 1, Counts(2, 2, 3)),
        ("== 2 passed, 2 errors in 0.10s ==", 1, Counts(2, 2, 0)),
        ("80 passed in 26.27s", 0, Counts(80)),
        ("57 passed, 1 failed, 2 skipped", 1, Counts(57, 1, 2)),
        ("===== 25 passed in 61.50s =====\nlab: kernel crash", 126, Counts(25, 1, 0)),
        ("===== 182 deselected in 0.50s =====", 5, Counts(0, 1, 0)),
        ("lab: error: no space", 125, Counts(failed=1)),
        ("", 0, Counts(failed=1)),
        ("a test prints: 3 passed, and more", 0, Counts(failed=1)),
        ("== 7 passed, 2 rerun in 1.00s ==", 0, Counts(7, reruns=2)),
        ("57 passed, 0 failed, 2 skipped, 1 rerun", 0, Counts(57, 0, 2, 1)),
        ("57 passed, 0 failed, 2 skipped, 3 reruns", 0, Counts(57, 0, 2, 3)),
        ("== 9 failed in 1.00s ==\nagain\n== 4 passed in 1.00s ==", 0, Counts(4)),
    ],
)
def test_counts_of_tests(line, status, expected):
    assert counted(f"collected\n{line}\n", status) == expected


def test_kernels_come_first_and_other_words_go_to_pytest():
    _, kernels, pytest_words, *_ = testing.split(["5.10", "newest", "-k", "6.1"])
    assert ([kernel.name for kernel in kernels], pytest_words) == (["5.10", "newest"], ["-k", "6.1"])
    assert testing.split([])[1:3] == (ALL, [])
    assert testing.split(["-x"])[1:3] == (ALL, ["-x"])
    assert testing.split(["-x"]).beside
    assert testing.split(["--compile-inside", "6.1", "-x"])[1:] == (
        [KERNELS[1]],
        ["-x"],
        "",
        testing.LIMIT,
        False,
        False,
        1,
    )
    assert testing.split(["--compile-all"])[-3:] == (True, True, 1)
    assert testing.split(["-j", "3", "6.1"])[:3] == (3, [KERNELS[1]], [])
    requests = testing.split(["--timeout", "60", "--suite", "trixie", "6.12", "-m", "smoke"])
    assert requests[1:] == ([KERNELS[2]], ["-m", "smoke"], "trixie", 60, False, False, 1)
    path = "tests/kernel/test_matrix.py::test_x"
    assert testing.split([path])[1:3] == (ALL, [path])


@pytest.mark.parametrize(
    "words",
    [["6.2"], ["tests/none.py"], ["-j"], ["-j", "0"], ["-j", "x"], ["--timeout"], ["--suite", "6.12"]],
)
def test_mistakes_are_reported_before_anything_is_booted(words):
    with pytest.raises(LabError):
        testing.split(words)


def test_named_files_are_run_instead_of_all():
    assert testing.command(KERNELS[0], ["-x"])[-2:] == ["tests/kernel", "-x"]
    words = testing.command(KERNELS[0], ["tests/kernel/test_matrix.py"], "trixie", 60)
    assert words[2:6] == ["--timeout", "60", "--suite", "trixie"]
    assert words[-1] == "tests/kernel/test_matrix.py"
    assert "tests/kernel" not in words
    assert words[words.index("--") - 1] == KERNELS[0].name


def test_kernels_run_side_by_side_and_every_end_counts(monkeypatch, capsys):
    code = {
        "5.10": "print('== 3 passed in 1.00s ==')",
        "6.1": "print('no end'); import sys; sys.exit(126)",
        "6.12": "print('== 1 failed, 2 passed in 1.00s =='); raise SystemExit(1)",
        "newest": "import sys; sys.stdout.write('== 5 passed, 1 skipped in 1.00s ==')",
    }
    monkeypatch.setattr(testing, "command", lambda kernel, *_: [sys.executable, "-c", code[kernel.name]])
    total, lines = testing.run_all(testing.CommandLine(2, [*KERNELS], [], "", 60))
    assert total == Counts(10, 2, 1)
    assert len(lines) == 4
    output = capsys.readouterr().out.splitlines()
    assert "   6.1 | no end" in output
    assert "newest | == 5 passed, 1 skipped in 1.00s ==" in output


def test_the_last_line_is_the_count_alone(monkeypatch, capsys):
    monkeypatch.setattr(
        testing, "command", lambda *_: [sys.executable, "-c", "print('== 3 passed in 1.00s ==')"]
    )
    monkeypatch.setattr(testing.signal, "signal", lambda *_: None)
    assert testing.main(["--compile-inside"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "12 passed, 0 failed, 0 skipped"
    monkeypatch.setattr(testing, "command", lambda *_: [sys.executable, "-c", ""])
    assert testing.main(["--compile-inside", "6.1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_tests_are_shared_among_kernels():
    line = testing.split(["--shares", "2", "-m", "smoke"])
    shares = [line.arguments_for(kernel)[0] for kernel in KERNELS]
    assert shares == ["--share=1/2", "--share=2/2", "--share=1/2", "--share=2/2"]
    assert line.arguments_for(KERNELS[0])[1:] == ["-m", "smoke"]
    assert testing.split(["-m", "smoke"]).arguments_for(KERNELS[0]) == ["-m", "smoke"]


def test_shares_have_the_first_test_of_each_file_once(tmp_path: Path):
    (tmp_path / "conftest.py").write_text((Path(testing.ROOT) / "tests/conftest.py").read_text())
    for name in "xyz":
        (tmp_path / f"test_{name}.py").write_text("def test_a(): pass\ndef test_b(): pass\n")
    words = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    ran = []
    for share in (1, 2):
        result = subprocess.run(
            [*words, f"--share={share}/2"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(testing.ROOT / "tests"), "PYTEST_ADDOPTS": ""},
        )
        ran.append([line.split()[0] for line in result.stdout.splitlines() if "PASSED" in line])
    assert ran == [["test_x.py::test_a", "test_z.py::test_a"], ["test_y.py::test_a"]]


def test_the_sum_of_ci(tmp_path: Path):
    native, lab = tmp_path / "native", tmp_path / "lab"
    native.write_text("== 500 passed, 2 skipped in 120.00s (0:02:00) ==\n")
    lab.write_text("   6.1 | == 1 failed, 9 passed in 9.00s ==\n39 passed, 1 failed, 0 skipped\n")
    assert testing.total_of(["0", "0", str(native), "1", str(lab)]) == Counts(539, 1, 2)
    lab.write_text("39 passed, 0 failed, 0 skipped, 7 reruns\n")
    assert testing.total_of(["0", "0", str(native), "0", str(lab)]) == Counts(539, 7 - testing.RERUNS, 2, 7)
    lab.write_text("lab: error: the mirror cannot be reached\n")
    assert testing.total_of(["1", "0", str(native), "125", str(lab)]) == Counts(500, 2, 2)


def test_ci_fails_with_a_count_where_the_lab_cannot_be_had(tmp_path: Path):
    """The script keeps the status of a pipe's first command, and the last line is the count."""
    text = (Path(testing.ROOT) / ".ci/run").read_text()
    begin, end = text.index("linters="), text.rindex('"$venv/bin/python" -m lab.testing')
    script = (
        "set -euo pipefail\nbad=()\n"
        + text[text.index("step() {") : text.index("c_format()")]
        + text[begin:end].replace("tests native scripts/test", "tests native echo '3 passed in 1.00s' #")
        + f'\n"{sys.executable}" -m lab.testing --total "$linters" "${{results[@]}}"\n'
    )
    script = script.replace("scripts/lab setup &&", "false &&")
    script = script.replace("command -v chromium", "true").replace(
        "    scripts/test tests/browser", "    false #"
    )
    script = script.replace("[[ -x /usr/sbin/sshd ]]", "true").replace(
        "    scripts/test tests/ssh", "    echo '4 passed in 1.00s' #"
    )
    script = script.replace("[[ -x /usr/bin/pgbench", "[[ 1 || -x /").replace(
        "    scripts/test tests/databases", "    echo '5 passed in 1.00s' #"
    )
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, cwd=testing.ROOT
    )
    assert result.stdout.splitlines()[-1] == "12 passed, 2 failed, 0 skipped", result.stderr
    assert "== FAILED: tests in a browser" in result.stdout
    assert "== FAILED: tests in the lab" in result.stdout
    assert result.returncode == 1
