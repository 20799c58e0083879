"""Trace one of two processes that do the same: the other is a stranger, whom a filter must leave out."""

from __future__ import annotations

import subprocess

from support.cli import Result, finish, start


def run_for_one(tracer: str, *words: object, script: str) -> tuple[Result, int]:
    """Run a shell script in two processes and trace one of them by ``-p``. Returns the result and its pid.

    Both wait until the programs are attached. The trace ends as the traced process exits.
    """
    gate = f"read -r line; {script}"
    shells = [subprocess.Popen(["sh", "-c", gate], stdin=subprocess.PIPE, text=True) for _ in range(2)]
    traced, stranger = shells
    tracing = start(tracer, "-f", "json", *words, "-p", traced.pid)
    for shell in (stranger, traced):
        shell.communicate("\n")
        assert shell.returncode == 0
    return finish(tracing), traced.pid
