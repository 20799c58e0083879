"""Test ``pytracer script -l``, ``--info`` and the other options of bpftrace's command line."""

from __future__ import annotations

import json

import pytest

from support.cli import run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]


def lines(*words):
    result = run("script", *words)
    assert result.status == 0, result.err
    return result.out.splitlines()


def test_probes_by_pattern_with_their_arguments():
    assert lines("-l", "tracepoint:raw_syscalls:*") == [
        "tracepoint:raw_syscalls:sys_enter",
        "tracepoint:raw_syscalls:sys_exit",
    ]
    assert lines("-lv", "tracepoint:raw_syscalls:sys_exit")[1:] == ["    long id", "    long ret"]
    typed = lines("-lv", "rawtracepoint:sched_process_fork,struct path")
    assert typed[:2] == ["rawtracepoint:vmlinux:sched_process_fork", "    struct task_struct * parent"]
    assert typed[3:] == [
        *("vmlinux: struct path {", "        struct vfsmount * mnt;", "        struct dentry * dentry;", "};")
    ]
    assert {"software:faults:", "hardware:cycles:"} <= set(lines("-l", "*ware:*"))
    assert lines("-l", "i:*") == ["interval:hz:", "interval:us:", "interval:ms:", "interval:s:"]


def test_probes_of_a_script(tmp_path):
    path = tmp_path / "some.bt"
    path.write_text("hardware:cache-misses:10 { } t:sched:sched_process_fo* { } i:ms:$1 { } iter:task { }")
    assert lines("-l", path, "5") == [
        "hardware:cache-misses:",
        "tracepoint:sched:sched_process_fork",
        "interval:ms:",
        "iter:task",
    ]


def test_missing_probes():
    result = run("script", "-l", "nothing:*")
    assert (result.status, result.err.splitlines()[0]) == (2, "ERROR: no probe matches 'nothing:*'")
    result = run("script", "-lv", "struct nothing_of_that_name")
    assert result.err == "ERROR: this kernel has no struct nothing_of_that_name\n"


def test_probes_of_the_kernel():
    actual = lines("--info")
    assert "Kernel helpers" in actual
    assert "  get_current_pid_tgid: yes" in actual
    assert any(line.startswith("  kprobe_multi: ") for line in actual)


def test_named_parameters_are_those_of_the_script():
    result = run("script", "-e", 'begin { print(getopt("size", 10, "in bytes")); }', "--", "--width=5")
    assert result.err.splitlines() == [
        "ERROR: unexpected program command line options: --width",
        "HINT: expected program options: --size: in bytes",
    ]


def test_texts_are_joined_and_probes_are_filtered():
    words = ("-q", "--probe-filter", "ms:2.$", "-e", "begin { print(0); } i:ms:10 { print(1); exit(); }")
    assert lines(*words, "-e", "i:ms:20 { print(2); exit(); }", "-B", "none", "-k") == ["0", "2", ""]
    result = run("script", "--probe-filter", "nothing", "-e", "i:ms:10 { }")
    assert (result.status, result.err) == (2, "No probes to attach\n")


def test_reads_that_fail_are_reported_with_their_place():
    text = "begin { @[1] = 1; print(@[2]); print(@[1]); print(*(uint32 *)8); print(str((uint8 *)16)); }"
    settings = {"env": {"BPFTRACE_PRINT_MAPS_ON_EXIT": "0"}}
    result = run("script", "-q", "-k", "-e", text, **settings)
    assert result.out == "0\n1\n0\n\n"
    places = [line for line in result.err.splitlines() if "WARNING" in line]
    assert places == [
        "stdin:1:25-29: WARNING: Can't lookup map element because it does not exist.",
        "stdin:1:51-63: WARNING: Failed to probe_read: Bad address (-14)",
        "stdin:1:72-88: WARNING: Failed to probe_read_str: Bad address (-14)",
    ]
    assert f"{text}\n{' ' * 24}~~~~\n" in result.err
    lines = run("script", "-q", "-k", "-f", "json", "-e", "begin { $x = *(uint32 *)8; }").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "type": "helper_error",
            "msg": "Bad address",
            "helper": "probe_read",
            "retcode": -14,
            "filename": "stdin",
            "line": 1,
            "col": 14,
        }
    ]
    assert run("script", "-q", "-e", text).err == ""
