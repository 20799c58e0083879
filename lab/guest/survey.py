"""In a VM of the lab: run every tracer with every alternative and each source of types, for lab/survey.py.

Run by the Python that pytracer is installed for. Prints JSON, one object a line: the kernel and BCC first
({"release", "bcc"}), then the runs ({"tracer", "hook", "alternative", "headers", "status", "used", "reason",
"saw"}).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab.guest.survey_workloads import COMMANDS, EXTRA_WORK, PYTHON, WORKLOAD

import pytracer
from pytracer.bpf.compile.headers import SOURCES
from pytracer.bpf.toolchain import bcc_version, find_bcc
from pytracer.cli.main import main as command_line
from pytracer.kernel.facts import NamedTarget
from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.plan.named_target import NumberedTarget
from pytracer.spec import (
    SPELLINGS,
    Alternative,
    ExitKind,
    FunctionCode,
    FunctionExit,
    Hook,
    Injection,
    ProbeSite,
    Targets,
    Tracer,
    parse_source,
    registry,
)
from pytracer.spec.calls import needs_names
from pytracer.spec.common import FOLLOW, MAPPING

LIMIT = (
    900  # seconds, for one run: packaged headers take half a minute in an emulated machine, if it is quiet
)
CONTEXT = multiprocessing.get_context("fork")
ALONE = CONTEXT.Lock()  # for tracers of the whole machine: of XDP programs, an interface has one
ROOT = Path(__file__).resolve().parents[2]
IN_THE_LAB = Path("/run/lab/settings")
OF_EACH_KIND = (
    "k:vfs_read", "kr:vfs_read", "f:vfs_read", "fr:vfs_read", "t:syscalls:sys_enter_getppid",
    "rt:sched_process_fork", "u:libc:getppid", "ur:libc:getppid", "usdt:python:gc__start",
)  # fmt: skip
"""Sources of each kind that the workload hits, for tracers that take targets. Hooks of security modules have
one alternative, which tests/kernel/test_lsm.py tries."""
FOR_ALL = "funccount"
"""The tracer of these that is tried with every kind and alternative: all of them have the same."""
SHARED = {FOLLOW.name: "execsnoop", MAPPING.name: "profile"}
"""Hooks that many tracers have with the same C, and the one that is tried with all their alternatives."""
EVERY_SOURCE = ("syscalls", "sockcount")
"""With which each source of types is tried: it makes no difference to a tracer which it is, or its own tests
find it."""
_OWN_PROGRAM = re.compile(rf"{re.escape(sys.prefix)}/bin/[^:]+")
MODULES = ("kvm_amd", "kvm_intel")
"""Modules with trace events of their own; of these two, the one for the processor loads."""
FAULT = ["security_task_setnice", "EPERM"]
"""And what it can go without."""


def load_modules() -> None:
    """Load the modules that have trace events of their own, where the kernel and the processor have them."""
    for module in MODULES:
        subprocess.run(["modprobe", module], check=False, capture_output=True)


def disks(folder: Path) -> list[str]:
    """Create a block device, if the kernel has loop devices."""
    image = folder / "disk"
    image.write_bytes(bytes(1 << 20))
    subprocess.run(["modprobe", "loop"], check=False, capture_output=True)
    process = subprocess.run(["losetup", "-f", "--show", image], check=False, capture_output=True, text=True)
    return process.stdout.split()


@contextmanager
def busy(words: list[str]) -> Iterator[None]:
    """Run the workload with these arguments beside the trace."""
    process = subprocess.Popen(
        [*PYTHON, "-c", WORKLOAD, str(LIMIT), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class HookUse:
    """A hook of a tracer, and the arguments with which the tracer uses it."""

    hook: Hook
    arguments: tuple[str, ...]


def hooks_of(tracer: Tracer) -> list[HookUse]:
    """Return all hooks that can be forced. For a tracer that takes targets: one for each kind of target."""
    arguments, uses = tracer.arguments, list[HookUse]()
    if isinstance(arguments, Targets) and arguments.default:
        words: tuple[str, ...] = ()
        uses += [HookUse(use.hook, words) for use in hooks_of_source(arguments, arguments.default[0])]
    elif isinstance(arguments, Targets):
        uses += [use for word in OF_EACH_KIND for use in hooks_of_source(arguments, word)]
        words = uses[0].arguments
    elif isinstance(arguments, Injection):
        words = tuple(FAULT)
    else:
        words = arguments.examples[: arguments.minimum] if arguments else ()
    hooks = (*tracer.hooks, *([FOLLOW] if tracer.follow else []))
    return [*uses, *(HookUse(hook, words) for hook in hooks)]


def hooks_of_source(arguments: Targets, word: str) -> Iterator[HookUse]:
    """Return the hooks of a source: for the event and, if the tracer needs it, for its end."""
    source = parse_source(word)
    kinds = {source.kind: arguments.begin}
    if arguments.end:
        kinds = kinds | {source.spelling.end: arguments.end} if source.spelling.end else {}
    site = ProbeSite(source.name, 0)
    code = FunctionCode(0, (FunctionExit(ExitKind.RETURN, site),))
    target = NumberedTarget(0, source, NamedTarget(source.name, sites=(site,)), code=code)
    for kind, program in kinds.items():
        alternatives = (
            Alternative(alternative.name, alternative.make(program, [target]))
            for alternative in ALTERNATIVES[kind]
        )
        yield HookUse(Hook(kind, SPELLINGS[kind].event, tuple(alternatives)), (word,))


def load_everything() -> None:
    """Import all of pytracer and NumPy, which takes most of the time of a run in an emulated machine."""
    importlib.import_module("numpy")
    for module in pkgutil.walk_packages(pytracer.__path__, "pytracer."):
        if not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(module.name)


def call(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run pytracer in a child that has it loaded. Raises TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if not pid:
            become(words, stdout.fileno(), err.fileno())
        has_ended = wait_for_exit(pid, LIMIT)
        if not has_ended:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if not has_ended:
            raise subprocess.TimeoutExpired(list(words), LIMIT)
        texts = [(file.seek(0), file.read())[1] for file in (stdout, err)]
    return subprocess.CompletedProcess(list(words), status, *texts)


def wait_for_exit(pid: int, limit: float) -> bool:
    """Wait so many seconds for a child's end, and return whether it came. Linux before 5.3 has no pidfd."""
    deadline = time.monotonic() + limit
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def become(words: Sequence[str], stdout: int, err: int) -> NoReturn:
    """Run pytracer's command line in this process, and end."""
    status = 1
    try:
        os.setsid()
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), stdout, err)):
            os.dup2(file, number)
        status = command_line(words)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def traced(tracer: Tracer, words: list[str], devices: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the tracer: on the workload if it can follow a command, else for a second beside it."""
    command = [tracer.name, *words, "-f", "json", "-v"]
    work = [EXTRA_WORK.get(tracer.name, "true"), *devices]
    if tracer.follow:
        workload = COMMANDS.get(tracer.name) or [*PYTHON, "-c", WORKLOAD, "0", *work]
        return call([*command, "--", *workload])
    with ALONE, busy(work):
        return call([*command, "-d", "4" if tracer.name in EXTRA_WORK else "1"])


def outcome(
    hooks: Iterable[Hook], process: subprocess.CompletedProcess[str], forced: dict[str, str]
) -> dict[str, Any]:
    """Return the result of a run: for each hook the alternative and its targets, and whether it saw anything;
    or the reason of a failure."""
    if process.returncode:
        lines = [line for line in process.stderr.splitlines() if line.startswith("pytracer: error: ")]
        reason = lines[-1].removeprefix("pytracer: error: ") if lines else "it gave no reason"
        return {"status": process.returncode, "used": {}, "reason": _outside(reason), "saw": False}
    attached = re.findall(r"^pytracer: attached (\S+) to (\S+) ?(.*)$", process.stderr, re.M)
    records = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{"kind"')]
    saw = any(record["kind"] != "loss" for record in records)
    alternatives = {hook.name: find_used(hook, attached, forced.get(hook.name, "")) for hook in hooks}
    return {"status": 0, "used": alternatives, "reason": "", "saw": saw}


def find_used(hook: Hook, attached: list[tuple[str, str, str]], forced: str = "") -> list[str]:
    """Return the alternative that these attachments (program, kind, target) belong to, and its targets; [] if
    none.

    If they fit several, it is the one that was ``forced``.
    """
    attachments = {(program, kind) for program, kind, _ in attached}
    for alternative in sorted(hook.alternatives, key=lambda alternative: alternative.name != forced):
        required = [probe for probe in alternative.probes if not (probe.optional or probe.when)]
        if all((probe.program, probe.kind) in attachments for probe in required):
            declared = {(probe.program, probe.kind) for probe in alternative.probes}
            targets = {_outside(target) for p, k, target in attached if (p, k) in declared}
            return [alternative.name, *sorted(targets)]
    return []


def _outside(text: str) -> str:
    """Name the interpreter in a target or message as the system does: where the checkout is says nothing of a
    kernel."""
    return _OWN_PROGRAM.sub(lambda match: os.path.realpath(match.group()), text)


@dataclass(frozen=True)
class SurveyRun:
    """A run of a tracer, with a forced alternative, a forced source of types, or neither."""

    tracer: Tracer
    hook: str = ""
    alternative: str = ""
    headers: str = ""

    def run(self, devices: list[str]) -> dict[str, Any]:
        """Run it and return the result."""
        all_hooks = hooks_of(self.tracer)
        uses = [use for use in all_hooks if self.hook in ("", use.hook.name)]
        words = list(dict.fromkeys(word for use in uses for word in use.arguments))
        # Others may come with one that is named; each is shown where it is requested.
        hooks = [use.hook for use in all_hooks if set(use.arguments) <= set(words)]
        for use in uses if self.hook else []:
            if any(map(needs_names, use.hook.alternatives_named(self.alternative))):
                words += ["-e", "openat,read,write"]
        words += ["--hook", f"{self.hook}={self.alternative}"] if self.hook else []
        words += ["--headers", self.headers] if self.headers else []
        try:
            result = outcome(hooks, traced(self.tracer, words, devices), {self.hook: self.alternative})
        except subprocess.TimeoutExpired:
            result = {"status": -1, "used": {}, "reason": f"it did not end within {LIMIT} s", "saw": False}
        head = {
            "tracer": self.tracer.name,
            "hook": self.hook,
            "alternative": self.alternative,
            "headers": self.headers,
        }
        return head | result


def list_runs(tracer: Tracer, forced: bool) -> Iterator[SurveyRun]:
    """Yield the runs of a tracer: one with the chosen alternatives; if ``forced``, also one with each
    alternative of its hooks and each source of types, unless another tracer is run with those."""
    yield SurveyRun(tracer)
    if forced and (tracer.name == FOR_ALL or not isinstance(tracer.arguments, Targets)):
        for hook in (hook_use.hook for hook_use in hooks_of(tracer)):
            if SHARED.get(hook.name, tracer.name) == tracer.name:
                for alternative in hook.alternatives:
                    yield SurveyRun(tracer, hook.name, alternative.name)
    if forced and tracer.name in EVERY_SOURCE:
        yield from (SurveyRun(tracer, headers=source) for source in SOURCES)


def forced_runs(tracer: Tracer, words: list[str]) -> Iterator[SurveyRun]:
    """Yield the runs of one tracer that force one of these alternatives, each HOOK=ALTERNATIVE."""
    run_names = (f"{run.hook}={run.alternative}" for run in list_runs(tracer, forced=True))
    for word in (word for word in run_names if word in words):
        hook, _, alternative = word.partition("=")
        yield SurveyRun(tracer, hook, alternative)


def main() -> None:
    """Print all of it, line by line as it comes."""
    if not IN_THE_LAB.exists():
        sys.exit(
            "survey: looks at whole machines, so that it runs in the lab's only: scripts/record --kernels"
        )
    forced = "--as-it-comes" not in sys.argv
    alternatives = [word.removeprefix("--hook=") for word in sys.argv[1:] if word.startswith("--hook=")]
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTRACER_CACHE_DIR"] = str(Path(folder) / "cache")
        load_modules()
        devices = disks(Path(folder))
        print(json.dumps({"release": os.uname().release, "bcc": bcc_version(find_bcc())}), flush=True)
        tracers = map(registry.get, names) if names else registry.all_tracers()
        runs = [
            run
            for tracer in tracers
            for run in (forced_runs(tracer, alternatives) if alternatives else list_runs(tracer, forced))
        ]
        sys.path.insert(1, str(ROOT / "tests"))
        os.environ["RINGS"] = importlib.import_module("support.workloads").workload("rings")
        load_everything()
        with CONTEXT.Pool(os.cpu_count()) as pool:
            for record in pool.imap(partial(SurveyRun.run, devices=devices), runs):
                print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
