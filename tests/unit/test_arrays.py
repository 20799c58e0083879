"""Test that NumPy is imported late, by the first thread that needs it, while others wait."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import threading
from pytracer.arrays import np
failed = []
ready = threading.Barrier(8)

def use():
    ready.wait()
    try:
        np.zeros(3, dtype="u8")
    except AttributeError as error:
        failed.append(error)

threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
"""


def test_threads_wait_for_the_one_that_imports():
    result = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
