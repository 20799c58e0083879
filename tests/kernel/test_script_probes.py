"""Test probes that only scripts have: iterators, watchpoints, signals to pytracer itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

OPENS = """
import os, sys, time
open("/proc/self/comm", "w").write("pt-opens")
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(23)]
print("ready", flush=True)
sys.stdin.read()
"""
STORES = """
import ctypes
libc = ctypes.CDLL(None)
libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, [ctypes.c_void_p] + [ctypes.c_long] * 5
assert libc.mmap(0x10000000, 4096, 3, 0x32, -1, 0) == 0x10000000
watched, other = ctypes.c_byte.from_address(0x10000000), ctypes.c_byte.from_address(0x10000008)
for n in range(23):
    watched.value = n
    other.value = n
"""


def output(text, *arguments):
    result = run("script", "-q", "-e", text, *arguments)
    assert result.status == 0, result.err
    return result.out


def test_an_iterator_sees_the_open_files_of_a_process():
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", OPENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        text = 'iter:task_file /ctx.task.comm == "pt-opens" && ctx.fd > 2/ { @[probetype] = count(); }'
        assert output(text) == "\n@[iter]: 23\n"
        text = text.replace("probetype", "path(ctx.file.f_path)")
        result = run("script", "-q", "-e", f"config = {{ max_strlen = 64 }} {text}")
        if result.status == 2:
            assert "this kernel makes no paths for iterators (Linux 5.12)" in result.err
        else:
            assert result.out == "\n@[/dev/null]: 23\n"
            text = text.replace("path(ctx.file.f_path)", 'strncmp(path(ctx.file.f_path, 10), "/dev/null", 9)')
            assert output(text) == "\n@[0]: 23\n"
            text = text.replace("f_path, 10", "f_path, 7").replace('"/dev/null"', '"v/null"')
            before, _, after = output(text).partition("\n\n")
            assert before == "Lost 23 events: strings that are shown without their end"
            assert after in ("@[0]: 23\n", "@[1]: 23\n")  # before Linux 5.14 it is empty
        assert output('iter:task /ctx.task.comm == "pt-opens"/ { @ = count(); }') == "\n@: 1\n"


def test_a_watchpoint_counts_the_stores_of_a_command():
    result = run(
        *("script", "-q", "-e", "watchpoint:0x10000000:1:w { @ = count(); }"),
        *("--", sys.executable, "-S", "-c", STORES),
    )
    assert result.status == 0, result.err
    assert result.out == "\n@: 23\n"


def test_a_signal_to_pytracer_runs_a_block():
    text = (
        'begin { system("kill -USR1 $PPID"); } '
        'self:signal:SIGUSR1 { printf("%s %s\\n", probe, probetype); exit(); }'
    )
    assert output(text, "--unsafe").strip() == "self:signal:SIGUSR1 special"


def test_parameters_are_expanded_in_attach_points():
    assert (
        output('named=$1:ms:$2 { printf("%s\\n", probe); exit(); }', "interval", "20") == "interval:ms:20\n\n"
    )


CALLS = """
tracepoint:raw_syscalls:sys_enter /pid == cpid/ { @begun[args.id] = count(); }
tracepoint:raw_syscalls:sys_exit /pid == cpid/ {
    @ended[args.id] = count();
    @failed[args.ret < 0 ? args.ret : 0] = count();
}
"""


@pytest.mark.parametrize(
    ("words", "number", "failed"), [("getppid", 110, 0), ("compat", 64, 0), ("fail", 3, -9)]
)
def test_raw_tracepoints_count_system_calls_as_their_trace_events_do(words, number, failed):
    command = f"{workload('calls')} {words} 23"
    by_default, by_event = (
        [json.loads(line) for line in output(CALLS, "-f", "json", *more, "-c", command).splitlines()]
        for more in ((), ("--hook", "t=tracepoint"))
    )
    assert by_default == by_event
    maps = {name: keys for line in by_default if line["type"] == "map" for name, keys in line["data"].items()}
    assert maps["@begun"][str(number)] == maps["@ended"][str(number)] == 23
    assert maps["@failed"][str(failed)] >= 23


def test_blocks_with_the_same_c_can_be_at_a_raw_tracepoint_and_at_a_trace_event():
    block = "/pid == cpid/ { @[probe] = count(); }"
    probes = (
        "tracepoint:syscalls:sys_enter_getppid",
        "tracepoint:raw_syscalls:sys_enter",
        "rawtracepoint:sys_enter",
    )
    text = f"{probes[0]} {block} {probes[1]} {block} {probes[2]} {block}"
    lines = output(text, "-f", "json", "-c", f"{workload('calls')} getppid 23").splitlines()
    [counts] = [json.loads(line)["data"]["@"] for line in lines if '"map"' in line]
    assert counts[probes[0]] == 23
    assert counts[probes[1]] == counts[probes[2]] > 23
