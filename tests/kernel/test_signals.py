"""Test signals: those that end pytracer, and those that the command inherits."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest

from pytracer.bpf import prober
from pytracer.cli.main import main
from support.cli import COMMAND, finish, start
from support.workloads import workload

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "names", ["", "HUP", "INT", "INT QUIT", "PIPE XFSZ", "CHLD", "HUP INT QUIT PIPE TERM"]
)
@pytest.mark.parametrize("script", [True, False])
def test_the_command_ignores_the_callers_ignored_signals(script, names):
    ignored = {signal.Signals[f"SIG{name}"] for name in names.split()}
    starter = [str(ROOT / "scripts/pytracer")] if script else COMMAND
    words = [*starter, "execsnoop", "-f", "json", "--", "grep", "Sig", "/proc/self/status"]
    shell = [f"trap '' {names}" if names else ":", 'exec "$@"']
    result = subprocess.run(["bash", "-c", "; ".join(shell), "bash", *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    masks = dict(line.split(":\t") for line in result.stdout.splitlines() if line.startswith("Sig"))
    if not script:  # Python ignores these two by itself, and does not say what they were
        ignored -= {signal.SIGPIPE, signal.SIGXFSZ}
    assert int(masks["SigIgn"], 16) == sum(1 << number - 1 for number in ignored)
    assert int(masks["SigBlk"], 16) == 0


@pytest.mark.parametrize("command", [False, True])
def test_an_interrupt_that_was_ignored_ends_the_trace(command):
    """Shells start ``pytracer ... &`` with SIGINT ignored."""
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    words = ["--", "sleep", 1000] if command else ["-p", os.getpid()]
    tracer = start("syscalls", "-f", "json", *words, preexec_fn=ignore)
    os.kill(tracer.pid, signal.SIGINT)  # the command ignores it, and is not waited for
    result = finish(tracer)
    assert (result.status, result.err) == (128 + signal.SIGTERM if command else 0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [False, True])
def test_a_blocked_signal_ends_it(command, number):
    """A caller that uses sigwait may start pytracer with all signals blocked."""
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    words = ["--", "sleep", 1000] if command else ["-p", os.getpid()]
    tracer = start("syscalls", "-f", "json", *words, preexec_fn=block)
    os.kill(tracer.pid, number)
    result = finish(tracer)
    # The command has SIGTERM blocked, too.
    assert (result.status, result.err) == (128 + signal.SIGKILL if command else 0, "")


def test_the_command_has_the_mask_of_the_caller():
    blocked = {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2}
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, blocked)
    words = [*COMMAND, "execsnoop", "-f", "json", "--", "grep", "SigBlk", "/proc/self/status"]
    result = subprocess.run(words, capture_output=True, text=True, check=True, preexec_fn=block)
    [mask] = (line for line in result.stdout.splitlines() if line.startswith("SigBlk"))
    assert int(mask.split()[1], 16) == sum(1 << number - 1 for number in blocked)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_other_signals_that_are_ignored_do_not_end_it(number):
    work = subprocess.Popen(
        ["bash", "-c", 'read; exec "$@"', "bash", workload("calls"), "getppid", "23"], stdin=subprocess.PIPE
    )
    ignore = partial(signal.signal, number, signal.SIG_IGN)
    tracer = start("syscalls", "-f", "json", "-e", "getppid", "-p", work.pid, 60, preexec_fn=ignore)
    os.kill(tracer.pid, number)
    work.communicate(b"\n")
    result = finish(tracer)
    assert result.status == 0
    assert [record["calls"] for record in result.of("summary")] == [23]


@pytest.mark.parametrize(
    "words",
    [
        ("doctor",),
        ("list-probes", "t:sched:sched_switch"),
        ("schema", "trace", "t:sched:sched_switch"),
        ("opensnoop", "--dry-run"),
    ],
)
def test_an_interrupt_while_the_kernel_closes_trials(words, monkeypatch):
    """It would be ignored, with a traceback, if the end of an object closed them."""
    close = prober._close_trials

    def interrupted(programs, events):
        is_due = bool(events)  # which take their time
        close(programs, events)
        if is_due:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(prober, "_close_trials", interrupted)
    assert main(words) == 128 + signal.SIGINT
