"""Test completion, and the script for bash in a real bash."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.cli import candidates as module
from pytracer.cli.candidates import COMMANDS, FILES, candidates
from pytracer.cli.main import main
from pytracer.errors import NotPermittedError
from pytracer.kernel import tracefs
from pytracer.spec import registry

HELPS = {"list": "the tracers", "explain": "", "diff": "", "completion": "", "list-probes": "", "serve": ""}


def offered(line):
    return [word for word, _ in candidates(line.split(" "), HELPS)]


def test_the_first_word_is_a_tracer_or_a_command():
    assert {*registry.names(), *HELPS} == set(offered(""))
    assert offered("li") == ["list", "list-probes"]
    assert ("syscalls", registry.get("syscalls").summary) in set(candidates(["sys"], {}))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("syscalls --by pid,sys", ["pid,syscall"]),
        ("syscalls --lat", ["--latency"]),
        ("syscalls -e openat,renamea", ["openat,renameat", "openat,renameat2"]),
        ("syscalls -e !renamea", ["!renameat", "!renameat2"]),
        ("profile -f fl", ["flamegraph"]),
        ("opensnoop -f fl", []),
        ("biolatency --sort p99", ["p99_ns", "p999_ns"]),
        ("syscalls --hook syscall=raw", ["syscall=raw-tracepoint"]),
        ("sockcount l", ["lo"]),
        ("funccount usd", ["usdt:"]),
        ("explain sysc", ["syscalls"]),
        ("completion z", ["zsh"]),
        ("serve sysc", ["syscalls"]),
        ("serve syscalls --w", ["--web"]),
        ("serve syscalls --web ", ["127.0.0.1:8080"]),
        ("syscalls -o ", [FILES]),
        ("diff a", [FILES]),
        ("syscalls -p 1 -- l", [COMMANDS]),
        ("syscalls -c l", [COMMANDS]),
        ("no-such-tracer -", []),
        ("sockcount --no-such-option x", []),
    ],
)
def test_offered_candidates(line, words):
    assert offered(line) == words


def test_tasks_and_users_are_those_of_this_machine():
    assert str(os.getpid()) in offered("syscalls -p ")
    assert "root" in offered("syscalls -u ")
    comm = Path("/proc/self/comm").read_text().strip()
    assert (str(os.getpid()), comm) in set(candidates(["syscalls", "--pid", ""], {}))


def test_functions_and_raw_tracepoints_come_from_btf():
    assert "k:vfs_read" in offered("funccount k:vfs_r")
    assert "f:vfs_read" in offered("list-probes f:vfs_r")
    assert "rt:sched_switch" in offered("stackcount rt:sched_")


def test_functions_need_no_kind():
    assert "vfs_read" in offered("funccount vfs_r")
    assert offered("funccount vf") == []


def test_trace_events_are_known_without_tracefs(monkeypatch):
    def refused():
        raise NotPermittedError("tracefs may not be read")

    actual = set(offered("funccount t:"))
    monkeypatch.setattr(tracefs, "events", refused)
    expected = set(offered("funccount t:"))
    assert {
        "t:sched:sched_switch",
        "t:block:block_rq_issue",
        "t:syscalls:sys_exit_openat",
    } <= expected & actual
    assert "t:sched:no_such_event" not in expected


def test_names_of_processes_are_not_executed(monkeypatch, capsys):
    monkeypatch.setattr(module, "_list_pids", lambda: [("1", "a\nb\x1b[2J"), ("2 3", "x"), ("4\x1b", "x")])
    monkeypatch.setitem(module._NAMES, "--pid", module._list_pids)
    assert main(["completion", "candidates", "syscalls", "--pid", ""]) == 0
    assert capsys.readouterr().out == "1\ta\\nb\\x1b[2J\n"


def test_help_of_options_has_none_that_are_hidden():
    assert "--top" not in offered("opensnoop --t")
    assert "--timestamp" in offered("opensnoop --t")


@pytest.fixture
def bash(tmp_path):
    """Return bash's completions of a line, with the script."""
    program = tmp_path / "pytracer"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pytracer "$@"\n')
    program.chmod(0o755)

    def complete(line):
        code = f"""
            PATH={tmp_path}:$PATH
            compopt() {{ echo "opt $*"; }}
            eval "$(pytracer completion bash)"
            COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
            _pytracer
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        result = subprocess.run(
            [shutil.which("bash"), "-c", code], capture_output=True, text=True, check=True
        )
        assert not result.stderr
        return result.stdout.splitlines()

    return complete


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pytracer sysc", ["syscalls"]),
        ("sudo pytracer sysc", ["syscalls"]),
        ("pytracer profile -f fl", ["flamegraph"]),
        ("pytracer funccount usd", ["opt -o nospace", "usdt:"]),
        ("pytracer funccount rt:sched_swi", ["sched_switch"]),  # bash keeps what is before the colon
        ("pytracer syscalls --hook syscall=raw", ["raw-tracepoint"]),
        ("pytracer syscalls -o /etc/hostn", ["opt -o filenames", "/etc/hostname"]),
        ("pytracer no-such-tracer ", [""]),
    ],
)
def test_bash_completes(bash, line, words):
    assert bash(line) == words


def test_an_unknown_shell_is_an_error(capsys):
    assert main(["completion", "csh"]) == 2
    assert main(["completion"]) == 2
    assert main(["completion", "--help"]) == 0
    assert "no completion for 'csh'" in capsys.readouterr().err
