"""Where output goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

# A pipe that holds less than what is written, and a signal while the write waits for its reader.
WRITER = """
import signal
from pytracer.cli.output import standard_output
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.05)
stream = standard_output()
stream.write("y" * 1_000_000 + "\\n")
stream.flush()
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_a_signal_interrupts_is_written_to_its_end(unbuffered):
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, env=environment) as writer:
        read = b""
        while data := os.read(writer.stdout.fileno(), 4096):
            read += data
            if len(read) < 300_000:  # slowly: so that the writer has to wait, and is interrupted
                time.sleep(0.005)
    assert writer.returncode == 0
    assert read == b"y" * 1_000_000 + b"\n"


@pytest.mark.parametrize("words", [["list"], ["cache"], ["list-probes", "--help"], ["explain", "--help"]])
def test_every_command_can_be_interrupted_though_its_caller_ignores_that(words):
    code = (
        "import signal, sys; from pytracer.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "main(sys.argv[1:]); assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
