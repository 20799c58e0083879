"""Test the parts of the page without a server: addresses, documents, requests, pictures, rows."""

from __future__ import annotations

import numpy as np
import pytest

from pytracer.errors import NotPermittedError, UsageError
from pytracer.model import Histograms, Loss, Snapshot, StackSnapshot
from pytracer.model.buckets import BUCKETS, bucket_of, by_power
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import Filter, registry
from pytracer.view import make_view
from pytracer.web.described import ROWS, describe_rows
from pytracer.web.documents import HTML, SVG, Documents
from pytracer.web.guard import parse_address
from pytracer.web.http import HttpError
from pytracer.web.pictures import make_picture
from pytracer.web.start import describe, make_request
from support.fake_kernel import FakeKernel


def schema_of(tracer):
    return make_plan(Request(registry.get(tracer)), FakeKernel()).schema


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)), ("localhost:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80)),
        ("127.1.2.3:65535", ("127.1.2.3", 65535)),
    ],
)  # fmt: skip
def test_loopback_addresses(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "example.com:80",
        ":80",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "[::ffff:10.0.0.1]:80",
        "",
    ],
)
def test_other_addresses_are_refused(text):
    with pytest.raises(UsageError):
        parse_address(text)


def test_documents_are_fetched_once():
    documents = Documents()
    path = documents.add("<svg/>\udcff", SVG)
    answer = documents.take(path)
    assert answer.body == b"<svg/>\\udcff"
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox allow-scripts" in policy
    assert "script-src 'sha256-" in policy
    with pytest.raises(HttpError):
        documents.take(path)


def test_documents_are_bounded():
    documents = Documents()
    paths = [documents.add("x", HTML) for _ in range(100)]
    with pytest.raises(HttpError):
        documents.take(paths[0])
    assert documents.take(paths[-1]).body == b"x"
    large = [documents.add("x" * (40 << 20), HTML) for _ in range(2)]
    with pytest.raises(HttpError):
        documents.take(large[0])


def test_every_tracer_is_offered():
    names = {described["name"] for described in describe(allow_commands=True)}
    assert names == {tracer.name for tracer in registry.all_tracers()}
    assert {"inject"} == names - {described["name"] for described in describe(allow_commands=False)}


def test_a_form_makes_the_same_request_as_the_command_line():
    sent = {
        "tracer": "syscalls", "options": {"by": "comm", "latency": False, "calls": "openat,read"},
        "filters": {"comm": ["ls"], "pid": ""}, "interval": "2", "duration": "5",
    }  # fmt: skip
    request, words = make_request(sent, allow_commands=False)
    assert words == (
        "syscalls", "2", "--by", "comm", "--calls", "openat,read", "--comm", "ls", "-d", "5",
    )  # fmt: skip
    assert request.options["by"] == ("comm",)
    assert (request.interval, request.duration) == (2.0, 5.0)
    assert list(request.filters) == [Filter.COMM]


def test_a_bare_time_is_milliseconds_as_on_the_command_line():
    request, _ = make_request({"tracer": "runqslower", "options": {"min": "5"}}, allow_commands=False)
    assert request.options["min"] == 5_000_000


def test_commands_are_allowed_or_not():
    sent = {"tracer": "syscalls", "command": "sh -c 'exit 3'"}
    with pytest.raises(NotPermittedError):
        make_request(sent, allow_commands=False)
    request, words = make_request(sent, allow_commands=True)
    assert request.command == ("sh", "-c", "exit 3")
    assert words == ("syscalls", "--", "sh", "-c", "exit 3")
    with pytest.raises(UsageError):
        make_request({"tracer": "syscalls", "command": "'"}, allow_commands=True)


def test_rows_are_the_newest_and_bounded():
    view = make_view(schema_of("syscalls"))
    count = 3 * ROWS
    names = [column.name for column in view.columns]
    columns = {name: list(range(count)) for name in names} | {"syscall": [f"call{n}" for n in range(count)]}
    view.add(Snapshot("row", 1.0, 1.0, columns))
    view.add(Loss("map_full", 7, "rows that found no room", 1.0))
    description = describe_rows(view, 0)
    assert len(description["cells"]) == len(description["sort"]) == ROWS
    assert description["total"] == count
    assert description["losses"] == ["lost: 7 rows that found no room"]
    assert description["cells"][0][0] == "call0"
    assert description["sort"][5][1] == 5.0


def test_flame_graphs_add_intervals_up():
    schema = schema_of("profile")
    picture = make_picture(schema)
    names = [column.name for column in schema.columns]

    def stacks(kind, count):
        row = {"pid": 1, "comm": "make", "kernel": ("vfs_read",), "user": ("read", "main"), "samples": count}
        return StackSnapshot(kind, 1.0, 2.0, {name: [row[name]] for name in names})

    for item in (stacks("row", 3), stacks("row", 4), stacks("summary", 7)):
        picture.add(item)
    text = picture.draw()
    assert "profile: 7 samples in 4.0 s" in text
    assert text == picture.draw()


def test_heat_maps_have_the_intervals_so_far():
    schema = schema_of("biolatency")
    picture = make_picture(schema)
    fine = np.zeros((1, BUCKETS), dtype="u8")
    fine[0, bucket_of(5000)] = 23
    values = {"total_ns": [1], "avg_ns": [1], "max_ns": [5000]}
    for time in (1.0, 2.0):
        picture.add(Histograms("row", time, 1.0, {"disk": ["vda"]}, "requests", by_power(fine), values, fine))
    assert "46 requests" in picture.draw()
    assert make_picture(schema_of("opensnoop")) is None
