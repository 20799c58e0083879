"""What descends from a command and outlives it: said, or followed to its end."""

from __future__ import annotations

import os
import re
import signal

import pytest

import pytracer
from support.cli import finish, run, start

pytestmark = pytest.mark.kernel
# A shell, and its child once that is forked.
LEFT = (
    "bash has ended, (1 of its descendants still runs|2 of its descendants still run): "
    "--wait-all follows them to their end"
)


def outliving(read: int, count: int = 1) -> list[str]:
    """A command that leaves processes behind, which wait for the end of a pipe and then execute ``true``."""
    each = f"(cat <&{read}; exec true) >/dev/null 2>&1 &"
    return ["bash", "-c", f"for ((i = 0; i < {count}; i++)); do {each} done; exit 7"]


@pytest.fixture
def gate():
    read, write = os.pipe()
    yield read, write
    os.close(read)


def executed(result) -> list[str]:
    return [event["comm"] for event in result.of("event")]


def test_the_end_of_the_command_ends_it_and_says_who_still_runs(gate):
    read, write = gate
    result = run("execsnoop", "-f", "json", "--", *outliving(read), pass_fds=[read])
    os.close(write)
    assert result.status == 7
    assert re.fullmatch(f"pytracer: warning: {LEFT}\n", result.err)
    assert "true" not in executed(result)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("way", ["raw-tracepoint", "tracepoint"])
def test_wait_all_follows_them_to_their_end(gate, count, way):
    read, write = gate
    words = ["-f", "json", "--wait-all", "--hook", f"follow={way}", "--", *outliving(read, count)]
    tracer = start("execsnoop", *words, pass_fds=[read])
    os.close(write)
    result = finish(tracer)
    assert result.status == 7
    assert "descendants" not in result.err
    assert executed(result).count("true") == count


def test_wait_all_can_be_ended(gate):
    read, write = gate
    tracer = start("execsnoop", "-f", "json", "--wait-all", "--", *outliving(read), pass_fds=[read])
    for line in tracer.stdout:
        if '"cat"' in line:
            break
    os.kill(tracer.pid, signal.SIGTERM)
    result = finish(tracer)
    os.close(write)
    assert result.status == 7
    assert "bash has ended, 2 of its descendants still run\n" in result.err


def test_nothing_is_said_where_nobody_is_left():
    result = run("execsnoop", "-f", "json", "--", "sh", "-c", "true & true | true; wait; exit 3")
    assert (result.status, result.err) == (3, "")


def test_a_profile_has_what_descendants_call(tmp_path):
    made = tmp_path / "made"
    script = f"(sleep 0.8; mkdir {made}) & sleep 0.2; exit 0"
    result = run("syscalls", "--profile", "-o", tmp_path / "profile", "--", "sh", "-c", script)
    assert (result.status, made.is_dir()) == (0, True)
    assert '"mkdir"' in (tmp_path / "profile").read_text()


@pytest.mark.parametrize("wait_all", [False, True])
def test_the_api_waits_for_them_too(tmp_path, wait_all):
    made, warned = tmp_path / "made", list[str]()
    command = ["bash", "-c", f"(sleep 0.8; mkdir {made}) & sleep 0.2; exit 5"]
    with pytracer.open("execsnoop", command=command, wait_all=wait_all, warn=warned.append) as trace:
        seen = {row["comm"] for item in trace for row in item.rows()}
    assert trace.status == 5
    assert ("mkdir" in seen) == made.is_dir() == wait_all
    assert len(warned) == (not wait_all)
    assert all(re.fullmatch(LEFT, line) for line in warned)


def test_wait_all_needs_a_command():
    result = run("execsnoop", "--wait-all")
    assert result.status == 2
    assert result.err == "pytracer: error: --wait-all is for a command that is started\nhint: -- COMMAND\n"
