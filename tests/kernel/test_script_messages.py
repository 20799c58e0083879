"""Test the messages about scripts: warnings before and during a run, and missing probes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.cli import COMMAND, run

pytestmark = [pytest.mark.kernel, pytest.mark.lab]


def output(text, *words, **settings):
    """Return the standard output of a script."""
    result = run("script", "-q", "-e", text, *words, **settings)
    assert result.status == 0, result.err
    return result.out


def warnings(text, *words, **settings):
    """Run a script; its lines with a warning or an error."""
    result = run("script", "-q", "-e", text, *words, **settings)
    messages = (line for line in result.err.splitlines() if "WARNING: " in line or "ERROR: " in line)
    return result.status, result.out, list(messages)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("let @a = hash(1); begin { }", "stdin:1:1-17: WARNING: Unused map: @a"),
        ("begin { exit(); print(1); }", "stdin:1:17-25: WARNING: Unreachable statement"),
        ("begin { if (pid) { return; print(1); } }", "stdin:1:28-36: WARNING: Unreachable statement"),
    ],
)
def test_code_without_effect_is_a_warning(text, expected):
    assert warnings(text) == (0, "\n", [expected])


def test_divisions_by_zero_are_reported_where_they_happen():
    text = "begin { $x = 0; print(10 / $x); print(7 % $x); if ($x != 0 && 5 / $x > 1) { print(1); } }"
    message = (
        "WARNING: Divide or modulo by 0 detected. This can lead to unexpected results. 1 is being used as "
        "the result."
    )
    status, out, lines = warnings(text)
    assert (status, out) == (0, "1\n1\n\n")
    assert lines == [f"stdin:1:23-30: {message}", f"stdin:1:39-45: {message}"]
    assert warnings(text, "--no-warnings") == (0, "1\n1\n\n", [])


def test_an_index_behind_the_end_of_an_array_is_reported():
    text = "struct four { int x[4]; } begin { $f = (struct four *)0; $i = (uint64)9; $y = $f->x[$i]; }"
    assert warnings(text)[2] == [
        "stdin:1:79-88: WARNING: Array access out of bounds. This can lead to unexpected results."
    ]


def test_a_full_map_warning_names_the_setting_for_its_size():
    text = "let @a = hash(1); begin { @a[1] = 1; @a[2] = 2; }"
    expected = (
        "WARNING: Map full; can't update element: 1 updates were lost. "
        "config = { max_map_keys = NUMBER } makes room"
    )
    assert output(text).splitlines() == [expected, "", "@a[1]: 1"]


@pytest.mark.parametrize("setting", ["warn", "ignore", "error"])
def test_missing_probes(setting):
    point = "tracepoint:syscalls:sys_enter_no"
    text = f"config = {{ missing_probes = {setting} }} {point} {{ }} begin {{ print(1); }}"
    start = text.index(point) + 1
    position = f"stdin:1:{start}-{start + len(point)}"
    expected = {
        "error": (2, "", [f"{position}: ERROR: No matches for tracepoint syscalls:sys_enter_no."]),
        "ignore": (0, "1\n\n", []),
        "warn": (
            0,
            "1\n\n",
            [
                f"{position}: WARNING: No matches for tracepoint syscalls:sys_enter_no. Skipping.",
                f"{position}: WARNING: Probe has no valid attach points. It is being removed which may cause "
                "issues with program behavior.",
            ],
        ),
    }
    assert warnings(text) == expected[setting]


def test_a_pattern_that_matches_nothing_leaves_no_attach_point():
    for point in ("tracepoint:syscalls:sys_enter_no*", "rawtracepoint:pt_no"):
        status, _, messages = warnings(f"{point} {{ }}")
        message = "Probe has no valid attach points. If this is expected, set the 'missing_probes' "
        assert (status, messages[0]) == (
            2,
            f"stdin:1:1-{len(point) + 1}: ERROR: {message}config variable to 'warn'.",
        )


def test_flags_of_allocations_have_names():
    text = 'begin { printf("%gr %gr\\n", 0xdc0, (uint32)1); }'
    assert output(text) == "GFP_KERNEL|__GFP_ZERO GFP_DMA\n\n"


def test_wrong_words_on_the_command_line():
    for words, expected in (
        (("-p", "a1"), "ERROR: Failed to parse pid: invalid integer: a1"),
        (("-p", "5000000"), "ERROR: Pid out of range: 5000000"),
        (("-f", "xml"), 'ERROR: Invalid output format "xml"'),
    ):
        assert run("script", "-e", "begin { }", *words).err.splitlines()[0] == expected
    name = "/nothing/of/that.bt"
    assert f"ERROR: failed to open file '{name}': No such file" in run("script", name).err


def test_nothing_is_counted_after_exit():
    """An interval of 1 ms goes off many times until the run ends."""
    assert output("i:ms:1 { @ = count(); exit(); } end { print(@); clear(@); }") == "@: 1\n\n"


def test_the_clock_of_time_series_can_be_a_map():
    text = (
        "begin { @now = 100ms; @s = tseries(5, 100ms, 4); "
        "@now = 300ms; @s = tseries(7, 100ms, 4); clear(@now); }"
    )
    settings = {"env": {"BPFTRACE_DUMMY_TS_MAP": "@now", "TZ": "UTC"}}
    [line] = output(text, "-f", "json", **settings).splitlines()
    values = json.loads(line)["data"]["@s"]
    assert [
        (value["interval_start"][-12:], value["value"]) for value in values if value["value"] is not None
    ] == [
        ("00.100000000", 5),
        ("00.300000000", 7),
    ]


def test_types_are_arguments_of_macros():
    text = (
        "struct one { char m; } macro sizes(a, b) { (sizeof(a[3]), sizeof(b*), sizeof(typeof(b))) } "
        "begin { print(sizes(typeof(uint16), typeof(struct one))); }"
    )
    assert output(text) == "(6, 8, 1)\n\n"


def test_ids_in_a_pid_namespace():
    text = "begin { print((pid, pid(curr_ns), pid(init) > 1, tid, tid(curr_ns))); }"
    assert output(text.replace("pid(init) > 1", "pid(init) == pid")).split(",")[2] == " true"
    in_namespace = ("unshare", "--fork", "--pid", "--mount-proc", *COMMAND, "script", "-q", "-e", text)
    result = subprocess.run(in_namespace, capture_output=True, text=True, check=False, env=os.environ)
    assert (result.returncode, result.stdout) == (0, "(1, 1, true, 1, 1)\n\n"), result.stderr


def test_parameters_may_be_mixed_and_the_command_follows_them():
    text = 'begin { print(($1, getopt("size", 10), $2, getopt("flag"), has_cpid)); }'
    words = ("one", "--", "--size=20", "two", "--flag")
    assert output(text, *words) == "(one, 20, two, true, false)\n\n"
    assert output(text, *words, "--", "true") == "(one, 20, two, true, true)\n\n"


def test_a_variable_has_the_type_of_an_assignment_that_never_runs():
    assert output("begin { let $x; if 0 { $x = (uint16)3; } print(($x, sizeof($x))); }") == "(0, 2)\n\n"


def test_probes_have_their_whole_names():
    assert output('i:ms:1 /probe == "interval:ms:1"/ { print(probe); exit(); }') == "interval:ms:1\n\n"
    text = 't:syscalls:sys_enter_getpid { print(strcontains(probe, "tracepoint:sys")); exit(); }'
    work = ("--", sys.executable, "-S", "-c", "import os; os.getpid()")
    assert output(text, *work) == "true\n\n"


def test_all_probes_of_a_signal_run_in_their_order():
    text = (
        'self:signal:SIGUSR1 { printf("one "); } self:signal:SIGUSR1 { printf("two\\n"); exit(); } '
        'i:ms:50 { print("up"); }'
    )
    words = [*COMMAND, "script", "-q", "-e", text]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGUSR1)
        assert "one two\n" in process.stdout.read()
    assert process.returncode == 0


def test_functions_and_addresses_that_the_kernel_does_not_have():
    position = "stdin:1:1-16"
    untraceable = 'either non-existing, inlined, or marked as "notrace"'
    assert warnings("kprobe:nonsense { }", "--unsafe")[2] == [
        f"{position}: WARNING: nonsense is not traceable ({untraceable}); attaching to it will likely fail",
        f"{position}: ERROR: Unable to attach probe: kprobe:nonsense",
    ]
    message = "stdin:1:1-18: ERROR: Unable to attach probe: kprobe:305419896"
    assert warnings("kprobe:0x12345678 { }") == (2, "", [message])


def test_a_missing_script_file_is_reported():
    result = run("script", "-l", "/nothing/of/that.bt")
    assert (result.status, result.out) == (0, "")
    assert result.err.startswith("WARNING: It appears that '/nothing/of/that.bt' is a filename")


def test_benchmarks_are_measured_by_the_kernel():
    text = "bench:second { @++; } bench:first { @n = count(); } end { print((@, @n)); clear(@); clear(@n); }"
    head, rule, *rows = output(text).splitlines()[-5:-1]
    assert head.split() == ["Benchmark", "Time(ns)", "Iterations"]
    assert rule == "-" * len(head)
    assert [row.split()[::2] for row in rows] == [["second", "100000"], ["first", "100000"]]
    lines = [json.loads(line) for line in output(text, "-f", "json").splitlines()]
    assert lines[0] == {"type": "value", "data": [100000, 100000]}
    for name, line in zip(("second", "first"), lines[1:], strict=True):
        assert line["type"] == "benchmark_result"
        assert line["data"][name]["iters"] == 100000


def test_only_listed_functions_are_probed(tmp_path):
    listed = tmp_path / "functions"
    listed.write_text("vfs_open\n")
    text = "kprobe:vfs_read { } begin { exit(); }"
    messages = warnings(text, f"--traceable-functions={listed}")[2]
    assert messages[-1] == "stdin:1:1-16: ERROR: No matches for kprobe vfs_read."


def test_iterators_continue_after_exit():
    """exit() ends the run behind the last object."""
    text = "iter:task /ctx.task.tgid == $1/ { print(ctx.task.pid); exit(); }"
    code = (
        "import threading, time\n"
        "for n in range(6): threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "print('up', flush=True)"
    )
    words = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        messages = output(text, process.pid).split()
        threads = [path.name for path in Path(f"/proc/{process.pid}/task").iterdir()]
        process.kill()
    assert sorted(messages) == sorted(threads)
    assert len(messages) == 7
