"""Test packs: programs compiled for this kernel's BTF run from a file, with exact counts.

PYTRACER_TEST_PACK names a pack that was made elsewhere for the kernel that runs (tests/vm/test_pack.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pytracer.bpf.cache.pack import decode
from pytracer.kernel.btf import VMLINUX
from support import packets
from support.cli import COMMAND, Result, run, start, stop
from support.hidden_toolchain import HIDE
from support.known_workloads import KNOWN
from support.needs import needs
from support.packs import LINES, SYSCALLS, WITHOUT_TRACE_EVENTS
from support.workloads import workload

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def pack_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a pack for the running kernel."""
    needs("BTF", VMLINUX.exists())
    values = os.environ.get("PYTRACER_TEST_PACK")
    if values:
        return Path(values)
    path = tmp_path_factory.mktemp("pack") / "here.pack"
    result = run("pack", *LINES, "-o", path)
    assert result.status == 0, result.err
    assert result.out.startswith(f"{path}: {', '.join(sorted(KNOWN))} for {os.uname().release}; ")
    return path


@pytest.fixture(autouse=True)
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide BCC and all cached images; any attempt to compile fails."""
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTRACER_BCC", "/nonexistent")
    assert "no BCC there" in run("syscalls", "-d", "1").err


def assert_refused(result: Result, status: int, *words: str) -> None:
    lines = result.err.splitlines()
    assert result.status == status, result.err
    assert [line.partition(": ")[0] for line in lines] == ["pytracer", "hint"]
    for word in words:
        assert word in result.err


def has_compiler(process: int) -> bool:
    text = Path(f"/proc/{process}/maps").read_text()
    names = {Path(name).name for name in re.findall(r"(/\S+\.so[.\d]*)$", text, re.M)}
    assert any(name.startswith("libc.") for name in names)  # the look works
    return any(name.startswith(("libbcc", "libLLVM", "libclang", "libbpf")) for name in names)


@pytest.mark.parametrize("tracer", KNOWN)
def test_every_tracer_is_exact(pack_path: Path, tracer: str) -> None:
    result, actual, work = KNOWN[tracer](*WITHOUT_TRACE_EVENTS.get(tracer, ()), before=("run", pack_path))
    assert result.status == 0, result.err
    assert f"loaded from {pack_path} in " in result.err
    assert actual == work


def test_every_interface_packet_is_counted_and_no_compiler_is_there(pack_path: Path) -> None:
    with packets.namespace():
        packets.veth("va", "vb")
        tracer = start("sockcount", "-f", "json", "vb", 60, before=("run", pack_path))
        assert not has_compiler(tracer.pid)
        packets.send("va", packets.frames())
        result = stop(tracer)
    assert result.status == 0, result.err
    rows = {record["protocol"]: (record["packets"], record["bytes"]) for record in result.of("summary")}
    assert rows == packets.expected(packets.frames(), received=True)


def test_a_pack_runs_without_bcc_or_llvm_or_headers(pack_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are hidden in a mount namespace, not by a variable."""
    monkeypatch.delenv("PYTRACER_BCC")
    words = [*COMMAND, "run", pack_path, "syscalls", "-f", "json", "--", workload("calls"), "getppid", 23]
    hidden = ["unshare", "-m", "--propagation", "private", "sh", "-c", HIDE + '\nexec "$@"', "sh"]
    without_modules = subprocess.run(
        [*hidden, *COMMAND, "syscalls", "-d", "1"], capture_output=True, text=True, check=False
    )
    assert "BCC, the BPF Compiler Collection, is not installed" in without_modules.stderr
    completed = subprocess.run([*hidden, *map(str, words)], capture_output=True, text=True, check=False)
    result = Result(completed.returncode, completed.stdout, completed.stderr)
    assert result.status == 0, result.err
    assert {r["syscall"]: r["calls"] for r in result.of("summary")} == {"execve": 1, "getppid": 23}


def test_values_that_change_from_run_to_run_are_not_packed(pack_path: Path) -> None:
    for times in (7, 101):
        result = run(
            "run", pack_path, "syscalls", "--latency", "-f", "json", "--", workload("calls"), "fail", times
        )
        assert result.status == 0, result.err
        (close,) = [r for r in result.of("summary") if r["syscall"] == "close"]
        assert sum(bucket["count"] for bucket in close["latency_ns"]) == times


def test_options_that_were_not_packed_are_refused(pack_path: Path) -> None:
    for words in (["--by", "comm"], ["-u", "root"], ["--errno"], ["--max-rows", "7"]):
        result = run("run", pack_path, "syscalls", *words, "-d", "1")
        assert_refused(result, 4, f"{pack_path} holds syscalls for this kernel, but not with these options")
        assert result.err.endswith(f"hint: it holds {'; '.join(SYSCALLS)}\n")


def test_a_trace_event_is_refused(pack_path: Path) -> None:
    result = run("run", pack_path, "syscalls", "--hook", "syscall=tracepoint", "-d", "1")
    assert_refused(result, 4, "trace event raw_syscalls:sys_enter, which no pack can hold")


def test_commands_without_a_compiler_work_as_usual(pack_path: Path) -> None:
    with packets.namespace():
        result = run("run", pack_path, "sockcount", "lo", "--program", "bytecode", "-f", "json", "-d", "0.1")
    assert result.status == 0, result.err


def test_a_kernel_that_was_not_packed_is_refused(pack_path: Path, tmp_path: Path) -> None:
    """The pack is for a kernel whose BTF differs."""
    pack = decode(pack_path.read_bytes())
    ((digest, _),) = pack.kernels.items()
    data = pack.encode()
    other = type(pack)({digest[::-1]: "6.99"}, pack.entries, pack.images).encode()
    assert data == pack_path.read_bytes()
    (tmp_path / "other.pack").write_bytes(other)
    result = run("run", tmp_path / "other.pack", "syscalls", "-d", "1")
    assert_refused(result, 4, f"has no image for this kernel ({os.uname().release})", "it was made for 6.99")


def test_a_pack_of_another_version_of_the_c_is_refused(pack_path: Path, tmp_path: Path) -> None:
    import pytracer

    copy = tmp_path / "pytracer"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pytracer.__file__).parent, copy, symlinks=False, ignore=ignore)
    with (copy / "probes_c/syscalls.c").open("a") as file:
        file.write("// changed\n")
    result = run("run", pack_path, "syscalls", "-d", "1", env={"PYTHONPATH": str(tmp_path)})
    assert_refused(result, 4, "was not made from this syscalls.c", "make it again")


def test_two_kernels_in_one_pack(pack_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack is for the running kernel, by a copy of its BTF, and for one whose BTF has trailing bytes."""
    monkeypatch.delenv("PYTRACER_BCC")
    shutil.copy(VMLINUX, tmp_path / "here.btf")
    data = bytearray(VMLINUX.read_bytes())
    length = int.from_bytes(data[20:24], "little")  # of the strings, which are the last section
    data[20:24] = (length + 8).to_bytes(4, "little")
    (tmp_path / "there.btf").write_bytes(data + b"another\0")
    target = tmp_path / "two.pack"
    names = [tmp_path / "here.btf", tmp_path / "there.btf"]
    result = run("pack", "syscalls -- true", "-o", target, "--btf", *names)
    assert result.status == 0, result.err
    pack = decode(target.read_bytes())
    assert sorted(pack.kernels.values()) == ["here", "there"]
    assert len(pack.images) == 2  # with 32-bit programs told apart, and without; for both kernels the same
    assert len(pack.entries) == 4
    monkeypatch.setenv("PYTRACER_BCC", "/nonexistent")
    result = run("run", target, "-f", "json", "--", workload("calls"), "getppid", 23)
    assert {r["syscall"]: r["calls"] for r in result.of("summary")} == {"execve": 1, "getppid": 23}


def test_tracers_that_cannot_be_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTRACER_BCC")
    target = tmp_path / "x.pack"
    assert_refused(run("pack", "syscals", "-o", target), 2, "did you mean syscalls?")
    assert_refused(run("pack", "syscalls --hook syscall=tracepoint", "-o", target), 4, "not in BTF")
    (tmp_path / "rubbish.btf").write_bytes(b"rubbish")
    result = run("pack", "syscalls", "-o", target, "--btf", tmp_path / "rubbish.btf")
    assert_refused(result, 1, "rubbish.btf", "--btf takes")
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_tracer_of_runtimes_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTRACER_BCC")
    result = run("pack", "langgc -p 1", "-o", tmp_path / "here.pack")
    assert result.status == 0, result.err
    assert ": langgc for " in result.out
