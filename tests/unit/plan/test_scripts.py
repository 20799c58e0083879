"""Test plans of scripts for a kernel described as data: programs, maps, attach points, errors."""

from __future__ import annotations

import pytest

from pytracer.errors import ProbeSpecError, UnprobeableError, UnsupportedError, UsageError
from pytracer.features.table.helpers import FOR_EACH_MAP_ELEM, LOOP, MAP_LOOKUP_PERCPU_ELEM
from pytracer.lang.script import parse_script
from pytracer.plan import make_plan
from pytracer.record import replace
from pytracer.request import Request, ScriptRequest
from pytracer.spec import IntervalSample, PerfSample, RunOnce
from pytracer.spec.script import SCRIPT
from support.probe_spec_kernel import kernel

KERNEL = kernel()
UNSAFE = "is unsafe. To use you need the --unsafe flag"


def plan_script(text, facts=KERNEL, **options):
    return make_plan(Request(SCRIPT, script=ScriptRequest(parse_script(text), **options)), facts)


def maps(text, **options):
    return {script_map.name: script_map for script_map in plan_script(text, **options).script.maps}


def error_of(text):
    with pytest.raises(ProbeSpecError) as excinfo:
        plan_script(text)
    return excinfo.value.message, text[excinfo.value.start : excinfo.value.end]


def test_begin_is_attached_first_and_end_last():
    plan = plan_script("end { } kprobe:vfs_read { @ = count(); } begin { }")
    # The last probe of a plan is attached first, and detached last.
    first, second = plan.probes[-1].probe, plan.probes[-2].probe
    assert isinstance(first, RunOnce)
    assert isinstance(second, RunOnce)
    assert (first.at_end, second.at_end) == (True, False)
    assert plan.script.attached == 3
    assert not plan.script.ends_at_once


@pytest.mark.parametrize(
    ("point", "kind", "frequency", "period"),
    [
        ("interval:s:2", IntervalSample, 0, 2 * 10**9),
        ("i:hz:10", IntervalSample, 0, 10**8),
        ("interval:500ms", IntervalSample, 0, 5 * 10**8),
        ("profile:hz:99", PerfSample, 99, 0),
        ("p:ms:10", PerfSample, 0, 10**7),
        ("software:page-faults:7", PerfSample, 0, 7),
        ("hardware:cache-misses:1000", PerfSample, 0, 1000),
        ("hardware:cache-misses:1e6", PerfSample, 0, 10**6),
        ("interval:2000", IntervalSample, 0, 2000),
        ("name=interval:s:1", IntervalSample, 0, 10**9),
    ],
)
def test_timers_and_counters(point, kind, frequency, period):
    [chosen] = plan_script(f"{point} {{ @++; }}").probes
    assert type(chosen.probe) is kind
    assert (chosen.rate.frequency, chosen.rate.period) == (frequency, period)


def test_types_of_maps_are_known_over_all_blocks():
    script_maps = maps(
        "kprobe:vfs_read { @n[tid] = @start; @wide[1] = 1; @text = comm; } "
        'kretprobe:vfs_read { @start = nsecs; @wide[1 << 40] = 1; @text = "a longer text than comm"; '
        "@h[comm] = hist(retval); @l = lhist(1, 0, 9, 3); @s = stats(-1); @c = count(); print(@c + 1); }"
    )
    assert script_maps["@n"].value == script_maps["@start"].value
    assert script_maps["@n"].value.size == 8
    assert script_maps["@wide"].keys[0].size == 8
    assert script_maps["@text"].value.capacity == len("a longer text than comm") + 1
    assert script_maps["@h"].key_words == 3
    assert script_maps["@h"].is_per_cpu
    assert script_maps["@l"].value.parameters == (0, 9, 3)
    assert script_maps["@s"].value_words == 2
    assert script_maps["@c"].is_shared  # a program reads it


def test_a_map_of_strings_may_be_read_before_it_is_assigned():
    script_maps = maps(
        "begin { @copy = @text; @pair = (1, @text); $x = @text; @n[@text] = 1; } end { @text = comm; }"
    )
    assert script_maps["@copy"].value == script_maps["@text"].value == script_maps["@pair"].value.items[1]
    assert script_maps["@n"].keys == (script_maps["@text"].value,)


def test_settings_and_declarations_of_maps():
    script_maps = maps("config = { max_map_keys = 7 } let @a = lruhash(3); begin { @a[1] = 1; @b[1] = 1; }")
    assert (script_maps["@a"].capacity, script_maps["@a"].evicts) == (3, True)
    assert (script_maps["@b"].capacity, script_maps["@b"].evicts) == (7, False)


def test_targets_of_which_the_c_is_the_same_share_a_program():
    plan = plan_script("kprobe:vfs_read, kretprobe:vfs_read { @[probe] = count(); }")
    programs = {chosen.probe.program for chosen in plan.probes}
    assert len(programs) == 1
    assert [names[0] for names in plan.script.targets] == ["kprobe:vfs_read", "kretprobe:vfs_read"]


def test_loops_are_functions_where_the_kernel_calls_them():
    text = (
        "begin { @a[1] = 1; for ($kv : @a) { @b = $kv.1; } for ($i : 0..1000) { @c = $i; } print(len(@a)); }"
    )
    assert plan_script(text).generated["generated_script.h"].count("struct script_walk *walk)") == 3
    old = replace_helpers(LOOP.number)
    assert plan_script(text, old).generated["generated_script.h"].count("struct script_walk *walk)") == 2
    with pytest.raises(UnsupportedError, match=r"bpf_for_each_map_elem \(Linux 5\.13\)"):
        plan_script(text, replace_helpers(FOR_EACH_MAP_ELEM.number))


def test_the_minimum_of_all_cpus_is_read_if_the_kernel_has_the_helper():
    text = "begin { @a = min(1); print(@a + 1); @b = max(-1); }"
    script_maps = {script_map.name: script_map for script_map in plan_script(text).script.maps}
    assert script_maps["@a"].is_per_cpu
    assert (script_maps["@a"].read_cpus > 0, script_maps["@b"].read_cpus) == (True, 0)
    with pytest.raises(ProbeSpecError, match=r"bpf_map_lookup_percpu_elem \(Linux 5\.19\)"):
        plan_script(text, replace_helpers(MAP_LOOKUP_PERCPU_ELEM.number))


def test_paths_of_iterators_are_refused_by_kernels_that_make_none():
    with pytest.raises(ProbeSpecError, match=r"this kernel makes no paths for iterators \(Linux 5\.12\)"):
        plan_script("iter:task_file { path(1); }", replace_helpers(FOR_EACH_MAP_ELEM.number))


def test_only_the_taken_branch_of_a_constant_condition_is_compiled():
    generated = plan_script(
        "macro of(x) { if comptime (is_str(x)) { len(x) } else { x } } begin { @ = of(7); "
        'if (probetype == "kprobe") { nonsense(); } else { @a = of("text"); } }'
    ).generated["generated_script.h"]
    assert generated.count("script_length(") == 1


def replace_helpers(missing):
    facts = kernel()
    facts.helpers = set(range(1, 250)) - {missing}
    return facts


@pytest.mark.parametrize(
    ("text", "unwind", "is_walked"),
    [
        ("@[ustack(raw, 3)] = count();", "auto", True),
        ("@[dw_ustack] = count();", "table", True),
        ("@[ustack] = count();", "fp", False),
        ("@[kstack] = count();", "table", False),
        ("@ = count();", "table", False),
    ],
)
def test_stacks_are_walked_by_tables_if_the_script_takes_some(text, unwind, is_walked):
    facts = kernel()
    facts.helpers = set(range(1, 250))
    plan = plan_stacks(text, facts, unwind)
    assert ("PT_UNWIND" in dict(plan.defines)) == is_walked


def test_dwarf_stacks_are_walked_by_tables_or_refused():
    text = "@ = dw_ustack(3);"
    with pytest.raises(UsageError, match="dw_ustack"):
        plan_stacks(text, KERNEL, "fp")
    with pytest.raises(UnsupportedError, match="bpf_loop"):
        plan_stacks(text, replace_helpers(LOOP.number), "auto")
    plan_stacks("@ = ustack(3);", replace_helpers(LOOP.number), "auto")
    text = "config = { unstable_dw_ustack = error } begin { @ = dw_ustack; }"
    assert error_of(text) == ("the script's settings allow no dw_ustack()", "dw_ustack")


def plan_stacks(block, facts, unwind):
    script = ScriptRequest(parse_script(f"kprobe:vfs_read {{ {block} }}"))
    return make_plan(Request(SCRIPT, script=script, options={"unwind": unwind}), facts)


def test_text_of_the_user_is_not_in_the_c():
    text = 'begin { @evil_map["evil */ text"] = 1; $evil_variable = 1; printf("evil %d", $evil_variable); }'
    assert "evil" not in plan_script(text).generated["generated_script.h"]


def test_parameters():
    assert "0x2aULL" in plan_script("begin { @ = $1; }", parameters=("42",)).generated["generated_script.h"]
    assert (
        "0x1ffULL" in plan_script("begin { @ = $1; }", parameters=("0777",)).generated["generated_script.h"]
    )
    parameters = {"size": "9"}
    assert (
        "0x9ULL"
        in plan_script('begin { @ = getopt("size", 5); }', named=parameters).generated["generated_script.h"]
    )


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("kprobe:vfs_read { $x = $y; }", "$y has no value yet", "$y"),
        ("kprobe:vfs_read { if (1) { $x = 1; } print($x); }", "$x has no value yet", "$x"),
        ("kprobe:vfs_read { print(arg9); }", "k:vfs_read has no arg9", "arg9"),
        ("kprobe:vfs_read { print(retval); }", "k:vfs_read has no return value that can be read", "retval"),
        ("begin { for ($kv : @a) { } }", "nothing assigns a value to @a", "@a"),
        ("begin { print(@a + 1); }", "nothing assigns a value to @a", "@a"),
        ("begin { @b = stats(1); print(@b + 1); }", "a program cannot read a map of stats()", "@b"),
        (
            'begin { static_assert(sizeof(int32) == 8, "narrow"); }',
            "narrow",
            'static_assert(sizeof(int32) == 8, "narrow")',
        ),
        (
            'begin { if ($1 == 0) { fail("got %d of %s", $1, "x"); } }',
            "got 0 of x",
            'fail("got %d of %s", $1, "x")',
        ),
        ("begin { assert_str(5); }", "a string is expected here, and this is s8", "5"),
        ('begin { write_user(1, "x", 1); }', f"write_user() {UNSAFE}", 'write_user(1, "x", 1)'),
        ("begin { print(typeof(int)); }", "this is a type, and no value", "typeof(int)"),
        ("begin { print(config.nothing); }", "no setting 'nothing'", "config.nothing"),
        ("begin { path(1); }", "the kernel makes no path in special probes", "path(1)"),
        ('begin { uaddr("x"); }', "begin is at no place of a program", 'uaddr("x")'),
        ('begin { cgroupid("/nowhere"); }', "/nowhere: No such file or directory", '"/nowhere"'),
        ('begin { debugf("", 1, 2, 3, 4); }', "debugf() shows up to 3 values", 'debugf("", 1, 2, 3, 4)'),
        ('begin { @ = tseries(1, 1s, 5, "x"); }', "a time series is of avg, max, min, sum", '"x"'),
        ("begin { @ = tseries(1, 1s); }", "tseries() takes 4 arguments, and has 2", "tseries(1, 1s)"),
        ("begin { if comptime (pid == 1) { } }", "this is not known before the script runs", "pid == 1"),
        ("begin { @b = count(); @b = 1; }", "@b is filled by a function", "@b = 1"),
        ("begin { @ = hist(1, 9); }", "the bits of hist() are 0 to 5", "hist(1, 9)"),
        ("begin { print((1, 2).2); }", "the tuple has 2 items: .0 is the first", "(1, 2).2"),
        ('begin { print("a" < "b"); }', "'<' makes no sense of strings", '"a" < "b"'),
        (
            'begin { printf("%d", "text that is long"); }',
            "%d is for numbers, and this is a string[18]",
            '"text that is long"',
        ),
        ("begin { signal(9); }", f"signal() {UNSAFE}", "signal(9)"),
        ("interval:s:0 { }", "'s:0' is no time", "interval:s:0"),
        ("kprobe:0x10 { }", "Unable to attach probe: kprobe:16", "kprobe:0x10"),
        ("fentry:bpf:prog { }", "BPF programs cannot be probed", "fentry:bpf:prog"),
        (
            "uprobe:/none/a@a.c:7 { }",
            "no file /none/a: No such file or directory",
            "uprobe:/none/a@a.c:7",
        ),
        ("test:loop { }", "test probes are not supported", "test:loop"),
        ("iter:task:list { }", "an iterator cannot be pinned", "iter:task:list"),
        ("watchpoint:here:8:w { }", "'here' is no address", "watchpoint:here:8:w"),
        ("watchpoint:0x10:3:w { }", "'3' is no length: 1, 2, 4 or 8", "watchpoint:0x10:3:w"),
        ("watchpoint:0x10:8:wx { }", "'wx' is no mode: r, w, rw or x", "watchpoint:0x10:8:wx"),
        ("self:signal:SIGKILL { }", "self has the signals SIGUSR1 and SIGUSR2", "self:signal:SIGKILL"),
        ("kprobe:$1 { }", "there is no parameter $1", "kprobe:$1"),
        ("software:nothing:1 { }", "'software:nothing:1' names no event", "software:nothing:1"),
        ("macro m() { m() } begin { m(); }", "macro m uses itself", "m()"),
    ],
)
def test_mistakes_are_pointed_at(text, message, marked):
    assert error_of(text) == (message, marked)


def test_scripts_for_a_command_alone_filter_what_programs_see():
    request = Request(
        SCRIPT, script=ScriptRequest(parse_script("kprobe:vfs_read { } begin { }")), command=("ls",)
    )
    generated = make_plan(request, KERNEL).generated["generated_script.h"]
    assert generated.count("pt_is_current_traced()") == 1
    assert "PT_FOLLOW" in dict(make_plan(request, KERNEL).defines)
    load = make_plan(replace(request, load=True), KERNEL)
    assert "PT_FOLLOW" not in dict(load.defines)


def test_functions_that_cannot_be_probed_are_missing():
    class Refusing(type(KERNEL)):
        def find(self, source):
            if source.name == "vfs_notrace":
                raise UnprobeableError("k:vfs_notrace is a function that may not be traced", {})
            return super().find(source)

    facts = Refusing(**{field: getattr(KERNEL, field) for field in KERNEL.__annotations__})
    text = "kprobe:vfs_notrace { @ = count(); } kprobe:vfs_read { @n++; }"
    with pytest.raises(ProbeSpecError) as excinfo:
        plan_script(text, facts)
    assert excinfo.value.message == "No matches for kprobe vfs_notrace."
    assert excinfo.value.hint == "k:vfs_notrace is a function that may not be traced"
    assert plan_script(f"config = {{ missing_probes = ignore }} {text}", facts).script.attached == 1


def test_functions_that_are_not_listed_as_traceable_take_unsafe():
    listed = {"traceable": frozenset({"vfs_write"})}
    with pytest.raises(ProbeSpecError, match=r"No matches for kprobe vfs_read\."):
        plan_script("kprobe:vfs_read { }", **listed)
    plan = plan_script("kprobe:vfs_read { }", unsafe=True, **listed)
    assert plan.script.attached == 1
    assert "WARNING: vfs_read is not traceable" in plan.targets.warnings[0]
