"""Starting a command held back: nothing runs before its release, and it runs as if a shell had started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytracer.errors import PytracerError, UsageError
from pytracer.launch import Launched

PATIENCE = 30  # seconds, for what takes milliseconds


def until(done):
    """The first true answer of ``done``."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        answer = done()
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.005)
    pytest.fail("waited in vain")


def run(*argv):
    launched = Launched(argv)
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


def test_it_does_not_execute_before_its_release(tmp_path):
    mark = tmp_path / "mark"
    launched = Launched(["touch", str(mark)])
    time.sleep(0.1)
    assert launched.poll() is None
    assert not mark.exists()
    assert Path(f"/proc/{launched.pid}/exe").readlink() == Path("/proc/self/exe").readlink()
    launched.release()
    assert until(launched.poll) == 0
    assert mark.exists()


def test_it_keeps_its_process_id_arguments_and_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTRACER_TEST", "a b")
    out = tmp_path / "out"
    launched = Launched(["sh", "-c", 'echo "$$|$0|$1|$PYTRACER_TEST" > "$2"', "name", "x y", str(out)])
    launched.release()
    assert until(launched.poll) == 0
    assert out.read_text() == f"{launched.pid}|name|x y|a b\n"


def test_poll_remembers():
    launched = Launched(["sh", "-c", "exit 7"])
    launched.release()
    until(launched.poll)
    assert (launched.poll(), launched.status) == (7, 7)
    launched.terminate()
    assert launched.status == 7


@pytest.mark.parametrize("name", ["no-such-command-anywhere", "/nowhere/at/all", "", "/etc", "/etc/passwd"])
def test_no_command(name):
    with pytest.raises(UsageError, match=f"no command '{name}'"):
        Launched([name])


def test_a_file_that_the_kernel_will_not_execute(tmp_path):
    path = tmp_path / "rubbish"
    path.write_bytes(b"\x7fELF, but no more")
    path.chmod(0o755)
    launched = Launched([str(path)])
    with pytest.raises(PytracerError, match=r"cannot execute .*rubbish': Exec format error") as caught:
        launched.release()
    assert caught.value.exit_code == 1
    assert launched.poll() == 127
    launched.terminate()


def test_an_interpreter_that_is_not_there(tmp_path):
    path = tmp_path / "script"
    path.write_text("#!/nowhere/at/all\n")
    path.chmod(0o755)
    with pytest.raises(PytracerError, match="No such file"):
        Launched([str(path)]).release()


def test_terminate_before_the_release_ends_it_unexecuted(tmp_path):
    mark = tmp_path / "mark"
    launched = Launched(["touch", str(mark)])
    launched.terminate()
    assert launched.status == 127
    assert launched.poll() == 127
    assert not mark.exists()


def test_terminate_after_the_release_asks_it_to_end():
    launched = Launched(["sleep", "1000"])
    launched.release()
    assert launched.poll() is None
    launched.terminate()
    assert launched.status == 128 + signal.SIGTERM


def test_it_ends_unexecuted_where_the_tracer_is_killed(tmp_path):
    mark = tmp_path / "mark"
    code = (
        "import os, signal, sys; from pytracer.launch import Launched;"
        "print(Launched(['touch', sys.argv[1]]).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(mark)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    until(lambda: not Path(f"/proc/{pid}").exists() or state(pid) == "Z")
    assert not mark.exists()


def state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_signals_are_as_a_shell_would_leave_them(tmp_path):
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, lambda *_: None) for number in handled}
    try:
        out = tmp_path / "status"
        assert run("cp", "/proc/self/status", str(out)) == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    masks = dict(line.split(":\t") for line in out.read_text().splitlines() if line.startswith("Sig"))
    assert int(masks["SigCgt"], 16) == 0
    ignored = int(masks["SigIgn"], 16)
    # Python ignores SIGPIPE and SIGXFSZ from its start on.
    for number in (*handled, signal.SIGPIPE, signal.SIGXFSZ):
        assert not ignored >> number - 1 & 1, signal.Signals(number).name


def test_it_inherits_no_descriptor_of_ours(tmp_path):
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
