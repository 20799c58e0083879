"""Test what a start does not do again once its programs are in the cache."""

from __future__ import annotations

import pytest

from pytracer.kernel import tracefs
from support.starts import Start, start

pytestmark = pytest.mark.kernel

SCRIPT = (
    "tracepoint:raw_syscalls:sys_enter { @[args->id] = count(); }"
    ' interval:ms:1 { printf("first\\n"); exit(); }'
)
STARTS = {
    "syscalls": ("syscalls", "-d", "0.01"),
    "opensnoop": ("opensnoop", "--", "true"),
    "execsnoop": ("execsnoop", "--", "true"),
    "script": ("script", "-e", SCRIPT),
}
SLOW = (
    "base64",
    "bcc",
    "email",
    "importlib.metadata",
    "multiprocessing",
    "subprocess",
    "tempfile",
    "pytracer.bpf.compile.bcc",
    "pytracer.bpf.compile.compiler",
    "pytracer.bpf.compile.headers",
    "pytracer.bpf.compile.layout_check",
    "pytracer.bpf.load.verifier",
)


@pytest.fixture(scope="module", params=STARTS)
def second_start(request, tmp_path_factory) -> tuple[Start, Start]:
    """The first start with a new cache, and the second."""
    cache = tmp_path_factory.mktemp("cache")
    return start(*STARTS[request.param], cache=cache), start(*STARTS[request.param], cache=cache)


def test_the_second_start_takes_the_image(second_start):
    first, second = second_start
    assert "pytracer.bpf.compile.compiler" in first.modules
    assert [file for file in second.opened(".image") if "images/" in file]
    assert not first.opened(".image")
    assert second.output


@pytest.mark.parametrize("module", SLOW)
def test_the_second_start_does_without(second_start, module):
    assert module not in second_start[1].modules


@pytest.mark.parametrize(
    "name", ["btf/vmlinux", "kallsyms", "available_events", "available_filter", "vmlinuz"]
)
def test_the_second_start_does_not_read(second_start, name):
    assert not second_start[1].opened(name)


def test_no_process_is_started_but_the_command(second_start):
    _, second = second_start
    assert second.processes <= 1


def test_events_that_are_listed_are_those_that_can_be_enabled():
    events = tracefs.root() / "events"
    present = {(path.parent.name, path.name) for path in events.glob("*/*") if path.is_dir()}
    listed = {f"{category}:{event}" for category, event in present if tracefs.is_listed(category, event)}
    assert listed == set(tracefs.events())
