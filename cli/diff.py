"""``pytracer diff BEFORE AFTER``: compare the stacks of two runs."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.cli.output import OutputFile, require_no_terminal, standard_output
from pytracer.errors import UsageError
from pytracer.text import harmless

_DESCRIPTION = (
    "Compares the stacks of two runs, each written by -f folded or -f json, as a flame graph. The width of a "
    "frame is its count in AFTER. A frame is red if its share of all samples grew, blue if it shrank."
)
_EXAMPLES = """\
examples:
  pytracer profile -f json -o before -d 10     record the first run; a second run writes after
  pytracer diff before after -o diff.svg       draw the differences
  pytracer diff after before -o gone.svg       draw them with the widths of the first run
  pytracer diff before after -f folded         print stacks with both counts, for other tools"""


def run(words: Sequence[str]) -> int:
    """Compare two files, and write a flame graph or folded stacks."""
    usage = "pytracer diff BEFORE AFTER [-f {flamegraph,folded}] [-o FILE]"
    parser = Parser(prog="pytracer diff", description=_DESCRIPTION, usage=usage, epilog=_EXAMPLES)
    parser.add_argument("before", metavar="BEFORE", help="stacks of a run, by -f folded or -f json")
    parser.add_argument("after", metavar="AFTER", help="stacks of another run")
    formats = ("flamegraph", "folded")
    parser.add_argument("-f", "--format", choices=formats, default="flamegraph", help="default: flamegraph")
    parser.add_argument("-o", "--output", metavar="FILE", help="write to FILE instead of standard output")
    parser.add_argument("--icicle", action="store_true", help="draw flame graphs downwards, callers on top")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)

    from pytracer.sinks.flamegraph import Picture, compare
    from pytracer.sinks.saved_stacks import SavedStacks, read_stacks

    def read(name: str) -> SavedStacks:
        try:
            with open(name, encoding="utf-8", errors="backslashreplace") as file:
                return read_stacks(file, name)
        except OSError as error:
            raise UsageError(f"cannot read {name!r}: {error.strerror}") from error

    before, after = read(options.before), read(options.after)
    if before.column.unit != after.column.unit and options.format == "flamegraph":
        raise UsageError(f"{before.column.name} and {after.column.name} cannot be compared")
    stacks = sorted(before.counts.keys() | after.counts.keys())
    count_pairs = [(stack, (before.counts.get(stack, 0), after.counts.get(stack, 0))) for stack in stacks]
    with contextlib.ExitStack() as stack:
        output = (
            standard_output() if options.output is None else stack.enter_context(OutputFile(options.output))
        )
        if options.format == "folded":
            for frames, counts in count_pairs:
                output.write(f"{';'.join(frames)} {counts[0]} {counts[1]}\n")
            return 0
        require_no_terminal(options.format, output)
        title = f"{options.before} to {options.after}"
        output.write(compare(count_pairs, Picture(harmless(title), after.column, options.icicle)))
    return 0
