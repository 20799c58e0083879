"""The trace events that tracefs keeps of kprobes and uprobes: what a killed tracer may leave behind."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: it may take a mount namespace.
_LIST = """
from pytracer.kernel import tracefs
for file in tracefs.root().glob("[ku]probe_events"):
    print(file.read_text())
"""


def trace_events() -> list[str]:
    """Those that are pytracer's, as tracefs lists them."""
    done = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if "pytracer" in line]
