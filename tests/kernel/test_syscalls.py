"""Test syscalls against workloads whose calls are known exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytracer.spec.common import SWITCH
from support import worker_ids
from support.cgroups import cgroup as own_cgroup
from support.cli import finish, run, start, stop, wait_for
from support.needs import running, was_refused
from support.workloads import workload

pytestmark = pytest.mark.kernel


def summary(*words: object) -> dict[str, dict[str, object]]:
    """Return the summary records by system call."""
    result = run("syscalls", "-f", "json", *words)
    assert result.status == 0, result.err
    assert {record["kind"] for record in result.records} <= {"summary"}
    return {record["syscall"]: record for record in result.records}


@contextmanager
def gated(count: int, *, prelude: str = "", **options):
    """Run a process that makes ``count`` getppid calls on request, then waits for permission to end."""
    code = f"import os, sys\n{prelude}\nprint(flush=True)\nsys.stdin.readline()\n"
    code += f"for _ in range({count}): os.getppid()\nprint(flush=True)\nsys.stdin.readline()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    )
    assert process.stdout.readline() == "\n"

    def go():
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"

    process.go = go
    try:
        yield process
    finally:
        if process.poll() is None:
            process.communicate("\n")


def count_getppid(*filters: object, others: list, wanted: list) -> int:
    """Return the number of getppid calls that the filter passes when ``wanted`` and ``others`` both make
    theirs."""
    tracer = start("syscalls", "-f", "json", "-e", "getppid", "-d", 60, 60, *filters)
    for process in [*others, *wanted]:
        process.go()
    result = stop(tracer, signal.SIGTERM)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return sum(record["calls"] for record in result.of("summary"))


def test_23_calls_are_23():
    calls = summary("--", workload("calls"), "getppid", 23)
    assert set(calls) == {"execve", "getppid"}  # from the first instruction on, and nothing of the launcher
    assert calls["getppid"]["calls"] == 23
    assert calls["getppid"]["errors"] == 0
    assert calls["execve"]["calls"] == 1
    for call in calls.values():
        assert call["total_ns"] > 0
        assert call["avg_ns"] == call["total_ns"] // call["calls"]


@pytest.mark.parametrize("alternative", ["raw-tracepoint", "tracepoint"])  # the others are in test_kprobes.py
def test_every_alternative_to_hook_counts_the_same(alternative):
    hooks = [word for hook in ("syscall", "exit", "follow") for word in ("--hook", f"{hook}={alternative}")]
    shells = summary(*hooks, "--", "sh", "-c", "wait")["getppid"]["calls"]  # a shell makes some of its own
    calls = summary(
        *hooks, "--", "sh", "-c", f"{workload('calls')} getppid 23 & {workload('calls')} fail 7; wait"
    )
    assert calls["getppid"]["calls"] == 23 + shells
    assert calls["close"]["errors"] == 7
    assert calls["execve"]["calls"] == 3
    assert summary(*hooks, "--", workload("calls"), "compat", 23)["i386:getppid"]["calls"] == 23


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [pytest.param("fentry", marks=pytest.mark.smoke), "call-tracepoints"])
def test_few_calls_that_are_named_count_the_same(alternative):
    """Those that sleep, fail and are made by several processes at the same time; not those of others."""
    hook = ["--hook", f"syscall={alternative}", "-e", "getppid,close,clock_nanosleep,execve"]
    if alternative == "call-tracepoints":
        hook[-1] = hook[-1].removesuffix(",execve")  # which may return into a program that raises no events
    if was_refused(run("syscalls", "--dry-run", *hook), {"syscall": alternative}):
        return
    shells = summary(*hook, "--", "sh", "-c", "wait").get("getppid", {"calls": 0})["calls"]
    sleeps = "import time\nfor _ in range(23): time.sleep(0.001)"
    processes = (
        f"for i in 1 2 3; do {sys.executable} -S -c '{sleeps}' & {workload('calls')} getppid 23 & done; "
    )
    script = f"{processes}{workload('calls')} fail 7; wait"
    result = run("syscalls", "-f", "json", *hook, "--", "sh", "-c", script)
    assert result.status == 0, result.err
    calls = {record["syscall"]: record for record in result.of("summary")}
    missed = result.missed if running().version >= (7, 0) and alternative == "fentry" else 0
    assert missed == sum(loss["lost"] for loss in result.of("loss"))

    def is_right(call, column, number):
        return number - missed <= calls[call][column] <= number

    assert is_right("getppid", "calls", 3 * 23 + shells)
    assert is_right("clock_nanosleep", "calls", 3 * 23)
    assert calls["clock_nanosleep"]["avg_ns"] >= 1_000_000
    assert calls["close"]["errors"] >= 7 - missed
    if alternative == "fentry":
        assert is_right("execve", "calls", 8)
        assert summary(*hook, "--", workload("calls"), "compat", 23)["i386:getppid"]["calls"] == 23


@pytest.mark.parametrize("alternative", [alternative.name for alternative in SWITCH.alternatives])
def test_calls_that_sleep_are_found_again(alternative):
    """Many threads of many processes share few CPUs, so each is switched out during its calls."""
    script = "import time, threading\n"
    script += "def work():\n  for _ in range(23): time.sleep(0.001)\n"
    script += "threads = [threading.Thread(target=work) for _ in range(7)]\n"
    script += "[t.start() for t in threads]; [t.join() for t in threads]"
    processes = f"for i in 1 2 3 4 5; do {sys.executable} -S -c '{script}' & done; wait"
    calls = summary("--hook", f"switch={alternative}", "-e", "clock_nanosleep", "--", "sh", "-c", processes)
    assert calls["clock_nanosleep"]["calls"] == 5 * 7 * 23
    assert calls["clock_nanosleep"]["avg_ns"] >= 1_000_000  # waiting included


@pytest.mark.lab
def test_count_only_counts_calls_that_begin():
    calls = summary("--count", "--", workload("calls"), "getppid", 23)
    # The command's execve began before it was the command, and its exit_group never returns.
    assert {name: record["calls"] for name, record in calls.items()} == {"getppid": 23, "exit_group": 1}
    assert set(calls["getppid"]) == {"kind", "syscall", "calls"}
    assert summary("--count", "--", workload("calls"), "compat", 23)["i386:getppid"]["calls"] == 23
    by_name = summary(
        "--count", "--by", "comm,syscall", "-e", "!exit_group", "--", workload("calls"), "fail", 7
    )
    assert by_name["close"]["calls"] == 7


@pytest.mark.lab
def test_errors_are_counted_and_named():
    assert summary("--", workload("calls"), "fail", 7)["close"]["errors"] == 7
    assert summary("--errno", "--", workload("calls"), "fail", 7)["close"]["errno"] == "EBADF"


@pytest.mark.lab
def test_children_are_followed():
    script = f"for i in 1 2 3; do {workload('calls')} getppid 23 & done; wait"
    records = run("syscalls", "-f", "json", "--by", "comm,syscall", "--", "sh", "-c", script).records
    calls = [r for r in records if (r["comm"], r["syscall"]) == ("calls", "getppid")]
    assert [r["calls"] for r in calls] == [69]


@pytest.mark.lab
def test_threads_are_followed_and_an_exec_beside_the_leader_is_counted_once():
    records = run(
        "syscalls",
        "-f",
        "json",
        "--by",
        "pid,syscall",
        "--",
        workload("leader"),
        workload("calls"),
        "getppid",
        16,
    ).records
    assert len({r["pid"] for r in records}) == 1  # the process stays the same one
    calls = {r["syscall"]: r for r in records}
    assert calls["getppid"]["calls"] == 7 + 16
    assert calls["getppid"]["comm"] == "calls"
    assert calls["execve"]["calls"] == 2


@pytest.mark.lab
def test_other_abis_are_distinguished():
    assert summary("--", workload("calls"), "compat", 23)["i386:getppid"]["calls"] == 23
    x32 = summary("--", workload("calls"), "x32", 23)["x32:getppid"]
    assert x32["calls"] == 23
    assert "getppid" not in summary("--", workload("calls"), "compat", 23)


def test_unknown_numbers_keep_their_number():
    unknown = summary("--", workload("calls"), "unknown", 23)["syscall_999"]
    assert (unknown["calls"], unknown["errors"]) == (23, 23)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("getppid", {"getppid"}),
        ("!getppid", {"execve"}),
        ("getppid,execve", {"getppid", "execve"}),
        ("i386:getppid", set()),
        ("syscall_110", {"getppid"}),
    ],
)
def test_calls_can_be_chosen(expression, expected):
    assert set(summary("-e", expression, "--", workload("calls"), "getppid", 23)) == expected


def test_latency_histogram():
    result = run(
        "syscalls", "-f", "json", "--latency", "-e", "nanosleep", "--", workload("calls"), "sleep", 23
    )
    [record] = result.of("summary")
    assert record["calls"] == 23
    buckets = record["latency_ns"]
    assert sum(bucket["count"] for bucket in buckets) == 23
    assert all(bucket["high"] > 2_000_000 for bucket in buckets)  # a nap of 2 ms is never shorter
    assert all(bucket["high"] == 2 * bucket["low"] for bucket in buckets)


def test_filter_by_process():
    with gated(23) as selected, gated(29) as other:
        assert count_getppid("-p", selected.pid, wanted=[selected], others=[other]) == 23


def test_filter_by_several_processes():
    with gated(23) as first, gated(29) as second, gated(31) as other:
        assert count_getppid("-p", first.pid, "-p", second.pid, wanted=[first, second], others=[other]) == 52


def test_filter_by_thread():
    threaded = (
        "import threading, time\nready = threading.Event()\ndone = threading.Event()\n"
        "def other():\n ready.wait()\n for _ in range(5): os.getppid()\n done.set()\n"
        "t = threading.Thread(target=other, daemon=True); t.start(); print(t.native_id, flush=True)\n"
    )
    code = f"import os, sys\n{threaded}\nsys.stdin.readline()\n"
    code += (
        "for _ in range(23): os.getppid()\nready.set(); done.wait(); print(flush=True); sys.stdin.readline()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    thread = int(process.stdout.readline())
    tracer = start("syscalls", "-f", "json", "-e", "getppid", "--tid", thread, 60)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "\n"
    assert [r["calls"] for r in stop(tracer).of("summary")] == [5]
    process.communicate("\n")


def test_filter_by_command_name():
    rename = f"open('/proc/self/comm', 'w').write({worker_ids.NAME!r})"
    with gated(23, prelude=rename) as selected, gated(29) as other:
        assert count_getppid("--comm", worker_ids.NAME, wanted=[selected], others=[other]) == 23


def test_filter_by_user():
    with gated(23, prelude=f"os.setuid({worker_ids.UID})") as selected, gated(29) as other:
        assert count_getppid("-u", worker_ids.UID, wanted=[selected], others=[other]) == 23


@pytest.fixture
def cgroup():
    """Create a cgroup2 folder."""
    with own_cgroup() as folder:
        yield folder


@pytest.mark.lab
def test_filter_by_cgroup_and_those_below(cgroup):
    child_cgroup = cgroup / "below"
    child_cgroup.mkdir()
    with gated(23) as selected, gated(29) as other:
        (child_cgroup / "cgroup.procs").write_text(str(selected.pid))
        assert count_getppid("--cgroup", cgroup, wanted=[selected], others=[other]) == 23


def test_filter_by_container(cgroup):
    payload = cgroup / f"lxc.payload.{worker_ids.NAME}"
    payload.mkdir()
    with gated(23) as selected, gated(29) as other:
        (payload / "cgroup.procs").write_text(str(selected.pid))
        assert count_getppid("--container", worker_ids.NAME, wanted=[selected], others=[other]) == 23


@pytest.mark.lab
@pytest.mark.parametrize(("option", "flag"), [("--netns", "--net"), ("--mntns", "--mount")])
def test_filter_by_namespace(option, flag):
    unshare = "import ctypes; assert ctypes.CDLL(None).unshare(%d) == 0"
    number = {"--net": 0x40000000, "--mount": 0x00020000}[flag]
    with gated(23, prelude=unshare % number) as selected, gated(29) as other:
        assert count_getppid(option, selected.pid, wanted=[selected], others=[other]) == 23


def test_filters_of_different_kinds_must_all_hold():
    with gated(23) as selected, gated(29) as other:
        unmatched = count_getppid(
            "-p", selected.pid, "--comm", "somebody-else", wanted=[selected], others=[other]
        )
        assert unmatched == 0


@pytest.mark.lab
def test_calls_in_flight_at_the_start_or_the_end_are_not_counted():
    with gated(23) as process:  # sits in read
        tracer = start("syscalls", "-f", "json", "-p", process.pid, 60)
        process.go()  # the read returns, 23 calls, and it sits in the next read
        calls = {record["syscall"]: record["calls"] for record in stop(tracer, signal.SIGTERM).of("summary")}
    assert calls["getppid"] == 23
    assert "read" not in calls


def test_intervals_add_up_to_the_summary():
    code = "import os, time\nfor _ in range(40):\n  os.getppid(); time.sleep(0.02)"
    result = run("syscalls", "-f", "json", "-e", "getppid", 0.2, "--", sys.executable, "-c", code)
    rows = [record["calls"] for record in result.of("row")]
    assert len(rows) > 1
    assert sum(rows) == 40
    assert [record["calls"] for record in result.of("summary")] == [40]


def test_count_and_duration_stop_it():
    with gated(23) as process:
        words = ["syscalls", "-f", "json", "-e", "getppid", "-p", process.pid]
        tracer = start(*words, 0.3, 2)
        process.go()
        result = finish(tracer)
        assert result.status == 0
        assert [r["calls"] for r in result.of("summary")] == [23]
    begin = time.monotonic()
    assert run("syscalls", "-d", 0.3, "-p", os.getpid()).status == 0
    assert time.monotonic() - begin > 0.3


def test_exit_status_of_the_command_is_passed_on():
    assert run("syscalls", "--", "sh", "-c", "exit 7").status == 7
    assert run("syscalls", "--", "sh", "-c", "kill -9 $$").status == 128 + 9
    assert run("syscalls", "-c", "sh -c 'exit 5'").status == 5


@pytest.mark.lab
def test_a_full_map_is_counted_as_loss():
    words = ["--max-rows", 2, "--by", "pid", "-e", "getppid", "--"]
    script = f"for i in 1 2 3 4 5; do {workload('calls')} getppid 23; done"
    result = run("syscalls", "-f", "json", "--strict", *words, "bash", "-c", script)
    assert result.status == 3
    shown_calls = sum(record["calls"] for record in result.of("summary"))
    lost = sum(record["lost"] for record in result.of("loss") if record["reason"] == "map_full")
    everything = run("syscalls", "-f", "json", *words[2:], "bash", "-c", script)
    assert lost > 0
    assert shown_calls + lost == sum(record["calls"] for record in everything.of("summary"))
    assert not everything.of("loss")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_a_summary(number):
    with gated(23) as process:
        tracer = start("syscalls", "-f", "json", "-e", "getppid", "-p", process.pid, 60)
        process.go()
        result = stop(tracer, number)
    assert result.status == 0
    assert [record["calls"] for record in result.of("summary")] == [23]


@pytest.mark.lab
def test_sigkill_leaves_nothing(tmp_path):
    """The kernel frees everything (checked after each test), and the command goes on untraced."""
    result = tmp_path / "done"
    tracer = start("syscalls", "--", "sh", "-c", f"sleep 0.5; echo $$ > {result}")
    os.kill(tracer.pid, signal.SIGKILL)
    tracer.communicate()
    wait_for(result.exists, "the command's end")


def test_sigkill_before_the_command_executes_ends_it():
    """The waiting child exits with pytracer, instead of running untraced."""
    marker = "pt-never-executed-marker"
    tracer = subprocess.Popen(
        [sys.executable, "-m", "pytracer", "syscalls", "--", "sh", "-c", f"echo {marker}; sleep 100"],
        stdout=subprocess.PIPE,
        text=True,
    )

    def forked():
        return Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().strip()

    wait_for(forked, "the fork")
    tracer.kill()
    assert tracer.communicate()[0] == ""


def test_terminated_with_a_command_ends_both():
    tracer = start("syscalls", "-f", "json", "--", "sleep", "100")
    os.kill(tracer.pid, signal.SIGTERM)
    result = finish(tracer)
    assert result.status == 128 + signal.SIGTERM
    assert result.of("summary")


def test_emitted_c_and_plan():
    plan = run("syscalls", "--dry-run", "--by", "pid").out
    assert "raw-tracepoint" in plan
    assert "define   BY_PID" in plan
    text = run("syscalls", "--emit-c", "--by", "pid").out
    assert "#define BY_PID" in text
    assert "int enter(" in text


def test_the_command_stays_in_the_machines_mount_namespace():
    """If tracefs is not mounted, pytracer mounts it in a namespace of its own."""
    hooks = [word for hook in ("syscall", "exit", "follow") for word in ("--hook", f"{hook}=tracepoint")]
    local = str(Path("/proc/self/ns/mnt").readlink())
    mounted = Path("/proc/self/mounts").read_text()
    result = run("syscalls", "-f", "json", *hooks, "--", "readlink", "/proc/self/ns/mnt")
    assert result.out.splitlines()[0] == local
    assert Path("/proc/self/mounts").read_text() == mounted


def test_process_ids_are_refused_in_another_pid_namespace():
    words = [sys.executable, "-m", "pytracer", "syscalls", "-d", "0.2"]
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    result = subprocess.run([*unshare, *words, "-p", "1"], capture_output=True, text=True, check=False)
    assert (result.returncode, "PID namespace" in result.stderr) == (4, True)
    result = subprocess.run(
        [*unshare, *words, "--comm", "nobody"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


CHURN = """
import ctypes, sys, threading, time
libc = ctypes.CDLL(None)
def work():
    while True:
        libc.open(b"/pt/not/there", 0); time.sleep(0.003)
for _ in range(100):
    threading.Thread(target=work, daemon=True).start()
print(flush=True); sys.stdin.readline()
"""


def test_calls_under_way_while_attaching_are_not_mistaken_for_others():
    """Every open fails, so a call without an error would be an entry with another call's return."""
    busy = subprocess.Popen(
        [sys.executable, "-c", CHURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert busy.stdout.readline() == "\n"
    for _ in range(3):
        [record] = run("syscalls", "-f", "json", "-p", busy.pid, "-e", "open,openat", "-d", 0.2).of("summary")
        assert record["calls"] == record["errors"] > 0
    busy.communicate("\n")


@pytest.mark.lab
def test_the_return_from_a_signal_handler_is_no_error():
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGALRM, lambda *_: None)\nread, write = os.pipe()\n"
        "for _ in range(5):\n  signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
        "  signal.siginterrupt(signal.SIGALRM, True)\n  import select; select.select([], [], [], 0.05)\n"
    )
    result = run("syscalls", "-f", "json", "-e", "rt_sigreturn", "--", sys.executable, "-c", code)
    [record] = result.of("summary")
    assert (record["calls"], record["errors"]) == (5, 0)


INTERRUPTED = """
import ctypes, os, select, signal, sys, threading, time
libc = ctypes.CDLL(None)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, True)
{}
"""
CALLS = {
    "ERESTARTNOHAND": (
        "pause",
        "for _ in range(3):\n  signal.setitimer(signal.ITIMER_REAL, 0.02); libc.pause()",
    ),
    "ERESTARTSYS": (
        "read",
        "r, w = os.pipe()\nfor _ in range(3):\n  signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
        "  assert libc.read(r, ctypes.create_string_buffer(1), 1) == -1",
    ),
    "ERESTART_RESTARTBLOCK": (
        "poll",
        "for _ in range(3):\n  signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
        "  assert libc.poll(None, 0, 5000) == -1",
    ),
}


@pytest.mark.lab
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_a_signal_interrupts_is_a_call_and_no_error(name):
    call, code = CALLS[name]
    command = [sys.executable, "-c", INTERRUPTED.format(code)]
    [record] = run("syscalls", "-f", "json", "-e", call, "--", *command).of("summary")
    failed = record["calls"] if call != "read" else record["interrupted"]
    assert (failed, record["errors"], record["interrupted"]) == (3, 0, 3)
    rows = run("syscalls", "-f", "json", "--errno", "-e", call, "--", *command).of("summary")
    assert [(row["errno"], row["errors"], row["interrupted"]) for row in rows] == [(name, 0, 3)]


KILLED = """
import ctypes, os, signal
child = os.fork()
if not child:
  ctypes.CDLL(None).pause()
while open(f"/proc/{child}/syscall").read().split()[0] != "34": pass
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""


@pytest.mark.lab
def test_a_call_that_a_fatal_signal_ends_is_a_call_and_no_error():
    command = [sys.executable, "-c", KILLED]
    [record] = run("syscalls", "-f", "json", "-e", "pause", "--", *command).of("summary")
    assert (record["calls"], record["errors"], record["interrupted"]) == (1, 0, 1)


@pytest.mark.lab
def test_a_process_has_the_name_of_its_main_thread():
    rename = "import threading; n = open('/proc/self/comm', 'w'); n.write('pt-process'); n.close()"
    thread = (
        "import threading\ndef f():\n p = '/proc/thread-self/comm'\n open(p, 'w').write('pt-thread')\n"
        " for _ in range(23): os.getppid()\n"
    )
    code = f"import os\n{rename}\n{thread}t = threading.Thread(target=f); t.start(); t.join()"
    words = ["-e", "getppid", "--", sys.executable, "-c", code]
    [record] = run("syscalls", "-f", "json", "--by", "pid", *words).of("summary")
    assert (record["comm"], record["calls"]) == ("pt-process", 23)
    [record] = run("syscalls", "-f", "json", "--by", "comm", *words).of("summary")
    assert (record["comm"], record["calls"]) == ("pt-thread", 23)


def test_histograms_carry_the_name_of_the_process():
    [record] = run(
        "syscalls",
        "-f",
        "json",
        "--latency",
        "--by",
        "pid",
        "-e",
        "getppid",
        "--",
        workload("calls"),
        "getppid",
        23,
    ).of("summary")
    assert (record["comm"], record["calls"]) == ("calls", 23)


def test_one_row_covers_the_intervals_missed_in_a_pause():
    tracer = start("syscalls", "-f", "csv", "-p", os.getpid(), 0.2, 3)
    os.kill(tracer.pid, signal.SIGSTOP)
    time.sleep(1)
    os.kill(tracer.pid, signal.SIGCONT)
    begin = time.monotonic()
    assert finish(tracer).status == 0
    assert time.monotonic() - begin > 0.2  # the rows that are left were waited for


def test_a_command_that_outlasts_the_run_is_ended():
    start = time.monotonic()
    result = run("syscalls", "-f", "json", "-d", 0.3, "--", "sleep", 100)
    assert (result.status, len(result.of("summary")) > 0) == (0, True)
    assert time.monotonic() - start < 60


def test_a_command_that_will_not_end_is_killed():
    ignore_sigterm = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    ignore_sigterm += "print(flush=True)\ntime.sleep(1000)"
    tracer = start("syscalls", "-f", "json", "--", sys.executable, "-c", ignore_sigterm)
    assert tracer.stdout.readline() == "\n"
    os.kill(tracer.pid, signal.SIGTERM)
    assert finish(tracer).status == 128 + signal.SIGKILL


def test_a_trace_ends_with_the_last_of_its_selected_processes():
    with gated(23) as first, gated(29) as second:
        tracer = start("syscalls", "-f", "json", "-e", "getppid", "-p", first.pid, "-p", second.pid, 60)
        first.go()
        second.go()
        first.communicate("\n")
        assert tracer.poll() is None
        second.communicate("\n")
        result = finish(tracer)
    assert result.status == 0
    assert [record["calls"] for record in result.of("summary")] == [52]
