"""Test starting a command: it waits for its release, and runs as if a shell had started it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytracer import inherited
from pytracer.errors import PytracerError, UsageError
from pytracer.trace.launch import LaunchedCommand

PATIENCE = 30  # seconds, for what takes milliseconds


def until(done):
    """Return the first true answer of ``done``."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = done()
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.005)
    pytest.fail("waited in vain")


def run(*argv):
    launched = LaunchedCommand(argv)
    launched.release()
    return until(launched.poll)


def shell(text):
    return run("sh", "-c", text)


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.fixture(autouse=True)
def _no_descriptor_and_no_child_left():
    before = descriptors()
    yield
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status(status):
    assert shell(f"exit {status}") == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGPIPE])
def test_the_status_of_a_signal_is_that_of_a_shell(number):
    assert shell(f"kill -{int(number)} $$") == 128 + number


def test_a_command_does_not_execute_before_its_release(tmp_path):
    mark = tmp_path / "mark"
    launched = LaunchedCommand(["touch", str(mark)])
    time.sleep(0.1)
    assert launched.poll() is None
    assert not mark.exists()
    assert Path(f"/proc/{launched.pid}/exe").readlink() == Path("/proc/self/exe").readlink()
    launched.release()
    assert until(launched.poll) == 0
    assert mark.exists()


def test_a_command_keeps_its_process_id_arguments_and_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTRACER_TEST", "a b")
    out = tmp_path / "out"
    launched = LaunchedCommand(["sh", "-c", 'echo "$$|$0|$1|$PYTRACER_TEST" > "$2"', "name", "x y", str(out)])
    launched.release()
    assert until(launched.poll) == 0
    assert out.read_text() == f"{launched.pid}|name|x y|a b\n"


def test_poll_remembers():
    launched = LaunchedCommand(["sh", "-c", "exit 7"])
    launched.release()
    until(launched.poll)
    assert (launched.poll(), launched.status) == (7, 7)
    launched.terminate()
    assert launched.status == 7


@pytest.mark.parametrize("name", ["no-such-command-anywhere", "/nowhere/at/all", "", "/etc", "/etc/passwd"])
def test_no_command(name):
    with pytest.raises(UsageError, match=f"no command '{name}'"):
        LaunchedCommand([name])


def test_a_file_that_the_kernel_will_not_execute(tmp_path):
    path = tmp_path / "rubbish"
    path.write_bytes(b"\x7fELF, but no more")
    path.chmod(0o755)
    launched = LaunchedCommand([str(path)])
    with pytest.raises(PytracerError, match=r"cannot execute .*rubbish': Exec format error") as excinfo:
        launched.release()
    assert excinfo.value.exit_code == 1
    assert launched.poll() == 127
    launched.terminate()


def test_an_interpreter_that_is_not_there(tmp_path):
    path = tmp_path / "script"
    path.write_text("#!/nowhere/at/all\n")
    path.chmod(0o755)
    with pytest.raises(PytracerError, match="No such file"):
        LaunchedCommand([str(path)]).release()


def test_terminate_before_the_release_ends_it_unexecuted(tmp_path):
    mark = tmp_path / "mark"
    launched = LaunchedCommand(["touch", str(mark)])
    launched.terminate()
    assert launched.status == 127
    assert launched.poll() == 127
    assert not mark.exists()


def test_terminate_after_the_release_sends_sigterm():
    launched = LaunchedCommand(["sleep", "1000"])
    launched.release()
    assert launched.poll() is None
    launched.terminate()
    assert launched.status == 128 + signal.SIGTERM


def test_an_unreleased_command_ends_unexecuted_if_the_tracer_is_killed(tmp_path):
    mark = tmp_path / "mark"
    code = (
        "import os, signal, sys; from pytracer.trace.launch import LaunchedCommand;"
        "print(LaunchedCommand(['touch', sys.argv[1]]).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(mark)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert result.returncode == -signal.SIGKILL
    pid = int(result.stdout)
    until(lambda: not Path(f"/proc/{pid}").exists() or state(pid) == "Z")
    assert not mark.exists()


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def masks(tmp_path):
    """Return the signals that a command ignores, catches and blocks."""
    out = tmp_path / "status"
    assert run("cp", "/proc/self/status", str(out)) == 0
    lines = [line.split(":\t") for line in out.read_text().splitlines() if line.startswith("Sig")]
    return {name: int(mask, 16) for name, mask in lines if name != "SigQ"}


def bits(*numbers):
    return sum(1 << number - 1 for number in numbers)


HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1)


@pytest.mark.parametrize(
    "ignored", [(), (signal.SIGHUP,), (signal.SIGINT, signal.SIGQUIT), (signal.SIGTERM,)]
)
def test_a_command_ignores_the_callers_ignored_signals_and_catches_none(tmp_path, ignored):
    """Python ignores SIGPIPE and SIGXFSZ from its start; the command must not."""
    handlers = dict.fromkeys(HANDLED, lambda *_: None) | dict.fromkeys(ignored, signal.SIG_IGN)
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        old_handlers = {n: inherited.handle(n, lambda *_: None) for n in ignored}  # as run.Signals does
        actual = masks(tmp_path)
        for number, handler in old_handlers.items():
            inherited.handle(number, handler)
        after = masks(tmp_path)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert actual["SigIgn"] == after["SigIgn"] == bits(*ignored)
    assert actual["SigBlk"] == 0


@pytest.mark.parametrize("ignored", [(), (signal.SIGPIPE,), (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)])
def test_a_command_ignores_the_signals_in_the_launchers_option(tmp_path, monkeypatch, ignored):
    monkeypatch.setitem(sys._xoptions, inherited.OPTION, f"{bits(*ignored):016x}")
    assert masks(tmp_path)["SigIgn"] == bits(*ignored)


def test_a_command_has_the_callers_signal_mask(tmp_path):
    blocked = {signal.SIGUSR2, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        assert masks(tmp_path)["SigBlk"] == bits(*blocked)
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before | blocked
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_the_commands_exit_is_seen_though_the_caller_ignores_sigchld():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert shell("exit 7") == 0  # the kernel keeps no status
        launched = LaunchedCommand(["sleep", "1000"])
        launched.release()
        launched.terminate()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_command_has_the_callers_umask(tmp_path):
    before = os.umask(0o137)
    try:
        assert shell(f"umask > {tmp_path}/umask") == 0
    finally:
        os.umask(before)
    assert int((tmp_path / "umask").read_text(), 8) == 0o137


LIMITS = [(resource.RLIMIT_NOFILE, "n"), (resource.RLIMIT_MEMLOCK, "l")]


@pytest.mark.parametrize(("limit", "letter"), LIMITS)
def test_a_command_has_the_limits_that_the_caller_had_before_we_raised_them(limit, letter):
    """In a process of its own, since not every user may raise limits again."""
    units = 1024 if letter == "l" else 1
    code = (
        "import resource, sys, time; from pytracer import inherited\n"
        "from pytracer.trace.launch import LaunchedCommand\n"
        f"soft = 64 * {units}; hard = resource.getrlimit({limit})[1]\n"
        f"resource.setrlimit({limit}, (soft, hard))\n"
        f"for n in (80, 90): inherited.raise_limit({limit}, n * {units}, hard)\n"
        f"one = LaunchedCommand(['bash', '-c', 'ulimit -S{letter}']); one.release()\n"
        "while one.poll() is None: time.sleep(0.01)\n"
        f"assert resource.getrlimit({limit})[0] == 90 * {units}\n"
        f"resource.setrlimit({limit}, (70 * {units}, hard))  # the program itself: it wants that\n"
        f"one = LaunchedCommand(['bash', '-c', 'ulimit -S{letter}']); one.release()\n"
        "while one.poll() is None: time.sleep(0.01)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (result.stdout.split(), result.stderr) == (["64", "70"], "")


def test_a_command_inherits_the_callers_descriptors(tmp_path):
    with (tmp_path / "theirs").open("w") as other:
        os.set_inheritable(other.fileno(), True)
        assert run("bash", "-c", f"echo yes >&{other.fileno()}") == 0
    assert (tmp_path / "theirs").read_text() == "yes\n"


def test_a_command_inherits_no_descriptor_of_pytracer(tmp_path):
    inheritable = {fd for fd in descriptors() if is_inheritable(int(fd))}
    assert {"0", "1", "2"} <= inheritable
    out = tmp_path / "fds"
    assert run("sh", "-c", 'exec ls /proc/self/fd > "$0"', str(out)) == 0
    # One more: the folder that ls reads.
    assert len(set(out.read_text().split()) - inheritable) == 1


def is_inheritable(descriptor):
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # the one that the folder was listed by
        return False
