"""``pytracer pack``: compile tracers for other kernels; ``pytracer run``: parse its command line."""

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
from pytracer.cli import tracer_parser as tracer_parser
from pytracer.cli.arguments import Parser
from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel.btf import VMLINUX
from pytracer.packing import PackKernel, make_pack
from pytracer.request import Request
from pytracer.spec import registry
from pytracer.text import harmless

_PACK = """\
Compiles tracers for kernels given by their BTF, into one file (a pack). pytracer run starts them from it
without BCC, compiler or headers.

A TRACER is a name, or in quotes the command line that it will be run with. Options that change the program
(--by, --latency), the kinds of filters and whether there is a command must be the same as in later runs.
Their values (process ids, names, the command) may differ."""
_PACK_EXAMPLES = """\
examples:
  pytracer pack syscalls sockcount -o here.pack
      both without options, for the running kernel
  pytracer pack syscalls 'syscalls -- true' 'syscalls -p 1' -o calls.pack --btf 6.1.btf 6.12.btf
      syscalls without filter, with a command and with -p, for two kernels

notes:
  A kernel's BTF is its file /sys/kernel/btf/vmlinux, of a few MB. The file's name becomes the kernel's name.
  A pack has no programs for trace events (--hook syscall=tracepoint), because BTF lacks their layout."""
_RUN = """\
Runs a tracer from a file that pytracer pack wrote. For the other arguments see pytracer TRACER --help."""
_RUN_USAGE = "pytracer run FILE [TRACER] [ARG...] [INTERVAL [COUNT]] [options] [-- COMMAND...]"


def run(words: Sequence[str]) -> int:
    """Compile tracers, and write a pack."""
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
        help="BTF files of the kernels (default: the running kernel's)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="report each tracer that is compiled")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)

    def say(line: str) -> None:
        if options.verbose:
            print(f"pytracer: {harmless(line)}", file=sys.stderr)

    target = Path(options.output)
    _check_target(target)
    requests = {line: request_of(line) for line in dict.fromkeys(options.lines)}
    kernels = [PackKernel(Path(name).name.removesuffix(".btf"), Path(name)) for name in options.btf]
    new_pack = make_pack(requests, kernels or [PackKernel(os.uname().release, VMLINUX)], log=say)
    size = _write(target, new_pack.encode())
    kernel_names = ", ".join(new_pack.kernels.values())
    text = f"{options.output}: {', '.join(new_pack.tracers)} for {kernel_names}"
    print(f"{harmless(text)}; {len(new_pack.images)} images, {size} bytes")
    return 0


def chosen(words: Sequence[str]) -> tuple[str, str, list[str]]:
    """Parse the command line of ``run``: the pack's file, the tracer, and the tracer's arguments."""
    parser = Parser(prog="pytracer run", description=_RUN, usage=_RUN_USAGE)
    parser.parse_known_args([word for word in words[:1] if word in ("-h", "--help")])
    if not words or words[0].startswith("-"):
        raise UsageError("run needs the file of a pack", hint="pytracer run --help")
    file, arguments = words[0], list(words[1:])
    names = pack.load(file).tracers
    if arguments and (arguments[0] in names or arguments[0] in registry.names()):
        name = arguments.pop(0)
    elif len(names) == 1:
        name = names[0]
    else:
        raise UsageError(f"{file} holds more than one tracer: name one", hint=f"there is {', '.join(names)}")
    if name not in names:
        raise UnknownNameError(f"tracer in {file}", name, names)
    if "--headers" in arguments[: arguments.index("--") if "--" in arguments else None]:
        raise UsageError("--headers is for the compiler, and the programs of a pack are compiled already")
    return file, name, arguments


def request_of(line: str) -> Request:
    """Parse a TRACER argument: a name, or a command line."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"TRACER {line!r}: {error}") from None
    if not words:
        raise UsageError("an empty TRACER needs the name of a tracer", hint="pytracer list")
    tracer = registry.get(words.pop(0))
    if not words and tracer.arguments:
        words = list(tracer.arguments.examples[: tracer.arguments.minimum])
    request, options = tracer_parser.parse(tracer, words)
    if options.headers:
        raise UsageError("--headers is for the running kernel; a pack uses the types of BTF")
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
    """Write a file atomically."""
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
