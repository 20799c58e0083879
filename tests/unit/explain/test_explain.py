"""Test pages as text and as HTML, with hostile contents; explanations of refusals; the alternatives of a
plan."""

from __future__ import annotations

import builtins

import pytest

from pytracer.bpf.load.verifier import VerifierStats, last_lines, parse_stats
from pytracer.bpf.load.verifier_messages import explain_message
from pytracer.cli import main as command_line
from pytracer.explain import plain_text, refused
from pytracer.explain.html import render
from pytracer.explain.page import (
    CodeLine,
    Fold,
    Grid,
    Page,
    PageStage,
    Pair,
    Paragraph,
    Raw,
    SideBySide,
    SourceBlock,
)
from pytracer.plan import make_plan, report_alternatives
from pytracer.request import Request
from pytracer.spec import registry
from support.fake_kernel import FakeKernel
from support.html import HtmlChecker, check_alone, parsed

EVIL = "</pre></script><script>alert(1)</script>\x1b[31m\" onmouseover='x' &amp;\u202e"


def page(hostile: str = EVIL) -> Page:
    """Make a page with every kind of block, with the same string wherever one can be."""
    code = (CodeLine("0", f"(b7) r0 = {hostile}", "2"), CodeLine("2", hostile))
    blocks = (
        Paragraph(hostile, hostile),
        Raw(f"{hostile}\nsecond"),
        Grid((hostile, "b"), ((hostile, "2"), ("3", hostile)), frozenset({0})),
        SourceBlock(hostile, 7, (hostile, "int x; /* of several"), ((7, 2),), frozenset({8})),
        SideBySide(hostile, (Pair(hostile, 7, hostile, code), Pair("", 0, "", (CodeLine("4", "exit"),)))),
        Fold(hostile, (Paragraph(hostile),), opened=True),
    )
    return Page(
        f"{hostile}: {hostile}",
        hostile,
        ((hostile, hostile),),
        (PageStage("c", hostile, hostile, blocks, ((hostile, hostile),)),),
    )


def shape(page: HtmlChecker) -> list[tuple[str, list[str]]]:
    """Return the elements without those that colour C."""
    colours = {"tk", "tt", "tc", "tn", "ts"}
    return [
        (tag, sorted(attributes)) for tag, attributes in page.seen if attributes.get("class") not in colours
    ]


def test_whatever_is_in_a_page_it_is_only_text():
    mild, hostile = parsed(render(page("mild"))), parsed(render(page()))
    assert shape(hostile) == shape(mild)
    assert [tag for tag, _ in hostile.seen].count("script") == 1
    assert "\x1b" not in render(page())
    assert "\u202e" not in render(page())
    assert any("</pre></script>" in words for words in hostile.words)


def test_colours_change_nothing_but_colours(monkeypatch):
    coloured = render(page("int x = 7; // seven"))
    real = builtins.__import__

    def missing(name, *options):
        if name.startswith("pygments"):
            raise ImportError(name)
        return real(name, *options)

    monkeypatch.setattr(builtins, "__import__", missing)
    plain = render(page("int x = 7; // seven"))
    assert '<span class="tt">int</span>' in coloured
    assert "".join(parsed(coloured).words) == "".join(parsed(plain).words)


def test_the_page_loads_nothing_from_outside():
    check_alone(render(page("mild")))


def test_jumps_lead_to_instructions_of_the_page():
    actual = parsed(render(page("mild"))).seen
    ids = [attributes["id"] for _, attributes in actual if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"].removeprefix("#") for _, a in actual if "href" in a} <= set(ids)


def test_text_is_harmless_and_whole():
    lines = list(plain_text.render(page()))
    assert all(line.isprintable() for line in lines)
    text = "\n".join(plain_text.render(page("mild")))
    assert "*" in next(line for line in text.splitlines() if line.endswith(" 2"))
    assert ">       8  int x; /* of several" in text
    assert "      2    7  mild" not in text
    assert "   2    7  mild" in text
    assert "    0: (b7) r0 = mild  -> 2" in text


def test_long_folds_are_for_their_stage():
    long = Fold("the log", (Raw("\n".join(f"line {n}" for n in range(99))),))
    full_page = Page("t", "c", (), (PageStage("verifier", "The verifier", "lead", (long,)),))
    assert "-- the log: 99 lines, which --stage verifier shows" in list(plain_text.render(full_page))
    assert "line 98" in list(plain_text.render(full_page, "verifier"))
    assert not list(plain_text.render(full_page, "maps"))


def test_every_alternative_is_reported():
    request = Request(registry.get("syscalls"))
    kernel = FakeKernel(raw_tracepoints=set(), functions={"x64_sys_call"})
    plan = make_plan(request, kernel)
    actual = {
        resolved.hook.name: list(report_alternatives(resolved, request, kernel))
        for resolved in plan.resolved_hooks
    }
    calls = actual["syscall"]
    assert [alternative.name for alternative in calls] == [
        a.name for a in plan.resolved_hooks[0].hook.alternatives
    ]
    chosen = [alternative for alternative in calls if alternative.is_chosen]
    assert [alternative.name for alternative in chosen] == ["tracepoint"]
    assert chosen[0].reason == "the best that this kernel grants"
    assert any("raw_syscalls:sys_enter" in probe for probe in chosen[0].probes)
    refused = {alternative.name: alternative.reason for alternative in calls if not alternative.is_supported}
    assert refused["fentry"] == "it takes 1 to 8 calls by name (--calls)"
    assert "sys_enter" in refused["raw-tracepoint"]
    assert {
        alternative.reason for alternative in calls if alternative.is_supported and not alternative.is_chosen
    } <= {"granted here, too: not needed"}


def test_a_requested_alternative():
    request = Request(registry.get("syscalls"), hooks={"syscall": "tracepoint"})
    plan = make_plan(request, FakeKernel())
    reports = report_alternatives(plan.resolved_hooks[0], request, FakeKernel())
    first, second = (report for report in reports if report.name in ("raw-tracepoint", "tracepoint"))
    assert (first.is_chosen, first.is_supported, first.reason) == (
        False,
        True,
        "granted here, and not asked for (--hook)",
    )
    assert (second.is_chosen, second.reason) == (True, "asked for by --hook")


STATISTICS = """\
0: (b7) r0 = 0
verification time 312 usec
stack depth 72+16
processed 1023 insns (limit 1000000) max_states_per_insn 4 total_states 86 peak_states 80 mark_read 9
"""


def test_the_verifiers_numbers():
    assert parse_stats(STATISTICS) == VerifierStats(1023, 1000000, 4, 86, 80, 312, (72, 16))
    assert parse_stats("processed 5 insns (limit 1000000) total_states 1\n") == VerifierStats(
        5, 1000000, None, 1
    )
    assert parse_stats("nothing of the kind") == VerifierStats()
    # Of two loads in a log, the last.
    assert parse_stats(STATISTICS + STATISTICS.replace("312", "77")).time == 77


def test_a_story_ends_with_the_refusal_and_begins_with_c():
    steps = "".join(f"; line {n};\n{n}: (b7) r0 = {n}\n" for n in range(30))
    reported = last_lines(steps + "R1 !read_ok\n" + STATISTICS.splitlines()[-1] + "\n\n")
    assert reported[-1] == "R1 !read_ok"
    assert reported[0].startswith("; line ")
    assert len(reported) <= 16


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("R0 invalid mem access 'map_value_or_null'", "may be NULL"),
        ("R0 invalid mem access 'inv'", "just a number"),
        ("R0 invalid mem access 'scalar'", "just a number"),
        ("infinite loop detected at insn 30", "turn by turn"),
        ("BPF program is too large. Processed 1000001 insn", "turn by turn"),
        ("back-edge from insn 9 to 3", "turn by turn"),
        ("invalid stack off=-520 size=8", "512 bytes"),
        ("invalid write to stack R10 off=-520 size=8", "512 bytes"),
        ("in function f i32 (ptr): Looks like the BPF stack limit of 512 bytes is exceeded.", "512 bytes"),
        ("in function f i32 (ptr): Looks like the BPF stack limit is exceeded.", "512 bytes"),
        ("combined stack size of 2 calls is 544. Too large", "512 bytes"),
        ("invalid indirect read from stack off -16+4 size 16", "never written"),
        ("R0 !read_ok", "holds nothing"),
        ("invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)", "so long"),
        ("R0 unbounded memory access, use 'var &= const' or 'if (var < const)'", "outside"),
        ("invalid access to map value, value_size=8 off=8 size=8", "outside"),
        ("invalid bpf_context access off=4000 size=8", "no member"),
        ("unknown func bpf_redirect#23", "may not call that helper"),
        ("program of this type cannot use helper bpf_redirect#23", "may not call that helper"),
        ("cannot call GPL-restricted function from non-GPL compatible program", "under the GPL"),
        ("Unreleased reference id=2 alloc_insn=4", "given back on some paths"),
        ("R0 pointer arithmetic with *= operator prohibited", "arithmetic"),
        ("At program exit the register R0 has value (0x7; 0x0)", "not among what it may be"),
        ("R1 type=inv expected=fp", "another kind of argument"),
    ],
)
def test_explanations_of_refusals(words, meaning):
    verdict = explain_message(words)
    assert verdict is not None
    assert meaning in verdict.meaning
    assert verdict.remedy


def test_unexplained_messages():
    assert explain_message("something quite new") is None
    program = refused.RefusedProgram("f", "xdp", "0: (95) exit\nsomething quite new\n")
    stage = refused.stage_of(program, "")
    assert stage.lead == "The verifier refused it: something quite new"
    assert any(isinstance(block, Paragraph) and "not been put down" in block.text for block in stage.blocks)


C = '#line 1 "a.c"\nint f(struct __sk_buff *skb)\n{\n    u64 *p = m.lookup(&key);\n    return *p;\n}\n'


@pytest.mark.parametrize("message", ["; return *p; @ a.c:4", "; return *p;"], ids=["with-place", "without"])
def test_the_line_is_found_with_and_without_its_place(message):
    log = f"{message}\n7: (79) r1 = *(u64 *)(r0 +0)\nR0 invalid mem access 'map_value_or_null'\n"
    stage = refused.stage_of(refused.RefusedProgram("f", "socket_filter", log), C)
    (source_block,) = (block for block in stage.blocks if isinstance(block, SourceBlock))
    assert (source_block.file, source_block.marked) == ("a.c", {4})
    assert source_block.lines[4 - source_block.first] == "    return *p;"


def test_a_line_of_several_functions_belongs_to_the_program():
    text = C + C.replace('#line 1 "a.c"\n', "").replace("int f(", "int g(")
    log = "; return *p;\n7: (79) r1 = *(u64 *)(r0 +0)\nR0 invalid mem access 'inv'\n"
    for program, line in (("f", 4), ("g", 9)):
        stage = refused.stage_of(refused.RefusedProgram(program, "socket_filter", log), text)
        (source_block,) = (block for block in stage.blocks if isinstance(block, SourceBlock))
        assert source_block.marked == {line}


@pytest.mark.parametrize(("position", "line"), [("3:9", 3), ("0:0", 1)])
def test_compiler_errors_are_found(position, line):
    message = f"error: a.c:{position}: in function f i32 (ptr): Looks like the BPF stack limit is exceeded.\n"
    stage = refused.stage_of(refused.RefusedProgram("f", "", message, compiler=True), C)
    (source_block,) = (block for block in stage.blocks if isinstance(block, SourceBlock))
    assert source_block.marked == {line}
    assert any(isinstance(block, Paragraph) and "512 bytes of stack" in block.text for block in stage.blocks)


def test_functions_that_may_be_programs():
    actual = dict(
        refused.functions(C + "static int g(struct xdp_md *x)\nint h(struct pt_regs *ctx, int a)\n")
    )
    assert actual == {"f": "struct __sk_buff", "h": "struct pt_regs"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain"], "explain needs a tracer"),
        (["explain", "--stage", "plam", "syscalls"], "no stage 'plam'"),
        (["explain", "--stage", "c", "--html", "x", "syscalls"], "it cannot be combined with --stage"),
        (["explain", "--refused", "/no/such.c"], "no file '/no/such.c'"),
        (["explain", "--refused", __file__, "syscalls"], "takes a file and nothing else"),
        (["explain", "--html", "/no/such/folder/page.html", "syscalls"], "cannot write"),
        (["explain", "syscals"], "did you mean syscalls?"),
    ],
)
def test_bad_words(capsys, words, message):
    assert command_line.main(words) == 2
    assert message in capsys.readouterr().err


def test_help_needs_nothing(capsys):
    assert command_line.main(["explain", "--help"]) == 0
    assert "--refused" in capsys.readouterr().out
