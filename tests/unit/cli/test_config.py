"""Test defaults from configuration files: which apply, which files are read, and errors."""

from __future__ import annotations

import os

import pytest

from pytracer.cli import config, tracer_parser
from pytracer.cli.main import main
from pytracer.errors import UsageError
from pytracer.spec import registry

SYSCALLS, OPENSNOOP = registry.get("syscalls"), registry.get("opensnoop")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return the paths of the system's file and the user's, which the test writes."""
    monkeypatch.setattr(config, "SYSTEM", tmp_path / "etc.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pytracer").mkdir(mode=0o755)
    os.umask(0o022)
    return tmp_path / "etc.toml", tmp_path / "pytracer" / "config.toml"


def parse_options(*words, tracer=SYSCALLS):
    return tracer_parser.parse(tracer, words)[1]


def test_without_files_nothing_is_another(files):
    assert (parse_options().format, parse_options().defaults, parse_options().warnings) == ("table", [], [])


def test_the_command_line_precedes_the_user_file_and_that_the_system_file(files):
    system, user = files
    system.write_text('[defaults]\nformat = "csv"\ntop = 7\nwide = true\n')
    assert (parse_options().format, parse_options().top) == ("csv", 7)
    user.write_text('[defaults]\nformat = "json"\n')
    assert (parse_options().format, parse_options().top) == ("json", 7)
    assert (parse_options("-f", "table").format, parse_options("--top", "5").top) == ("table", 5)
    assert (parse_options("--no-config").format, parse_options("--no-config").top) == ("table", None)


def test_a_tracers_own_section(files):
    files[1].write_text(
        '[defaults]\nformat = "csv"\n[tracer.syscalls]\nby = "pid"\nformat = "json"\nstrict = true\n'
        "[tracer.other]\nunknown = 1\n"
    )
    request, parsed = tracer_parser.parse(SYSCALLS, [])
    assert (request.options["by"], parsed.format, parsed.strict) == (("pid",), "json", True)
    assert parse_options(tracer=OPENSNOOP).format == "csv"


def test_options_of_other_tracers_are_ignored(files):
    files[1].write_text('[defaults]\nformat = "flamegraph"\ntop = 7\nbuffer = "1M"\nicicle = true\n')
    parsed = parse_options(tracer=OPENSNOOP)
    assert (parsed.format, parsed.top, parsed.buffer) == ("table", None, 1 << 20)
    parsed = parse_options(tracer=registry.get("profile"))
    assert (parsed.format, parsed.top, parsed.icicle) == ("flamegraph", 7, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[defaults]\nformat", "config.toml: "),
        ("[other]\n", "no such section: 'other'"),
        ("[defaults]\nformatt = 'json'\n", "'formatt' is no option of"),
        ("[defaults]\ntop = true\n", "'top' is text or a number, not True"),
        ("[defaults]\nwide = 1\n", "'wide' is true or false, not 1"),
        ("[defaults]\nstrict = 'yes'\n", "'strict' is true or false, not 'yes'"),
        ("[tracer]\nsyscalls = 7\n", "syscalls is a section"),
        ("[tracer.syscalls]\nlatencies = true\n", "'latencies' is no option of [tracer.syscalls]"),
        ("[tracer.syscalls]\noutput = '/etc/passwd'\n", "'output' is no option"),
        ("[tracer.syscalls]\npid = 1\n", "'pid' selects what is traced"),
        ("[tracer.syscalls]\ntop = [1]\n", "text or a number"),
        ("[defaults]\ntop = 0\n", "--top"),
    ],
)
def test_mistakes_name_the_file(files, text, message):
    files[1].write_text(text)
    with pytest.raises(UsageError) as excinfo:
        parse_options()
    assert message in excinfo.value.message
    assert "config.toml" in excinfo.value.message + excinfo.value.hint


def test_a_file_that_others_can_write_is_not_read(files):
    files[1].write_text('[defaults]\nformat = "json"\n')
    files[1].chmod(0o666)
    parsed = parse_options()
    assert parsed.format == "table"
    [warning] = parsed.warnings
    assert "can be written by others" in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_of_another_user_is_not_read(files):
    files[1].write_text('[defaults]\nformat = "json"\n')
    os.chown(files[1], 65534, 65534)
    parsed = parse_options()
    assert parsed.format == "table"
    assert "belongs to another user (uid 65534)" in parsed.warnings[0]


def test_only_regular_files_are_read(files):
    os.mkfifo(files[1])
    assert "no regular file" in parse_options().warnings[0]


def test_a_dry_run_shows_where_defaults_come_from(files, capsys):
    files[0].write_text("[defaults]\ntop = 7\n")
    files[1].write_text("[tracer.syscalls]\nby = 'comm'\n")
    assert main(["syscalls", "--dry-run"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("default")]
    assert lines == [f"default  --top=7, from {files[0]}", f"default  --by=comm, from {files[1]}"]
