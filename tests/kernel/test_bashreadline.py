"""Test bashreadline against lines that are typed at a bash on a terminal of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess

import pytest

from pytracer.text import to_bytes
from support.cli import start, stop, wait_for

pytestmark = pytest.mark.kernel
LINES = [f": line {number}" for number in range(23)]


class Shell:
    """Run bash on a terminal that the test owns."""

    def __init__(self):
        self.ours, other = pty.openpty()
        words = ["bash", "--norc", "--noprofile", "-i"]
        environment = os.environ | {"PS1": "ready>", "TERM": "dumb", "HISTFILE": ""}
        self.process = subprocess.Popen(
            words, stdin=other, stdout=other, stderr=other, start_new_session=True, env=environment
        )
        os.close(other)
        os.set_blocking(self.ours, False)
        self.seen = b""
        self.wait(b"ready>")

    def wait(self, text):
        """Read on until the shell has written a text."""

        def is_there():
            try:
                self.seen += os.read(self.ours, 65536)
            except BlockingIOError:
                pass
            actual = text in self.seen
            self.seen = b"" if actual else self.seen
            return actual

        wait_for(is_there, repr(text))

    def type(self, line):
        os.write(self.ours, line + b"\n")
        self.wait(b"ready>")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture
def shell():
    shell = Shell()
    yield shell
    shell.close()


@pytest.mark.smoke
@pytest.mark.lab
def test_each_line_is_shown_as_it_was_typed(shell):
    tracer = start("bashreadline", "-f", "json", "-p", shell.process.pid)
    for line in LINES:
        shell.type(line.encode())
    result = stop(tracer, signal.SIGTERM)
    assert result.status == 0, result.err
    events = result.of("event")
    assert [event["line"] for event in events] == LINES
    assert {(event["pid"], event["uid"], event["comm"]) for event in events} == {
        (shell.process.pid, os.getuid(), "bash")
    }


def test_hostile_and_long_lines(shell):
    hostile = ": 'a\u202eb\u00e9'".encode()
    tracer = start("bashreadline", "-f", "json", "-p", shell.process.pid)
    shell.type(hostile)
    shell.type(b": " + b"x" * 4000)
    result = stop(tracer, signal.SIGTERM)
    assert [to_bytes(event["line"]) for event in result.of("event")] == [hostile, b": " + b"x" * 4000]
    assert not result.of("loss")
    tracer = start("bashreadline", "-p", shell.process.pid)
    shell.type(hostile)
    result = stop(tracer, signal.SIGTERM)
    assert "\u202e" not in result.out
