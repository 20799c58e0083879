"""``pytracer diff BEFORE AFTER``: the stacks of two runs compared."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.cli.output import OutputFile, require_no_terminal, standard_output
from pytracer.errors import UsageError
from pytracer.text import harmless

_DESCRIPTION = (
    "Compares the stacks of two runs, each written by -f folded or -f json, as a flame graph: frames are as "
    "wide as AFTER, red where their share of the whole grew and blue where it shrank."
)
_EXAMPLES = """\
examples:
  pytracer profile -f json -o before -d 10     the first run; another one writes after
  pytracer diff before after -o diff.svg       what has changed
  pytracer diff after before -o gone.svg       the other way round: what there is no more has a width
  pytracer diff before after -f folded         stacks with both counts, for other tools"""


def run(words: Sequence[str]) -> int:
    """Compare two files."""
    usage = "pytracer diff BEFORE AFTER [-f {flamegraph,folded}] [-o FILE]"
    parser = Parser(prog="pytracer diff", description=_DESCRIPTION, usage=usage, epilog=_EXAMPLES)
    parser.add_argument("before", metavar="BEFORE", help="stacks of a run, by -f folded or -f json")
    parser.add_argument("after", metavar="AFTER", help="stacks of another run")
    formats = ("flamegraph", "folded")
    parser.add_argument("-f", "--format", choices=formats, default="flamegraph", help="default: flamegraph")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of to standard output")
    parser.add_argument("--icicle", action="store_true", help="flame graphs grow downwards, callers above")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)

    from pytracer.sinks.flamegraph import Picture, compare
    from pytracer.sinks.saved_stacks import SavedStacks, read_stacks

    def read(name: str) -> SavedStacks:
        try:
            with open(name, encoding="utf-8", errors="backslashreplace") as file:
                return read_stacks(file, name)
        except OSError as error:
            raise UsageError(f"cannot read {name!r}: {error.strerror}") from error

    before, after = read(given.before), read(given.after)
    if before.column.unit != after.column.unit and given.format == "flamegraph":
        raise UsageError(f"{before.column.name} and {after.column.name} cannot be compared")
    stacks = sorted(before.counts.keys() | after.counts.keys())
    both = [(stack, (before.counts.get(stack, 0), after.counts.get(stack, 0))) for stack in stacks]
    with contextlib.ExitStack() as stack:
        output = standard_output() if given.output is None else stack.enter_context(OutputFile(given.output))
        if given.format == "folded":
            for frames, counts in both:
                output.write(f"{';'.join(frames)} {counts[0]} {counts[1]}\n")
            return 0
        require_no_terminal(given.format, output)
        title = f"{given.before} to {given.after}"
        output.write(compare(both, Picture(harmless(title), after.column, given.icicle)))
    return 0
