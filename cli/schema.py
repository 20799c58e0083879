"""``pytracer schema TRACER``: print a JSON Schema of ``-f json`` output. Needs no privileges."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence

from pytracer.cli import tracer_parser
from pytracer.errors import UsageError
from pytracer.model import Schema
from pytracer.plan.output_choice import make_schema, output_of
from pytracer.request import Request
from pytracer.sinks.json_schema import json_schema
from pytracer.spec import ProbeSpecArguments, Profile, registry

_HELP = """\
usage: pytracer schema TRACER [ARG...] [options]

Prints a JSON Schema of the lines that pytracer TRACER -f json writes with these arguments and options.
Later versions may add fields, but do not change these.

examples:
  pytracer schema syscalls                  rows by system call
  pytracer schema syscalls --latency        its histograms
  pytracer schema syscalls --by pid,comm    other keys, other fields"""


def run(words: Sequence[str]) -> int:
    """Print the schema of a command line's output."""
    if not words:
        raise UsageError("schema needs a tracer", hint="pytracer schema --help")
    if words[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    tracer = registry.get(words[0])
    takes_specs = isinstance(tracer.arguments, ProbeSpecArguments)
    # Without words, required arguments may be missing: only probe specs change the fields.
    request = tracer_parser.parse(tracer, words[1:])[0] if words[1:] else Request(tracer)
    is_open = takes_specs and not request.probe_specs
    schema = (
        _planned_schema(request) if request.probe_specs else make_schema(request, output_of(request), None)
    )
    if isinstance(schema.output, Profile):
        raise UsageError("a profile has a format of its own", hint=f"pytracer schema {tracer.name}")
    described = json_schema(
        schema,
        totals=tracer.totals,
        audit=tracer.audit is not None,
        overhead=tracer.measures_calls,
        is_open=is_open,
    )
    print(json.dumps(described, indent=2))
    return 0


def _planned_schema(request: Request) -> Schema:
    """Return the schema of probe specs, whose column types come from BTF and debug information."""
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.plan import make_plan

    with contextlib.closing(RunningKernel()) as facts:
        return make_plan(request, facts).schema
