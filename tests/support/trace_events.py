"""Read the trace events that tracefs has of kprobes and uprobes, which a killed tracer may leave behind."""

from __future__ import annotations

import re
import subprocess
import sys

from support.leftovers import is_ours

# In a process of its own: it may take a mount namespace.
_LIST = """
from pytracer.kernel import tracefs
for file in tracefs.root().glob("[ku]probe_events"):
    print(file.read_text())
"""


_MAKER = re.compile(r"_\d+_(\d+)_\d+ ")  # kprobe_events.attach names them so: PID namespace, process, birth


def trace_events() -> list[str]:
    """List pytracer's trace events of tracefs, but for those of processes that other tests run."""
    process = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True, check=True)
    return [line for line in process.stdout.splitlines() if "pytracer" in line and not _is_others(line)]


def _is_others(event: str) -> bool:
    maker = _MAKER.search(event)
    try:
        return maker is not None and not is_ours(int(maker[1]))
    except OSError:  # whoever made it is gone: it should be, too
        return False
