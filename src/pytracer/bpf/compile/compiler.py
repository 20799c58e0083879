"""Run BCC in a child process: C becomes an image, or an error with the compiler's message."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pytracer import errors
from pytracer.bpf.compile.forked import ChildResult, run_in_child
from pytracer.bpf.compile.headers import Headers
from pytracer.bpf.image import Image, ImageError, decode
from pytracer.errors import BuildError, PytracerError
from pytracer.text import harmless

# LLVM's, over a stack that is too large; line 0 of any file is where it knows no better.
_ERROR_LINE = re.compile(r"^error: (?:\S+:0:0: )?(.*)$", re.M)
_IMAGE, _ERROR = b"i", b"e"


class CompilerDiedError(BuildError):
    """The compiler ended without a message, most likely by a signal."""


def compile_image(
    key: str,
    name: str,
    text: str,
    cflags: Sequence[str],
    headers: Headers,
    programs: Sequence[str],
    *,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Image:
    """Compile ``text`` and put its ``programs`` and maps into an image with that ``key``.

    Raises the errors of :class:`~pytracer.bpf.compile.bcc.BccModule`, CompilerDiedError, ImageError if no
    image can be made, and KeyboardInterrupt once ``stop_requested`` returns True.
    """

    def work() -> bytes:
        from pytracer.bpf.compile.bcc import BccModule  # only in the child: it loads 64 MB of LLVM

        return encode_outcome(lambda: BccModule(name, text, cflags, headers).image(key, programs))

    return _decode_image(name, run_in_child(work, stop_requested=stop_requested))


def encode_outcome(compiled: Callable[[], Image]) -> bytes:
    """Return the image or error of ``compiled`` as bytes for :func:`decode_outcome` of another process."""
    try:
        return _IMAGE + compiled().encode()
    except PytracerError as error:
        words = [type(error).__name__, error.message, error.hint, error.detail]
        return _ERROR + json.dumps(words).encode()


def decode_outcome(outcome: bytes) -> Image:
    """Return the image in the bytes of :func:`encode_outcome`, or raise the error."""
    kind, data = outcome[:1], outcome[1:]
    if kind == _IMAGE:
        return decode(data)
    class_name, message, hint, detail = json.loads(data)
    cls = ImageError if class_name == ImageError.__name__ else getattr(errors, class_name, BuildError)
    raise _make_error(cls, message, hint, detail)


def _decode_image(name: str, outcome: ChildResult) -> Image:
    if outcome.data:
        return decode_outcome(outcome.data)
    match = _ERROR_LINE.search(outcome.stderr)
    if match is not None:
        raise BuildError(harmless(f"{name} does not compile: {match[1]}"), detail=outcome.stderr)
    raise CompilerDiedError(
        f"{name} does not compile: the compiler {outcome.exit_reason}",
        hint="if it does so after 'pytracer cache clear', too, BCC or LLVM is damaged: reinstall it",
        detail=outcome.stderr,
    )


def _make_error(cls: type[PytracerError], message: str, hint: str, detail: str) -> PytracerError:
    """Make an error of any class, without its own constructor."""
    error = cls.__new__(cls)
    PytracerError.__init__(error, message, hint=hint, detail=detail)
    return error
