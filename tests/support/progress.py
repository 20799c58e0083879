"""Run pytracer with standard error on a terminal, where it reports slow steps."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time

from support.cli import LIMIT, Result

BAR = r"\[#*\.*\] (\d+) of (\d+)"
# A line each few milliseconds instead of each second: how long the kernel takes is not known.
_IMPATIENT = (
    "import sys\nfrom pytracer import progress\nprogress._SECONDS = 0.005\n"
    "from pytracer.cli.main import main\nsys.exit(main())"
)


class _Run:
    """A running pytracer. Its standard error is read by a thread, as a terminal holds little."""

    def __init__(self, process: subprocess.Popen[str], terminal: int) -> None:
        self.process, self._terminal = process, terminal
        self._output = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._terminal, 4096):
                self._output += part
        except OSError:  # the last process has closed it
            pass

    def wait_for(self, text: str) -> None:
        """Wait until standard error has a text."""
        deadline = time.monotonic() + LIMIT
        while text.encode() not in self._output:
            assert time.monotonic() < deadline, self._output
            assert self._reader.is_alive(), self._output
            time.sleep(0.001)

    def finish(self) -> Result:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=LIMIT)
        self._reader.join(LIMIT)
        os.close(self._terminal)
        return Result(self.process.returncode, output, self._output.decode())


def on_terminal(*words: object) -> _Run:
    """Start pytracer, which reports each step that takes a few milliseconds."""
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IMPATIENT, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm"},
        text=True,
    )
    os.close(terminal)
    return _Run(process, main)


def in_pipes(*words: object) -> Result:
    """Run pytracer likewise, without a terminal."""
    process = subprocess.run(
        [sys.executable, "-c", _IMPATIENT, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    return Result(process.returncode, process.stdout, process.stderr)
