"""Run one server, written in each of several languages, with the questions about it for scripts/services."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import servers
from bench.measure import MissingPeerError
from bench.peers import find
from bench.questions import (
    Question,
    Records,
    Subject,
    events,
    exchange,
    latency_between,
    total,
    versions,
)
from bench.servers import Server

_PROGRAMS = Path(__file__).parent / "work/visits"
_PYTHON = "/usr/bin/python3"  # the distribution's, which has probes
_FREQUENCY = 997  # samples a second
_TRACED = re.compile(r"ms: (?:Scavenge|Mark-Compact)")
_KINDS = ("array", "hash", "string", "symbol")
_FEW = 50  # visits of which each call is shown
_PAUSES = re.compile(r"GC\(\d+\) Pause .* ([\d.]+)ms$", re.MULTILINE)


def _ask(port: int, line: bytes, times: int = 1) -> str:
    """Send a line so many times over one connection, and return the last answer."""
    answer = ""
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(times):
            answer = exchange(client, line, b"\n")
    return answer


def _visit(server: Server, times: int) -> None:
    _ask(server.port, b"visit\n", times)


def _number(server: Server, name: str) -> int:
    """Return a number of what the server says about itself."""
    words = _ask(server.port, b"stat\n").split()
    return int(words[words.index(name) + 1])


def _calls(
    server: Server, counter: Callable[[], int], source: str, bpftrace: str, **function: str
) -> list[Question]:
    """Return the questions about the calls of a function."""

    def calls(records: Records) -> int:
        return total(records, "calls", **function)

    def flows(records: Records) -> int:
        return events(records, event="call", **function)

    name = function["function"]
    return [
        Question(f"how often is {name} called", ("langcalls",), calls, counter, source, bpftrace=bpftrace),
        Question(
            f"how long do its calls take: those of {name} that returned",
            ("langcalls", "--latency"),
            calls,
            counter,
            source,
        ),
        Question(
            f"what is called by what: calls of {name}, one by one",
            ("langflow",),
            flows,
            counter,
            source,
            work=lambda: _visit(server, _FEW),
        ),
    ]


def _collections(counter: Callable[[], int], source: str, bpftrace: str, **kind: str) -> list[Question]:
    """Return the questions about collections, of this kind if there are others."""

    def collected(records: Records) -> int:
        return events(records, **kind) + total(records, "collections", **kind)

    return [
        Question("how many collections are there", ("langgc",), collected, counter, source),
        Question(
            "how long do collections take: those in the histogram",
            ("langgc", "--latency"),
            collected,
            counter,
            source,
            bpftrace=bpftrace,
        ),
        Question(
            "what does it do, in a row: collections",
            ("langstat",),
            said=lambda records: total(records, "collections"),
            counter=counter,
            source=source,
        ),
    ]


def _objects(counter: Callable[[], int], kind: str, bpftrace: str) -> Question:
    return Question(
        f"how many objects does it allocate: those of {kind}",
        ("langalloc",),
        said=lambda records: total(records, "objects", **{"class": kind}),
        counter=counter,
        source="its own count of them",
        bpftrace=bpftrace,
    )


def _processor_time(server: Server) -> Question:
    """Return the question what runs on the CPU; samples are held against the processor time."""

    def used() -> int:
        files = Path(f"/proc/{server.pid}/task").glob("*/schedstat")
        return sum(int(file.read_text().split()[0]) for file in files) * _FREQUENCY // 1_000_000_000

    return Question(
        "what runs on the CPU: samples",
        ("profile", "-F", str(_FREQUENCY)),
        said=lambda records: total(records, "samples"),
        counter=used,
        source="processor time of schedstat, by that rate; within 15 %",
        within=15,
    )


def _library(pid: int, name: str) -> str:
    """Return the path of a library that a process has loaded."""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith(name):
            return path
    raise MissingPeerError(f"{name} is not loaded")


@contextlib.contextmanager
def _running(
    name: str,
    process: str,
    version: Sequence[str],
    visits: int,
    words: Callable[[Path], Sequence[object]],
    questions: Callable[[Server], Sequence[Question]],
) -> Iterator[Subject]:
    """Run the server in one language; ``words`` start it, given a folder, before the number of its port."""
    with servers.on_port(lambda folder, port: [*words(folder), port]) as server:
        yield Subject(
            name,
            versions(version),
            f"{visits} requests to a server of our own, over one connection",
            server,
            process,
            work=lambda: _visit(server, visits),
            questions=[*questions(server), _processor_time(server)],
        )


def _source(folder: Path, name: str) -> Path:
    """Copy a program to where its user may read it."""
    return Path(shutil.copy(_PROGRAMS / name, folder))


def python(visits: int) -> contextlib.AbstractContextManager[Subject]:
    """Run the server in Python."""

    def questions(server: Server) -> Sequence[Question]:
        probe = f"usdt:{os.path.realpath(_PYTHON)}:python"
        return [
            *_calls(
                server,
                lambda: _number(server, "calls"),
                "its own count",
                # CPython 3.11 raises the probe of calls while that of lines is wanted, too.
                f"{probe}:function__entry {{ @[str(arg0), str(arg1)] = count(); }} "
                f"{probe}:line {{ @lines = count(); }}",
                function="render",
            ),
            *_collections(
                lambda: _number(server, "collections"),
                "collections of gc.get_stats()",
                latency_between(f"{probe}:gc__start", f"{probe}:gc__done"),
            ),
        ]

    find(_PYTHON)
    return _running(
        "Python", "python3", [_PYTHON, "--version"], visits,
        lambda folder: [_PYTHON, "-S", "-I", _source(folder, "visits.py")], questions,
    )  # fmt: skip


def ruby(visits: int) -> contextlib.AbstractContextManager[Subject]:
    """Run the server in Ruby."""

    def questions(server: Server) -> Sequence[Question]:
        probe = f"usdt:{_library(server.pid, 'libruby')}:ruby"
        return [
            *_calls(
                server,
                lambda: _number(server, "calls"),
                "its own count",
                f"{probe}:cmethod__entry {{ @[str(arg0), str(arg1)] = count(); }}",
                function="sort",
                scope="Array",
            ),
            *_collections(
                lambda: _number(server, "collections"),
                "GC.count",
                latency_between(f"{probe}:gc__mark__begin", f"{probe}:gc__mark__end"),
                collection="mark",
            ),
            _objects(
                lambda: _number(server, "objects"),
                "Item",
                f"{probe}:object__create {{ @[str(arg0)] = count(); }} "
                + " ".join(f'{probe}:{kind}__create {{ @["{kind}"] = count(); }}' for kind in _KINDS),
            ),
        ]

    program = find("ruby")
    return _running(
        "Ruby", "ruby", [program, "--version"], visits,
        lambda folder: [program, "--disable-gems", _source(folder, "visits.rb")], questions,
    )  # fmt: skip


def php(visits: int) -> contextlib.AbstractContextManager[Subject]:
    """Run the server in PHP."""
    program = find("php")

    def questions(server: Server) -> Sequence[Question]:
        file = os.path.realpath(program)
        return [
            *_calls(
                server,
                lambda: _number(server, "calls"),
                "its own count",
                f"usdt:{file}:php:function__entry {{ @[str(arg3), str(arg0)] = count(); }}",
                function="render",
            ),
            Question(
                "how often does it look for garbage, how long does that take",
                ("funclatency", "u:php:zend_gc_collect_cycles"),
                said=lambda records: total(records, "calls"),
                counter=lambda: _number(server, "runs"),
                source="runs of gc_status()",
                bpftrace=latency_between(
                    f"uprobe:{file}:zend_gc_collect_cycles", f"uretprobe:{file}:zend_gc_collect_cycles"
                ),
            ),
        ]

    return _running(
        "PHP", "php", [program, "--version"], visits,
        lambda folder: ["env", "USE_ZEND_DTRACE=1", program, "-n", _source(folder, "visits.php")], questions,
    )  # fmt: skip


def node(visits: int) -> contextlib.AbstractContextManager[Subject]:
    """Run the server in JavaScript, by Node.js: it has no probes, but V8 has its symbols."""

    def questions(server: Server) -> Sequence[Question]:
        return [
            Question(
                "how many collections are there, how long do they take",
                ("funclatency", "u:node:_ZN2v88internal4Heap24PerformGarbageCollection*"),
                said=lambda records: total(records, "calls"),
                counter=lambda: len(_TRACED.findall((server.folder / "log").read_text())),
                source="lines of --trace-gc",
            )
        ]

    program = find("node")
    return _running(
        "Node.js", "node", [program, "--version"], visits,
        lambda folder: [program, "--expose-gc", "--trace-gc", _source(folder, "visits.js")], questions,
    )  # fmt: skip


def java(visits: int) -> contextlib.AbstractContextManager[Subject]:
    """Run the server in Java."""

    def words(folder: Path) -> Sequence[object]:
        source = _source(folder, "Visits.java")
        subprocess.run([find("javac"), "-d", str(folder), str(source)], check=True)
        options = ["-XX:+ExtendedDTraceProbes", "-XX:+UseSerialGC", "-Xmx48m", f"-Xlog:gc:file={folder}/gc"]
        return [program, *options, "-cp", folder, "Visits"]

    def questions(server: Server) -> Sequence[Question]:
        probe = f"usdt:{_library(server.pid, 'libjvm.so')}:hotspot"

        def pauses() -> list[float]:
            return [float(one) for one in _PAUSES.findall((server.folder / "gc").read_text())]

        return [
            *_calls(
                server,
                lambda: _number(server, "calls"),
                "its own count",
                f"{probe}:method__entry {{ @[str(arg1, arg2), str(arg3, arg4)] = count(); }}",
                function="render",
                scope="Visits",
            ),
            *_collections(
                lambda: len(pauses()),
                "pauses in the log of -Xlog:gc",
                latency_between(f"{probe}:gc__begin", f"{probe}:gc__end"),
            ),
            Question(
                "how long do collections take: microseconds in all",
                ("langgc", "--latency"),
                said=lambda records: total(records, "total_ns") // 1000,
                counter=lambda: round(sum(pauses()) * 1000),
                source="milliseconds in that log; within 10 %",
                within=10,
            ),
            _objects(
                lambda: _number(server, "objects"),
                "Visits$Item",
                f"{probe}:object__alloc {{ @[str(arg1, arg2)] = count(); }}",
            ),
        ]

    program = find("java")
    find("javac")
    return _running("Java", "java", [program, "-version"], visits, words, questions)
