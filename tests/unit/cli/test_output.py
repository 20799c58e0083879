"""Test where output goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

# A pipe that holds less than what is written, and a signal while the write waits for its reader.
WRITER = """
import signal
from pytracer.cli.output import standard_output, take_streams
take_streams()
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.05)
stream = standard_output()
stream.write("y" * 1_000_000 + "\\n")
stream.flush()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_interrupted_write_is_completed(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, env=environment) as writer:
        read_fd = b""
        while data := os.read(writer.stdout.fileno(), 4096):
            read_fd += data
            if len(read_fd) < 300_000:  # slowly: so that the writer has to wait, and is interrupted
                time.sleep(0.005)
    assert writer.returncode == 0
    assert read_fd == b"y" * 1_000_000 + b"\n"


@pytest.mark.parametrize("words", [["list"], ["cache"], ["list-probes", "--help"], ["explain", "--help"]])
def test_every_command_can_be_interrupted_though_its_caller_ignores_that(words):
    code = (
        "import signal, sys; from pytracer.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "main(sys.argv[1:]); assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def pytracer(*words, shell="", **options):
    """Run the command line after a line of shell; the exit status, and both outputs as pipes."""
    command = ["bash", "-c", f'{shell}\nexec "$@"', "bash", sys.executable, "-m", "pytracer", *words]
    environment = os.environ | options.pop("env", {})
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, **options)


CLOSED = "pytracer: error: standard output is closed\nhint: -o FILE\n"
FULL = "pytracer: error: cannot write to standard output: No space left on device\n"
WORDS = [["list"], ["--help"], ["syscalls", "--help"], ["prog", "--help"], ["syscalls", "--dry-run"]]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
@pytest.mark.parametrize(("shell", "message"), [("exec >&-", CLOSED), ("exec >/dev/full", FULL)])
def test_a_failing_standard_output_is_one_line_and_status_1(words, shell, message):
    result = pytracer(*words, shell=shell)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize("shell", ["exec 2>&-", "exec 2>/dev/full"])
def test_a_failing_standard_error_changes_neither_status_nor_output(shell):
    result = pytracer("no-such-tracer", shell=shell)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "")
    assert pytracer("list", shell=shell).stdout == pytracer("list").stdout


def test_a_closed_descriptor_is_not_reused_and_stays_closed_for_a_command():
    code = (
        "import os, sys; from pytracer.cli.output import take_streams; take_streams()\n"
        "numbers = {fd: os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 1, 2)}\n"
        "inherited = [fd for fd in (0, 1, 2) if os.get_inheritable(fd)]\n"
        "open(sys.argv[1], 'w').write(repr((numbers, inherited)))"
    )
    read_fd, write_fd = os.pipe()
    shell = f'exec <&- 2>&-; exec {sys.executable} -c "{code}" /dev/fd/{write_fd}'
    result = subprocess.run(
        ["bash", "-c", shell], pass_fds=[write_fd], stdout=subprocess.DEVNULL, check=False
    )
    os.close(write_fd)
    with os.fdopen(read_fd) as file:
        assert (result.returncode, file.read()) == (
            0,
            repr(({0: "/dev/null", 1: "/dev/null", 2: "/dev/null"}, [1])),
        )


@pytest.mark.parametrize("shell", ["ulimit -f 0", "trap '' XFSZ; ulimit -f 0"])
def test_a_file_that_may_not_grow_is_named(tmp_path, shell):
    result = pytracer("list", shell=f"{shell}; exec >{tmp_path}/out")
    assert result.returncode == 1
    assert result.stderr == "pytracer: error: cannot write to standard output: File too large\n"


def test_output_that_does_not_block_is_written_whole():
    """Another process that shares the pipe made it non-blocking."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    code = "from pytracer.cli.output import take_streams\ntake_streams(); print('y' * 1_000_000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=write_fd) as writer:
        os.close(write_fd)
        size = 0
        while data := os.read(read_fd, 1 << 16):
            size += len(data)
        os.close(read_fd)
    assert (writer.returncode, size) == (0, 1_000_001)


@pytest.mark.parametrize("words", ["syscalls -d 1", "prog", "explain syscalls", "openfiles -p 1", "doctor"])
def test_a_missing_proc_is_reported_as_the_reason(words):
    if os.geteuid():
        pytest.skip("needs root")
    shell = 'exec unshare -m bash -c \'umount -l /proc; exec "$@"\' bash "$@"'
    result = pytracer(*words.split(), shell=shell)
    assert result.returncode == 4
    assert result.stderr == "pytracer: error: /proc is not mounted\nhint: mount -t proc proc /proc\n"


def test_a_package_that_cannot_be_loaded_is_the_reason(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text("raise ImportError('libx.so.0: no such file')")
    code = (
        "from pytracer import arrays; from pytracer.cli import main\n"
        "main._dispatch = lambda _: arrays.load()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", f"{code}raise SystemExit(main.main([]))"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == (
        "pytracer: error: a Python package cannot be loaded: libx.so.0: no such file"
    )
