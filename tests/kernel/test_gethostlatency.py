"""Test gethostlatency against look-ups whose results are known, beside what the program measures itself."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from pytracer.text import to_bytes
from support.cli import run
from support.stream import events as traced
from support.stream import events_and_report

pytestmark = pytest.mark.kernel
# Names that need no network: /etc/hosts has localhost; what is no number is refused at once.
WORKLOAD = """
import ctypes, json, os, socket, time
libc = ctypes.CDLL(None)
libc.gethostbyname.restype = libc.gethostbyname2.restype = ctypes.c_void_p
ask, hints = libc.getaddrinfo, (ctypes.c_int * 12)(4)  # AI_NUMERICHOST
found = ctypes.c_void_p()
took = []
def timed(function, *words):
    begun = time.monotonic_ns()
    function(*words)
    took.append(time.monotonic_ns() - begun)
for _ in range(23):
    timed(ask, b"127.0.0.1", None, ctypes.byref(hints), ctypes.byref(found))
for _ in range(17):
    timed(ask, b"no.number", None, ctypes.byref(hints), ctypes.byref(found))
for _ in range(13):
    timed(libc.gethostbyname, b"127.0.0.2")
for _ in range(11):
    timed(libc.gethostbyname2, b"127.0.0.3", 2)
entry, buffer, error = ctypes.create_string_buffer(64), ctypes.create_string_buffer(4096), ctypes.c_int()
for _ in range(7):
    words = b"127.0.0.4", entry, buffer, ctypes.c_size_t(4096), ctypes.byref(found), ctypes.byref(error)
    timed(libc.gethostbyname_r, *words)
for _ in range(5):
    words = b"127.0.0.4", entry, buffer, ctypes.c_size_t(1), ctypes.byref(found), ctypes.byref(error)
    timed(libc.gethostbyname_r, *words)
os.write(2, json.dumps([os.getpid(), sum(took)]).encode())
"""


@pytest.mark.smoke
@pytest.mark.lab
def test_each_look_up_is_shown_once_with_its_result():
    events, [[pid, durations]] = events_and_report("gethostlatency", "--", sys.executable, "-c", WORKLOAD)
    assert {event["pid"] for event in events} == {pid}
    assert Counter((event["host"], event["result"]) for event in events) == {
        ("127.0.0.1", "ok"): 23,
        ("no.number", "EAI_NONAME"): 17,
        ("127.0.0.2", "ok"): 13,
        ("127.0.0.3", "ok"): 11,
        ("127.0.0.4", "ok"): 7,
        ("127.0.0.4", "failed"): 5,
    }
    assert 0 < sum(event["latency_ns"] for event in events) < durations


def test_failures_and_long_ones_can_be_selected():
    command = ["--", sys.executable, "-c", WORKLOAD]
    events, _ = events_and_report("gethostlatency", "--failed", *command)
    assert Counter(event["result"] for event in events) == {"EAI_NONAME": 17, "failed": 5}
    assert "127" not in run("gethostlatency", "--min", "100s", *command).out


def test_hostile_names_stay_text():
    name = b"a\x1b[31m\xff"
    code = (
        f"import ctypes as c\nhints = (c.c_int * 12)(4)\nc.CDLL(None).getaddrinfo({name!r}, 0, hints, hints)"
    )
    [event] = traced("gethostlatency", "--", sys.executable, "-c", code)
    assert to_bytes(event["host"]) == name
    assert "\x1b" not in run("gethostlatency", "--", sys.executable, "-c", code).out


def test_functions_of_another_file_can_be_named_but_not_others():
    command = ["--", sys.executable, "-c", WORKLOAD]
    events, _ = events_and_report("gethostlatency", "u:libc:gethostbyname", *command)
    assert Counter(event["host"] for event in events) == {"127.0.0.2": 13}
    refused = run("gethostlatency", "u:libc:malloc", "--", "true")
    assert refused.status == 2
    assert "malloc" in refused.err
