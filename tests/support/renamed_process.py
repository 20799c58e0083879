"""Run a workload under a process name of its own, so that no other process is counted under that name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from support.cli import run

NAME = "named\n\x1b[31m"
# The descriptor is opened before: under the name are the work, and the write that takes the name away.
_PROGRAM = """
import json, os, sys
os.chdir(sys.argv[1])
def counts():
    with open("/proc/self/io") as file:
        return dict((key, int(value)) for key, value in (line.split(": ") for line in file))
comm = os.open("/proc/self/comm", os.O_WRONLY)
{before}
begun = counts()
os.write(comm, b"named\\n\\x1b[31m")
{work}
os.write(comm, b"python")
ended = counts()
os.write(2, json.dumps({{key: ended[key] - begun[key] for key in ended}}).encode())
"""


def named_rows(
    tracer: str, folder: Path, work: str, *words: object, before: str = ""
) -> tuple[list[dict[str, Any]], dict[str, int], str]:
    """Return the rows by name while ``work`` runs in the folder, the counts of /proc/self/io, and a table."""
    command = [sys.executable, "-c", _PROGRAM.format(work=work, before=before), folder]
    result = run(tracer, "-f", "json", "--by", "comm", *words, "--", *command)
    assert result.status == 0, result.err
    assert result.of("loss") == []
    rows = [row for row in result.of("summary") if row["comm"] == NAME]
    return rows, json.loads(result.err), run(tracer, "--by", "comm", *words, "--", *command).out
