"""Test progress messages: on a terminal while it waits, and none in a pipe."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest

from support.cli import COMMAND
from support.progress import BAR, in_pipes, on_terminal
from support.workloads import workload

pytestmark = pytest.mark.kernel
BACK = "\r\x1b[K"


def on_a_terminal(*words, **environment):
    """Return what standard error writes to a terminal."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm"} | environment,
    )
    os.close(terminal)
    messages = b""
    try:
        while part := os.read(main, 4096):
            messages += part
    except OSError:  # the last process has closed it
        pass
    os.close(main)
    assert process.wait() == 0, messages
    return messages.decode()


def test_a_trace_of_events_reports_that_it_waits(tmp_path):
    words = ["opensnoop", "-p", os.getpid(), "-d", "0.5"]
    messages = on_a_terminal(*words, PYTRACER_CACHE_DIR=str(tmp_path / "cache"))
    *steps, last = messages.split(BACK)
    assert last == "pytracer: tracing opensnoop in 1 process; ends after 0.5 s, or by Ctrl-C\r\n"
    # Whether a step took over a second depends on the machine; each is written over.
    assert all(step == "" or re.fullmatch(r"pytracer: [^\r\n]+( \.\.\.|\d+ of \d+)", step) for step in steps)


def test_tables_and_commands_report_no_progress():
    assert "tracing" not in on_a_terminal("syscalls", "-p", os.getpid(), "0.2", "1")
    assert "tracing" not in on_a_terminal("opensnoop", "--", "true")
    assert on_a_terminal("opensnoop", "-p", os.getpid(), "-d", "0.2", TERM="dumb") == ""


def test_a_pipe_gets_nothing():
    result = in_pipes("opensnoop", "-p", os.getpid(), "-d", "0.2")
    assert (result.status, result.err) == (0, "")


def test_the_last_results_of_events_have_a_bar():
    """The output is not read before the command has ended, so that most events are in the ring then."""
    command = ["sh", "-c", f"{workload('calls')} getppid 40000 && echo over >&2"]
    words = ["trace", 't:raw_syscalls:sys_enter "%d %d", id, id', "--buffer", "16m", "-f", "csv"]
    tracer = on_terminal(*words, "--", *command)
    tracer.wait_for("over")
    result = tracer.finish()
    assert result.status == 0, result.err
    assert result.out.count("\n") > 40000
    bars = re.findall(rf"pytracer: writing the last results {BAR} MiB", result.err)
    assert bars, result.err
    steps = [(int(done), int(total)) for done, total in bars]
    assert steps == sorted(steps)
    assert all(done <= total for done, total in steps)
    assert len({total for _, total in steps}) == 1
