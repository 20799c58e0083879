"""Completion in a real zsh and a real fish, by the scripts that are printed for them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from support.terminals import Terminal

LINES = [
    ("pytracer sysc", "pytracer syscalls"),
    ("env pytracer sysc", "env pytracer syscalls"),
    ("pytracer profile -f fl", "pytracer profile -f flamegraph"),
    ("pytracer funccount rt:sched_swi", "pytracer funccount rt:sched_switch"),
    ("pytracer syscalls --hook syscall=raw", "pytracer syscalls --hook syscall=raw-tracepoint"),
    ("pytracer syscalls --by pid,sys", "pytracer syscalls --by pid,syscall"),
    ("pytracer syscalls -o /etc/hostn", "pytracer syscalls -o /etc/hostname"),
]


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    """The environment of a user who has pytracer, and no settings of a shell."""
    folder = tmp_path_factory.mktemp("shells")
    program = folder / "pytracer"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pytracer "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}


def test_zsh_completes(env):
    load = "autoload -Uz compinit; compinit -D; source <(pytracer completion zsh)"
    with Terminal(command=["zsh", "-f", "-i"], columns=120, env=env) as term:
        term.type(f"PS1='> '; {load}; clear; echo ready\r")
        term.wait_for(lambda _: "ready" in term.lines[:2], "the script is read")
        for line, completed in LINES:
            term.type(f"{line}\t")
            term.wait_for(lambda _, wanted=f"> {completed}": wanted in term.lines, completed)
            term.type("\x15")
        term.type("pytracer tcpl\t")
        term.type("\x15pytracer tcp\t")
        term.wait_for("tcplife     -- TCP connections when they end")


def test_fish_completes(env):
    script = "pytracer completion fish | source; for line in $argv; complete -C $line; end"
    done = subprocess.run(
        ["fish", "-c", script, *(line for line, _ in LINES)],
        capture_output=True, text=True, check=True, env=os.environ | env,
    )  # fmt: skip
    words = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert words == [completed.split()[-1] for _, completed in LINES]
    assert "system calls: counts" in done.stdout
    assert not done.stderr
