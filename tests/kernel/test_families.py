"""Test -p with several processes and --children on a server of several processes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pytracer.bpf.read.maps import Map
from pytracer.bpf.sys import MapType, map_create
from pytracer.plan.initial_entries import TRACED, UNKNOWN_RUN
from pytracer.trace import descendants
from support.cli import COMMAND, LIMIT, finish, run, start
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

WORKERS, CLIENTS, TIMES = 3, 2, 23


@contextlib.contextmanager
def server(path):
    """Start the server, with its workers; a line makes it work and end."""
    words = [path, *map(str, (WORKERS, CLIENTS, TIMES))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def program(tmp_path):
    """Return the server under a unique name."""
    return shutil.copy(workload("prefork"), tmp_path / f"prefork{os.getpid()}")


def count_rows(process, *words):
    """Return the rows of a run that ends by itself, as the last of the traced processes does."""
    tracer = start("funccount", "-f", "json", *words)
    process.stdin.write("\n")
    process.stdin.flush()
    result = finish(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return result.of("summary")


@pytest.mark.smoke
def test_existing_and_later_descendants_are_traced(program):
    with server(program) as process:
        rows = count_rows(process, "-p", process.pid, "--children", f"u:{program}:work", "--by", "pid")
    assert [row["count"] for row in rows] == [TIMES] * (1 + WORKERS + 2 * CLIENTS)
    assert process.pid in {row["pid"] for row in rows}


def test_without_children_there_is_the_process_alone(program):
    with server(program) as process:
        rows = count_rows(process, "-p", process.pid, f"u:{program}:work", "--by", "pid")
    assert [(row["pid"], row["count"]) for row in rows] == [(process.pid, TIMES)]


def test_processes_by_name_are_those_that_run(program):
    with server(program) as process:
        rows = count_rows(process, "-p", Path(program).name, f"u:{program}:work", "--by", "pid")
    assert [row["count"] for row in rows] == [TIMES] * (1 + WORKERS)


def test_children_of_several_processes(program):
    event = "t:syscalls:sys_enter_getppid"
    with server(program) as first, server(program) as other, server(program):
        tracer = start("funccount", "-f", "json", "-p", f"{first.pid}, {other.pid}", "--children", event)
        for process in (first, other):
            process.stdin.write("\n")
            process.stdin.flush()
        result = finish(tracer)
    [row] = result.of("summary")
    assert row["count"] == 2 * TIMES * (1 + WORKERS + 2 * CLIENTS)


def test_a_trace_continues_while_descendants_run(tmp_path):
    """The first process has ended long before its child makes a call."""
    go = tmp_path / "go"
    script = f"(while [ ! -e {go} ]; do sleep 0.01; done; cat /etc/hostname >/dev/null) & read line"
    with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, text=True) as process:
        tracer = start("execsnoop", "-f", "json", "-p", process.pid, "--children")
        process.stdin.write("\n")
        process.stdin.close()
        process.wait()
        go.touch()
        result = finish(tracer)
    assert [event["comm"] for event in result.of("event") if event["comm"] != "sleep"] == ["cat"]


@pytest.mark.parametrize("tracer", ["funccount", "funclatency"])
def test_rows_by_thread(tracer):
    program = workload("pairs")
    words = [tracer, "-f", "json", "--by", "tid,comm", f"u:{program}:begin"]
    rows = run(*words, "--", program, "threads", TIMES).of("summary")
    counted_calls = [row["count" if tracer == "funccount" else "calls"] for row in rows]
    assert counted_calls == [TIMES] * 4
    assert len({row["tid"] for row in rows}) == 4
    assert {row["comm"] for row in rows} == {"pairs"}


def test_the_shell_that_pytracer_is_started_from():
    """pytracer is a child of it, too, and the trace ends nevertheless."""
    command = shlex.join([*COMMAND, "execsnoop", "-v", "-f", "json"])
    script = f"{command} -p $$ --children & read line; cat /etc/hostname >&2; exit"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(["sh", "-c", script], text=True, **pipes) as shell:
        for line in shell.stderr:
            if "tracing" in line:
                break
        out, _ = shell.communicate("\n", timeout=LIMIT)
    assert [json.loads(line)["comm"] for line in out.splitlines()] == ["cat"]


def test_unknown_and_exited_descendants():
    """The map of followed processes, as it may be when programs have been attached."""
    with server(workload("prefork")) as process, subprocess.Popen(["true"]) as exited:
        exited.wait()
        followed = Map(
            "followed",
            map_create(MapType.HASH, 4, 1, 64),
            MapType.HASH,
            64,
            lambda: (np.dtype("u4"), np.dtype("u1")),
        )
        try:
            for pid in (process.pid, exited.pid):
                followed.update(struct.pack("I", pid), TRACED)
            descendants.complete(followed, UNKNOWN_RUN)
            processes, states = followed.read()
        finally:
            os.close(followed.fd)
    assert process.pid in processes
    assert exited.pid not in processes
    assert len(processes) == 1 + WORKERS
    assert {bytes([state]) for state in states} == {TRACED}


def test_a_command_bounds_the_trace_of_other_processes(program):
    with server(program) as process:
        words = "-p", process.pid, "--children", "t:syscalls:sys_enter_getppid", "--", "true"
        result = run("funccount", *words)
    assert result.status == 0
    assert f"nothing was seen of process {process.pid} and its descendants\n" in result.err
    assert "still run" not in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("syscalls", "--children"), "--children is for processes that are named"),
        (("syscalls", "-p", "no-such-name"), "no process 'no-such-name'"),
        (("syscalls", "-p", "1,"), "a name is missing"),
    ],
)
def test_mistakes(words, message):
    result = run(*words)
    assert result.status == 2
    assert message in result.err
