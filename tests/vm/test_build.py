"""Test the kernels that the lab builds: each has what it was built for, and pytracer runs.

Run only when named: scripts/test tests/vm/test_build.py. A kernel that is not built yet is, which takes
minutes; then each test boots one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 3600  # seconds, for building and running

# Makes 23 folders while each is refused by a program on mkdir, one by another process, one afterwards.
OVERRIDE = """
import errno, json, os, subprocess, sys, tempfile
from pathlib import Path
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.toolchain import import_bcc

TEXT = '''
#include <linux/ptrace.h>
int refuse(struct pt_regs *ctx)
{
    if (bpf_get_current_pid_tgid() >> 32 == TGID)
        bpf_override_return(ctx, -28);
    return 0;
}
'''
headers = find_headers(TEXT)
os.environ["BCC_KERNEL_SOURCE"] = str(headers.path)
program = import_bcc().BPF(text=TEXT, cflags=[*headers.cflags, f"-DTGID={os.getpid()}"])
folder = Path(tempfile.mkdtemp())
program.attach_kprobe(event=program.get_syscall_fnname("mkdir"), fn_name="refuse")
refused = []
for number in range(23):
    try:
        (folder / str(number)).mkdir()
    except OSError as error:
        refused.append(errno.errorcode[error.errno])
subprocess.run(["mkdir", folder / "other"], check=True)
program.detach_kprobe(program.get_syscall_fnname("mkdir"))
(folder / "after").mkdir()
try:
    program.attach_kprobe(event="vfs_read", fn_name="refuse")
    elsewhere = "attached"
except Exception:
    elsewhere = "refused"
print(json.dumps([refused, sorted(path.name for path in folder.iterdir()), elsewhere, headers.source]))
"""


@pytest.fixture(autouse=True)
def _named(request):
    if not any("tests/vm" in str(Path(word).resolve()) for word in request.config.args):
        pytest.skip("builds kernels and boots them: only when tests/vm is named")


def lab(kernel: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/lab"), kernel, "--timeout", "1500", "--", *words]
    result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT, check=False)
    assert "the kernel warned" not in result.stderr
    return result


def pytracer(kernel: str, *words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytracer in the VM, after a line of shell."""
    return lab(kernel, "sh", "-c", f'{before}\nexec "$@"', "sh", sys.executable, "-m", "pytracer", *words)


def assert_passed(kernel: str, *tests: str) -> None:
    """Check that these kernel tests pass in the VM, without skips."""
    options = ["-q", "-p", "no:cacheprovider", *tests]
    result = lab(kernel, "env", "PYTRACER_NO_SKIP=1", sys.executable, "-m", "pytest", *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout


def test_a_function_is_made_to_fail():
    result = lab("override", sys.executable, "-W", "ignore", "-c", OVERRIDE)
    assert result.returncode == 0, result.stderr
    refused, folders, elsewhere, source = json.loads(result.stdout.splitlines()[-1])
    assert refused == ["ENOSPC"] * 23
    assert folders == ["after", "other"]
    assert elsewhere == "refused"  # only functions that are marked for it can be overridden
    assert source == "btf"


def test_types_come_from_the_archive_that_the_kernel_keeps():
    result = pytracer("ikheaders", "syscalls", "-v", "-f", "json", "--", "true")
    assert result.returncode == 0, result.stderr
    assert "headers from /sys/kernel/kheaders.tar.xz for 6." in result.stderr
    calls = {record["syscall"]: record["calls"] for record in map(json.loads, result.stdout.splitlines())}
    assert calls["execve"] == 1


def test_counts_are_exact_with_types_from_the_archive():
    tests = ("test_syscalls.py::test_23_calls_are_23", "test_syscalls.py::test_errors_are_counted_and_named")
    assert_passed("ikheaders", *(f"tests/kernel/{name}" for name in tests))


def test_tracers_of_a_bare_kernel_count():
    tests = (
        "test_syscalls.py::test_23_calls_are_23",
        "test_syscalls.py::test_every_way_to_hook_counts_the_same",
        "test_sockcount.py::test_every_protocol_is_counted_to_the_packet_and_byte",
    )
    assert_passed("bare", *(f"tests/kernel/{name}" for name in tests))


def test_a_bare_kernel_has_no_kprobes_and_that_is_reported():
    result = pytracer("bare", "syscalls", "--hook", "syscall=kprobe", "--", "true")
    assert result.returncode == 4
    assert "kprobe" in result.stderr
    assert "hint: " in result.stderr


def test_without_any_types_the_error_says_what_to_install():
    result = pytracer("bare", "syscalls", "--", "true", before="mount -t tmpfs none /lib/modules")
    assert result.returncode == 1
    assert "no kernel types to compile against" in result.stderr
    assert "linux-headers-" in result.stderr
