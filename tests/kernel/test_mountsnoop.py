"""Test mountsnoop beside the mounts that the process then has, in a namespace of its own:
/proc/self/mountinfo."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from support.calls import ALTERNATIVES, BY_CALL, has_event, is_granted
from support.cli import run
from support.needs import running
from support.stream import events_and_report

pytestmark = pytest.mark.kernel
WORKLOAD = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
MS_REC, MS_PRIVATE, MS_BIND = 0x4000, 1 << 18, 4096
def call(number, *args):
    words = [word.encode() if isinstance(word, str) else word for word in args]
    words = [ctypes.c_long(word) if isinstance(word, int) else ctypes.c_char_p(word) for word in words]
    return libc.syscall(ctypes.c_long(number), *words)
def mounted():
    return sum(line.split()[4].startswith(sys.argv[1]) for line in open("/proc/self/mountinfo"))
assert libc.unshare(0x20000) == 0
call(165, "none", "/", None, MS_REC | MS_PRIVATE, 0)
place = sys.argv[1]
counts = []
for number in range(17):
    os.mkdir(f"{place}/{number}")
    assert call(165, "source", f"{place}/{number}", "tmpfs", 0, "size=64k") == 0
counts.append(mounted())
for number in range(11):
    assert call(166, f"{place}/{number}", 2) == 0
counts.append(mounted())
assert call(165, "x", f"{place}/absent", "tmpfs", 0, None) == -1
context = call(430, "tmpfs", 0)
assert context >= 0
assert call(431, context, 1, "size", "64k", 0) == 0
assert call(431, context, 6, None, None, 0) == 0
tree = call(432, context, 0, 0)
assert call(429, tree, "", -100, f"{place}/0", 4) == 0
counts.append(mounted())
copy = call(428, -100, f"{place}/0", 1)
changed = call(442, copy, "", 0x1000, bytes(32), 32)
again = call(433, -100, f"{place}/0", 0)
call(467, -100, "/pt/none", 0, None, 0)
namespace = os.stat("/proc/self/ns/mnt").st_ino
os.write(2, json.dumps([os.getpid(), namespace, counts, [context, tree, copy, again]]).encode())
"""


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_each_call_is_seen_with_its_strings(alternative, tmp_path):
    if not is_granted("mountsnoop", alternative):
        return
    mount_point = str(tmp_path)
    words = ["--hook", f"return={alternative}", "--", sys.executable, "-c", WORKLOAD, mount_point]
    events, [[pid, namespace, counts, [context, tree, copy, remount]]] = events_and_report(
        "mountsnoop", *words
    )
    assert counts == [17, 6, 7]
    assert {event["pid"] for event in events} == {pid}
    assert {event["mntns"] for event in events} == {namespace}
    calls = Counter(event["call"] for event in events)
    # A call that the kernel does not have (Linux 5.12, 6.15) reaches no function and raises no event.
    for call in ("mount_setattr", "open_tree_attr"):
        assert calls.pop(call, 0) == (alternative not in BY_CALL or has_event(call))
    assert calls == {
        "mount": 19, "umount2": 11, "fsopen": 1, "fsconfig": 2, "fsmount": 1, "move_mount": 1,
        "open_tree": 1, "fspick": 1,
    }  # fmt: skip
    actual = {
        event["call"]: [other for other in events if other["call"] == event["call"]] for event in events
    }
    mount_events = actual["mount"][1:18]
    assert [(event["source"], event["target"], event["type"], event["err"]) for event in mount_events] == [
        ("source", f"{mount_point}/{number}", "tmpfs", None) for number in range(17)
    ]
    assert actual["mount"][0]["flags"] == "0x44000"
    assert actual["mount"][18]["err"] == "ENOENT"
    assert [event["target"] for event in actual["umount2"]] == [
        f"{mount_point}/{number}" for number in range(11)
    ]
    assert {event["flags"] for event in actual["umount2"]} == {"0x2"}
    [fsopen_event], [mounted], [moved] = actual["fsopen"], actual["fsmount"], actual["move_mount"]
    assert (fsopen_event["type"], fsopen_event["result"]) == ("tmpfs", context)
    assert (mounted["fd"], mounted["result"]) == (context, tree)
    assert (moved["fd"], moved["target"], moved["err"]) == (tree, f"{mount_point}/0", None)
    size, create = actual["fsconfig"]
    assert (size["source"], size["target"], create["source"]) == ("size", "64k", None)
    assert (actual["open_tree"][0]["target"], actual["open_tree"][0]["result"]) == (f"{mount_point}/0", copy)
    assert (actual["fspick"][0]["target"], actual["fspick"][0]["result"]) == (f"{mount_point}/0", remount)
    for event in actual.get("mount_setattr", ()):
        assert (event["fd"], event["err"] == "ENOSYS") == (copy, running().version < (5, 12))


def test_only_those_that_failed(tmp_path):
    words = ["--failed", "--", sys.executable, "-c", WORKLOAD, str(tmp_path)]
    events, _ = events_and_report("mountsnoop", *words)
    assert [event["call"] for event in events if event["call"] == "mount"] == ["mount"]


def test_truncated_strings_are_counted_and_hostile_ones_stay_text():
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.mount(b'a' * 300, b'/pt/\\x1b[2J\\n', b't', 0, None)\n"
    )
    result = run("mountsnoop", "-f", "json", "--strict", "--", sys.executable, "-c", code)
    assert result.status == 3
    assert [event["source"] for event in result.of("event")] == ["a" * 255]
    assert [(record["reason"], record["lost"]) for record in result.of("loss")] == [("truncated", 1)]
    table = run("mountsnoop", "--", sys.executable, "-c", code)
    assert "\x1b" not in table.out
    assert "/pt/\\x1b[2J\\n" in table.out
