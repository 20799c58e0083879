"""Test a command beside filters that name other tasks: it is the load, and bounds the time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from support import packets
from support.cgroups import cgroup
from support.cli import run
from support.workloads import workload

pytestmark = pytest.mark.kernel
CALLS = [workload("calls"), "getppid", "23"]


@pytest.fixture
def server(tmp_path):
    """Run a process in a cgroup of its own that makes 29 calls for each line written to a FIFO."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = (
        "import os, sys\nfifo = os.fdopen(os.open(sys.argv[1], os.O_RDWR))\nprint(flush=True)\n"
        "while fifo.readline():\n for _ in range(29): os.getppid()\n print(flush=True)"
    )
    with cgroup() as folder:
        process = subprocess.Popen([sys.executable, "-c", code, str(fifo)], stdout=subprocess.PIPE, text=True)
        (folder / "cgroup.procs").write_text(str(process.pid))
        assert process.stdout.readline() == "\n"
        yield process, folder, fifo
        process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", ["pid", "cgroup"])
def test_named_tasks_are_traced_and_the_command_is_not(server, kind):
    process, folder, fifo = server
    filter_words = ["-p", process.pid] if kind == "pid" else ["--cgroup", folder]
    # Three lines for the server, each answered, and calls of the command's own.
    load = f"for i in 1 2 3; do echo > {fifo}; read <&3; done; exec {' '.join(CALLS)}"
    words = ["syscalls", "-f", "json", "-e", "getppid", "--by", "pid,syscall", *filter_words]
    os.set_inheritable(process.stdout.fileno(), True)
    command = ["bash", "-c", f"exec 3<&{process.stdout.fileno()}; {load}"]
    result = run(*words, "--", *command, pass_fds=[process.stdout.fileno()])
    assert (result.status, result.err) == (0, "")
    assert [(row["pid"], row["calls"]) for row in result.of("summary")] == [(process.pid, 3 * 29)]


@pytest.mark.parametrize("filtered", [["--comm", "calls"], ["-u", "0"]])
def test_other_filters_narrow_the_commands_family(filtered):
    result = run("syscalls", "-f", "json", "-e", "getppid", *filtered, "--", *CALLS)
    assert [row["calls"] for row in result.of("summary")] == [23]


def test_an_empty_trace_of_a_command_names_load():
    result = run("syscalls", "-f", "json", "--comm", "nobody", "--", "true")
    assert (result.status, result.out) == (0, "")
    hint = "--load shows all that happens while it runs"
    expected = "nothing was seen of true and its descendants, or --comm left out all of it"
    assert result.err == f"pytracer: warning: {expected}; {hint}\n"


def test_load_runs_a_command_for_tracers_that_follow_none():
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
    code += "for _ in range(23): s.sendto(b'x', s.getsockname())"
    with packets.namespace():
        packets.ip("link", "set", "lo", "up")
        result = run("sockcount", "lo", "-f", "json", "--load", "--", sys.executable, "-c", code)
        refused = run("sockcount", "lo", "--", "true")
    assert result.status == 0, result.err
    assert {row["packets"] for row in result.of("summary") if row["protocol"] == "UDP"} == {23}
    assert refused.status == 2
    assert "hint: --load: COMMAND bounds the time" in refused.err
