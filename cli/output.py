"""Write to standard output, or to a file that keeps its content until the first write.

A failed write to the output is an error that names the file; a failed write to standard error is ignored,
since there is nowhere to report it.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from pytracer.errors import NoProbesError, ProbeSpecError, PytracerError, UsageError
from pytracer.text import harmless

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_SAYS_WHERE = ": WARNING: "  # in a warning that begins with its position in the script
_DESCRIPTORS = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))


class _RawFile(io.FileIO):
    """A file that passes its first write error to ``on_error``, which may raise, and then drops all writes.

    Otherwise the rest of a buffer would fail again when Python exits, with status 120.
    """

    def __init__(
        self,
        file: int | str,
        mode: str,
        on_error: Callable[[OSError], None],
        *,
        closefd: bool = True,
        replaces: bool = False,
    ) -> None:
        """Open the file."""
        super().__init__(file, mode, closefd=closefd)
        self._replaces = replaces
        self.lines = 0  # that were written completely
        self._on_error = on_error
        self._dropping = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write some of the bytes. Returns their number."""
        while not self._dropping:
            try:
                if self._replaces and stat.S_ISREG(os.fstat(self.fileno()).st_mode):
                    self.truncate(0)
                self._replaces = False
                written: int | None = super().write(data)
            except OSError as error:
                self._dropping = True
                self._on_error(error)
                break
            if written is not None:
                self.lines += bytes(memoryview(data)[:written]).count(b"\n")
                return written
            select.select((), (self,), ())  # another process has made the shared file non-blocking
        return memoryview(data).nbytes


class _ClosedOutput(io.StringIO):
    """A substitute for a standard output that was closed when pytracer started."""

    def write(self, _text: str, /) -> int:
        """Raise PytracerError."""
        raise PytracerError("standard output is closed", hint="-o FILE")


def take_streams() -> None:
    """Replace standard output and standard error by streams of this module, for the command line.

    If one of the three descriptors is closed, /dev/null takes its number, so that no later file does.
    Commands that are started still find it closed.
    """
    for descriptor, mode in _DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, mode | os.O_CLOEXEC)
    if sys.stdout is None:
        sys.stdout = _ClosedOutput()
    elif _is_own(sys.stdout, 1):
        sys.stdout = _stream(1, sys.stdout.encoding, _raising("standard output"))
    if sys.stderr is None or _is_own(sys.stderr, 2):
        sys.stderr = _stream(2, "utf-8" if sys.stderr is None else sys.stderr.encoding, lambda _: None)


def _is_own(stream: TextIO, descriptor: int) -> bool:
    """Return whether the stream is the one that Python opened at its start."""
    return isinstance(stream, io.TextIOWrapper) and stream is (sys.__stdout__, sys.__stderr__)[descriptor - 1]


def _stream(descriptor: int, encoding: str, on_error: Callable[[OSError], None]) -> TextIO:
    # Always buffered, even under python -u: otherwise a signal could truncate a line.
    buffer = io.BufferedWriter(_RawFile(descriptor, "w", on_error, closefd=False))
    lines = descriptor == 2 or os.isatty(descriptor)
    # Characters that this locale cannot encode are escaped.
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=lines)


def _raising(name: str) -> Callable[[OSError], None]:
    def on_error(error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        raise PytracerError(f"cannot write to {name}: {error.strerror}") from error

    return on_error


def standard_output() -> TextIO:
    """Return standard output. Raises PytracerError if it is closed."""
    if isinstance(sys.stdout, _ClosedOutput):
        sys.stdout.write("")
    return sys.stdout


def require_no_terminal(form: str, stream: TextIO) -> None:
    """Raise UsageError if a file of this format would be written to a terminal."""
    if stream.isatty():
        raise UsageError(f"-f {form} is not for terminals", hint="-o FILE")


class TextOutput:
    """A text stream that a sink writes to: a :class:`~pytracer.trace.run_tracer.SinkFile`."""

    def __init__(self, stream: TextIO) -> None:
        """Wrap a stream."""
        self._stream = stream

    @property
    def lines(self) -> int:
        """The number of whole lines that the file has accepted; 0 for a stream that is not opened here."""
        raw = getattr(getattr(self._stream, "buffer", None), "raw", None)
        return raw.lines if isinstance(raw, _RawFile) else 0

    @property
    def is_terminal(self) -> bool:
        """True if the stream is a terminal."""
        with contextlib.suppress(ValueError):
            return self._stream.isatty()
        return False

    def is_full(self) -> bool:
        """Return whether a write would wait for the reader."""
        with contextlib.suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self._stream.fileno(), select.POLLOUT)
            return not poll.poll(0)
        return False

    def drop(self) -> None:
        """Discard buffered and later output.

        Standard error is discarded, too, if it is the same file, as a message would wait for the same reader.
        """
        with contextlib.suppress(OSError, ValueError):
            number = self._stream.fileno()
            shares_file = number != 2 and os.path.sameopenfile(number, 2)
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            for descriptor in (number, 2) if shares_file else (number,):
                os.dup2(null, descriptor, inheritable=os.get_inheritable(descriptor))
            os.close(null)


class OutputFile(io.TextIOWrapper):
    """A file that keeps its old content until the first write, so that an earlier error does not lose it."""

    def __init__(self, name: str) -> None:
        """Open the file for appending, to check that it is writable. Raises UsageError."""
        try:
            raw = _RawFile(name, "a", _raising(repr(name)), replaces=True)
            super().__init__(io.BufferedWriter(raw), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {name!r}: {error.strerror}") from error


def report(error: PytracerError, severity: str = "error") -> None:
    """Print an error and its hint to standard error."""
    print(f"pytracer: {severity}: {one_line(error.message)}", file=sys.stderr)
    if isinstance(error, ProbeSpecError):
        line, marks = _excerpt(error)
        print(f"  {line}\n  {marks.replace('~', '^', 1)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {one_line(error.hint)}", file=sys.stderr)


def report_of_script(error: PytracerError) -> None:
    """Print an error of ``pytracer script`` to standard error, in the form of bpftrace."""
    for warning in error.warnings if isinstance(error, ProbeSpecError) else ():
        warn_of_script(warning)
    if isinstance(error, NoProbesError):  # of which bpftrace says no place
        print(one_line(error.message), file=sys.stderr)
        return
    place = f"{harmless(error.place)}: " if isinstance(error, ProbeSpecError) and error.place else ""
    print(f"{place}ERROR: {one_line(error.message)}", file=sys.stderr)
    if isinstance(error, ProbeSpecError):
        print("\n".join(_excerpt(error)), file=sys.stderr)
    if error.hint:
        lines = [harmless(line) for line in error.hint.splitlines()]
        print("\n".join([f"HINT: {lines[0]}", *lines[1:]]), file=sys.stderr)


def warn_of_script(warning: str) -> None:
    """Print a warning of ``pytracer script`` to standard error, in the form of bpftrace."""
    text = "\n".join(harmless(line) for line in warning.splitlines())
    print(text if _SAYS_WHERE in text.partition("\n")[0] else f"WARNING: {text}", file=sys.stderr)


def _excerpt(error: ProbeSpecError) -> tuple[str, str]:
    """Return the probe spec, or the line of a script, and the marks that belong below it."""
    text = error.text
    first = text.rfind("\n", 0, error.start) + 1
    last = text.find("\n", error.start)
    last = len(text) if last < 0 else last
    end = min(error.end, last)
    parts = (text[first : error.start], text[error.start : end], text[end:last])
    before, marked, after = (harmless(part.replace("\t", " ")) for part in parts)
    return f"{before}{marked}{after}", f"{' ' * len(before)}{'~' * max(len(marked), 1)}"


def one_line(text: str) -> str:
    """Reduce a text to one line without control characters: parts may come from the traced system."""
    return harmless(" ".join(text.splitlines()))
