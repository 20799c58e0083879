"""Test the lab with real virtual machines: output, exit statuses, and cleanup.

Run only when named, since every test boots: scripts/test tests/vm/test_lab.py. PYTRACER_LAB_KERNEL and
PYTRACER_LAB_SUITE choose the kernel, and the suite for what --suite does; they are fetched if they are
not there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KERNEL = os.environ.get("PYTRACER_LAB_KERNEL", "6.1")
SUITE = os.environ.get("PYTRACER_LAB_SUITE", "trixie")


def is_named(request: pytest.FixtureRequest) -> bool:
    return any("tests/vm" in str(Path(word).resolve()) for word in request.config.args)


def ours(mark: str) -> dict[int, str]:
    """Return the processes that a test started, by what they inherited from it."""
    actual = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                actual[int(folder.name)] = (folder / "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue
    return actual


@pytest.fixture(autouse=True)
def mark(request, monkeypatch):
    """Check that no process, socket or folder of a run is left after it."""
    if not is_named(request):
        pytest.skip("boots virtual machines: only when tests/vm is named")
    with tempfile.TemporaryDirectory() as temporary:
        mark = f"PYTRACER_LAB_TEST={os.getpid()}.{time.monotonic_ns()}"
        monkeypatch.setenv(*mark.split("="))
        monkeypatch.setenv("TMPDIR", temporary)
        yield mark
        assert ours(mark) == {}
        assert list(Path(temporary).iterdir()) == []


def command(*words: str, options: tuple[str, ...] = (), kernel: str = KERNEL) -> list[str]:
    return [sys.executable, str(ROOT / "scripts/lab"), kernel, *options, "--", *words]


def lab(*words: str, options: tuple[str, ...] = (), cwd: Path | None = None):
    return subprocess.run(
        command(*words, options=options), capture_output=True, text=True, timeout=600, cwd=cwd, check=False
    )


def test_the_command_runs_as_root_in_that_kernel():
    result = lab("sh", "-c", "uname -r; id -u; cat /proc/sys/kernel/hostname; echo to stderr >&2")
    assert result.stdout.split("\n")[1:] == ["0", "lab", ""]
    assert result.stdout.startswith(KERNEL)
    assert result.stderr == "to stderr\n"
    assert result.returncode == 0


def test_words_folder_and_environment_arrive_as_they_are(tmp_path):
    script = 'printf "%s|" "$@" "$PWD" "$PYTRACER_X"; cat'
    result = subprocess.run(
        command("sh", "-c", script, "sh", "a  b", "", "$HOME `x`", "it's", "ü\n"),
        capture_output=True,
        text=True,
        timeout=600,
        cwd=tmp_path,
        env=os.environ | {"PYTRACER_X": "y z"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert result.stdout == f"a  b||$HOME `x`|it's|ü\n|{tmp_path}|y z|"
    assert result.returncode == 0


def test_a_failing_command_is_just_that():
    result = lab("sh", "-c", "exit 7")
    assert (result.returncode, result.stdout, result.stderr) == (7, "", "")


def test_a_command_that_is_not_there():
    assert lab("/no/such/command").returncode == 127


def test_all_of_a_long_output_comes_though_something_is_left_running():
    result = lab("sh", "-c", "sleep 1000 & seq 200000; seq 100000 >&2")
    assert result.stdout == "".join(f"{n}\n" for n in range(1, 200001))
    assert result.stderr == "".join(f"{n}\n" for n in range(1, 100001))
    assert result.returncode == 0


def test_the_usual_file_systems_modules_and_headers_are_there():
    places = "/sys/kernel/tracing/available_events /sys/kernel/debug/tracing /sys/fs/cgroup/cgroup.procs"
    result = lab(
        "sh",
        "-c",
        f"ls -d {places} /lib/modules/$(uname -r)/build/include/generated/autoconf.h /dev/fd/1 >/dev/null && "
        "grep -q bpf /proc/mounts && modprobe dummy && ls /boot/config-$(uname -r) && "
        "grep -w lo /proc/net/dev && ip -br link show lo",
    )
    assert "lo" in result.stdout.splitlines()[-1], result.stderr
    assert "UNKNOWN" in result.stdout.splitlines()[-1] or "UP" in result.stdout.splitlines()[-1]
    assert result.returncode == 0


def test_only_the_named_folder_is_written(tmp_path):
    open_, shut = tmp_path / "open", tmp_path / "shut"
    open_.mkdir()
    shut.mkdir()
    (shut / "file").write_text("as it was")
    script = (
        f"echo new > {open_}/file; echo new > {shut}/file; echo new > {shut}/other; rm -f /etc/hostname;"
        f"cat {shut}/file; grep -o 'hostroot.*' /proc/mounts"
    )
    hostname = Path("/etc/hostname")
    before = hostname.exists()
    result = lab("sh", "-c", script, options=("--rw", str(open_)))
    assert result.stdout == "new\n", result.stderr
    assert (open_ / "file").read_text() == "new\n"
    assert [path.name for path in shut.iterdir()] == ["file"]
    assert (shut / "file").read_text() == "as it was"
    assert hostname.exists() == before


def test_a_guest_cannot_write_though_it_remounts_the_checkout_for_writing(tmp_path):
    (tmp_path / "file").write_text("as it was")
    script = f"mkdir /mine && mount -t virtiofs hostroot /mine; echo new > /mine{tmp_path}/file"
    result = lab("sh", "-c", script)
    assert result.returncode != 0
    assert (tmp_path / "file").read_text() == "as it was"


def test_a_panic_is_distinguished_from_a_failure():
    result = lab("sh", "-c", "echo before; sleep 1; echo c > /proc/sysrq-trigger")
    assert result.returncode == 126
    assert result.stdout == "before\n"
    assert (
        "kernel crash while the command ran: Kernel panic - not syncing: sysrq triggered crash"
        in result.stderr
    )
    assert "  | " in result.stderr


def test_a_command_that_never_ends():
    start = time.monotonic()
    result = lab("sh", "-c", "echo before; sleep 1000", options=("--timeout", "20"))
    assert result.returncode == 124
    assert result.stdout == "before\n"
    assert "time limit: the command did not end within 20 s" in result.stderr
    assert 20 <= time.monotonic() - start < 300


def test_a_vm_that_is_lost():
    result = lab("sh", "-c", "busybox poweroff -f; sleep 60")
    assert result.returncode == 125
    assert "the VM was lost while the command ran" in result.stderr


def test_a_kernel_that_does_not_come_up():
    result = lab("true", options=("--append", "init=/bin/false rdinit=/nothing", "--boot-timeout", "60"))
    assert result.returncode in (125, 126)
    assert "lab: " in result.stderr


def test_a_kernel_by_its_path():
    lab("true")  # so that it is fetched
    sys.path.append(str(ROOT))
    from lab import fetch, kernel_image

    kernel = fetch.find(KERNEL)
    fetched = fetch.cached(kernel.name)
    local = kernel_image.from_cache(kernel, fetched)
    words = [sys.executable, str(ROOT / "scripts/lab"), "--kernel-image", str(local.file)]
    words += ["--modules", str(fetched.folder), "--append", local.append, "--", "uname", "-r"]
    result = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert (result.stdout.strip(), result.returncode) == (fetched.release, 0)


def test_a_suite_has_its_own_bcc_and_python_and_the_kernels_files():
    release = "/lib/modules/$(uname -r)/build/include/generated/autoconf.h"
    script = (
        f"(. /etc/os-release && echo $VERSION_CODENAME) && ls {release} >/dev/null && modprobe dummy && "
        "ls /boot/config-$(uname -r) >/dev/null && "
        ".venv/bin/python -c 'import sys; print(sys.base_prefix)' && "
        "scripts/pytracer syscalls -f json -- true"
    )
    result = lab("sh", "-c", script, options=("--suite", SUITE), cwd=ROOT)
    suite, prefix, *records = result.stdout.splitlines()
    assert SUITE in (suite, "sid"), result.stderr  # sid calls itself by what it will become
    assert prefix == "/usr"
    rows = [json.loads(line) for line in records]
    assert [row["calls"] for row in rows if row.get("syscall") == "execve"] == [1]
    assert result.returncode == 0


def test_in_a_suite_the_checkout_changes_only_for_the_guest():
    before = {path: path.stat().st_mtime_ns for path in (ROOT, ROOT / ".venv", ROOT / "README.md")}
    script = "rm README.md && touch new .venv/new src/new && ls new .venv/new src/new README.md"
    result = lab("sh", "-c", script, options=("--suite", SUITE), cwd=ROOT)
    assert result.stdout.split() == [".venv/new", "new", "src/new"]
    assert "README.md" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_in_a_suite_only_the_named_folder_is_written(tmp_path):
    result = lab("sh", "-c", "pwd >file", options=("--suite", SUITE, "--rw", str(tmp_path)), cwd=tmp_path)
    assert (tmp_path / "file").read_text() == f"{tmp_path}\n", result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_it(number):
    with subprocess.Popen(
        command("sh", "-c", "echo begun; sleep 1000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout.readline() == "begun\n"
        running.send_signal(number)
        assert running.wait(20) == 128 + number
        assert f"ended by signal {number}" in running.stderr.read()


def test_a_killed_lab_leaves_no_process(mark):
    with subprocess.Popen(
        command("sh", "-c", "echo begun; sleep 1000"), stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout.readline() == "begun\n"
        assert len(ours(mark)) >= 3
        running.kill()
        running.wait(20)
    deadline = time.monotonic() + 10
    while ours(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours(mark) == {}
    for folder in Path(os.environ["TMPDIR"]).iterdir():  # which only a process that lives can remove
        shutil.rmtree(folder)


# ---- a tracer that is broken, from somebody else's package, through the command line as people use it

BROKEN = """
from pytracer.spec import Alternative, Column, Hook, Key, RawTracepoint, Table, Tracer, Unit

def broken(name, column):
    way = Alternative("raw-tracepoint", (RawTracepoint("enter", event="sys_enter"),))
    return Tracer(
        name=name, group="test", summary="broken", description="Broken on purpose.",
        hooks=(Hook("call", "system calls begin", (way,)),),
        keys=(Key("pid", (Column("pid", "process id"),)),),
        outputs=(Table("rows", (Column(column, "calls", unit=Unit.COUNT),), sort=column),),
        source=__file__.replace("pt_broken.py", name + ".c"),
    )

REFUSED, NO_COLUMN = broken("refused", "calls"), broken("nocolumn", "errors")
"""
C = """
struct key { u32 pid; };
struct value { u64 calls; };
BPF_PERCPU_HASH(rows, struct key, struct value, 64);

int enter(void *ctx)
{
    struct key key = {.pid = bpf_get_current_pid_tgid() >> 32};
    struct value *value = rows.lookup(&key);
%s
    value->calls++;
    return 0;
}
"""


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Install a package with an entry point for each tracer on Python's path."""
    (tmp_path / "pt_broken.py").write_text(BROKEN)
    (tmp_path / "refused.c").write_text(C % "")  # the pointer is not looked at before it is followed
    (tmp_path / "nocolumn.c").write_text(C % "    if (!value)\n        return 0;")
    info = tmp_path / "pt_broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pt-broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[pytracer.tracers]\nrefused = pt_broken:REFUSED\nnocolumn = pt_broken:NO_COLUMN\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("tracer", "message", "hint"),
    [
        ("refused", "/refused.c:enter: R0 invalid mem access 'map_value_or_null'", "the whole log is in "),
        ("nocolumn", "column field 'errors' is no member of map 'rows' in nocolumn.c", "members: calls"),
    ],
)
def test_a_broken_tracer_is_one_line_and_a_hint(tracer, message, hint):
    result = lab(sys.executable, "-m", "pytracer", tracer, "-d", "1")
    assert result.returncode == 1, result.stderr
    assert result.stdout == ""
    error, advice = result.stderr.splitlines()
    assert error.startswith("pytracer: error: ")
    assert message in error
    assert advice.startswith(f"hint: {hint}")
