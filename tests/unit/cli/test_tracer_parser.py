"""Test the command line: one grammar for all tracers, and errors of one line and a hint."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pytracer import __version__
from pytracer.cli import tracer_parser
from pytracer.cli.main import main
from pytracer.errors import BuildError, LossError, PolicyError, PytracerError, UnsupportedError, UsageError
from pytracer.kernel import filter_values
from pytracer.request import NameSetValue, request_builder
from pytracer.spec import Filter, registry
from support.fake_kernel import FakeKernel

SYSCALLS = registry.get("syscalls")
SOCKCOUNT = registry.get("sockcount")


def parse(*words, tracer=SYSCALLS):
    return tracer_parser.parse(tracer, words)[0]


def error_of(*words, tracer=SYSCALLS):
    with pytest.raises(UsageError) as excinfo:
        parse(*words, tracer=tracer)
    assert excinfo.value.exit_code == 2
    return excinfo.value


def u32(number):
    return struct.pack("I", number)


# Lengths of time.


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("10ms", 10**7),
        ("10", 10**7),
        ("0", 0),
        ("1.5us", 1500),
        ("0.0000001s", 100),
        ("7ns", 7),
        ("2s", 2 * 10**9),
    ],
)
def test_a_length_of_time(text, nanoseconds):
    request = parse("vfs_read", "--min", text, tracer=registry.get("funcslower"))
    assert request.options["min"] == nanoseconds


@pytest.mark.parametrize("text", ["10m", "1e3", "", "10 ms", "ms", "10MS", "\u0663", "9" * 18 + "s"])
def test_no_length_of_time(text):
    error = error_of("vfs_read", "--min", text, tracer=registry.get("funcslower"))
    assert f"{text!r} is no length of time such as 10ms" in error.message


# INTERVAL and COUNT.


@pytest.mark.parametrize(
    ("words", "interval", "count"),
    [
        ("", None, None),
        ("5", 5.0, None),
        ("0.25", 0.25, None),
        ("5 12", 5.0, 12),
        ("--top 3 5 12", 5.0, 12),
        ("5 --top 3 12", 5.0, 12),
        ("5 12 --top 3", 5.0, 12),
        ("5 -- sleep 9", 5.0, None),
    ],
)
def test_interval_and_count(words, interval, count):
    request = parse(*words.split())
    assert (request.interval, request.count) == (interval, count)


@pytest.mark.parametrize(
    ("words", "interfaces", "interval", "count"),
    [
        ("lo", ["lo"], None, None),
        ("lo 5", ["lo"], 5.0, None),
        ("lo 5 12", ["lo"], 5.0, 12),
        ("any 5", ["any"], 5.0, None),
        ("lo lo 5", ["lo"], 5.0, None),
        ("5 lo", None, None, None),
    ],
)
def test_arguments_precede_interval_and_count(words, interfaces, interval, count):
    if interfaces is None:
        assert error_of(*words.split(), tracer=SOCKCOUNT).message == "no network interface '5'"
        return
    request = parse(*words.split(), tracer=SOCKCOUNT)
    assert (list(request.interfaces.values()), request.interval, request.count) == (
        interfaces,
        interval,
        count,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("0", "INTERVAL: '0' is no length of time in seconds"),
        ("-1", "INTERVAL: '-1' is no length of time in seconds"),
        ("nan", "INTERVAL: 'nan' is no length of time in seconds"),
        ("inf", "INTERVAL: 'inf' is no length of time in seconds"),
        ("1e9", "INTERVAL: '1e9' is no length of time in seconds"),
        ("1 0", "COUNT: '0' is no positive whole number"),
        ("1 1.5", "COUNT: '1.5' is no positive whole number"),
        ("1 -2", "COUNT: '-2' is no positive whole number"),
        ("1 2 3", "syscalls takes no argument '1'"),
        ("eth0", "syscalls takes no argument 'eth0'"),
        ("1 eth0", "syscalls takes no argument '1'"),
    ],
)
def test_invalid_intervals_and_counts(words, message):
    assert error_of(*words.split()).message == message


def test_an_argument_that_is_needed():
    message = error_of(tracer=SOCKCOUNT).message
    assert message.startswith("sockcount needs ")
    assert "pytracer sockcount " in message
    assert error_of("5", tracer=SOCKCOUNT).message == message


# Commands.


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ((), ()),
        (("--", "ls", "-l"), ("ls", "-l")),
        (("--", "sh", "-c", "a b", "--", "-p"), ("sh", "-c", "a b", "--", "-p")),
        (("--top", "3", "--", "ls", "--top"), ("ls", "--top")),
        (("-c", "ls -l 'a b'"), ("ls", "-l", "a b")),
    ],
)
def test_command(words, command):
    assert parse(*words).command == command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--",), "-- needs a command after it"),
        (("-c", "ls", "--", "ls"), "-c and -- both name a command"),
        (("-c", ""), "-c needs a command"),
        (("-c", "  "), "-c needs a command"),
        (("-c", "ls 'a"), '-c "ls \'a": No closing quotation'),
    ],
)
def test_an_unknown_command(words, message):
    assert error_of(*words).message == message


def test_a_command_where_none_can_be_followed(monkeypatch, capsys):
    monkeypatch.setattr("pytracer.features.kernel_facts.RunningKernel", FakeKernel)
    assert main(["sockcount", "lo", "--dry-run", "--", "ls"]) == 2
    assert "sockcount cannot tell one command's doings" in capsys.readouterr().err
    assert main(["sockcount", "lo", "--dry-run", "--load", "--", "ls"]) == 0


@pytest.mark.parametrize(
    ("words", "follows"),
    [
        ("", True),
        ("--load", False),
        ("-p OWN", False),
        ("--cgroup /", False),
        ("--netns OWN", False),
        ("--mntns OWN", False),
        ("--tid OWN", True),
        ("--comm ls", True),
        ("-u 0", True),
    ],
    ids=["none", "load", "pid", "cgroup", "netns", "mntns", "tid", "comm", "user"],
)
def test_a_command_beside_other_filters(words, follows):
    """Filters that name other tasks make the command the load that bounds the time."""
    words = words.replace("OWN", str(os.getpid()))  # names of tests are the same in all of pytest's processes
    assert parse(*words.split(), "--", "ls").follows is follows
    assert not parse(*[word for word in words.split() if word != "--load"]).follows


@pytest.mark.parametrize("flag", ["--load", "--wait-all"])
def test_options_of_commands_need_a_command(flag):
    assert error_of(flag).message == f"{flag} is for a command that is started"


# Filters.


@pytest.mark.parametrize(
    ("words", "filter_kind", "keys"),
    [
        (f"-p {os.getpid()} --pid 1", Filter.PID, (u32(os.getpid()), u32(1))),
        (f"--tid {os.getpid()}", Filter.TID, (u32(os.getpid()),)),
        ("--comm ls --comm cat", Filter.COMM, (b"ls".ljust(16, b"\0"), b"cat".ljust(16, b"\0"))),
        ("-u root --uid 65534", Filter.UID, (u32(0), u32(65534))),
        ("--netns self --netns self", Filter.NETNS, (b"self", b"self")),
        ("--mntns self", Filter.MNTNS, (b"self",)),
        ("--cgroup a --container b", Filter.CGROUP, (b"a", b"the cgroup of b")),
    ],
    ids=[
        "pid",
        "tid",
        "comm",
        "user",
        "netns",
        "mntns",
        "cgroup",
    ],  # a process id would differ between workers
)
def test_filters(monkeypatch, words, filter_kind, keys):
    for name, resolve in {
        Filter.CGROUP: str.encode,
        Filter.NETNS: str.encode,
        Filter.MNTNS: str.encode,
    }.items():
        monkeypatch.setitem(request_builder._RESOLVERS, name, resolve)
    monkeypatch.setattr(filter_values, "container", lambda text: ("cgroup", f"the cgroup of {text}".encode()))
    assert parse(*words.split()).filters == {filter_kind: keys}


def test_a_container_may_be_a_mount_namespace(monkeypatch):
    monkeypatch.setattr(filter_values, "container", lambda text: ("mntns", b"1234"))
    assert parse("--container", "web").filters == {Filter.MNTNS: (b"1234",)}
    with pytest.raises(UsageError, match="the container 'web' has no cgroup of version 2"):
        parse("--container", "web", tracer=registry.get("cgroupcount"))


def test_no_filter():
    assert parse().filters == {}


def test_filters_that_a_tracer_does_not_have():
    assert "unrecognized arguments: -p" in error_of("lo", "-p", "1", tracer=SOCKCOUNT).message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-p x", "no process 'x'"),
        ("-p 0", "no process 0"),
        ("-u no-such-user-anywhere", "no user 'no-such-user-anywhere'"),
        ("--netns /nowhere", "no net namespace '/nowhere'"),
        ("--cgroup /nowhere", "no cgroup '/nowhere'"),
        ("--container nowhere-at-all", "no running container 'nowhere-at-all'"),
    ],
)
def test_a_filter_that_names_nothing(words, message):
    error = error_of(*words.split())
    assert error.message == message
    assert error.hint or words == "-p x"


# Options of a tracer's own.


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", {"by": ("syscall",), "latency": False, "errno": False, "calls": None}),
        ("--by pid,syscall", {"by": ("pid", "syscall")}),
        ("--by pid --by comm", {"by": ("comm",)}),
        ("--by pid,pid", {"by": ("pid",)}),
        ("--latency", {"latency": True}),
        ("--errno", {"errno": True}),
        ("-e x86_64:read", {"calls": NameSetValue((bytes(8),), exclude=False)}),
        ("--calls !x86_64:openat", {"calls": NameSetValue(((257).to_bytes(8, "little"),), exclude=True)}),
    ],
)
def test_options(monkeypatch, words, options):
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    actual = parse(*words.split()).options
    assert {name: actual[name] for name in options} == options


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("-e connect,fail", NameSetValue((bytes(8), (3).to_bytes(8, "little")), exclude=False)),
        ("--types !close", NameSetValue(((2).to_bytes(8, "little"),), exclude=True)),
    ],
)
def test_names_that_are_all_there_are(words, value):
    assert parse(*words.split(), tracer=registry.get("tcptracer")).options["types"] == value


V4 = bytes(10) + b"\xff\xff"


@pytest.mark.parametrize(
    ("words", "keys", "exclude"),
    [
        ("10.0.0.0/8", [(4, 96 + 8, V4 + b"\x0a\0\0\0")], False),
        ("!192.0.2.1,::/0", [(4, 128, V4 + b"\xc0\0\2\1"), (6, 0, bytes(16))], True),
        ("2001:db8::/32", [(6, 32, b"\x20\1\x0d\xb8" + bytes(12))], False),
        ("0.0.0.0/0, 0.0.0.0/0", [(4, 96, V4 + bytes(4))], False),
    ],
)
def test_networks(words, keys, exclude):
    value = parse("--net", words, tracer=registry.get("tcptracer")).options["net"]
    assert value == NameSetValue(
        tuple(struct.pack("=II16s", 32 + bits, version, address) for version, bits, address in keys), exclude
    )


@pytest.mark.parametrize(
    ("words", "keys", "exclude"),
    [
        ("/etc/*", [(40, b"/etc/")], False),
        ("!/etc/passwd,*", [(96, b"/etc/passwd\0"), (0, b"")], True),
        ("/p/\udcff", [(32, b"/p/\xff")], False),
    ],
)
def test_paths(words, keys, exclude):
    value = parse("--path", words, tracer=registry.get("opensnoop")).options["path"]
    keys = [(bits + (0 if b"\0" in path or "*" in words else 8), path) for bits, path in keys]
    assert value == NameSetValue(tuple(struct.pack("=I252s", *key) for key in keys), exclude)


@pytest.mark.parametrize(
    ("tracer", "word", "message", "hint"),
    [
        ("tcptracer", "--net=10.1.0.0/8", "'10.1.0.0/8' is no network", "its first address is 10.0.0.0/8"),
        ("tcptracer", "--net=10.0.0.0/33", "is no network", "as in 10.0.0.0/8"),
        ("tcptracer", "--net=", "'' is no network", "as in"),
        ("tcptracer", "--net=10.0.0.1,localhost", "'localhost' is no network", "as in"),
        ("opensnoop", "--path=/etc/*.conf", "a * stands at the end", "as in /etc/*"),
        ("opensnoop", "--path=/etc,", "needs a path", "as in"),
        ("opensnoop", f"--path={'x' * 252}", "the first 252 bytes", "xxx*"),
    ],
)
def test_invalid_networks_and_paths(tracer, word, message, hint):
    with pytest.raises(UsageError) as excinfo:
        parse(word, tracer=registry.get(tracer))
    assert message in excinfo.value.message
    assert hint in excinfo.value.hint


@pytest.mark.parametrize("names", ["open", "connect,", "", "!", "!connect,open", "CONNECT"])
def test_a_name_that_is_none_of_them(names):
    error = error_of(f"--types={names}", tracer=registry.get("tcptracer"))
    assert "is none of them" in error.message
    assert error.hint == "there are: connect, accept, close, fail"


def test_choices():
    assert parse("lo", tracer=SOCKCOUNT).options == {"direction": "in", "program": "c"}
    assert parse("lo", "--direction", "both", tracer=SOCKCOUNT).options["direction"] == "both"


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        ("-d 2.5", {"duration": 2.5}),
        ("--top 7", {"top": 7}),
        ("--max-rows 7", {"rows": 7}),
        ("--sort calls", {"sort": "calls"}),
        (
            "--hook syscall=tracepoint --hook exit=tracepoint",
            {"hooks": {"syscall": "tracepoint", "exit": "tracepoint"}},
        ),
        ("--headers package", {"headers": "package"}),
    ],
)
def test_common_options(words, request_):
    request = parse(*words.split())
    assert {name: getattr(request, name) for name in request_} == request_


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("--by", "argument --by: expected one argument", "pytracer syscalls --help"),
        ("--by pids", "--by 'pids': no such key", "keys: syscall, pid, comm"),
        ("--by pid,", "--by '': no such key", "keys: "),
        ("-e opennat", "no system call 'opennat'", "did you mean openat"),
        ("-e ,", "no system call is named", "-e openat,read"),
        ("-d 0", "argument -d/--duration: '0' is no length of time in seconds", "--help"),
        ("-d x", "argument -d/--duration: 'x' is no length of time in seconds", "--help"),
        ("--top 0", "argument --top: '0' is no positive whole number", "--help"),
        ("--top 1.5", "argument --top: '1.5' is no positive whole number", "--help"),
        ("--max-rows x", "argument --max-rows: 'x' is no positive whole number", "--help"),
        ("--hook syscall", "--hook 'syscall': expected HOOK=ALTERNATIVE", "--dry-run"),
        ("--hook =tracepoint", "--hook '=tracepoint': expected HOOK=ALTERNATIVE", "--dry-run"),
        ("--latenc", "unrecognized arguments: --latenc", "pytracer syscalls --help"),
    ],
)
def test_bad_values(words, message, hint):
    error = error_of(*words.split())
    assert error.message == message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("words", "tracer"), [("-f xml", SYSCALLS), ("--headers own", SYSCALLS), ("lo --direction up", SOCKCOUNT)]
)
def test_a_value_that_is_none_of_the_choices(words, tracer):
    error = error_of(*words.split(), tracer=tracer)
    assert f"invalid choice: '{words.split()[-1]}'" in error.message


# Help and lists: without root, without BCC.


@pytest.mark.parametrize("name", registry.names())
@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--top", "3", "--help"]])
def test_help_of_a_tracer(name, words, capsys):
    assert main([name, *words]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: pytracer {name}")
    for word in ("--format", "--strict", "examples:", "notes:", "columns:"):
        assert word in out
    assert err == ""


def test_help_of_the_command_is_passed_on():
    assert parse("--", "ls", "--help").command == ("ls", "--help")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help(words, capsys):
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: pytracer TRACER")
    assert "  syscalls " in out


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_list_names_every_tracer_in_its_group(words, capsys):
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for tracer in registry.all_tracers():
        line = next(line for line in lines if line.startswith(f"  {tracer.name} "))
        assert line.endswith(f"  {tracer.summary}")
        heads = [head for head in lines[: lines.index(line)] if head.endswith(":")]
        assert heads[-1] == f"{tracer.group}:"
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("words", [["-f", "json"], ["--format", "json"], ["--format=json"]])
def test_the_list_as_json(words, capsys):
    assert main(["list", *words]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["name"]: record["summary"] for record in records} == {
        tracer.name: tracer.summary for tracer in registry.all_tracers()
    }
    assert {record["kind"] for record in records} == {"tracer"}
    assert len(records) == len(registry.names())


@pytest.mark.parametrize("words", [["x"], ["-f", "xml"], ["-f"]])
def test_the_list_accepts_no_other_arguments(words, capsys):
    assert main(["list", *words]) == 2
    assert "hint: pytracer list --help" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"pytracer {__version__}\n"


def test_a_reader_that_has_gone_is_no_error():
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    result = subprocess.run(
        [sys.executable, "-m", "pytracer", "list"],
        stdout=write_fd,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": ""},
        check=False,
    )
    os.close(write_fd)
    assert (result.returncode, result.stderr) == (0, b"")


# Errors.


def fail_with(monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr("pytracer.trace.run_tracer.run", run)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PytracerError("went wrong", hint="do this"), 1),
        (BuildError("went wrong", hint="do this"), 1),
        (UsageError("went wrong", hint="do this"), 2),
        (LossError("went wrong", hint="do this"), 3),
        (UnsupportedError("went wrong", hint="do this"), 4),
        (PolicyError("went wrong", hint="do this"), 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line_a_hint_and_its_exit_status(monkeypatch, capsys, error, status):
    fail_with(monkeypatch, error)
    assert main(["syscalls"]) == status
    assert capsys.readouterr() == ("", "pytracer: error: went wrong\nhint: do this\n")


def test_an_error_without_a_hint_is_one_line(monkeypatch, capsys):
    fail_with(monkeypatch, PytracerError("went\nwrong"))
    assert main(["syscalls"]) == 1
    assert capsys.readouterr().err == "pytracer: error: went wrong\n"


def test_debug_shows_the_detail_and_the_traceback(monkeypatch, capsys):
    fail_with(monkeypatch, BuildError("does not compile", detail="what the compiler said"))
    assert main(["syscalls"]) == 1
    assert "what the compiler said" not in capsys.readouterr().err
    assert main(["syscalls", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "what the compiler said" in err
    assert "Traceback (most recent call last)" in err


def test_a_defect_is_called_one(monkeypatch, capsys):
    fail_with(monkeypatch, ZeroDivisionError("oh\x1b[2J"))
    assert main(["syscalls"]) == 1
    assert capsys.readouterr().err == (
        "pytracer: error: ZeroDivisionError: oh\\x1b[2J\n"
        "hint: this is a defect of pytracer; --debug shows where\n"
    )
    with pytest.raises(ZeroDivisionError):
        main(["syscalls", "--debug"])
    fail_with(monkeypatch, struct.error("argument out of range"))
    assert main(["syscalls"]) == 1
    assert capsys.readouterr().err.startswith("pytracer: error: struct.error: argument out of range\n")


def test_debug_of_the_command_is_the_commands(monkeypatch, capsys):
    fail_with(monkeypatch, PytracerError("went wrong"))
    main(["syscalls", "--", "ls", "--debug"])
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_is_130_as_in_a_shell(monkeypatch, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["syscalls"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["sycalls"], "no tracer 'sycalls'", "did you mean syscalls"),
        (["zzz"], "no tracer 'zzz'", "pytracer list"),
        (["--dry-run", "syscalls"], "the tracer comes first, not '--dry-run'", "pytracer list"),
        (["syscalls", "--no-such"], "unrecognized arguments: --no-such", "pytracer syscalls --help"),
        (["syscalls", "-o", "/nowhere/at/all"], "cannot write '/nowhere/at/all'", ""),
    ],
)
def test_contradictory_options_are_refused(monkeypatch, capsys, words, message, hint):
    assert main(words) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first.startswith(f"pytracer: error: {message}")
    assert hint in "".join(lines)


HOSTILE = "a\x1b[2J\x07\x9b\u202e\udcff"


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["", "debug"])
@pytest.mark.parametrize(
    "words",
    [
        [HOSTILE],
        [f"-{HOSTILE}"],
        ["syscalls", HOSTILE],
        ["syscalls", f"--{HOSTILE}"],
        ["syscalls", "-f", HOSTILE],
        ["syscalls", "--by", HOSTILE],
        ["syscalls", "--top", HOSTILE],
        ["syscalls", "-d", HOSTILE],
        ["syscalls", "-e", HOSTILE],
        ["syscalls", "-p", HOSTILE],
        ["syscalls", "-u", HOSTILE],
        ["syscalls", "--cgroup", HOSTILE],
        ["syscalls", "--container", HOSTILE],
        ["syscalls", "--netns", HOSTILE],
        ["syscalls", "--hook", HOSTILE],
        ["syscalls", "-c", f"'{HOSTILE}"],
        ["syscalls", "--dry-run", "--sort", HOSTILE],
        ["syscalls", "--dry-run", "--hook", f"{HOSTILE}=a"],
        ["sockcount", HOSTILE],
        ["sockcount", "lo", "--direction", HOSTILE],
        ["list", HOSTILE],
    ],
    ids=lambda words: "_".join(word for word in words if HOSTILE not in word) or "tracer",
)
def test_control_characters_in_arguments_are_never_echoed(monkeypatch, capsys, words, debug):
    monkeypatch.setattr("pytracer.features.kernel_facts.RunningKernel", FakeKernel)
    assert main([*words, *debug]) == 2
    err = capsys.readouterr().err
    assert err.startswith("pytracer: error: ")
    assert [c for c in err if c != "\n" and not c.isprintable()] == []


def test_dry_run_prints_the_plan_and_nothing_a_terminal_would_obey(monkeypatch, capsys):
    monkeypatch.setattr("pytracer.features.kernel_facts.RunningKernel", FakeKernel)
    monkeypatch.setattr(filter_values, "container", lambda text: ("cgroup", b"/sys/fs/cgroup/a\x1b[2J\xff"))
    assert main(["syscalls", "--container", "a", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tracer   syscalls\n")
    assert "cgroup   /sys/fs/cgroup/a\\x1b[2J" in out
    assert [c for c in out if c != "\n" and not c.isprintable()] == []


def test_emit_c_prints_the_macros_and_then_the_c(monkeypatch, capsys):
    monkeypatch.setattr("pytracer.features.kernel_facts.RunningKernel", FakeKernel)
    assert main(["syscalls", "--emit-c", "--max-rows", "17"]) == 0
    out = capsys.readouterr().out
    assert "#define PT_ROWS_MAX 17\n" in out
    assert out.index("#define PT_ROWS_MAX 17") < out.index('#line 1 "syscalls.c"')


@pytest.mark.parametrize("status", [0, 3, 143])
def test_the_exit_status_is_that_of_the_run(monkeypatch, status, tmp_path):
    calls = {}

    def run(request, facts, sink, *, log, warn, ready, is_strict, output):
        calls.update(command=request.command, strict=is_strict)
        return status

    monkeypatch.setattr("pytracer.trace.run_tracer.run", run)
    assert main(["syscalls", "--strict", "-o", str(tmp_path / "out"), "--", "ls", "-l"]) == status
    assert calls == {"command": ("ls", "-l"), "strict": True}
    assert (tmp_path / "out").read_text() == ""


# What is attached to, where the user names it.


def test_sources():
    request = parse("vfs_*", "t:block:*", "vfs_*", "5", "-p", "1", tracer=registry.get("funccount"))
    assert [source.text for source in request.sources] == ["k:vfs_*", "t:block:*"]
    assert (request.interval, request.max_probes, request.interfaces) == (5.0, None, {})
    assert parse("vfs_*", "--max-probes", "7", tracer=registry.get("funccount")).max_probes == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "funccount needs what to count"),
        (("5",), "funccount needs what to count"),
        (("vfs-read",), "'-read' at character 4"),
        (("vfs_*", "--max-probes", "0"), "no positive whole number"),
    ],
)
def test_sources_that_are_none(words, message):
    assert message in error_of(*words, tracer=registry.get("funccount")).message
