"""Test which blocks at the trace events of all system calls are attached to the raw tracepoints."""

from __future__ import annotations

import pytest

from pytracer.lang.script import parse_script
from pytracer.plan import make_plan
from pytracer.request import Request, ScriptRequest
from pytracer.spec import RawTracepoint, Tracepoint
from pytracer.spec.script import SCRIPT
from support.probe_spec_kernel import kernel

ENTRY, EXIT = "tracepoint:raw_syscalls:sys_enter", "tracepoint:raw_syscalls:sys_exit"


def plan_script(text, facts=None, **request):
    script_request = ScriptRequest(parse_script(text))
    return make_plan(Request(SCRIPT, script=script_request, **request), facts or kernel())


def probes(text, facts=None, **request):
    return [chosen.probe for chosen in plan_script(text, facts, **request).probes]


@pytest.mark.parametrize(
    "text",
    [
        f"{ENTRY} {{ @[args->id] = count(); }}",
        f"{ENTRY} /args.id == 1/ {{ @[comm, ustack] = count(); }}",
        f"{EXIT} {{ @[__builtin_args.id] = sum(args.ret); }}",
        f"macro named() {{ comm }} {EXIT} {{ @[named()] = count(); }}",
        f"{EXIT} {{ $args1 = args.ret; @ = $args1; }}",
    ],
)
def test_what_reads_the_number_or_the_result_is_on_the_raw_tracepoint(text):
    [probe] = probes(text)
    assert type(probe) is RawTracepoint
    assert probe.event in ("sys_enter", "sys_exit")


@pytest.mark.parametrize(
    "text",
    [
        f"{ENTRY} {{ @ = args.args[0]; }}",
        f"{ENTRY} {{ print(args); }}",
        f"{ENTRY} {{ @[kstack] = count(); }}",
        f"{ENTRY} {{ @[kstack(3)] = count(); }}",
        f"{ENTRY} {{ @ = *(uint64 *)(ctx + 8); }}",
        f"macro first() {{ args.args[0] }} {ENTRY} {{ @ = first(); }}",
        f"{EXIT} {{ if (1) {{ @a = args.id; }} else {{ @b = args.id; print(args); }} }}",
    ],
)
def test_what_reads_more_is_on_the_trace_event(text):
    [probe] = probes(text)
    assert type(probe) is Tracepoint


def test_blocks_at_one_event_stay_together_so_that_they_run_in_their_sequence():
    text = f"{ENTRY} {{ @a = count(); }} {ENTRY} {{ @b = args.args[0]; }} {EXIT} {{ @c = count(); }}"
    assert sorted((type(probe).__name__, probe.event) for probe in probes(text)) == [
        ("RawTracepoint", "sys_exit"),
        ("Tracepoint", "sys_enter"),
        ("Tracepoint", "sys_enter"),
    ]


@pytest.mark.parametrize(
    ("facts", "request_fields"),
    [
        (kernel(preempts=True), {}),
        (kernel(raw_tracepoints=set()), {}),
        (kernel(types=None), {}),
        (kernel(), {"hooks": {"t": "tracepoint"}}),
    ],
)
def test_the_trace_event_is_taken_where_the_raw_tracepoint_would_do_worse(facts, request_fields):
    [probe] = probes(f"{EXIT} {{ @[args.id] = count(); }}", facts, **request_fields)
    assert type(probe) is Tracepoint


def test_the_names_of_targets_are_those_of_the_script():
    plan = plan_script(f"{ENTRY} {{ @[probe] = count(); }}")
    assert plan.targets.names == ("t:raw_syscalls:sys_enter",)
    assert plan.targets.script.targets == ((ENTRY, "sys_enter"),)
    assert [(hook.hook.name, hook.alternative) for hook in plan.targets.resolved_hooks] == [
        ("rt", "raw-tracepoint")
    ]
