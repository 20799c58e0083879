"""``pytracer explain``: show each stage of a tracer on one page, or explain a verifier error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pytracer.cli import tracer_parser as tracer_parser
from pytracer.cli.arguments import Parser
from pytracer.cli.output import OutputFile, standard_output
from pytracer.errors import UnknownNameError, UsageError, VerifierError
from pytracer.explain.page import Page
from pytracer.spec import registry
from pytracer.text import harmless

_ABOUT = """\
Runs a tracer for a second and shows each stage on one page: the C, the plan with its alternatives, the
bytecode beside the C, the verifier's log, the native code, the maps with their content, the attach targets
and the cost."""
_MORE = """\
examples:
  pytracer explain syscalls -- ls
      every stage of counting the system calls of a command
  pytracer explain --stage bytecode sockcount lo
      the bytecode only
  pytracer explain funccount t:sched:sched_switch -d 5 --html page.html
      a page for a browser, without external files
  pytracer explain --refused mine.c
      why the verifier rejects the programs in a C file, and how to fix them

notes:
  The tracer runs for -d SECONDS (default: 1), or until the command ends.
  --refused loads each function of the file and attaches none. The type of its argument gives the program
  type: struct __sk_buff *, struct xdp_md *, struct pt_regs *, struct bpf_raw_tracepoint_args *."""
_USAGE = "pytracer explain [--stage NAME] [--html FILE] TRACER [ARG... options] [-- COMMAND...]"


def run(words: Sequence[str]) -> int:
    """Show the page. Returns 1 if a program was rejected."""
    from pytracer.explain.stages import NAMES

    parser = Parser(prog="pytracer explain", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("--stage", metavar="NAME", help=f"show only this stage: {', '.join(NAMES)}")
    parser.add_argument("--html", metavar="FILE", help="write a page for a browser to FILE")
    parser.add_argument(
        "--refused", metavar="FILE", help="explain why the verifier rejects the programs of a C file"
    )
    separator = words.index("--") if "--" in words else len(words)
    own_words, command = list(words[:separator]), list(words[separator:])
    if own_words and own_words[0] in ("-h", "--help"):
        parser.parse_args(own_words[:1])
    options, remaining = parser.parse_known_args(own_words)
    if options.stage and options.html:
        raise UsageError("--html shows all stages: it cannot be combined with --stage")
    stage_names = ("refusal",) if options.refused else NAMES
    if options.stage and options.stage not in stage_names:
        raise UnknownNameError("stage", options.stage, stage_names)
    if options.html:
        from pytracer.explain.html import render as render_html

        with OutputFile(options.html) as file:  # fails before the tracer runs
            page, status = _page(options, remaining + command)
            file.write(render_html(page))
        print(f"{harmless(options.html)}: {harmless(page.title)}")
        return status
    page, status = _page(options, remaining + command)
    from pytracer.explain.plain_text import render

    stream = standard_output()
    has_stage = any(
        stage.name == options.stage for stage in page.stages
    )  # a rejected program has no later stages
    for line in render(page, options.stage if has_stage else ""):
        print(line, file=stream)
    stream.flush()
    return status


def _page(options: argparse.Namespace, remaining: Sequence[str]) -> tuple[Page, int]:
    return _refused(options, remaining) if options.refused else _tracer(remaining)


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
        refused_program = refused.RefusedProgram(program, "", error.detail)
        text = read_source(tracer.c_file, make_plan(request, RunningKernel()).generated)
        return refused.page_of(tracer.c_file, text, [refused_program]), error.exit_code


def _refused(options: argparse.Namespace, remaining: Sequence[str]) -> tuple[Page, int]:
    if remaining:
        raise UsageError(f"--refused takes a file and nothing else, not {remaining[0]!r}")
    file = Path(options.refused)
    if not file.is_file():
        raise UsageError(f"no file {options.refused!r}")

    from pytracer.bpf.compile.source import read_source
    from pytracer.explain import refused
    from pytracer.explain.load_trial import try_programs

    text = read_source(str(file.resolve()))
    trials = try_programs(str(file), text)
    return refused.page_of(str(file), text, trials), int(any(not trial.passed for trial in trials))
