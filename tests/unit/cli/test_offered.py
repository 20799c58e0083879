"""Test that each option in a tracer's help is accepted and has an effect, with one of its outputs at
least, and that other options are refused with the reason."""

from __future__ import annotations

import argparse
import json
import os
import threading

import pytest

from pytracer.cli import tracer_parser
from pytracer.errors import PytracerError, UsageError
from pytracer.kernel import filter_values
from pytracer.plan import make_plan
from pytracer.record import as_dict, replace
from pytracer.spec import (
    ExpressionOption,
    GroupBy,
    Injection,
    NameSet,
    Number,
    PacketFilter,
    SeccompProfile,
    registry,
)
from support.fake_kernel import FakeKernel

TRACERS = registry.all_tracers()
NOT_FOR_ALL = {
    "--top": ("top", "3"),
    "--sort": ("sort", "x"),
    "--max-rows": ("rows", "23"),
    "--buffer": ("buffer", "1M"),
}
RUN = ("interval", "count", "duration", "top", "command", "filter", "max_probes", "wait_all", "load", "audit")
"""What of a request those who carry out a plan look at."""
NOT_IN_THE_PLAN = {
    "--help", "--format", "--output", "--timestamp", "--wide", "--strict", "--verbose", "--dry-run",
    "--emit-c", "--example", "--debug", "--hook", "--headers", "--container", "--csv-raw", "--icicle",
    "--no-config", "--no-live",
    "--annotate", "--inlines", "--parameters",  # the names of functions
    "--values",  # questions, which are of this machine
}  # fmt: skip
SETS = {"syscalls": "read", "networks": "10.0.0.0/8", "paths": "/etc/*"}
VALUES = {
    "--pid": os.getpid(),
    "--tid": threading.get_native_id(),
    "--comm": "sh",
    "--uid": 0,
    "--netns": os.getpid(),
    "--mntns": os.getpid(),
    "-c": "true",
    "--duration": 2.5,
    "--top": 3,
    "--max-rows": 23,
    "--buffer": "1M",
    "--max-probes": 7,
}


@pytest.fixture(params=TRACERS, ids=lambda tracer: tracer.name)
def tracer(request):
    return request.param


@pytest.fixture
def values(tracer, tmp_path, monkeypatch):
    """Return by option a value that is not the default; options without one are missing."""
    monkeypatch.setattr(filter_values, "cgroup2_roots", lambda: [tmp_path])
    (tmp_path / "group").mkdir()
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}))
    actual = VALUES | {"--cgroup": tmp_path / "group"}
    for option in tracer.options:
        match option:
            case Number():
                actual[f"--{option.name}"] = option.minimum + (option.default == option.minimum)
            case GroupBy():
                actual[f"--{option.name}"] = next(k.name for k in option.keys if k.name != option.default)
            case NameSet():
                actual[f"--{option.name}"] = option.names[0] if option.names else SETS[option.encode]
            case ExpressionOption():
                actual[f"--{option.name}"] = "arg1" if isinstance(tracer.arguments, Injection) else "$tid"
            case PacketFilter():
                actual[f"--{option.name}"] = "udp"
            case SeccompProfile():
                actual[f"--{option.name}"] = profile
    return actual


def plan_words(tracer, words):
    """Return the plan's values, and the arguments of the code that runs the plan."""
    needed = []
    if isinstance(tracer.arguments, Injection):
        task_words = [] if "--everyone" in words else ["-p", str(os.getppid())]
        needed = ["should_failslab", "ENOMEM", *task_words]
        if "--where" in words:  # which is for system calls of a command
            needed = ["mkdir", "ENOMEM"]
    elif tracer.arguments:
        needed = list(tracer.arguments.examples[: tracer.arguments.minimum]) or ["lo"]
    command = words[words.index("--") :] if "--" in words else []
    words = [*needed, *words[: len(words) - len(command)], *command]
    request, _ = tracer_parser.parse(tracer, list(map(str, words)))
    # What is named is of this machine.
    plan = make_plan(
        replace(request, sources=(), probe_specs=()), FakeKernel(functions={"lookup_fast", "should_failslab"})
    )
    reported = as_dict(request)
    return (
        as_dict(plan)
        | {"request": None, "specs": request.probe_specs}
        | {name: reported[name] for name in RUN}
    )


def contexts(tracer, values):
    """Yield command lines that select each output of a tracer, without and with a command."""
    for output in tracer.outputs:
        flag = [f"--{output.when}"] if output.when else []
        flag += [values[word] for word in flag if word in values]
        yield flag, []
        if tracer.follow:
            yield flag, ["--", "true"]


def has_effect(tracer, values, words):
    """Return whether these words are accepted and change something, with one of the outputs."""
    for before, after in contexts(tracer, values):
        try:
            plain, changed = (
                plan_words(tracer, [*before, *option_words_, *after]) for option_words_ in ([], words)
            )
        except PytracerError:
            continue
        if plain != changed:
            return True
    return False


def option_words(action, tracer, values):
    """Return the ways to give an option."""
    name = action.option_strings[-1]
    if name in ("-c", "--load"):  # where a command cannot be followed they go together
        return [[name, "true"], ["--load"], ["--load", "-c", "true"]]
    if name == "--children":  # which is for named processes
        return [["-p", os.getpid(), name]]
    if action.nargs == 0:
        return [[name]]
    if action.choices:
        return [[name, choice] for choice in action.choices if choice != action.default]
    if name == "--sort":
        keys = tracer.group_by.keys if tracer.group_by else tracer.keys
        columns = {c.name for key in keys for c in key.columns}
        columns |= {c.name for output in tracer.outputs for c in (*output.keys, *output.columns)}
        return [[name, column] for column in sorted(columns)]
    if name == "--end-key":  # which goes with that of the start
        return [["--key", "$pid", name, values[name]]]
    if name in values:
        return [[name, values[name]]]
    return [[name, "5ms"]]


def test_all_that_the_help_offers_works(tracer, values):
    for action in tracer_parser.build(tracer)._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS:
            continue
        if action.option_strings[-1] not in NOT_IN_THE_PLAN:
            alternatives = option_words(action, tracer, values)
            assert any(has_effect(tracer, values, words) for words in alternatives), alternatives


def test_options_outside_the_help_are_refused_with_the_reason(tracer, values):
    help_text = tracer_parser.build(tracer).format_help()
    assert ("INTERVAL" in help_text.partition("\n")[0]) is has_effect(tracer, values, ["1", "2"])
    passed = {"INTERVAL": ["1", "2"]} | {name: [name, value] for name, (_, value) in NOT_FOR_ALL.items()}
    for name, words in passed.items():
        if name not in help_text:
            with pytest.raises(UsageError, match=f"{name} is for .*: {tracer.name} "):
                plan_words(tracer, words)
