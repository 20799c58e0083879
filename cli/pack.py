"""``pytracer pack``, which compiles for other kernels, and the words of ``pytracer run``, which runs that."""

from __future__ import annotations

import argparse
import os
import shlex
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytracer.bpf.cache import pack
from pytracer.cli import parser as tracer_parser
from pytracer.cli.arguments import Parser
from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel.btf import VMLINUX
from pytracer.packing import Kernel, make_pack
from pytracer.request import Request
from pytracer.spec import registry
from pytracer.text import harmless

_PACK = """\
Compiles tracers for kernels given by their BTF, into one file. pytracer run starts them from it where there
is neither BCC, nor a compiler, nor headers.

A TRACER is its name, or in quotes the line that it will be run with: options that change the program (--by,
--latency, which filters there are, whether there is a command) must be as they will be given. Their values
(process ids, names, the command) need not."""
_PACK_EXAMPLES = """\
examples:
  pytracer pack syscalls sockcount -o here.pack
      as they are without options, for the kernel that runs
  pytracer pack syscalls 'syscalls -- true' 'syscalls -p 1' -o calls.pack --btf 6.1.btf 6.12.btf
      system calls of everything, of a command, of processes, for two kernels

notes:
  A kernel's BTF is its /sys/kernel/btf/vmlinux, of a few MB; its name in the pack is the file's.
  A pack holds no program for trace events (--hook syscall=tracepoint): their layout is not in BTF."""
_RUN = """\
Runs a tracer from a file that pytracer pack made. The rest is as without it: pytracer TRACER --help."""
_RUN_USAGE = "pytracer run FILE [TRACER] [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]"


def run(words: Sequence[str]) -> int:
    """Make a pack."""
    parser = Parser(
        prog="pytracer pack",
        description=_PACK,
        epilog=_PACK_EXAMPLES,
        usage="pytracer pack TRACER... -o FILE [--btf FILE...]",
    )
    parser.add_argument("lines", metavar="TRACER", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the file to write")
    parser.add_argument(
        "--btf",
        metavar="FILE...",
        nargs="+",
        action="extend",
        default=[],
        help="the kernels' BTF (default: that of the kernel that runs)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="report what is compiled")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)

    def say(line: str) -> None:
        if given.verbose:
            print(f"pytracer: {harmless(line)}", file=sys.stderr)

    target = Path(given.output)
    _check_target(target)
    requests = {line: request_of(line) for line in dict.fromkeys(given.lines)}
    kernels = [Kernel(Path(name).name.removesuffix(".btf"), Path(name)) for name in given.btf]
    made = make_pack(requests, kernels or [Kernel(os.uname().release, VMLINUX)], say=say)
    size = _write(target, made.encode())
    kernels_named = ", ".join(made.kernels.values())
    what = f"{given.output}: {', '.join(made.tracers)} for {kernels_named}"
    print(f"{harmless(what)}; {len(made.images)} images, {size} bytes")
    return 0


def chosen(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Return the file of a pack, the tracer to run from it, and the tracer's own arguments."""
    parser = Parser(prog="pytracer run", description=_RUN, usage=_RUN_USAGE)
    parser.parse_known_args([word for word in words[:1] if word in ("-h", "--help")])
    if not words or words[0].startswith("-"):
        raise UsageError("run needs the file of a pack", hint="pytracer run --help")
    file, rest = words[0], list(words[1:])
    names = pack.load(file).tracers
    if rest and (rest[0] in names or rest[0] in registry.names()):
        name = rest.pop(0)
    elif len(names) == 1:
        name = names[0]
    else:
        raise UsageError(f"{file} holds more than one tracer: name one", hint=f"there is {', '.join(names)}")
    if name not in names:
        raise UnknownNameError(f"tracer in {file}", name, names)
    if "--headers" in rest[: rest.index("--") if "--" in rest else None]:
        raise UsageError("--headers is for compiling, and the programs of a pack have been compiled")
    return file, name, rest


def request_of(line: str) -> Request:
    """Parse the name of a tracer, or the line that it is run with."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"TRACER {line!r}: {error}") from None
    if not words:
        raise UsageError("an empty TRACER needs the name of a tracer", hint="pytracer list")
    tracer = registry.get(words.pop(0))
    if not words and tracer.arguments:
        words = list(tracer.arguments.examples[: tracer.arguments.minimum])
    request, given = tracer_parser.parse(tracer, words)
    if given.headers:
        raise UsageError("--headers is for the kernel that runs; a pack takes the types from BTF")
    return request


def _check_target(path: Path) -> None:
    """Check that the file can be written, before anything is compiled. Raises UsageError."""
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot write {str(path)!r}: it is no plain file")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> int:
    """Put the file there, whole or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(handle, 0o666 & ~mask)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return len(data)
