"""Test sigsnoop against the siginfo_t that the receivers of the signals get."""

from __future__ import annotations

import signal
import sys

import pytest

from support.cli import run
from support.stream import events_and_report

pytestmark = pytest.mark.kernel
LIBRARY = """
import ctypes, json, os, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def report(*facts):
    os.write(2, json.dumps(facts).encode())
def take(signals):
    # What is pending, as the kernel tells of it: [signal, code, sender].
    found = []
    while (info := signal.sigtimedwait(signals, 0)) is not None:
        found.append([info.si_signo, info.si_code, info.si_pid])
    return found
"""
# Each way to send a signal, real-time ones 23 times each, to a process that has them blocked.
SENDERS = (
    LIBRARY
    + """
# Those that stop would take a pending SIGCONT away.
stops = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
signals = set(range(1, 65)) - {32, 33, signal.SIGKILL, signal.SIGCHLD} - stops
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
first, second = os.pipe(), os.pipe()
me = os.getpid()
child = os.fork()
if not child:
    os.close(first[0])
    number = signal.SIGRTMIN
    for _ in range(23):
        os.kill(me, number)                                                          # kill
    for _ in range(23):
        libc.syscall(234, me, me, number + 1)                                        # tgkill
    for _ in range(23):
        libc.sigqueue(me, number + 2, ctypes.c_void_p(7))                            # rt_sigqueueinfo
    descriptor = os.pidfd_open(me)
    for _ in range(23):
        signal.pidfd_send_signal(descriptor, number + 3)                             # pidfd_send_signal
    for _ in range(23):
        libc.syscall(200, me, number + 4)                                            # tkill
    for number in sorted(signals):
        if number < 32:
            os.kill(me, number)
            os.kill(me, number)                                                      # pending already
    os._exit(0)
os.waitpid(child, 0)
report(me, child, take(signals))
"""
)


def run_workload(code, *words):
    return events_and_report("sigsnoop", *words, "--", sys.executable, "-c", code)


@pytest.mark.smoke
@pytest.mark.lab
def test_each_kind_of_send_is_seen_as_by_the_receiver():
    events, [[own_pid, child, receiver]] = run_workload(SENDERS)
    own_events = [event for event in events if event["to_pid"] == own_pid and event["signal"] != "SIGCHLD"]
    assert {event["pid"] for event in own_events} == {child}
    assert {sender for _, _, sender in receiver} == {child}
    sent = [event for event in own_events if event["result"] == "sent"]
    codes = {0: "SI_USER", -1: "SI_QUEUE"}
    by_number = {int(number): number.name for number in signal.Signals}
    by_number |= {signal.SIGRTMIN + n: f"SIGRTMIN+{n}" for n in range(1, 5)}
    # The C library makes SI_USER of SI_TKILL in sigtimedwait(3).
    assert sorted((event["signal"], event["code"].replace("TKILL", "USER")) for event in sent) == sorted(
        (by_number[number], codes[code]) for number, code, _ in receiver
    )
    real_time = [event for event in sent if event["signal"].startswith("SIGRT")]
    assert len(real_time) == 5 * 23
    by_thread = [event for event in real_time if event["to_tid"]]
    assert [event["code"] for event in by_thread] == ["SI_TKILL"] * 2 * 23  # tgkill, tkill
    unsent_signals = [event["signal"] for event in own_events if event["result"] != "sent"]
    standard = {event["signal"] for event in sent} - {event["signal"] for event in real_time}
    assert sorted(unsent_signals) == sorted(standard)
    assert {event["result"] for event in own_events} == {"sent", "pending"}


KERNELS = (
    LIBRARY
    + """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGPIPE, signal.SIGCHLD})
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.setitimer(signal.ITIMER_REAL, 0.01)
alarm = signal.sigwaitinfo({signal.SIGALRM})
read, write = os.pipe()
os.close(read)
try:
    os.write(write, b"x")
except BrokenPipeError:
    pass
pipe = signal.sigwaitinfo({signal.SIGPIPE})
child = os.fork()
if not child:
    os._exit(7)
died = signal.sigwaitinfo({signal.SIGCHLD})
faulty = os.fork()
if not faulty:
    ctypes.string_at(8)
os.waitpid(faulty, 0)
report(os.getpid(), faulty, died.si_pid, [alarm.si_code, pipe.si_code, died.si_code])
"""
)


def test_signals_of_the_kernel_have_no_sender():
    events, [[own_pid, faulty, killed, codes]] = run_workload(KERNELS)
    assert codes == [0x80, 0, 1]
    own_events = {event["signal"]: event for event in events if event["to_pid"] == own_pid}
    alarm, pipe = own_events["SIGALRM"], own_events["SIGPIPE"]
    assert (alarm["pid"], alarm["comm"], alarm["code"]) == (None, None, "SI_KERNEL")
    assert (pipe["pid"], pipe["code"]) == (own_pid, "SI_USER")  # as if it had sent it itself
    error = [event for event in events if event["signal"] == "SIGCHLD" and event["to_pid"] == own_pid]
    assert (error[0]["pid"], error[0]["code"]) == (killed, "CLD_EXITED")
    [fault] = [event for event in events if event["signal"] == "SIGSEGV"]
    assert (fault["pid"], fault["to_pid"], fault["code"]) == (faulty, faulty, "SEGV_MAPERR")


HANDLED = (
    LIBRARY
    + """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
count = 0
def handler(number, frame):
    global count
    count += 1
signal.signal(signal.SIGUSR1, handler)
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
for _ in range(23):
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
child = os.fork()
if not child:
    signal.pause()
os.kill(child, signal.SIGQUIT)
assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGQUIT
report(count)
"""
)


def test_delivered_signals_have_their_handler():
    events, [[count]] = run_workload(HANDLED, "--delivered", "--signal", "SIGUSR1,SIGUSR2,SIGQUIT")
    actual = [(event["signal"], event["result"]) for event in events]
    assert count == 23
    assert actual.count(("SIGUSR1", "sent")) == actual.count(("SIGUSR1", "handler")) == 23
    assert actual.count(("SIGUSR2", "ignored")) == 23
    assert actual.count(("SIGUSR2", "dropped")) == 0
    assert actual.count(("SIGQUIT", "sent")) == actual.count(("SIGQUIT", "default")) == 1
    assert len(actual) == 23 * 3 + 2


def test_only_the_signals_that_are_named():
    events, _ = run_workload(HANDLED, "--signal", "!SIGUSR1,SIGUSR2")
    assert {"SIGQUIT"} <= {event["signal"] for event in events}
    assert not {"SIGUSR1", "SIGUSR2"} & {event["signal"] for event in events}
    refused = run("sigsnoop", "--signal", "SIGNONE", "--dry-run")
    assert refused.status == 2
    assert "SIGNONE" in refused.err


def test_hostile_names_stay_text():
    code = "import os\nopen('/proc/self/comm', 'wb').write(b'a\\n\\x1b[31m')\nos.kill(os.getpid(), 10)\n"
    result = run("sigsnoop", "--signal", "SIGUSR1", "--", sys.executable, "-c", code)
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 2
