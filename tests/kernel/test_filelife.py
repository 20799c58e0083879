"""Test filelife against a program that makes and removes files in every manner, and beside strace."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import pytest

from support.calls import ALTERNATIVES, is_granted
from support.cli import run
from support.needs import running
from support.stream import events
from support.workloads import workload

pytestmark = pytest.mark.kernel
COUNT = 23
HOSTILE = "short\n\x1b[2J"
WORKLOAD = """
import contextlib, os, sys
os.chdir(sys.argv[1])
def make(name):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))
for number in range(int(sys.argv[2])):
    make("plain")
    os.unlink(os.path.join(sys.argv[1], "plain"))
    make("open")
    file = os.open("open", os.O_RDONLY)  # it is removed while it is open
    folder = os.open(".", os.O_PATH)
    os.unlink("open", dir_fd=folder)
    os.close(folder)
    os.close(file)
    make("old")
    make("replaced")
    os.rename("old", "replaced")
    os.rename("replaced", "renamed")
    os.unlink("renamed")
    with contextlib.suppress(OSError):
        os.unlink("folder")  # which it is
    with contextlib.suppress(OSError):
        os.unlink("missing")
make("twice")
os.link("twice", "other")
for folder in "abcd":
    os.mkdir(folder)
    make(f"{folder}/same")
for folder in "dbca":
    os.unlink(f"{folder}/same")
os.close(os.open("before", os.O_CREAT | os.O_WRONLY))
os.unlink("before")
make("short\\n\\x1b[2J")
if not os.fork():
    os.unlink("short\\n\\x1b[2J")
    os._exit(0)
os.wait()
"""


def command(tmp_path):
    for name in ("folder",):
        (tmp_path / name).mkdir()
    (tmp_path / "before").touch()
    return [sys.executable, "-c", WORKLOAD, str(tmp_path), str(COUNT)]


def names(events, tmp_path):
    return Counter(event["path"].removeprefix(f"{tmp_path}/") for event in events)


EXPECTED = dict.fromkeys(("plain", "open", "replaced", "renamed"), COUNT)
EXPECTED |= dict.fromkeys(("a/same", "b/same", "c/same", "d/same", HOSTILE), 1)


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_each_file_that_is_removed_is_seen_once(alternative, tmp_path):
    """No file that existed before is shown, and none for a failed call or a second name."""
    if not is_granted("filelife", alternative):
        return
    actual = events("filelife", "--hook", f"return={alternative}", "--", *command(tmp_path))
    assert names(actual, tmp_path) == EXPECTED
    calls = {event["path"].removeprefix(f"{tmp_path}/"): event["call"] for event in actual}
    assert (calls["plain"], calls["open"], calls["replaced"]) == ("unlink", "unlinkat", "rename")
    assert all(event["age_ns"] > 0 for event in actual)
    [creator] = {event["creator"] for event in actual}
    assert {event["pid"] == creator for event in actual if event["path"] != HOSTILE} == {True}
    [removed] = [event for event in actual if event["path"] == HOSTILE]
    assert removed["pid"] not in (creator, 0)


def test_strace_shows_the_same_calls_succeed(tmp_path):
    strace = ["strace", "-f", "-e", "trace=unlink,unlinkat,rename", *command(tmp_path)]
    result = run("filelife", "-f", "json", "--comm", "python", "--", *strace)
    succeeded = re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(.*\) += 0$", result.err, re.M)
    # Of the renames, half remove nothing; "before" is not removed after it was created.
    expected = Counter(succeeded)
    expected["rename"] //= 2
    expected["unlink"] -= 1
    assert Counter(event["call"] for event in result.of("event")) == expected
    assert sum(expected.values()) == sum(EXPECTED.values())


def test_only_brief_ones_and_only_paths(tmp_path):
    assert events("filelife", "--max", "1ns", "--", *command(tmp_path)) == []
    (tmp_path / "again").mkdir()
    actual = events("filelife", "--path", f"{tmp_path}/again/*", "--", *command(tmp_path / "again"))
    assert names(actual, tmp_path / "again") == {"plain": COUNT}


def test_files_created_by_another_process_pass_the_filter(tmp_path):
    """The filter applies to the process that removes the file."""
    script = 'f="$1/made"; echo > "$f"; exec rm "$f"'
    actual = events("filelife", "--comm", "rm", "--", "sh", "-c", script, "sh", tmp_path)
    assert [(event["comm"], event["path"]) for event in actual] == [("rm", f"{tmp_path}/made")]


def test_calls_of_32_bit_programs_create_as_well(tmp_path):
    path = tmp_path / "made"
    script = '"$1" compat-openat 577 1 "$2"; rm "$2"'
    hook = "--hook=return=raw-tracepoint"  # which sees what a 64-bit program does by int 0x80
    actual = events("filelife", hook, "--", "sh", "-c", script, "sh", workload("opens"), path)
    assert [event["path"] for event in actual] == [str(path)]


@pytest.mark.lab
def test_io_uring_creates_renames_and_removes(tmp_path):
    actual = events("filelife", "--", workload("rings"), "removes", COUNT, tmp_path)
    sees_io_uring = not running().excuse("requests in the events of io_uring")
    expected = [("unlinkat", "plain"), ("renameat", "./new"), ("unlinkat", "new")] * COUNT
    assert [(event["call"], event["path"]) for event in actual] == expected * sees_io_uring
    assert all((event["comm"], event["creator"]) == ("rings", event["pid"]) for event in actual)
    assert all(event["age_ns"] > 0 for event in actual)


def test_hostile_names_stay_on_their_line(tmp_path):
    result = run("filelife", "--", *command(tmp_path))
    assert "\x1b" not in result.out
    assert len(result.out.splitlines()) == 1 + sum(EXPECTED.values())


def test_a_file_that_finds_no_room_is_lost(tmp_path):
    """Four files of one name in different folders are different files."""
    folders = [str(tmp_path / str(number)) for number in range(5)]
    subprocess.run(["mkdir", *folders], check=True)
    script = 'for d; do echo > "$d/same"; done; for d; do rm "$d/same"; done'
    result = run("filelife", "-f", "json", "--", "sh", "-c", script, "sh", *folders)
    assert sum(loss["lost"] for loss in result.of("loss") if loss["reason"] == "inflight_full") == 1
    assert len(result.of("event")) == 4
