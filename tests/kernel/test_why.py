"""Test why against a process that waits, runs and faults for times that it measures itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from support.cli import finish, run, start

pytestmark = pytest.mark.kernel
TICK = 1_000_000_000 // 100  # of the slowest kernel: what the kernel charges a thread may be as old
GATE = "import json, os, resource, sys, time\nos.read(0, 1)\ndone = {}\n"
TIMED = """
from contextlib import contextmanager
@contextmanager
def timed(name):
    begin = time.monotonic_ns()
    yield
    done[name] = time.monotonic_ns() - begin
"""
WAITS = """
import mmap, signal, socket, threading
name = sys.argv[1]

with timed("sleep"):
    time.sleep(0.2)

readable, writable = os.pipe()
done["pipe_inode"] = os.fstat(readable).st_ino
if not os.fork():
    time.sleep(0.1)
    os.write(writable, b"x")
    os._exit(0)
with timed("pipe"):
    os.read(readable, 1)
os.wait()

if not (child := os.fork()):
    time.sleep(0.1)
    os._exit(0)
with timed("child"):
    os.waitpid(child, 0)

lock = threading.Lock()
lock.acquire()
with timed("lock"):
    lock.acquire(timeout=0.05)

listener = socket.create_server((sys.argv[2], 0))
done["port"] = listener.getsockname()[1]
if not os.fork():
    end, _ = listener.accept()
    time.sleep(0.1)
    end.send(b"x")
    os._exit(0)
end = socket.create_connection(listener.getsockname()[:2])
with timed("network"):
    end.recv(1)
os.wait()

import select
poll = select.epoll()
with timed("events"):
    poll.poll(0.05)

file = os.open(name, os.O_CREAT | os.O_RDWR)
with timed("disk"):
    for _ in range(8):
        os.write(file, os.urandom(1 << 20))
        os.fsync(file)

os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
memory = mmap.mmap(file, 0, prot=mmap.PROT_READ)
memory.madvise(mmap.MADV_RANDOM)
before = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
with timed("fault"):
    sum(memory[place] for place in range(0, len(memory), 1 << 16))
done["major_faults"] = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before
"""
THINGS = """
import fcntl, select, signal, socket
name = sys.argv[1]
parent = os.getpid()

def later(work):
    \"\"\"Do something in a child once the parent sleeps.\"\"\"
    if not os.fork():
        state = ""
        while state != "S":
            time.sleep(0.02)
            with open(f"/proc/{parent}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        work()
        os._exit(0)

event = os.eventfd(0)
later(lambda: os.eventfd_write(event, 1))
os.eventfd_read(event)

os.mkfifo(name + "fifo")
fifo = os.open(name + "fifo", os.O_RDWR)
later(lambda: os.write(fifo, b"x"))
os.read(fifo, 1)

here, there = socket.socketpair()
later(lambda: there.send(b"x"))
here.recv(1)

datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
done["datagrams"] = datagrams.getsockname()[1]
later(lambda: datagrams.sendto(b"x", datagrams.getsockname()))
datagrams.recv(1)

listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
done["listener"] = listener.getsockname()[1]
client = socket.socket(socket.AF_INET6)
later(lambda: client.connect(listener.getsockname()[:2]))
end, _ = listener.accept()
done["client"] = end.getpeername()[1]
later(lambda: client.send(b"x"))
end.recv(1)

locked = os.open(name, os.O_CREAT | os.O_RDWR)
if not (holder := os.fork()):
    mine = os.open(name, os.O_RDWR)
    fcntl.flock(mine, fcntl.LOCK_EX)
    os.write(there.fileno(), b"x")
    later(lambda: os.kill(os.getppid(), 9))
    signal.pause()
here.recv(1)
fcntl.flock(locked, fcntl.LOCK_EX)

select.select([], [], [], 0.05)
poll = select.poll()
poll.register(here, select.POLLIN)
poll.poll(50)
signal.sigtimedwait([signal.SIGUSR1], 0.05)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
CHILDREN = """
import signal
if not (child := os.fork()):
    signal.pause()
os.read(0, 1)
if not os.fork():
    time.sleep(0.1)
    os._exit(0)
os.wait()
os.kill(child, 9)
os.wait()
"""
SCHEDSTAT = """
def schedstat():
    with open("/proc/thread-self/schedstat") as file:
        return [int(word) for word in file.read().split()]
"""
SPIN = """
os.sched_setaffinity(0, [int(sys.argv[1])])
begin, before = time.monotonic_ns(), schedstat()
while time.monotonic_ns() - begin < 600_000_000:
    pass
after = schedstat()
done["ns"] = time.monotonic_ns() - begin
done["ran"], done["waited"] = after[0] - before[0], after[1] - before[1]
"""
IN_NETWORK = [
    "unshare",
    "-n",
    "sh",
    "-c",
    'ip link set lo up && ip addr add 192.0.2.7/32 dev lo && exec "$@"',
    "sh",
]
THREADS = """
import threading
threads = [threading.Thread(target=time.sleep, args=(0.05,)) for _ in range(7)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(0.1); print('[]')"])
"""
REPORT = "print(json.dumps(done), flush=True)\n"


def gated(script, *arguments, before=()):
    """Start a process that runs a script once it can read its standard input."""
    return subprocess.Popen(
        [*before, sys.executable, "-c", GATE + script + REPORT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def trace(*processes, words=()):
    """Trace processes that are at their gates, to their end. Returns the result, and what they report."""
    tracing = start("why", "-f", "json", *words, "-p", ",".join(str(process.pid) for process in processes))
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    reports = []
    for process in processes:
        out, _ = process.communicate()
        assert process.returncode == 0
        reports.append(json.loads(out))
    result = finish(tracing)
    assert result.status == 0, result.err
    return result, reports


def sums(rows):
    """Return the time by class."""
    times = {}
    for row in rows:
        times[row["class"]] = times.get(row["class"], 0) + row["total_ns"]
    return times


def sleeps_for(times, length):
    """Return whether threads slept so long, less what passed before they blocked: a sleep has a deadline."""
    moved = sum(times.get(name, 0) for name in ("runnable", "user", "kernel", "disk", "fault"))
    return length - moved <= times["sleep"]


def totals_of(result):
    """Return the totals, whose time of threads is the sum of the classes, to the nanosecond."""
    [totals] = result.of("totals")
    assert not result.missed
    assert sum(row["total_ns"] for row in result.of("summary")) == totals["life_ns"]
    return totals


def test_each_wait_has_its_class_and_what_was_waited_for(tmp_path):
    name = "a\n\x1b[31mfile"
    process = gated(TIMED + WAITS, str(tmp_path / name), "192.0.2.7", before=IN_NETWORK)
    result, [report] = trace(process)
    totals_of(result)
    rows = result.of("summary")
    times = sums(rows)
    moved = times["runnable"] + times["user"] + times["kernel"]  # what a wait is shorter by than its call

    def waited(part, call, where):
        return sum(
            row["total_ns"]
            for row in rows
            if row["class"] == part
            and row["call"].startswith(call)
            and (where is None or row["where"] == where)
        )

    for part, call, where in (
        ("sleep", "clock_nanosleep", None),
        ("pipe", "read", f"pipe:[{report['pipe_inode']}]"),
        ("child", "wait4", None),
        ("lock", "futex", None),
        ("network", "recvfrom", f"192.0.2.7:{report['port']}"),
        ("events", "epoll_", None),
    ):
        assert report[part] - moved <= waited(part, call, where) <= report[part] + moved, part
    [where] = {row["where"] for row in rows if row["class"] == "disk" and row["call"] == "fsync"}
    assert where == name
    assert waited("disk", "fsync", name) <= report["disk"]
    faults = [row for row in rows if row["class"] == "fault"]
    assert report["major_faults"] > 0
    assert 0 < sum(row["count"] for row in faults) <= 2 * report["major_faults"]
    assert sum(row["total_ns"] for row in faults) <= report["fault"] + moved
    assert all(row["call"] is None for row in faults)


def test_what_is_waited_for_has_a_name(tmp_path):
    name = str(tmp_path / "a\n\x1b[31m")
    result, [report] = trace(gated(THINGS, name, before=IN_NETWORK))
    totals_of(result)
    found = {
        (row["class"], str(row["call"]), row["where"]) for row in result.of("summary") if row["total_ns"]
    }
    found = {
        (part, {"pselect6": "select", "ppoll": "poll"}.get(call, call), where) for part, call, where in found
    }
    assert found >= {
        ("events", "read", "[eventfd]"),
        ("pipe", "read", "a\n\x1b[31mfifo"),
        ("pipe", "recvfrom", "unix socket"),
        ("network", "recvfrom", f"port {report['datagrams']}"),
        ("network", "accept4", f"port {report['listener']}"),
        ("network", "recvfrom", f"[::1]:{report['client']}"),
        ("lock", "flock", "a\n\x1b[31m"),
        ("sleep", "select", None),
        ("events", "poll", None),
        ("events", "rt_sigtimedwait", None),
    }


def test_children_that_exist_and_those_to_come():
    process = subprocess.Popen(
        [sys.executable, "-c", "import os, time" + CHILDREN], stdin=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    tracing = start("why", "-f", "json", "-p", process.pid, "--children")
    process.communicate("\n")
    result = finish(tracing)
    assert result.status == 0, result.err
    assert totals_of(result)["threads"] == 3
    assert sleeps_for(sums(result.of("summary")), 100_000_000)


def test_two_that_share_a_cpu_are_runnable_as_long_as_the_kernel_says():
    cpu = str(min(os.sched_getaffinity(0)))
    processes = [gated(SCHEDSTAT + SPIN, cpu) for _ in range(2)]
    result, reports = trace(*processes)
    totals = totals_of(result)
    times = sums(result.of("summary"))
    switches = sum(row["count"] for row in result.of("summary"))
    # Both clocks are read at each switch, the kernel's some time before. It charges what runs at ticks.
    slack = 2 * len(processes) * TICK + switches * 20_000
    ran, waited = (sum(report[name] for report in reports) for name in ("ran", "waited"))
    outside = totals["life_ns"] - sum(report["ns"] for report in reports)  # before and after they looked
    on_cpu = times["user"] + times["kernel"]
    assert ran - slack <= on_cpu <= ran + totals["taken_ns"] + outside + slack
    assert waited - slack <= times["runnable"] <= waited + outside + slack
    assert waited > ran / 2  # they did share it
    samples = sum(row["samples"] for row in result.of("summary") if row["class"] in ("user", "kernel"))
    assert samples > 0


def test_user_and_kernel_time_are_those_of_the_system_calls():
    script = "before = os.times()\nfor _ in range(60): os.urandom(1 << 22)\n"
    script += "after = os.times()\ndone['kernel'] = round(1e9 * (after.system - before.system))\n"
    result, [report] = trace(gated(script))
    totals_of(result)
    times = sums(result.of("summary"))
    # The kernel samples at ticks in which mode a thread is; it ends in kernel mode, too.
    slack = report["kernel"] // 10 + 4 * TICK
    assert report["kernel"] > 0
    assert report["kernel"] - slack <= times["kernel"] <= report["kernel"] + slack + times["user"]
    samples = Counter()
    for row in result.of("summary"):
        samples[row["call"]] += row["samples"]
    assert samples.most_common(1)[0][0] == "getrandom"


def test_threads_that_begin_and_end_and_a_program_that_is_executed():
    result, _ = trace(gated(THREADS))
    totals = totals_of(result)
    assert totals["threads"] == 8
    assert sleeps_for(sums(result.of("summary")), 7 * 50_000_000 + 100_000_000)


def test_what_goes_on_counts_up_to_the_end_of_each_interval():
    process = subprocess.Popen(["sleep", "60"])
    try:
        result = run("why", "-f", "json", "-p", process.pid, "1", "3")
    finally:
        process.kill()
        process.wait()
    assert result.status == 0, result.err
    totals = totals_of(result)
    rows = [line for line in result.lines if line["kind"] == "row"]
    assert [(row["class"], row["call"], row["count"]) for row in rows] == [
        ("sleep", "clock_nanosleep", 1)
    ] * 3
    assert sum(row["total_ns"] for row in rows) == totals["life_ns"] >= 3_000_000_000
    assert totals["threads"] == 1


def test_a_stopped_process_is_stopped():
    process = gated("os.kill(os.getpid(), 19)\n")
    tracing = start("why", "-f", "json", "-p", process.pid)
    process.stdin.write("\n")
    process.stdin.flush()
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    begin = time.monotonic_ns()
    time.sleep(0.1)
    length = time.monotonic_ns() - begin
    process.send_signal(signal.SIGCONT)
    process.communicate()
    result = finish(tracing)
    totals_of(result)
    assert sums(result.of("summary"))["stopped"] >= length


def test_a_command_is_traced_and_a_bystander_is_not():
    bystander = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        result = run("why", "-f", "json", "--", "sh", "-c", "sleep 0.1; true")
    finally:
        bystander.kill()
        bystander.wait()
    assert result.status == 0, result.err
    totals = totals_of(result)
    times = sums(result.of("summary"))
    assert totals["threads"] == 2
    assert sleeps_for(times, 100_000_000)
    assert times["child"] > 0


@pytest.mark.smoke
@pytest.mark.lab
def test_the_page_adds_up_and_names_the_tracer_to_go_on_with():
    process = subprocess.Popen(["sleep", "60"])
    try:
        result = run("why", "-d", "1", "-p", process.pid)
    finally:
        process.kill()
        process.wait()
    assert result.status == 0, result.err
    assert "  sleep     100.0%" in result.out
    assert "  100.0% clock_nanosleep" in result.out
    assert f"  -> pytracer offcputime -p {process.pid}" in result.out


def test_threads_that_a_namespace_selects_end_in_it():
    script = "import threading\nthread = threading.Thread(target=time.sleep, args=(0.05,))\n"
    process = gated(script + "thread.start(); thread.join()\n", before=IN_NETWORK)
    own = Path("/proc/self/ns/net").readlink()
    while Path(f"/proc/{process.pid}/ns/net").readlink() == own:
        time.sleep(0.01)
    tracing = start("why", "-f", "json", "--netns", f"/proc/{process.pid}/ns/net")
    process.communicate("\n")
    tracing.send_signal(signal.SIGINT)
    result = finish(tracing)
    totals_of(result)
    assert sleeps_for(sums(result.of("summary")), 50_000_000)


def test_time_without_a_place_is_lost_and_still_in_the_life_of_threads():
    result = run("why", "-f", "json", "--max-rows", "1", "--", "sh", "-c", "sleep 0.1; true")
    assert result.status == 0, result.err
    [totals] = result.of("totals")
    assert [loss["reason"] for loss in result.of("loss") if loss["reason"] != "missed"] == ["map_full"]
    assert sum(row["total_ns"] for row in result.of("summary")) < totals["life_ns"]
    assert totals["life_ns"] >= 100_000_000
