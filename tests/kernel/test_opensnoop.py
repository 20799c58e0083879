"""Test opensnoop against a workload that opens only the given files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pytracer.text import to_bytes
from support import worker_ids
from support.calls import ALL, ALTERNATIVES, NATIVE_ONLY, is_granted
from support.cli import finish, run, start, stop
from support.needs import running
from support.stream import by_perf_rings, events
from support.workloads import workload

pytestmark = pytest.mark.kernel

WRITE = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


def opens(kind, flags, count, *path):
    return ["--", workload("opens"), kind, flags, count, *path]


def open_event(fd, path, *, flags="RDONLY", err=None):
    return {"kind": "event", "comm": "opens", "fd": fd, "err": err, "flags": flags, "path": path}


def without_pid(records):
    """Return the records, which are all of one process, without its number."""
    assert len({record["pid"] for record in records}) == 1
    return [{name: value for name, value in record.items() if name != "pid"} for record in records]


def test_a_command_that_is_a_32_bit_program_is_seen():
    """It does not raise the trace events of single calls, so that another alternative is chosen."""
    assert len(events("opensnoop", "--", workload("opens32"))) == 23


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_every_call_of_every_abi_is_seen_once(alternative, tmp_path):
    path = str(tmp_path / "a file")
    kinds = ["open", "openat", "openat2"]
    script, expected = "", []
    is_native_only = alternative == NATIVE_ONLY
    for kind in [*kinds, *(f"compat-{kind}" for kind in kinds)]:
        script += f"{workload('opens')} {kind} {WRITE} 23 '{path}'; "
        if kind in kinds or not is_native_only:
            expected += [open_event(3 + number, path, flags="WRONLY|CREAT|CLOEXEC") for number in range(23)]
    for kind in ("creat", "compat-creat"):
        script += f"{workload('opens')} {kind} 0 23 '{path}'; "
        if kind == "creat" or not is_native_only:
            expected += [open_event(3 + number, path, flags="WRONLY|CREAT|TRUNC") for number in range(23)]
    if not is_granted("opensnoop", alternative):
        return
    actual = events("opensnoop", "--hook", f"return={alternative}", "--", "sh", "-c", script)
    actual = [record for record in actual if record["comm"] == "opens"]
    assert len({record["pid"] for record in actual}) == (4 if is_native_only else 8)
    assert [record | {"pid": 0} for record in actual] == [record | {"pid": 0} for record in expected]


@pytest.mark.lab
def test_opens_by_io_uring(tmp_path):
    path = str(tmp_path / "ring\x1b")
    actual = events("opensnoop", "--", workload("rings"), "opens", 5, path)
    actual = [event for event in actual if event["path"] in (path, "/nowhere/at/all")]
    if running().excuse("requests in the events of io_uring"):
        assert actual == []
        return
    assert {(event["comm"], event["flags"]) for event in actual} == {("rings", "RDWR|CREAT")}
    results = [(event["path"], event["fd"], event["err"]) for event in actual]
    # 3 to 5 are a pipe and the ring. The last has a slot of the ring, and no descriptor.
    expected = [(path, 6 + number, None) for number in range(5)]
    assert results == [*expected, *[("/nowhere/at/all", None, "ENOENT")] * 5, (path, None, None)]


def test_nothing_of_the_launcher_is_seen():
    assert without_pid(events("opensnoop", *opens("open", 0, 1, "/dev/null"))) == [open_event(3, "/dev/null")]


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_an_open_that_a_signal_interrupts_did_not_fail(alternative, tmp_path):
    if not is_granted("opensnoop", alternative):
        return
    os.mkfifo(path := tmp_path / "pipe")
    code = (
        "import ctypes, os, signal, sys\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.siginterrupt(signal.SIGALRM, True)\nsignal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "assert ctypes.CDLL(None).open(os.fsencode(sys.argv[1]), os.O_RDONLY) == -1\n"
    )
    words = [f"--hook=return={alternative}", "--path", path, "--", sys.executable, "-c", code, path]
    [record] = events("opensnoop", *words)
    assert (record["err"], record["fd"]) == ("ERESTARTSYS", None)
    assert events("opensnoop", "-x", *words) == []


def test_failures_are_named_and_can_be_selected_alone():
    script = f"{workload('opens')} openat 0 23 /pt/not/there; {workload('opens')} open 0 7 /dev/null"
    words = ["--comm", "opens", "--", "sh", "-c", script]
    failed = [open_event(None, "/pt/not/there", err="ENOENT")] * 23
    assert without_pid(events("opensnoop", "-x", *words)) == failed
    everything = events("opensnoop", *words)
    assert [r["err"] for r in everything] == ["ENOENT"] * 23 + [None] * 7


@pytest.mark.parametrize("alternative", [name for name in ALL if name != NATIVE_ONLY])
def test_x32_calls_are_seen_whether_the_kernel_has_them_or_not(alternative):
    if not is_granted("opensnoop", alternative):
        return
    hook = f"--hook=return={alternative}"
    actual = without_pid(events("opensnoop", hook, *opens("x32-openat", 0, 1, "/dev/null")))
    # Where the kernel has no such calls it runs none of its functions.
    if alternative == "fexit" and not actual:
        return
    [record] = actual
    assert record in (open_event(3, "/dev/null"), open_event(None, "/dev/null", err="ENOSYS"))


def test_an_address_that_is_not_there_is_no_loss():
    assert without_pid(events("opensnoop", *opens("bad", 0, 1))) == [open_event(None, "", err="EFAULT")]


@pytest.mark.smoke
@pytest.mark.lab
def test_a_path_as_long_as_can_be_is_whole_and_a_longer_one_counted():
    path = "/" + "p" * 4094
    assert (
        without_pid(events("opensnoop", *opens("openat", 0, 3, path)))
        == [open_event(None, path, err="ENAMETOOLONG")] * 3
    )
    result = run("opensnoop", "-f", "json", "--strict", *opens("openat", 0, 23))
    assert result.status == 3
    assert without_pid(result.of("event")) == [open_event(None, "x" * 4095, err="ENAMETOOLONG")] * 23
    assert [(r["reason"], r["lost"]) for r in result.of("loss")] == [("truncated", 23)]


def test_short_paths_among_long_ones_are_unchanged():
    script = "; ".join(
        f"{workload('opens')} open 0 101 /pt/{path}" for path in ("a", "b" * 3000, "c", "d" * 200)
    )
    actual = events("opensnoop", "--comm", "opens", "--", "sh", "-c", script)
    expected = [f"/pt/{path}" for path in ("a", "b" * 3000, "c", "d" * 200) for _ in range(101)]
    assert [record["path"] for record in actual] == expected


HOSTILE = ["/pt/\x1b[2J\x1b]0;owned\x07", "/pt/a\nb\r\nc", "/pt/\"a' b\\x1b,", "/pt/\u202egnp.exe", " "]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_text_on_one_line(path):
    [record] = events("opensnoop", *opens("open", 0, 1, path))
    assert to_bytes(record["path"]) == path.encode()
    table = run("opensnoop", *opens("open", 0, 1, path)).out
    assert len(table.splitlines()) == 2
    assert [c for c in table if c != "\n" and not c.isprintable()] == []
    assert to_bytes(table.splitlines()[1].partition("RDONLY")[2].strip()) == path.strip().encode()


def test_a_path_that_is_no_utf_8_is_distinguished_from_one_that_looks_like_it():
    paths = "/pt/\udcff\udcfe", "/pt/\\xff\\xfe"
    [byte], [literal] = [events("opensnoop", *opens("open", 0, 1, path)) for path in paths]
    assert (byte["path"], literal["path"]) == ("/pt/\\xff\\xfe", r"/pt/\\xff\\xfe")


def test_perf_rings_of_several_processors_give_the_same():
    script = f"for i in 1 2 3; do {workload('opens')} openat 0 101 /pt/not/$i & done; wait"
    actual, lost = by_perf_rings("opensnoop", "--comm", "opens", "--", "sh", "-c", script)
    assert not lost
    paths = [record["path"] for record in actual]
    assert sorted(paths) == [f"/pt/not/{i}" for i in (1, 2, 3) for _ in range(101)]


@pytest.mark.lab
def test_perf_rings_give_the_same():
    actual, lost = by_perf_rings("opensnoop", *opens("openat", 0, 101, "/pt/not/there"))
    expected = [open_event(None, "/pt/not/there", err="ENOENT")] * 101
    assert without_pid(actual) == [{k: v for k, v in event.items() if k != "kind"} for event in expected]
    assert not lost


def test_events_lost_to_a_full_ring_are_counted():
    expected = 20011
    result = run("opensnoop", "-f", "json", "--buffer", "4k", *opens("open", 0, expected, "/pt/not/there"))
    lost = sum(record["lost"] for record in result.of("loss") if record["reason"] == "ring_full")
    assert lost > 0
    assert len(result.of("event")) + lost == expected
    actual, losses = by_perf_rings(
        "opensnoop", "--buffer", "4k", *opens("open", 0, expected, "/pt/not/there")
    )
    assert losses["ring_full"] > 0
    assert len(actual) + losses["ring_full"] == expected


@pytest.mark.lab
@pytest.mark.parametrize(
    ("path_filters", "wanted"),
    [
        ("/pt/a*", ["/pt/a", "/pt/abc"]),
        ("/pt/a", ["/pt/a"]),
        ("/pt/abcd*,/pt/b", ["/pt/b"]),
        ("!/pt/a*,/pt/abc", ["/pt/b", "/pt/" + "c" * 400]),
        (f"/pt/{'c' * 248}*", ["/pt/" + "c" * 400]),
        (f"/pt/{'c' * 247}", []),
    ],
)
def test_paths_that_are_wanted(path_filters, wanted):
    paths = ["/pt/a", "/pt/abc", "/pt/b", "/pt/" + "c" * 400]
    script = "; ".join(f"{workload('opens')} open 0 23 {path}" for path in paths)
    actual = events("opensnoop", "--comm", "opens", "--path", path_filters, "--", "sh", "-c", script)
    assert [record["path"] for record in actual] == [path for path in wanted for _ in range(23)]


def test_paths_that_are_wanted_by_the_other_hook():
    command = opens("openat", 0, 23, "/pt/abc")
    for alternative in ALL:
        if not is_granted("opensnoop", alternative):
            continue
        hook = ["--hook", f"return={alternative}"]
        assert len(events("opensnoop", *hook, "--path", "/pt/*", *command)) == 23
        assert events("opensnoop", *hook, "--path", "/pt/b*", *command) == []


WAITS = "import os, sys\nprint(flush=True)\nsys.stdin.readline()\nfor _ in range(23): os.open(%r, 0)"


@pytest.mark.parametrize("filter_kind", ["-p", "--tid", "-u", "--mntns"])
def test_filters(filter_kind):
    """One process opens 23 times while it is traced, and ends; another one opens beside it."""
    prelude = {
        "-u": f"import os; os.setuid({worker_ids.UID})\n",
        "--mntns": "import ctypes; assert ctypes.CDLL(None).unshare(0x20000) == 0\n",
    }.get(filter_kind, "")
    selected, other = (
        subprocess.Popen(
            [sys.executable, "-c", prelude * selected + WAITS % path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for selected, path in ((True, "/dev/null"), (False, "/dev/zero"))
    )
    assert (selected.stdout.readline(), other.stdout.readline()) == ("\n", "\n")
    values = worker_ids.UID if filter_kind == "-u" else selected.pid
    tracer = start("opensnoop", "-f", "json", filter_kind, values)
    other.communicate("\n")
    selected.communicate("\n")
    # With -p it ends when the process does.
    result = finish(tracer) if filter_kind == "-p" else stop(tracer, signal.SIGTERM)
    assert [r["path"] for r in result.of("event") if r["path"].startswith("/dev/")] == ["/dev/null"] * 23
    assert {r["pid"] for r in result.of("event")} == {selected.pid}
