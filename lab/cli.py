"""The lab's command line."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from pathlib import Path

from lab import build, host, suites
from lab.errors import CRASHED, FAILED, TIMEOUT, LabError, SignalReceivedError, raise_on_signals, say
from lab.fetch import cached, fetch, find
from lab.initramfs import Job
from lab.kernel_image import KernelImage, from_cache, from_path
from lab.kernels import KERNELS
from lab.machine import Shape
from lab.run_command import TimeLimits, run
from lab.variants import VARIANTS, by_name

USAGE = """scripts/lab KERNEL [options] -- COMMAND...
       scripts/lab --kernel-image FILE [--modules DIR] [options] -- COMMAND...
       scripts/lab list | fetch [--suite NAME] [KERNEL...] | build [NAME...] | setup [build]"""
DESCRIPTION = f"""
Boots a kernel under QEMU and runs a command in it as root, with this machine's files below a
throw-away overlay. With --suite the files are those of a Debian suite, which is installed in the
cache once, with its own BCC and Python; the checkout is at its own path, with an environment that
scripts/setup made there. The command's output comes as it is made, its exit status is the lab's.
The lab's own: {TIMEOUT} the command did not end in time, {FAILED} the lab failed or the VM was lost,
{CRASHED} the kernel crashed; 128+N ended by signal N. Each is said on standard error, after "lab:".
"""
PASSED_ON = re.compile(r"(PATH|HOME|LANG|LC_\w+|TERM|TZ|PYTHON\w+|PYTEST_\w+|PYTRACER_\w+|NO_COLOR|COLUMNS)$")
ACTIONS = ("list", "fetch", "setup", "build")


class LabParser(argparse.ArgumentParser):
    """An argument parser whose errors have the lab's exit status, as status 2 may be that of a command."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Print an error as one line, and its hint."""
        raise LabError(message, "scripts/lab --help")


def parser() -> LabParser:
    """Return the parser of the arguments before the "--"."""
    argument_parser = LabParser(
        prog="scripts/lab",
        usage=USAGE,
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    argument_parser.add_argument(
        "words", nargs="*", metavar="KERNEL", help="a kernel's name, or list, fetch, setup, build"
    )
    argument_parser.add_argument(
        "--kernel-image", type=Path, metavar="FILE", help="boot this kernel (bzImage)"
    )
    argument_parser.add_argument(
        "--modules", type=Path, metavar="DIR", help="with these modules (/lib/modules/RELEASE)"
    )
    argument_parser.add_argument(
        "--suite", metavar="NAME", help=f"the user space: {', '.join(suites.names())}"
    )
    argument_parser.add_argument(
        "--rw", type=Path, metavar="DIR", help="the one folder that can be written, at its own path"
    )
    argument_parser.add_argument(
        "--timeout", type=float, default=600, metavar="S", help="for the command (600 s)"
    )
    argument_parser.add_argument(
        "--boot-timeout", type=float, default=180, metavar="S", help="until it starts (180 s)"
    )
    argument_parser.add_argument("--memory", type=int, default=3072, metavar="MB", help="of the VM (3072)")
    argument_parser.add_argument("--cpus", type=int, default=2, metavar="N", help="of the VM (2)")
    argument_parser.add_argument(
        "--memory-nodes", type=int, default=1, metavar="N", help="that have the memory and CPUs (1)"
    )
    argument_parser.add_argument("--append", default="", metavar="TEXT", help="for the kernel's command line")
    argument_parser.add_argument(
        "--env", action="append", default=[], metavar="NAME[=VALUE]", help="pass this on, too"
    )
    argument_parser.add_argument(
        "--accel",
        choices=("auto", "kvm", *host.EMULATED),
        default="auto",
        help="auto: KVM if it works; icount: emulated, with a clock that counts instructions",
    )
    argument_parser.add_argument(
        "--fs", choices=("auto", "virtiofs", "9p"), default="auto", help="how files are shared"
    )
    argument_parser.add_argument("--console", type=Path, metavar="FILE", help="keep the whole console here")
    return argument_parser


def split(arguments: list[str]) -> tuple[list[str], list[str] | None]:
    """Split the lab's arguments from the command's, which follow the first "--"."""
    if "--" not in arguments:
        return arguments, None
    separator = arguments.index("--")
    return arguments[:separator], arguments[separator + 1 :]


def environment(names: list[str], current: dict[str, str]) -> dict[str, str]:
    """Return the environment variables of the command: the ones always passed, and those named."""
    variables = {name: value for name, value in current.items() if PASSED_ON.match(name)}
    for item in names:
        name, equals, value = item.partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise LabError(f"not the name of a variable: {name}")
        if equals or name in current:
            variables[name] = value if equals else current[name]
    return variables


_NEEDED = ["qemu", "busybox"]


def choose(options: argparse.Namespace) -> KernelImage:
    """Return the requested kernel; fetch it if it is not in the cache."""
    words: list[str] = options.words
    if options.kernel_image:
        if words:
            raise LabError(f"a kernel's name and --kernel-image do not go together: {words[0]}")
        return from_path(options.kernel_image, options.modules)
    if len(words) != 1:
        raise LabError("one kernel is wanted before the --", "scripts/lab list")
    if options.modules:
        raise LabError("--modules goes with --kernel-image")
    if variant := by_name(words[0]):
        host.need(_NEEDED)
        return build.image(variant)
    kernel = find(words[0])
    host.need(_NEEDED)  # before anything is fetched for nothing
    return from_cache(kernel, cached(kernel.name) or fetch(kernel))


def user_space(name: str, writable: str) -> suites.UserSpace:
    """Return the requested suite; make it if it is not in the cache."""
    if writable and suites.CHECKOUT.is_relative_to(writable):
        raise LabError(
            f"--rw: with --suite the checkout stays as it is: {writable}", "a folder in it, or elsewhere"
        )
    space = suites.user_space(name)
    current_folder = Path.cwd()
    inside = [space.checkout, *([Path(writable)] if writable else [])]
    if (
        not any(current_folder.is_relative_to(root) for root in inside)
        and not (space.root / current_folder.relative_to("/")).is_dir()
    ):
        raise LabError(
            f"{name} has no folder {current_folder}", f"cd {space.checkout}, or --rw {current_folder}"
        )
    return space


def run_command(options: argparse.Namespace, command: list[str]) -> int:
    """Boot and run."""
    if not command:
        raise LabError("no command after the --", "scripts/lab --help")
    if options.suite:
        suites.find(options.suite)  # before anything is fetched for nothing
    image = choose(options)
    host.need(_NEEDED)
    file_system = image.file_system(options.fs)
    if file_system == "virtiofs":
        host.need(["virtiofsd"])
        if os.geteuid() != 0:
            raise LabError("sharing files by virtiofs is for root", "sudo scripts/lab ...")
    writable = ""
    if options.rw:
        if not options.rw.is_dir() or options.rw.resolve() == Path("/"):
            raise LabError(f"--rw: not a folder that could be shared: {options.rw}")
        writable = str(options.rw.resolve())
    if host.memory_available() < options.memory:
        raise LabError(f"no space: the VM wants {options.memory} MB of memory", "--memory MB")
    space = user_space(options.suite, writable) if options.suite else None
    variables = environment(options.env, dict(os.environ))
    job = Job(tuple(command), str(Path.cwd()), variables, writable, user_space=space)
    accelerator = host.accelerator(options.accel)
    shape = Shape(
        accelerator, options.cpus, options.memory, file_system, options.append, options.memory_nodes
    )
    return run(image, shape, job, TimeLimits(options.boot_timeout, options.timeout), options.console)


def list_kernels() -> int:
    """Print a line for each kernel, and the BCC of its suite for --suite."""
    for kernel in KERNELS:
        kernel_files, suite = cached(kernel.name), suites.cached(kernel.suite)
        release, bcc = (
            kernel_files.release if kernel_files else "not fetched",
            f"BCC {suite.bcc}" if suite else "-",
        )
        print(f"{kernel.name:9} {kernel.suite:10} {release:32} {bcc:12} {kernel.stands_for}")
    for variant in VARIANTS:
        if record := build.built(variant):
            print(f"{variant.name:9} {'built':10} {record.release:32} {'-':12} {variant.purpose}")
    return 0


def act(options: argparse.Namespace) -> int:
    """Run one of the lab's other subcommands."""
    action, *rest = options.words
    if action == "list":
        return list_kernels()
    if action == "setup":
        if rest not in ([], ["build"]):
            raise LabError(f"set-up for what? {' '.join(rest)}", "scripts/lab setup [build]")
        host.setup(host.BUILDING if rest else host.RUNNING)
        return 0
    if action == "build":
        build.build([build.find(word) for word in rest] or VARIANTS)
        return 0
    kernels = [find(word) for word in rest]
    if options.suite:
        suites.environment(suites.fetch(suites.find(options.suite)))
    for kernel in kernels or (() if options.suite else KERNELS):
        fetch(kernel)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    raise_on_signals()
    own_words, command = split(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_intermixed_args(own_words)
        if command is not None:
            return run_command(options, command)
        if options.words and options.words[0] in ACTIONS:
            return act(options)
        raise LabError("what is to be run? there is no --", "scripts/lab --help")
    except LabError as error:
        say(f"error: {error}" + (f" ({error.hint})" if error.hint else ""))
        return FAILED
    except BrokenPipeError:
        sys.stdout = None  # nobody reads it: not even the interpreter's last flush should try
        return 128 + signal.SIGPIPE
    except OSError as error:
        say(f"error: {error}")
        return FAILED
    except SignalReceivedError as received:
        say(f"ended by signal {received.number}")
        return 128 + received.number
