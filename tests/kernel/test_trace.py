"""Test trace on a workload of the test's own: every answer of every call, by every kind of source."""

from __future__ import annotations

import pytest

from pytracer.plan.attach_targets import ALTERNATIVES
from support.cli import run
from support.needs import was_refused
from support.spec_workload import NAME, NUMBERS, TIMES, file_in, run_spec
from support.stream import NoRing, OldKernel, by_perf_rings
from support.uprobes import Program
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]

WORK = "work(int number, char *text, u64 big, short less, char letter, bool odd)"


@pytest.fixture
def path(tmp_path):
    return file_in(tmp_path)


def trace_events(path, *specs, options=(), losses=()):
    """Return the events of a run; None as before."""
    result = run_spec("trace", path, *options, *specs)
    if result is None:
        return None
    assert [loss["reason"] for loss in result.of("loss")] == list(losses)
    return result.of("event")


def column(events, name):
    return [event[name] for event in events]


@pytest.mark.smoke
def test_fields_of_a_trace_event(path):
    events = trace_events(
        path,
        't:syscalls:sys_enter_openat (flags < 4 && !STRCMP("/no/such/22", args->filename)) '
        '"%s %d|%5u|%#x", args->filename, flags, flags, args->mode',
        't:syscalls:sys_exit_openat (ret < 0 && $comm == "argcalls") "%ld %d", ret, $pid == $tid',
        options=("-z", 256),  # the file that it opens last is below pytest's folder
    )
    opens = [event for event in events if event["probe"] == "t:syscalls:sys_enter_openat"]
    assert column(opens, "args->filename")[-TIMES + 1 :] == [f"/no/such/{i}" for i in range(TIMES - 1)]
    assert column(opens, "flags")[-TIMES + 1 :] == [i & 3 for i in range(TIMES - 1)]
    assert opens[-1]["text"] == "/no/such/21 1|    1|0"
    ends = [event for event in events if event["probe"] == "t:syscalls:sys_exit_openat"]
    assert column(ends, "text")[-TIMES:] == ["-2 1"] * TIMES
    assert {event["ret"] for event in opens} == {None}
    assert {event["comm"] for event in ends} == {"argcalls"}


USER = [(kind, alternative.name) for kind in ("u", "ur") for alternative in ALTERNATIVES[kind]]


@pytest.mark.parametrize(("kind", "alternative"), USER, ids=lambda value: value)
def test_functions_of_a_program(path, kind, alternative):
    source = f"{kind}:{workload('argcalls')}:"
    numbers = [i for i in NUMBERS if i % 5 == 0 and i != 10]
    if kind == "u":
        spec = f'{source}{WORK} (number % 5 == 0 && text != "text 10")'
        spec += ' "%d %s %lx %d %c %d", number, text, big, less, letter, odd'
    else:
        spec = f"{source}{WORK} ($entry(number) % 5 == 0 && (int)retval)"
        spec += ' "%d %d %s %d", retval, $entry(number), $entry(text), $latency > 0'
    events = trace_events(path, spec, options=[f"--hook={kind}={alternative}"])
    if events is None:
        return
    expected = {
        "u": [f"{i} text {i} {1 << 40 | i:x} {-i} {chr(97 + i)} {i % 2}" for i in numbers],
        "ur": [f"{i - 10} {i} text {i} 1" for i in numbers],
    }
    assert column(events, "text") == expected[kind]
    if kind == "u":
        assert column(events, "number") == numbers
        assert column(events, "arg:text") == [f"text {i}" for i in numbers]
        assert column(events, "less") == [-i for i in numbers]
        assert column(events, "odd") == [i % 2 for i in numbers]


@pytest.mark.smoke
def test_formats_set_the_types_of_registers(path):
    """Registers have no types; the format says how to read them, as in BCC."""
    program = workload("argcalls")
    events = trace_events(
        path,
        f'p:{program}:work (arg1 == 3) "%d %s %hd %u", arg1, arg2, arg4, arg4',
        f'r:{program}:work ((int)retval == -7) "%d %lu %x", retval, retval, retval',
        f'{program}:work (STRCMP("text 3", arg2)) "%s", (char *)arg2 + 5',
        f"{program}:work (arg3 >> 40 == 1 && arg1 == 3)",
    )
    unsigned = (1 << 64) - 7
    assert sorted(column(events, "text")) == sorted(
        ["3 text 3 -3 4294967293", "3", "", f"-7 {unsigned} fffffff9"]
    )
    assert len(events) == 4


def test_calls_within_each_other_are_distinguished(path):
    events = trace_events(path, f'ur:{workload("argcalls")}:deep(int more) "%d %d", retval, $entry(more)')
    assert column(events, "text") == ["100 0", "101 1", "102 2"]


@pytest.mark.parametrize("alternative", [alternative.name for alternative in ALTERNATIVES["usdt"]])
def test_arguments_of_a_usdt_probe(alternative):
    """In every form, at sites that have them elsewhere; unreadable arguments are refused by name."""
    program = Program(workload("marks"), "forms", TIMES)
    with program:
        probe = f"usdt:{workload('marks')}:forms"
        result = program.seen_by(
            "trace",
            "--hook",
            f"usdt={alternative}",
            f"{probe}:registers (arg1 == 0x1020304050607080 && arg2 < 0)"
            ' "%lx %d %d %u", arg1, arg2, arg3, arg4',
            f'{probe}:nowhere "%d %d", arg1, arg2',
            f"{probe}:bare",
        )
    if was_refused(result, {"usdt": alternative}):
        return
    assert program.output.startswith("semaphore")
    assert result.status == 0, result.err
    assert not result.of("loss")
    texts = column(result.of("event"), "text")
    assert texts.count("1020304050607080 -7 -7 4294967289") == TIMES
    assert texts.count("- 1") == TIMES
    assert texts.count("") == TIMES
    assert len(texts) == 3 * TIMES


def test_truncated_texts_are_counted_and_unreadable_values_are_null(path):
    spec = f'u:{workload("argcalls")}:work (arg1 == 22) "%s|%s|%d", arg2, (char *)arg1, *(int *)arg1'
    [event] = trace_events(path, spec, options=["-z", "5"], losses=["truncated"])
    assert event["text"] == "text|-|-"
    assert (event["arg2"], event["(char *)arg1"], event["*(int *)arg1"]) == ("text", None, None)
    [event] = trace_events(path, spec, options=["-z", "8"])
    assert event["arg2"] == "text 22"


def test_a_filter_that_cannot_be_read_is_not_true(path):
    program = workload("argcalls")
    assert trace_events(path, f"u:{program}:work (*(int *)arg1 == 0)") == []
    assert trace_events(path, f"u:{program}:work (arg1 / (arg1 - arg1) == 0)") == []
    assert len(trace_events(path, f"u:{program}:work (arg1 < 5u || *(int *)arg1)")) == 5


KERNEL = [
    (kind, alternative.name)
    for kind, alternatives in ALTERNATIVES.items()
    if kind[0] in "kf"
    for alternative in alternatives
]


@pytest.mark.parametrize(("kind", "alternative"), KERNEL, ids=lambda value: value)
def test_functions_of_the_kernel(path, kind, alternative):
    """Arguments by name and type, through structs of the kernel; return probes have them as they were at
    entry."""
    returns = kind in ("kr", "fr")
    stored = "$entry({})" if kind == "kr" else "{}"
    name = stored.format("file->f_path.dentry->d_name.name")
    count = stored.format("count")
    spec = f'{kind}:vfs_read ({name} == "{NAME}" && {count} % 2 == 1) "%s %d", {name}, {count}'
    if returns:
        spec = spec.replace("%d", "%d %d %d") + ", retval, $latency > 0"
    options = [f"--hook={kind}={alternative}"]
    if returns:
        options += ["--hook=k=kprobe"] if kind == "kr" else []
    events = trace_events(path, spec, options=options)
    if events is None:
        return
    end = " {} 1" if returns else ""
    assert column(events, "text") == [f"{NAME} {n}" + end.format(n) for n in range(1, TIMES + 1, 2)]


@pytest.mark.smoke
def test_a_function_of_the_kernel_and_a_raw_tracepoint(path):
    events = trace_events(
        path,
        f'k:vfs_read (file->f_path.dentry->d_name.name == "{NAME}") "%s %d %d", '
        "file->f_path.dentry->d_name.name, count, *pos",
        'rt:sched_process_exit "%s %d", p->comm, p->pid == $tid',
    )
    if events is None:
        return
    reads = [event for event in events if event["probe"] == "k:vfs_read"]
    assert column(reads, "text") == [f"{NAME} {n} 0" for n in range(1, TIMES + 1)]
    assert [event["text"] for event in events if event["probe"] != "k:vfs_read"] == ["argcalls 1"]


def test_a_raw_tracepoint_by_every_alternative(path):
    for alternative in ALTERNATIVES["rt"]:
        events = trace_events(
            path,
            'rt:sched_process_exit "%s %d", p->comm, p->pid == $tid',
            options=[f"--hook=rt={alternative.name}"],
        )
        assert events is None or column(events, "text") == ["argcalls 1"]


@pytest.mark.parametrize("facts", [NoRing, OldKernel])
def test_a_kernel_without_the_ring_buffer(path, facts):
    program = workload("argcalls")
    actual, lost = by_perf_rings(
        "trace",
        f'u:{program}:{WORK} (text != "text 3" && $comm == "argcalls") "%d %s", number, text',
        f'ur:{program}:work "%ld %d", retval, $entry(arg1)',
        "--",
        program,
        TIMES,
        path,
        facts=facts,
    )
    assert not lost
    start = [event["text"] for event in actual if event["probe"].startswith("u:")]
    assert start == [f"{i} text {i}" for i in NUMBERS if i != 3]
    error = [event["text"] for event in actual if event["probe"].startswith("ur:")]
    assert error == [f"{i - 10} {i}" for i in NUMBERS]


def test_the_same_question_is_compiled_once(path):
    spec = f'u:{workload("argcalls")}:work (arg1 == 1) "%d", arg1 * '
    result = None
    for _ in range(2):
        result = run("trace", "-v", f"{spec}7", "--", workload("argcalls"), "3", path)
        assert result.status == 0
    assert "loaded the cached image" in result.err
    other = run("trace", "-v", f"{spec}9", "--", workload("argcalls"), "3", path)
    assert other.out.split()[-1] == "9"


WRONG = {
    "u:{}:work (numbr)": "numbr",
    "u:{}:work(int number) (numbr)": "numbr",
    "u:{}:wrk": "u:{}:wrk",
    'u:{}:work "%s", $pid': "$pid",
    't:syscalls:sys_enter_openat "%s", args->filenam': "filenam",
}


@pytest.mark.parametrize("spec", WRONG)
def test_invalid_specs_are_refused_with_a_mark_below_the_error(spec):
    program = workload("argcalls")
    text, marked = spec.format(program), WRONG[spec].format(program)
    result = run("trace", "-v", text)
    assert result.status == 2
    lines = result.err.splitlines()
    index = lines.index(f"  {text}")
    assert lines[index + 1] == "  " + " " * text.index(marked) + "^" + "~" * (len(marked) - 1)
    assert lines[index - 1].startswith("pytracer: error: ")
    assert "compiled" not in result.err
    assert "attached" not in result.err
