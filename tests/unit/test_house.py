"""Test the rules for every tracer: its C file and names in it, help, and a table of at most 80 columns."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from pytracer.bpf.compile.source import probes_folder, read_source
from pytracer.cli import tracer_parser
from pytracer.model import Schema, Snapshot, StackSnapshot
from pytracer.model.loss import REASONS
from pytracer.plan import make_plan
from pytracer.request import Fault, Request
from pytracer.sinks import make_sink
from pytracer.spec import Filter, Flag, Histogram, Injection, NameSet, Stacks, Unit, registry
from pytracer.spec.common import FOLLOW, MAPPING
from pytracer.trace.source_check import check_options
from support.fake_kernel import FakeKernel

TRACERS = registry.all_tracers()
KERNEL = FakeKernel(functions={"lookup_fast", "should_failslab"})


@pytest.fixture(params=TRACERS, ids=lambda tracer: tracer.name)
def tracer(request):
    return request.param


def make_request(tracer, **fields):
    """Return a request for the tracer, with its required arguments."""
    if isinstance(tracer.arguments, Injection):
        fields = {"filters": {Filter.PID: (bytes(4),)}} | fields
        return Request(tracer, fault=Fault("should_failslab", "ENOMEM"), **fields)
    return Request(tracer, **fields)


def hooks_of(tracer):
    """Return a tracer's hooks, and those that its flags and outputs add."""
    flags = [option for option in tracer.options if isinstance(option, Flag)]
    bringing = (*flags, *tracer.outputs)
    return [*tracer.hooks, *dict.fromkeys(hook for other in bringing for hook in other.hooks)]


def test_tracers_are_found():
    assert {"syscalls", "sockcount"} <= {tracer.name for tracer in TRACERS}


def test_programs_are_in_the_c_file(tracer):
    text = read_source(tracer.c_file)
    for hook in (*hooks_of(tracer), *([FOLLOW] if tracer.follow else [])):
        for alternative in hook.alternatives:
            for probe in alternative.probes:
                assert re.search(rf"^int {probe.program}\(", text, re.M), probe.program


def test_hook_macros_are_in_the_c_file(tracer):
    text = read_source(tracer.c_file)
    for hook in hooks_of(tracer):
        kinds = [type(a.probes[0]) for a in hook.alternatives if a.probes]
        # What is attached in another way, but given the same context, is declared as a kind of the first.
        if not all(issubclass(kind, kinds[0]) for kind in kinds) and hook.name in text.lower():
            for alternative in hook.alternatives:
                if not alternative.probes:
                    continue  # doing without
                program = alternative.probes[0].program
                if re.search(rf"^int {program}\(void \*ctx\)", text, re.M):
                    continue  # does not look at the context: one function serves all alternatives
                assert hook.define(alternative) in text


def test_maps_columns_and_options_are_in_the_c_file(tracer):
    text = read_source(tracer.c_file)
    for output in tracer.outputs:
        assert re.search(rf"\bBPF_\w+\({output.map},", text), output.map
        for column in (*output.keys, *output.columns):
            if column.source:
                assert re.search(rf"\b{column.source}(\[\w+\])?(;|$)", text, re.M), column.source
        if isinstance(output, Histogram):
            assert re.search(r"\bslot;", text)
    check_options(tracer, text)
    for option in tracer.options:
        if isinstance(option, NameSet):
            assert re.search(rf"\bBPF_\w+\({option.map},", text)
    for key in tracer.group_by.keys if tracer.group_by else ():
        assert key.define in text


def test_help_examples_and_notes(tracer):
    assert tracer.summary
    assert tracer.description
    assert tracer.examples
    assert tracer.notes, "every tracer has a caveat"
    text = tracer_parser.build(tracer).format_help()
    for option in tracer.options:
        assert f"--{option.name}" in text
    for line in text.splitlines():
        assert len(line) <= 110
    for example, _ in tracer.examples:
        assert example.split()[0] == tracer.name


def test_c_file_is_licensed_and_small(tracer):
    lines = (probes_folder() / tracer.c_file).read_text().splitlines()
    assert lines[0] == "// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only"
    assert len(lines) <= 150


def test_default_table_fits_80_columns(tracer):
    plan = make_plan(make_request(tracer), KERNEL)
    text = io.StringIO()
    sink = make_sink("table", text, timestamps=False, terminal=False)
    sink.open(plan.schema)
    if plan.schema.is_stream:  # has widths of its own; the last column takes what is left, and must have some
        heading = text.getvalue().rstrip("\n")
        last = [c for c in plan.schema.columns if not c.wide][-1]
        assert not last.is_text or heading.index(last.header) <= 60
        assert len(heading) <= 80
        return
    item = StackSnapshot if plan.schema.is_stacks else Snapshot
    sink.emit(item("row", 0.0, 1.0, {c.name: [widest(c)] for c in plan.schema.columns}))
    assert max(map(len, text.getvalue().splitlines())) <= 80


def widest(column):
    """Return a value of the greatest width in practice: the column's declared width, if it has one."""
    if column.decode == "stack":
        return ("entry_SYSCALL_64_after_hwframe", "nf_hook_direct_egress.constprop.0")
    if column.is_text:
        return "sched_rr_get_interval"[: column.width or (15 if column.name == "comm" else None)]
    if column.unit is Unit.NANOSECONDS:
        return 999_999_999_999
    if column.unit is Unit.PERCENT:
        return 100
    number = 999_999_999_999 if column.unit is not Unit.NONE else 4_194_304
    return min(number, 10**column.width - 1) if column.width else number


def test_reasons_for_loss_are_those_of_the_c():
    text = (probes_folder() / "include" / "loss.h").read_text()
    names = re.findall(r"^\s+PT_LOSS_(\w+),", text, re.M)
    assert [name.lower() for name in names] == [*REASONS, "reasons"]


def test_column_names_are_unique(tracer):
    for output in tracer.outputs:
        flag = {output.when: True} if output.when else {}
        command = ("true",) if tracer.follow else ()
        schema: Schema = make_plan(make_request(tracer, options=flag, command=command), KERNEL).schema
        names = [column.name for column in schema.columns]
        assert len(names) == len(set(names))
        assert "kind" not in names  # of JSON's records
        assert np.all([re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names])


def test_stacks_have_the_names_of_their_time(tracer):
    """A hook raises the generation of their addresses, unless all addresses are the kernel's."""
    if "#define KERNEL_ONLY" in read_source(tracer.c_file):
        return
    for output in tracer.outputs:
        if isinstance(output, Stacks):
            assert MAPPING in (output.hooks or tracer.hooks)


def test_a_hook_of_one_name_has_the_same_alternatives_in_all_tracers_that_name_them():
    """``--hook NAME=ALTERNATIVE`` is looked up by name in the table of what kernels lack."""
    alternatives: dict[tuple[str, str], set[str]] = {}
    for tracer in registry.all_tracers():
        for hook in tracer.hooks:
            for alternative in hook.alternatives:
                kinds = " ".join(sorted({probe.kind for probe in alternative.probes}))
                alternatives.setdefault((hook.name, alternative.name), set()).add(kinds)
    assert {name: kinds for name, kinds in alternatives.items() if len(kinds) > 1} == {}
    names = {hook.name: hook.what for tracer in registry.all_tracers() for hook in tracer.hooks}
    assert names["sockets"] != names["open_sockets"]


# Without BTF these are taken for absent: no header has the struct, or what the member adds is left out.
TAKEN_FOR_ABSENT = {
    *("cfs_rq", "sched_entity", "netlink_sock", "unix_sock", "tcp_zerocopy_receive", "bio", "bdi_writeback"),
    *("io_kiocb", "io_listen", "io_open", "io_statx", "io_sync"),
    *("trace_event_raw_io_uring_complete", "trace_event_raw_io_uring_submit_sqe"),
    *("folio___flags_1", "folio___folio_order"),
}


def test_members_are_known_for_packaged_headers_too():
    """With types from BTF the macros are generated; else one that nothing defines is 0 on any kernel."""
    folder = probes_folder()
    text = "\n".join(path.read_text() for path in sorted(folder.rglob("*.[ch]")))
    used = set(re.findall(r"\bPT_HAS_([a-z]\w*?__\w+)", text))
    defined = set(re.findall(r"^#define +PT_HAS_([a-z]\w*?__\w+)", text, re.M))
    unknown = {name for name in used - defined if not {name, name.partition("__")[0]} & TAKEN_FOR_ABSENT}
    assert unknown == set()
