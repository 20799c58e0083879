"""Run programs on a pty, and read the screen by pyte."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import Any

import pyte

from support.cli import COMMAND, LIMIT

_LEFT = "\x1b[?1049l"
_OTHERS = ("NO_COLOR", "COLORTERM", "COLUMNS", "LINES")  # of another terminal


class Terminal:
    """A program on a pty. ``slow`` limits the line to this many bytes a second, like a modem."""

    def __init__(
        self,
        *words: object,
        columns: int = 80,
        rows: int = 24,
        slow: float | None = None,
        env: dict[str, str] | None = None,
        command: list[str] | None = None,
    ) -> None:
        self.master, slave = pty.openpty()
        self.screen = pyte.Screen(columns, rows)
        self.sent = bytearray()
        self._stream = pyte.ByteStream(self.screen)
        self._slow = slow
        self.screen.write_process_input = self.type  # answers, as terminals give them
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        variables = {name: value for name, value in os.environ.items() if name not in _OTHERS}
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *(command or COMMAND), *map(str, words)],  # with this pty as its terminal
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables | {"TERM": "xterm-256color", "LANG": "C.UTF-8"} | (env or {}),
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self.master)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, like a window manager."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def type(self, keys: str) -> None:
        """Type keys."""
        os.write(self.master, keys.encode())

    def read(self, seconds: float) -> None:
        """Read for a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                data = os.read(self.master, 65536 if self._slow is None else 64)
            except OSError:  # nobody has the other end any more
                return
            self.sent += data
            # pyte takes the kitty protocol's sequences for attributes.
            self._stream.feed(data.replace(b"\x1b[<u", b"").replace(b"\x1b[>", b"\x1b[?"))
            if self._slow is not None:
                time.sleep(len(data) / self._slow)

    @property
    def lines(self) -> list[str]:
        """Return the lines of the screen."""
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, condition: Any, description: str = "") -> None:
        """Read until the screen's text has a text, or fulfils a condition."""
        holds = condition if callable(condition) else lambda text: condition in text
        deadline = time.monotonic() + LIMIT
        while not holds(self.text):
            assert time.monotonic() < deadline, f"never seen: {description or condition}\n{self.text}"
            assert self.process.poll() is None or select.select([self.master], [], [], 0)[0], self.text
            self.read(0.2)

    def finish(self) -> int:
        """Read to the end; the exit status."""
        deadline = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.read(0.1)
        self.read(0.3)
        return self.process.returncode

    def is_restored(self) -> bool:
        """Return True if the modes of the line and of the terminal are as before."""
        after = termios.tcgetattr(self._slave)
        output = self.sent.decode("utf-8", "replace")
        pairs = (("\x1b[?1049h", _LEFT), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?2004h", "\x1b[?2004l"))
        return after == self.before and all(
            output.rfind(disable) > output.rfind(enable) for enable, disable in pairs
        )
