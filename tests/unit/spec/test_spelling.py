"""Test macros of a tracer's C, spelled as users write them."""

from __future__ import annotations

import os

import pytest

from pytracer.spec import registry
from pytracer.spec.spelling import as_command_line

PAGES = (64 << 20) // os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("tracer", "macro", "words"),
    [
        ("opensnoop", f"PT_RING_PAGES={PAGES}", "--buffer 64M"),
        ("opensnoop", f"PT_RING_PAGES={3 * (1 << 12) // os.sysconf('SC_PAGE_SIZE')}", "--buffer 12K"),
        ("opensnoop", "FAILED", "--failed"),
        ("opensnoop", "ONLY_PATHS_EXCEPT", "--path '!...'"),
        ("opensnoop", "PT_FOLLOW=16384", "-- COMMAND"),
        ("syscalls", "PT_FILTER_PID", "--pid"),
        ("syscalls", "BY_COMM", "--by comm"),
        ("syscalls", "LATENCY", "--latency"),
        ("syscalls", "PT_ROWS_MAX=100", "--max-rows 100"),
        ("syscalls", "HOOK_SYSCALL_TRACEPOINT", "--hook syscall=tracepoint"),
        ("syscalls", "ENFORCE", "--enforce"),
        ("syscalls", "PT_HAS_BPF_LOOP", "a kernel with bpf loop"),
        ("trace", "PT_SPEC_TEXT_SIZE=40", "--string-size 40"),
        ("syscalls", "SOMETHING=1", "SOMETHING=1"),
    ],
)
def test_spelling(tracer, macro, words):
    assert as_command_line(registry.get(tracer), macro) == words
