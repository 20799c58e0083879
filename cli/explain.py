"""``pytracer explain``: the whole path of a tracer on one page, or why a program is refused."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytracer.cli import parser as tracer_parser
from pytracer.cli.arguments import Parser
from pytracer.cli.output import OutputFile, standard_output
from pytracer.errors import UnknownNameError, UsageError, VerifierError
from pytracer.explain.page import Page
from pytracer.spec import registry
from pytracer.text import harmless

_ABOUT = """\
Runs a tracer for a moment and shows the whole path on one page, from this kernel: the C, the plan and its
alternatives, the bytecode beside the C, what the verifier said, the native code, the maps and what is in
them, where the programs were put, and what they cost."""
_MORE = """\
examples:
  pytracer explain syscalls -- ls
      what counts the system calls of one command
  pytracer explain --stage bytecode sockcount lo
      one stage
  pytracer explain funccount t:sched:sched_switch -d 5 --html page.html
      a page for a browser; it needs nothing from outside
  pytracer explain --refused mine.c
      why the kernel takes none of the programs in a C file, and what to do

notes:
  -d SECONDS says how long it is watched (default: 1); with a command it is until that ends.
  --refused puts each function through the verifier and attaches none. What kind of program one is, its
  argument says: struct __sk_buff *, struct xdp_md *, struct pt_regs *, struct bpf_raw_tracepoint_args *."""
_USAGE = "pytracer explain [--stage NAME] [--html FILE] TRACER [ARG... options] [-- COMMAND...]"


def run(words: Sequence[str]) -> int:
    """Show the page; 1 where a program was refused."""
    from pytracer.explain.stages import NAMES

    parser = Parser(prog="pytracer explain", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("--stage", metavar="NAME", help=f"only this one: {', '.join(NAMES)}")
    parser.add_argument("--html", metavar="FILE", help="write a page for a browser there")
    parser.add_argument("--refused", metavar="FILE", help="a C file whose programs the kernel does not take")
    cut = words.index("--") if "--" in words else len(words)
    own, command = list(words[:cut]), list(words[cut:])
    if own and own[0] in ("-h", "--help"):
        parser.parse_args(own[:1])
    given, rest = parser.parse_known_args(own)
    if given.stage and given.html:
        raise UsageError("--html shows all stages: it cannot be combined with --stage")
    known = ("refusal",) if given.refused else NAMES
    if given.stage and given.stage not in known:
        raise UnknownNameError("stage", given.stage, known)
    if given.html:
        from pytracer.explain.html import render as render_html

        with OutputFile(given.html) as file:  # before anything is run
            page, status = _page(given, rest + command)
            file.write(render_html(page))
        print(f"{harmless(given.html)}: {harmless(page.title)}")
        return status
    page, status = _page(given, rest + command)
    from pytracer.explain.plain_text import render

    stream = standard_output()
    there = any(stage.name == given.stage for stage in page.stages)  # else all of it was refused
    for line in render(page, given.stage if there else ""):
        print(line, file=stream)
    stream.flush()
    return status


def _page(given: argparse.Namespace, rest: Sequence[str]) -> tuple[Page, int]:
    return _refused(given, rest) if given.refused else _tracer(rest)


def _tracer(words: Sequence[str]) -> tuple[Page, int]:
    if not words:
        raise UsageError("explain needs a tracer", hint="pytracer explain --help")
    tracer = registry.get(words[0])
    request, _ = tracer_parser.parse(tracer, words[1:])

    from pytracer.bpf.compile.source import read_source
    from pytracer.explain import refused, stages
    from pytracer.explain.watch import observe
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan

    def warn(line: str) -> None:
        print(f"pytracer: warning: {harmless(line)}", file=sys.stderr)

    try:
        return stages.page_of(observe(request, RunningKernel, warn=warn), words), 0
    except VerifierError as error:
        program = error.message.partition(": ")[0].rpartition(":")[2]
        one = refused.RefusedProgram(program, "", error.detail)
        text = read_source(tracer.c_file, make_plan(request, RunningKernel()).generated)
        return refused.page_of(tracer.c_file, text, [one]), error.exit_code


def _refused(given: argparse.Namespace, rest: Sequence[str]) -> tuple[Page, int]:
    if rest:
        raise UsageError(f"--refused takes a file and nothing else, not {rest[0]!r}")
    file = Path(given.refused)
    if not file.is_file():
        raise UsageError(f"no file {given.refused!r}")

    from pytracer.bpf.compile.source import read_source
    from pytracer.explain import refused
    from pytracer.explain.load_trial import try_programs

    text = read_source(str(file.resolve()))
    found = try_programs(str(file), text)
    return refused.page_of(str(file), text, found), int(any(not one.passed for one in found))
