"""Test the arguments of pytracer.open, and its errors. Nothing is started."""

from __future__ import annotations

import datetime
import os
import pathlib
import subprocess
import sys

import pytest

import pytracer
from pytracer import api, errors
from pytracer.errors import UnknownNameError, UnknownOptionError, UsageError
from pytracer.request import NameSetValue
from pytracer.spec import Filter, registry


@pytest.fixture
def requests(monkeypatch):
    """Collect the requests that traces would be made for."""
    requests = []
    monkeypatch.setattr(api, "Trace", lambda request, facts, **_: requests.append(request))
    return requests


def test_public_names():
    for name in pytracer.__all__:
        assert getattr(pytracer, name) is not None
    assert dir(pytracer) == sorted(pytracer.__all__)
    assert pytracer.open is api.open
    assert pytracer.Trace is api.Trace
    with pytest.raises(AttributeError, match="opne"):
        pytracer.opne  # noqa: B018


def test_every_error_and_item_is_public():
    own_names = {name for name, value in vars(errors).items() if str(value).startswith("<class 'pytracer")}
    assert {*own_names, "Batch", "Snapshot", "StackSnapshot", "Histograms", "ProfileSnapshot", "Loss"} <= set(
        pytracer.__all__
    )


def test_tracers_are_listed_by_name():
    names = [tracer.name for tracer in pytracer.list_tracers()]
    assert names == sorted(names)
    assert {"syscalls", "sockcount"} <= set(names)


def test_a_declaration_serves_as_well_as_its_name(requests):
    pytracer.open(next(tracer for tracer in pytracer.list_tracers() if tracer.name == "opensnoop"))
    assert requests[0].tracer.name == "opensnoop"


def test_an_unknown_option_is_an_error_with_near_names(requests):
    with pytest.raises(UnknownOptionError, match="'latencie'") as excinfo:
        pytracer.open("syscalls", latencie=True)
    assert isinstance(excinfo.value, TypeError)
    assert excinfo.value.hint == "did you mean latency?"
    with pytest.raises(TypeError, match="'duratoin'") as excinfo:
        pytracer.open("syscalls", duratoin=1)
    assert excinfo.value.hint == "did you mean duration?"
    assert not requests


@pytest.mark.parametrize("value", ["10ms", 10_000_000, datetime.timedelta(milliseconds=10)])
def test_lengths_of_time(requests, value):
    pytracer.open("biosnoop", min=value)
    assert requests[0].options["min"] == 10_000_000


def test_an_alternative_is_named_with_its_hook(requests):
    with pytest.raises(UsageError, match="hook takes a dictionary, not 'call=kprobe'"):
        pytracer.open("syscalls", hook="call=kprobe")
    assert not requests


def test_sizes_and_alternatives(requests):
    pytracer.open("opensnoop", buffer="512k", hook={"return": "tracepoint"}, container=())
    assert (requests[0].buffer, requests[0].hooks) == (512 << 10, {"return": "tracepoint"})


def test_a_default_duration_is_kept(requests):
    pytracer.open("inject", "give", "ENOMEM", everyone=True)
    assert requests[0].duration == registry.get("inject").duration


def test_the_command_line_loads_no_more_than_it_needs():
    """The names of the API are imported late: asyncio alone takes as long as all the rest."""
    code = "import pytracer, pytracer.cli.main, sys; print('asyncio' in sys.modules, 'numpy' in sys.modules)"
    message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert message.split() == ["False", "False"]


def test_options_equal_those_of_the_command_line(requests):
    own_pid = os.getpid()
    pytracer.open("syscalls", pid=own_pid, latency=True, duration=2.5, max_rows=99, errno=False, sort=None)
    [request] = requests
    assert request.filters == {Filter.PID: (own_pid.to_bytes(4, sys.byteorder),)}
    assert request.options["latency"] is True
    assert request.options["errno"] is False
    assert (request.duration, request.rows, request.command) == (2.5, 99, ())


def test_lists(requests):
    own_pid, parent = os.getpid(), os.getppid()
    pytracer.open("syscalls", pid=[own_pid, parent], by=("pid", "syscall"), uid=0)
    [request] = requests
    assert len(request.filters[Filter.PID]) == 2
    assert request.options["by"] == ("pid", "syscall")


def test_a_set_of_names(requests):
    pytracer.open("syscalls", calls=["openat", "read"])
    pytracer.open("syscalls", calls="openat,read")
    listed, numbers = (request.options["calls"] for request in requests)
    assert isinstance(listed, NameSetValue)
    assert listed == numbers


def test_intervals_commands_and_arguments(requests):
    pytracer.open("sockcount", "lo", interval=0.5, count=3)
    pytracer.open("syscalls", command=["sh", "-c", "exit 0", "--"])
    interfaces, command = requests
    assert list(interfaces.interfaces.values()) == ["lo"]
    assert (interfaces.interval, interfaces.count) == (0.5, 3)
    assert command.command == ("sh", "-c", "exit 0", "--")


def test_paths(requests):
    pytracer.open("syscalls", netns=pathlib.Path("/proc/self/ns/net"))
    assert len(requests[0].filters[Filter.NETNS]) == 1


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ((), {"format": "json"}, "command line alone"),
        ((), {"strict": True}, "command line alone"),
        ((), {"help": True}, "command line alone"),
        (("--format=json",), {}, "no argument"),
        (("-h",), {}, "no argument"),
        (("lo",), {}, "takes no argument"),
        ((), {"nonsense": 1}, "nonsense"),
        ((), {"duration": "soon"}, "no length of time"),
        ((), {"duration": [1, 2]}, "no length of time"),
        ((), {"latency": 5}, "latency is on or off"),
        ((), {"duration": True}, "duration"),
        ((), {"count": 3}, "needs an interval"),
        ((), {"interval": 0}, "no length of time"),
        ((), {"interval": 1, "count": 0}, "no positive"),
        ((), {"by": ["pid", "nonsense"]}, "no such key"),
        ((), {"buffer": 0}, "no size"),
    ],
)
def test_values_that_the_command_line_refuses(requests, words, options, message):
    with pytest.raises(UsageError, match=message):
        pytracer.open("syscalls", *words, **options)
    assert not requests


def test_an_unknown_tracer(requests):
    with pytest.raises(UnknownNameError, match="nonsense"):
        pytracer.open("nonsense")
