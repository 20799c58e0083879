"""Test the language of trace and argdist: parsing, generated C, errors and their positions."""

from __future__ import annotations

import re

import pytest

from pytracer.errors import ProbeSpecError, UnsupportedError, UsageError
from pytracer.kernel.facts import FoundTargets, FunctionTypes, NamedTarget, TargetIdSource
from pytracer.lang import ResultSlot, parse_distribution, parse_trace
from pytracer.lang.constants import constants
from pytracer.lang.formats import Conversion
from pytracer.lang.probe_spec_parser import source_of
from pytracer.lang.types import S64, U32, U64, ArrayType, IntType, PointerType, VoidType
from pytracer.plan import make_plan
from pytracer.plan.scopes import scope_of
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import Kprobes, ProbeSite, Source, parse_source, registry
from support.fake_kernel import FakeKernel
from support.probe_spec_kernel import kernel, mark, types

KERNEL = kernel()
TRACE = registry.get("trace")
ARGDIST = registry.get("argdist")
# All words that the C which is written may consist of.
OURS = re.compile(
    r"pt_\w+|0xffff|bpf_\w+|PT_\w+|spec_\d+|entry_\d+|0x[0-9a-f]+ULL|\d+ULL|\d+|[us](8|16|32|64)|text_|volatile|"
    r"struct|static|__always_inline|inline|int|void|return|if|ctx|program|target|call|ns|bad|to|numbers|texts|unread|entry_values|key"
)


def plan_specs(*texts, facts=KERNEL):
    return make_plan(Request(TRACE, probe_specs=tuple(map(parse_trace, texts))), facts)


def c_of(*texts):
    return plan_specs(*texts).generated["generated_specs.h"]


def error_of(text, parse=parse_trace):
    """Return the error of a spec: message, marked text, hint."""
    with pytest.raises(ProbeSpecError) as excinfo:
        make_plan(Request(TRACE, probe_specs=(parse(text),)), KERNEL)
    error = excinfo.value
    assert error.text == text
    assert 0 <= error.start < error.end
    return error.message, text[error.start : error.end], error.hint


SPELLINGS = {
    "vfs_read": "k:vfs_read",
    "k:vfs_read": "k:vfs_read",
    "p::vfs_read": "k:vfs_read",
    "::vfs_read": "k:vfs_read",
    "r::vfs_read": "kr:vfs_read",
    "kr:vfs_read": "kr:vfs_read",
    "f:vfs_read": "f:vfs_read",
    "fr:vfs_read": "fr:vfs_read",
    "kfree_skb+0x12": "k:kfree_skb+0x12",
    "kfree_skb+18": "k:kfree_skb+0x12",
    "c:open": "u:c:open",
    ":c:malloc": "u:c:malloc",
    "p:c:malloc": "u:c:malloc",
    "r:c:malloc": "ur:c:malloc",
    "u:c:malloc": "u:c:malloc",
    "r:bash:readline": "ur:bash:readline",
    "r:/usr/bin/bash:readline": "ur:/usr/bin/bash:readline",
    "/usr/bin/bash:readline": "u:/usr/bin/bash:readline",
    "t:block:block_rq_complete": "t:block:block_rq_complete",
    "rt:sched_switch": "rt:sched_switch",
    "usdt:python:gc__start": "usdt:python:gc__start",
    "usdt:/usr/bin/python3:python:line": "usdt:/usr/bin/python3:python:line",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_probes_in_our_spelling_and_in_that_of_bcc(text):
    assert source_of(text).text == SPELLINGS[text]
    assert parse_trace(text).source.text == SPELLINGS[text]
    assert parse_trace(f'{text} "x"').source.text == SPELLINGS[text]
    assert parse_distribution(f"{text}()").source.text == SPELLINGS[text]
    assert parse_distribution(text).source.text == SPELLINGS[text]


@pytest.mark.parametrize(
    "text", ["", " ", '"x"', "(x)", "k:", "t:x", "p:", "k:a b", "x:*:y:", "q:", "k:vfs_read)"]
)
def test_invalid_probes(text):
    with pytest.raises(UsageError):
        parse_trace(text)


def test_parts_of_a_question():
    spec = parse_trace('  k:vfs_read (count > 3)  "a %s\\t%-5d%%\\x41",  file -> dentry->d_name , count+1')
    assert spec.source.text == "k:vfs_read"
    assert spec.filter is not None
    assert [expression.text for expression in spec.expressions] == ["file -> dentry->d_name", "count+1"]
    first, second = spec.conversions
    assert (first.sign, second.how, second.show(7)) == ("s", "-5", "7    ")
    assert spec.pieces == ("a ", first, "\t", second, "%A")


def test_parts_of_a_distribution():
    spec = parse_distribution(
        "p:c:write(int fd, const void *buf, size_t count):size_t,u32:count,fd:fd==1#large ones"
    )
    assert [argument.name for argument in spec.signature] == ["fd", "buf", "count"]
    assert [argument.type.text for argument in spec.signature] == ["int", "void *", "size_t"]
    assert [(argument.text, argument.type.text) for argument in spec.expressions] == [
        ("count", "size_t"),
        ("fd", "u32"),
    ]
    assert spec.label == "large ones"
    assert spec.filter is not None
    assert parse_distribution("k:vfs_read()::a ? b : c:d").filter is not None
    assert parse_distribution("k:vfs_read():char*:buf").expressions[0].type.stars == 1
    assert parse_distribution("p:c:fork()#fork calls").label == "fork calls"


# What C makes of expressions that do not change: compared with what Python knows of C's rules.
NUMBERS = {
    "1 + 2 * 3": 7,
    "(1 + 2) * 3": 9,
    "7 - 2 - 1": 4,
    "0x10 | 1": 17,
    "010": 8,
    "'a'": 97,
    "'\\n'": 10,
    "'\\x41'": 65,
    "-3": -3,
    "~0": -1,
    "!3": 0,
    "!0": 1,
    "1 << 4": 16,
    "2147483647 + 1": -2147483648,
    "4294967295u + 1": 0,
    "2147483648": 2147483648,
    "0xffffffff": 4294967295,
    "0xffffffffffffffff": 18446744073709551615,
    "1u - 2": 4294967295,
    "1ul - 2": 18446744073709551615,
    "(u8)257": 1,
    "(char)200": -56,
    "(unsigned char)-1": 255,
    "(short)0x12345": 0x2345,
    "(unsigned short)-1": 65535,
    "(bool)7": 1,
    "(long)-1": -1,
    "(unsigned int)-1": 4294967295,
    "(size_t)-1": 18446744073709551615,
    "6 & 3 ^ 1": 3,
    "NULL": 0,
    "true": 1,
    "RED": 1,
    "BLUE + RED": 8,
    "ENOENT": 2,
    "SIGKILL": 9,
    "AF_INET": 2,
    "O_CREAT": constants()["O_CREAT"],
}


@pytest.mark.parametrize("text", NUMBERS)
def test_constants_have_the_values_of_c(text):
    from pytracer.lang.checker import Checker
    from pytracer.plan.scopes import scope_of
    from pytracer.spec import parse_source

    spec = parse_trace(f'k:vfs_read "%d", {text}')
    checker = Checker(spec.text, scope_of(parse_source("k:vfs_read"), NamedTarget("vfs_read"), KERNEL))
    assert checker.value(spec.expressions[0].node).constant == NUMBERS[text]


GOOD = {
    "k:vfs_read": [
        ("%d", "count", ResultSlot.SIGNED),
        ("%u", "count", ResultSlot.UNSIGNED),
        ("%x", "file", ResultSlot.UNSIGNED),
        ("%p", "file", ResultSlot.UNSIGNED),
        ("%d", "file->f_pos", ResultSlot.SIGNED),
        ("%u", "file->f_pos", ResultSlot.UNSIGNED),
        ("%s", "file->dentry->d_name", ResultSlot.TEXT),
        ("%s", "file->dentry->d_iname", ResultSlot.TEXT),
        ("%s", "file->whole.d_iname", ResultSlot.TEXT),
        ("%s", "(*file).whole.d_name", ResultSlot.TEXT),
        ("%c", "file->dentry->d_iname[0]", ResultSlot.CHARACTER),
        ("%d", "file->numbers[3]", ResultSlot.SIGNED),
        ("%d", "file->numbers[count]", ResultSlot.SIGNED),
        ("%d", "*file->numbers", ResultSlot.SIGNED),
        ("%d", "file->one + file->two", ResultSlot.SIGNED),
        ("%d", "file->flags.low", ResultSlot.SIGNED),
        ("%d", "file->flags.high", ResultSlot.SIGNED),
        ("%d", "file->colour == BLUE", ResultSlot.SIGNED),
        ("%K", "file->call", ResultSlot.KERNEL_SYMBOL),
        ("%U", "buf", ResultSlot.USER_SYMBOL),
        ("%s", "buf@user", ResultSlot.TEXT),
        ("%s", "buf + 1", ResultSlot.TEXT),
        ("%s", "&file->dentry->d_iname", ResultSlot.TEXT),
        ("%s", "&buf[2]", ResultSlot.TEXT),
        ("%p", "&file->f_pos", ResultSlot.UNSIGNED),
        ("%d", "(int)count", ResultSlot.SIGNED),
        ("%d", "file->small", ResultSlot.SIGNED),
        ("%d", "fast", ResultSlot.SIGNED),
        ("%d", "arg3 + arg4", ResultSlot.SIGNED),
        ("%s", "arg2", ResultSlot.TEXT),
        ("%s", "arg1->dentry->d_name", ResultSlot.TEXT),
        ("%d", "((struct file *)arg2)->f_pos", ResultSlot.SIGNED),
        ("%d", "((struct dentry *)count)->d_file->f_pos", ResultSlot.SIGNED),
        ("%d", "file->dentry->d_file->dentry->d_file->f_pos", ResultSlot.SIGNED),
        ("%s", "$comm", ResultSlot.TEXT),
        ("%s", "$task->comm", ResultSlot.TEXT),
        ("%d", "$task->pid", ResultSlot.SIGNED),
        ("%d", "$pid + $tid + $tgid + $uid + $gid + $cpu + $ktime", ResultSlot.SIGNED),
        ("%d", '$comm == "cat"', ResultSlot.SIGNED),
        ("%d", 'STRCMP("cat", $comm) || "x" != file->dentry->d_name', ResultSlot.SIGNED),
        ("%d", "count / 2 % 3 - -1", ResultSlot.SIGNED),
        ("%d", "count ? file->f_pos : 0", ResultSlot.SIGNED),
        ("%d", "file && !buf && buf != 0 && file == NULL", ResultSlot.SIGNED),
        ("%d", "buf - (char *)file", ResultSlot.SIGNED),
        ("%d", "count >> 3 << 2", ResultSlot.SIGNED),
        ("%lld", "count", ResultSlot.SIGNED),
        ("%hd", "count", ResultSlot.SIGNED),
    ],
    "kr:vfs_read": [
        ("%d", "retval", ResultSlot.SIGNED),
        ("%d", "$retval < 0", ResultSlot.SIGNED),
        ("%d", "$entry(count) - retval", ResultSlot.SIGNED),
        ("%s", "$entry(file->dentry->d_name)", ResultSlot.TEXT),
        ("%s", "$entry(file)->dentry->d_name", ResultSlot.TEXT),
        ("%u", "$latency / 1000", ResultSlot.UNSIGNED),
    ],
    "f:vfs_read": [("%d", "count", ResultSlot.SIGNED), ("%s", "file->dentry->d_name", ResultSlot.TEXT)],
    "fr:vfs_read": [
        ("%d", "retval + count", ResultSlot.SIGNED),
        ("%d", "$entry(count)", ResultSlot.SIGNED),
        ("%d", "$latency", ResultSlot.SIGNED),
    ],
    "f:many": [("%d", "g", ResultSlot.SIGNED), ("%d", "arg7", ResultSlot.SIGNED)],
    "k:by_value": [("%d", "first", ResultSlot.SIGNED), ("%d", "last", ResultSlot.SIGNED)],
    "k:unknown": [("%d", "arg6", ResultSlot.SIGNED), ("%s", "arg2", ResultSlot.TEXT)],
    "k:unknown(struct file *f, int n)": [("%d", "f->f_pos + n", ResultSlot.SIGNED)],
    "kr:unknown(struct file *f)": [
        ("%d", "$entry(f->f_pos)", ResultSlot.SIGNED),
        ("%d", "retval", ResultSlot.SIGNED),
    ],
    "k:vfs_read(char *path)": [("%s", "path", ResultSlot.TEXT), ("%d", "arg1[0]", ResultSlot.SIGNED)],
    "rt:sched_switch": [
        ("%s", "next->comm", ResultSlot.TEXT),
        ("%d", "prev->pid", ResultSlot.SIGNED),
        ("%d", "preempt", ResultSlot.SIGNED),
        ("%d", "arg2->pid", ResultSlot.SIGNED),
    ],
    "t:syscalls:sys_enter_openat": [
        ("%s", "args->filename", ResultSlot.TEXT),
        ("%s", "filename", ResultSlot.TEXT),
        ("%d", "args->dfd", ResultSlot.SIGNED),
        ("%o", "mode", ResultSlot.UNSIGNED),
        ("%d", "common_pid", ResultSlot.SIGNED),
    ],
    "t:sched:sched_process_exec": [
        ("%s", "filename", ResultSlot.TEXT),
        ("%s", "more", ResultSlot.TEXT),
        ("%s", "comm", ResultSlot.TEXT),
        ("%d", "comm[0] + address[3]", ResultSlot.SIGNED),
        ("%d", "args->file->f_pos", ResultSlot.SIGNED),
    ],
    "u:x:work": [
        ("%d", "arg1", ResultSlot.SIGNED),
        ("%s", "arg2", ResultSlot.TEXT),
        ("%d", "(int)arg1 < 0", ResultSlot.SIGNED),
        ("%d", "*(int *)arg1", ResultSlot.SIGNED),
        ("%d", 'STRCMP("x", arg1)', ResultSlot.SIGNED),
        ("%d", '(char *)arg1 == "x"', ResultSlot.SIGNED),
    ],
    "u:x:work(int n, char **list, unsigned long long big, struct file *f)": [
        ("%d", "n < 0", ResultSlot.SIGNED),
        ("%s", "list[1]", ResultSlot.TEXT),
        ("%s", "*list", ResultSlot.TEXT),
        ("%llu", "big", ResultSlot.UNSIGNED),
        ("%s", "f->dentry->d_name", ResultSlot.TEXT),
    ],
    "ur:x:work(int n)": [("%s", "retval", ResultSlot.TEXT), ("%d", "$entry(n)", ResultSlot.SIGNED)],
    "usdt:p:m": [
        ("%d", "arg1 < 0", ResultSlot.SIGNED),
        ("%s", "arg2", ResultSlot.TEXT),
        ("%u", "arg3", ResultSlot.UNSIGNED),
    ],
}
CASES = [(probe, *case) for probe, cases in GOOD.items() for case in cases]


@pytest.mark.parametrize(("probe", "form", "expression", "slot"), CASES)
def test_specs_that_can_be_planned(probe, form, expression, slot):
    """The generated C has only words of pytracer."""
    text = f'{probe} ({expression if form != "%s" else 1}) "[{form}]", {expression}'
    plan = plan_specs(text)
    assert plan.probe_specs is not None
    [[result]] = plan.probe_specs.fields
    assert (result.name, result.slot) == (expression, slot)
    generated = plan.generated["generated_specs.h"]
    words = set(re.findall(r"\w+", generated))
    assert all(OURS.fullmatch(word) for word in words), {word for word in words if not OURS.fullmatch(word)}
    assert generated.count("(") == generated.count(")")
    assert '"' not in generated


@pytest.mark.parametrize(
    ("expression", "generated"),
    [
        ("first / 7", "((s32)pt_spec_divide_signed("),
        ("first % 7", "((s32)pt_spec_modulo_signed("),
        ("first / 7U", "((u32)pt_spec_divide("),
        ("last % (unsigned long)first", "((u64)pt_spec_modulo("),
    ],
)
def test_division_is_signed_as_in_c(expression, generated):
    assert generated in c_of(f'f:by_value "%d", {expression}')


WRONG = {
    # The probe, and what follows it.
    "k:nosuch": ("k:nosuch", ""),
    "u:x:work(int) (n)": (")", "(int fd, char *path)"),
    "u:x:work(n)": (")", ""),
    "u:x:work(int n, int n)": ("n", ""),
    "u:x:work(floatt f)": ("floatt", "did you mean"),
    "u:x:work(struct fil *f)": ("struct fil *", "did you mean file"),
    "u:x:work(struct file f)": ("struct file", "with a *"),
    "t:syscalls:sys_enter_openat(int n)": ("int n", ""),
    "k:vfs_read count": ("count", "FORMAT"),
    "k:vfs_read (count": ("", ""),
    "k:vfs_read (count))": (")", "FORMAT"),
    "k:vfs_read () ": (")", ""),
    # The format.
    'k:vfs_read "%d"': ("%d", "no argument"),
    'k:vfs_read "%d %d", count': ("%d", "no argument"),
    'k:vfs_read "%d", count, fast': ("fast", "for none"),
    'k:vfs_read "x", count': ("count", "for none"),
    'k:vfs_read "%q", count': ("%q", "there is"),
    'k:vfs_read "%n", count': ("%n", "there is"),
    'k:vfs_read "100%", count': ("%", "there is"),
    'k:vfs_read "%99999d", count': ("%99999d", ""),
    'k:vfs_read "%*d", count': ("%*", "there is"),
    'k:vfs_read "%ls", buf': ("%ls", "there is"),
    'k:vfs_read "%f", count': ("%f", "there is"),
    'k:vfs_read "%s", count': ("count", "%d"),
    'k:vfs_read "%s", file': ("file", "%d"),
    'k:vfs_read "%s", file->f_pos': ("file->f_pos", "%d"),
    'k:vfs_read "%d", $comm': ("$comm", "%s"),
    'k:vfs_read "%K", fast': ("fast", ""),
    'k:vfs_read "%c", file': ("file", "%p"),
    'k:vfs_read "\\q"': ("\\q", ""),
    'k:vfs_read "x': ('"x', ""),
    # Names.
    "k:vfs_read (cuont)": ("cuont", "did you mean count?"),
    "k:vfs_read (file->f_po)": ("f_po", "did you mean f_pos?"),
    "k:vfs_read (file->dentry->d_nam)": ("d_nam", "did you mean d_name or d_iname?"),
    "k:vfs_read (file.f_pos)": ("file", "->f_pos"),
    "k:vfs_read (file->dentry.d_name)": ("file->dentry", "->d_name"),
    "k:vfs_read (file->whole->d_name)": ("file->whole", "members"),
    "k:vfs_read (count->x)": ("count", ""),
    "k:vfs_read (buf->x)": ("buf", ""),
    "k:vfs_read (arg5)": ("arg5", "arg1 to arg4"),
    "k:vfs_read (arg0)": ("arg0", "arg1 to arg4"),
    "k:vfs_read (retval)": ("retval", "kr:"),
    "k:vfs_read ($latency)": ("$latency", "kr:"),
    "k:vfs_read ($entry(count))": ("$entry(count)", "kr:"),
    "k:vfs_read ($pidd)": ("$pidd", "$pid"),
    "k:vfs_read (args->x)": ("args", ""),
    "k:nothing (x)": ("x", "no arguments"),
    "kr:nothing (retval)": ("retval", ""),
    "k:vfs_read+0x10 (arg1)": ("arg1", "anything"),
    "k:by_value (both)": ("both", ""),
    "k:many (g)": ("g", "6 arguments are in registers"),
    "kr:vfs_read (count)": ("count", "$entry(count)"),
    "kr:vfs_read (arg1)": ("arg1", "$entry(arg1)"),
    "kr:vfs_read ($entry($entry(count)))": ("$entry(count)", ""),
    "kr:vfs_read ($entry(retval))": ("retval", "kr:"),
    "k:unknown (file)": ("file", "signature"),
    "u:x:work (n)": ("n", "signature"),
    "t:syscalls:sys_enter_openat (args->filenam)": ("filenam", "did you mean filename?"),
    "t:syscalls:sys_enter_openat (args)": ("args", "args->NAME"),
    "t:syscalls:sys_enter_openat (arg1)": ("arg1", "by their names"),
    "usdt:p:m (arg4)": ("arg4", ""),
    "usdt:p:m (arg5)": ("arg5", ""),
    # Types.
    "u:x:work (*arg1)": ("arg1", "cast"),
    "u:x:work (arg1->x)": ("arg1", "signature"),
    "u:x:work (arg1[0])": ("arg1", "signature"),
    "u:x:work (arg1 < 0)": ("arg1", "(int)"),
    "u:x:work (arg1 == -1)": ("arg1", "(int)"),
    "u:x:work (arg1 >= 0)": ("arg1", "(int)"),
    "k:vfs_read (count < 0)": ("count", ""),
    "k:vfs_read (file->small == -1 ? count < 0 : 0)": ("count", ""),
    "k:vfs_read (count / 0)": ("0", ""),
    "k:vfs_read (file * 2)": ("file * 2", "(u64)"),
    "k:vfs_read (file + file)": ("file + file", ""),
    "k:vfs_read (-file)": ("file", ""),
    "k:vfs_read (file == count)": ("count", ""),
    "k:vfs_read (file->whole)": ("file->whole", "members"),
    "k:vfs_read (*file)": ("*file", "members"),
    "k:vfs_read (file->hidden->x)": ("x", "not known"),
    "k:vfs_read (file->call->x)": ("file->call", "cast"),
    "k:vfs_read (file->numbers[4])": ("4", ""),
    "k:vfs_read (file->numbers[-1])": ("-1", ""),
    "k:vfs_read (&count)": ("count", ""),
    "k:vfs_read (&file->flags.low)": ("file->flags.low", ""),
    "k:vfs_read ((struct file)count)": ("struct file", "struct file *"),
    "k:vfs_read ((struct nosuch *)count)": ("struct nosuch *", ""),
    "k:vfs_read ((float)count)": ("float", ""),
    "k:vfs_read (count@user)": ("count", ""),
    "k:vfs_read (buf@kernel)": ("kernel", ""),
    "k:vfs_read ($comm)": ("$comm", "=="),
    'k:vfs_read ("x")': ('"x"', ""),
    'k:vfs_read ("x" == "y")': ('"y"', ""),
    'k:vfs_read (count == "x")': ("count", ""),
    'k:vfs_read ($comm < "x")': ('$comm < "x"', "=="),
    "k:vfs_read (STRCMP(buf, buf))": ("buf", ""),
    'k:vfs_read (STRCMP("x"))': (")", ""),
    'k:vfs_read (STRCMP("x", count))': ("count", ""),
    'k:vfs_read ($comm == "' + "x" * 101 + '")': ('"' + "x" * 101 + '"', ""),
    'k:vfs_read ($comm == "a\\0b")': ('"a\\0b"', ""),
    'k:vfs_read ($comm == "longer than 15 characters")': (
        '"longer than 15 characters"',
        'cut there is "longer than 15 "',
    ),
    'k:vfs_read ($comm != "a\\"\\\\\\n%s")' % ("x" * 12): (
        '"a\\"\\\\\\n%s"' % ("x" * 12),
        '"a\\"\\\\\\n%s"' % ("x" * 11),
    ),
    'k:vfs_read ($comm == "%s")' % ("ä" * 8): ('"%s"' % ("ä" * 8), '"%s"' % ("ä" * 7)),
    'k:vfs_read (STRCMP("seventeen letters", file->dentry->d_iname))': (
        '"seventeen letters"',
        "seventeen letter",
    ),
    # What is no expression of ours.
    "k:vfs_read (count = 3)": ("=", "=="),
    "k:vfs_read (count += 3)": ("=", ""),
    "k:vfs_read (count++)": (")", ""),
    "k:vfs_read (system(3))": ("system", "STRCMP"),
    "k:vfs_read (count(3))": ("count", "STRCMP"),
    "k:vfs_read (file->call(3))": ("(", ""),
    "k:vfs_read (sizeof(count))": ("sizeof", ""),
    "k:vfs_read (1; 2)": (";", ""),
    "k:vfs_read ({ 1 })": ("{", ""),
    "k:vfs_read (1, 2)": (",", ""),
    "k:vfs_read (count ? 1)": (")", ""),
    "k:vfs_read (12ab)": ("12ab", ""),
    "k:vfs_read (1.5)": ("5", ""),
    "k:vfs_read (09)": ("09", ""),
    "k:vfs_read (0x1ffffffffffffffff)": ("0x1ffffffffffffffff", ""),
    "k:vfs_read ('ab')": ("'ab'", ""),
    "k:vfs_read (count #x)": ("#x)", ""),
    "k:vfs_read (" + "(" * 200 + "1" + ")" * 200 + ")": ("(", ""),
    "k:vfs_read (" + "!" * 200 + "1)": ("!", ""),
    "k:vfs_read (" + "1+" * 3000 + "1)": ("1", ""),
    "k:vfs_read (" + "+".join(["1"] * 66) + ")": ("1+1", ""),
    "k:vfs_read (" + "1+" * 400 + "1)": ("+".join(["1"] * 337), ""),
    "k:vfs_read (file" + "->dentry->d_file" * 33 + ")": ("file->dentry->d_file", ""),
    "k:vfs_read (buf" + "@user" * 400 + ")": ("buf" + "@user" * 336, ""),
    "k:vfs_read ((" + "1+" * 40 + "1)" + "+1" * 40 + ")": ("+".join(["1"] * 17), ""),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:60])
def test_errors_and_their_positions(text):
    message, position, hint = error_of(text)
    expected_position, expected = WRONG[text]
    assert position == expected_position
    assert expected in hint
    assert message
    assert "\n" not in message + hint


# Forms that BCC's manual pages of trace and argdist describe, with functions of ours: what they come to here.
BCC_FORMS = {
    '::vfs_read "%s", arg2@user': "text",
    '::vfs_read (arg3 > 20000) "read %d bytes", arg3': "number",
    'r::vfs_read "%llx", retval': "number",
    ':x:work "size = %d", arg1': "number",
    'r:x:work "%s", retval': "text",
    't:sched:sched_process_exec "%d", args->pid': "number",
    'p::unknown(struct file *f) "at %lld", f->f_pos': "number",
    'unknown (STRCMP("test", arg1)) "%hd %hu", arg1, arg2': "number",
    'x:work (arg2 == 42) "%c %llu", arg1, arg2': "character",
    'p::vfs_read "%K %U", arg1, arg2': "kernel symbol",
    'unknown ($pid == 1 || $uid == 0 || $cpu != 3 || $gid) "%u", $tgid': "number",
    'unknown "%d", $task->pid': "number",
}


@pytest.mark.parametrize("text", BCC_FORMS)
def test_forms_that_bcc_describes(text):
    [results] = plan_specs(text).probe_specs.fields
    slot = results[0].slot.value
    assert slot == BCC_FORMS[text] or (BCC_FORMS[text] == "number" and slot in ("signed", "unsigned"))


HOSTILE = [
    '1); system("id"); (1',
    "0 /* ",
    "1 // x",
    "1\n#include </etc/passwd>\n",
    "`id`",
    "$(id)",
    "\\",
    "count\0",
    "count \x1b[31m",
    'asm("int3")',
    "__builtin_trap()",
    "({ while (1); 1; })",
    "*(int *)0 = 1",
    "pt_spec_load(0, 8, 0, 0)",
    "to->numbers",
    "bpf_get_current_task()",
    "count ? : 1",
    "ünïcode",
    "c\u200bount",
    "$ENTRY",
    "@user",
    "->",
    "[0]",
    "(((((",
    '"',
    "'",
    "''",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_gets_into_the_c(text):
    """Hostile text is refused as a filter, an argument, a signature, a type, or a probe."""
    for line in (
        f"k:vfs_read ({text})",
        f'k:vfs_read "%d", {text}',
        f"u:x:work(int {text}) (1)",
        f"u:x:work({text} n) (1)",
        f"k:vfs_read (({text} *)count)",
        f"{text}",
    ):
        with pytest.raises(UsageError) as excinfo:
            plan_specs(line)
        assert "\n" not in excinfo.value.message.replace(text, "")


@pytest.mark.parametrize("word", ["PT_TARGETS", "bad", "ctx", "call", "text_", "pt_spec_load", "u64"])
def test_words_of_the_c_mean_nothing_to_users(word):
    message, position, _ = error_of(f"k:vfs_read ({word})")
    assert position == word
    assert "has no argument" in message
    plain = c_of("u:x:work(int n) (n > 3)")
    assert c_of(f"u:x:work(int {word}) ({word} > 3)") == plain


def test_quoted_text_becomes_numbers():
    text = 'a"; } evil() { /* */ \\n%s'
    generated = c_of('k:vfs_read (buf == "a\\"; } evil() { /* */ \\\\n%s") "%%s \\"; } evil(){ %d", count')
    assert "evil" not in generated
    data = text.encode()[:8]
    assert f"{int.from_bytes(data, 'little'):#x}ULL" in generated


def test_programs_are_shared_where_they_are_alike():
    plan = plan_specs('k:vfs_read "%d", count', "k:nothing", "k:nothing (1)")
    generated = plan.generated["generated_specs.h"]
    assert re.findall(r"^int (\w+)\(", generated, re.M) == ["spec_0", "spec_1", "spec_2"]
    assert [chosen.probe.program for chosen in plan.probes] == ["spec_0", "spec_1", "spec_2"]
    assert plan.probe_specs.of == (0, 1, 2)


DISTRIBUTIONS = {
    "r::vfs_read": [("$retval", ResultSlot.SIGNED)],
    "r:x:work()": [("$retval", ResultSlot.SIGNED)],
    "r:x:work():char*:$retval": [("$retval", ResultSlot.TEXT)],
    "r:x:work(int n):int,u64:$entry(n),$latency:$latency > 5": [
        ("$entry(n)", ResultSlot.SIGNED),
        ("$latency", ResultSlot.UNSIGNED),
    ],
    "p::vfs_read(struct file *f, char *to, size_t n):char*,u16:f->dentry->d_iname,n#reads": [
        ("f->dentry->d_iname", ResultSlot.TEXT),
        ("n", ResultSlot.UNSIGNED),
    ],
    "k:vfs_read()::fast,count,buf,file,file->whole.d_iname[0]": [
        ("fast", ResultSlot.BOOL),
        ("count", ResultSlot.UNSIGNED),
        ("buf", ResultSlot.TEXT),
        ("file", ResultSlot.UNSIGNED),
        ("file->whole.d_iname[0]", ResultSlot.CHARACTER),
    ],
    "p:c:malloc(size_t size):size_t:size:size==16": [("size", ResultSlot.UNSIGNED)],
    "t:syscalls:sys_enter_openat():char*:filename": [("filename", ResultSlot.TEXT)],
    "t:sched:sched_process_exec()::args->comm,pid": [
        ("args->comm", ResultSlot.TEXT),
        ("pid", ResultSlot.SIGNED),
    ],
    "t:sched:sched_process_exec()::address,address[0]": [
        ("address", ResultSlot.UNSIGNED),
        ("address[0]", ResultSlot.UNSIGNED),
    ],
    "usdt:p:m():u64:arg2": [("arg2", ResultSlot.UNSIGNED)],
    "p:x:work()#calls": [],
    "k:vfs_read": [],
    'u:x:work():int:$PID:$COMM != "x"': [("$PID", ResultSlot.SIGNED)],
}


def distributed(*texts, **options):
    return make_plan(Request(ARGDIST, options, probe_specs=tuple(map(parse_distribution, texts))), KERNEL)


@pytest.mark.parametrize("text", DISTRIBUTIONS)
def test_countable_expressions(text):
    plan = distributed(text)
    [results] = plan.probe_specs.fields
    assert [(result.name, result.slot) for result in results] == DISTRIBUTIONS[text]
    names = [column.name for column in plan.schema.columns]
    requests = ["arg:count" if name == "count" else name for name, _ in DISTRIBUTIONS[text]]
    assert names == ["probe", *requests, "count"]


WRONG_DISTRIBUTIONS = {
    "k:vfs_read:u64:count": ("k:vfs_read", "k:vfs_read():u64:count"),
    "k:vfs_read():u64": ("", ""),
    "k:vfs_read():u64:": ("", ""),
    "k:vfs_read():u64,u64:count": ("count", "a type for each"),
    "k:vfs_read():u64:count,fast": ("count,fast", "a type for each"),
    "k:vfs_read():nosuch:count": ("nosuch", ""),
    "k:vfs_read():struct file:count": ("struct file", ""),
    "k:vfs_read():char*:file->whole": ("file->whole", ""),
    "k:vfs_read():int:count:cuont": ("cuont", "did you mean count?"),
    "k:vfs_read():int:$PID;fork": (";", ""),
    "k:vfs_read()::$latency": ("$latency", "kr:"),
    "kr:nothing": ("kr:nothing", ""),
}


@pytest.mark.parametrize("text", WRONG_DISTRIBUTIONS)
def test_uncountable_expressions(text):
    with pytest.raises(ProbeSpecError) as excinfo:
        distributed(text)
    expected_position, expected = WRONG_DISTRIBUTIONS[text]
    assert text[excinfo.value.start : excinfo.value.end] == expected_position
    assert expected in excinfo.value.hint


def test_columns_of_numbers_are_no_text():
    columns = distributed("k:vfs_read()::count,buf,(int)count,count > 3").schema.columns
    assert {column.name: column.decode for column in columns if column.computed} == {
        "arg:count": "",
        "buf": "text",
        "(int)count": "",
        "count > 3": "",
    }


@pytest.mark.parametrize("text", ["   k:nosuch(int n) (n > 3)", 'k:nosuch "[%d]", count'])
def test_the_error_points_at_a_missing_probe(text):
    with pytest.raises(ProbeSpecError) as excinfo:
        plan_specs(text)
    assert excinfo.value.text[excinfo.value.start : excinfo.value.end] == "k:nosuch"


def test_a_histogram_is_of_one_number():
    plan = distributed("k:vfs_read()::count#a", "kr:vfs_read", histogram=True)
    assert [column.name for column in plan.schema.columns] == ["probe", "count"]
    assert plan.probe_specs.names == ("a", "kr:vfs_read")
    for text, marked in (
        ("k:vfs_read", "k:vfs_read"),
        ("k:vfs_read()::count,fast", "count,fast"),
        ("k:vfs_read()::buf", "buf"),
    ):
        with pytest.raises(ProbeSpecError, match="a histogram is of one number") as excinfo:
            distributed(text, histogram=True)
        assert text[excinfo.value.start : excinfo.value.end] == marked


def test_the_room_for_texts_of_a_record_is_bounded():
    def record_specs(texts, room):
        spec = parse_trace(f'k:vfs_read "{"%s" * texts}"' + ", buf" * texts)
        request = Request(TRACE, {"string-size": room}, probe_specs=(spec,))
        return dict(make_plan(request, KERNEL).defines)["PT_SPEC_TEXT_SIZE"]

    assert record_specs(7, 4096) == "4096"
    assert (
        record_specs(8, 4089) == "4089"
    )  # 40 bytes, a number, a word, and these: 32768 with what is between
    for texts, room, longest in ((8, 4090, 4089), (9, 4096, 3635)):
        with pytest.raises(UsageError, match=f"{texts} texts of {room} bytes") as excinfo:
            record_specs(texts, room)
        assert excinfo.value.hint == f"-z {longest} at most"


def test_the_c_gets_the_sizes_of_a_record():
    def sizes(*texts):
        defines = dict(plan_specs(*texts).defines)
        return [defines[f"PT_SPEC_{name}"] for name in ("PROGRAMS", "NUMBERS", "TEXTS", "TEXT_SIZE")]

    assert sizes('k:vfs_read ""') == ["1", "1", "1", "80"]
    assert sizes("k:vfs_read") == ["1", "3", "1", "80"]
    assert sizes('k:vfs_read "%d %d %s", count, fast, buf') == ["1", "2", "1", "80"]
    assert sizes('k:vfs_read "%s %d %s", buf, count, buf', 'k:many ""', 'k:nothing ""') == [
        "3",
        "1",
        "2",
        "80",
    ]


FIELDS = """name: x
format:
\tfield:u32 ids[COUNT];\toffset:8;\tsize:16;\tsigned:0;
\tfield:char text[LENGTH];\toffset:24;\tsize:16;\tsigned:0;
\tfield:odd kind of number;\toffset:40;\tsize:4;\tsigned:1;
\tfield:long int odd[0];\toffset:48;\tsize:0;\tsigned:1;
\tfield:odd_t large;\toffset:48;\tsize:8;\tsigned:0;
\tfield:odd_t strange;\toffset:56;\tsize:7;\tsigned:0;
\tfield:odd_t few[4];\toffset:64;\tsize:8;\tsigned:0;
\tfield:int wide;\toffset:72;\tsize:8;\tsigned:1;
\tfield:const char ** list;\toffset:80;\tsize:8;\tsigned:0;
\tfield:const unsigned long * bits;\toffset:88;\tsize:8;\tsigned:0;
\tfield:struct file * file;\toffset:96;\tsize:8;\tsigned:0;
\tfield:struct nosuch * other;\toffset:104;\tsize:8;\tsigned:0;
"""


@pytest.mark.parametrize("category", ["a", "z"])
def test_fields_of_trace_events_have_the_types_of_the_format(category):
    facts = kernel(formats={f"{category}:b": FIELDS})
    scope = scope_of(parse_source(f"t:{category}:b"), NamedTarget(f"{category}:b"), facts)
    names = {name: (named_value.offset, named_value.type) for name, named_value in scope.named.items()}
    offset, file = names.pop("file")
    assert (offset, file.to.text) == (96, "struct file")
    assert names == {
        "ids": (8, ArrayType(U32, 4)),
        "text": (24, ArrayType(IntType(1, False, char=True), 16)),
        "number": (40, IntType(4, True)),
        "odd": (48, ArrayType(S64, 0)),
        "large": (48, IntType(8, False)),
        "strange": (56, VoidType("odd_t")),
        "few": (64, ArrayType(IntType(2, False), 4)),
        "wide": (72, IntType(8, True)),
        "list": (80, PointerType(PointerType(VoidType()))),
        "bits": (88, PointerType(U64)),
        "other": (104, PointerType(VoidType())),
    }


def test_fields_of_system_calls_have_the_width_of_their_type():
    facts = kernel(formats={"syscalls:b": FIELDS})
    named_values = scope_of(parse_source("t:syscalls:b"), NamedTarget("syscalls:b"), facts).named
    assert (named_values["wide"].type, named_values["large"].type) == (IntType(4, True), IntType(8, False))
    assert named_values["list"].type == PointerType(PointerType(VoidType()), user=True)


def test_copies_of_strings_in_events_of_system_calls_are_no_values():
    """Programs do not get them."""
    copied = f"{FIELDS}\tfield:__data_loc char[] __list_val;\toffset:112;\tsize:4;\tsigned:0;\n"
    facts = kernel(formats={"syscalls:b": copied, "a:b": copied})
    for name, is_known in (("syscalls:b", False), ("a:b", True)):
        named_values = scope_of(parse_source(f"t:{name}"), NamedTarget(name), facts).named
        assert ("__list_val" in named_values) is is_known


@pytest.mark.parametrize(
    ("source", "arguments", "returned"),
    [
        ("k:vfs_read", [*"0123"], ""),
        ("k:many", [*"012345"], ""),
        ("f:by_value", ["0", "", "3"], ""),
        ("fr:vfs_read", [*"0123"], "4"),
        ("rt:sched_switch", [*"012"], ""),
        ("u:x:work", [*"012345"], ""),
    ],
)
def test_arguments_are_read_from_their_registers(source, arguments, returned):
    """Trampolines have a word for each register; a whole struct is not read."""

    def place(code):
        return "".join(re.findall(r"pt_spec_(?:argument|context_word)\(ctx, (\d)\)", code))

    [target] = KERNEL.named[source].targets
    scope = scope_of(parse_source(source), target, KERNEL)
    assert [place(value.code) for value in scope.numbered] == arguments
    assert place(scope.returned.code if scope.returned else "") == returned


def test_arguments_of_usdt_probes_have_the_size_and_sign_of_their_notes():
    target = mark(-4, 8, -8, 1, trouble="odd")
    scope = scope_of(parse_source("usdt:p:m"), target, KERNEL)
    *numbers, last = (value.type for value in scope.numbered)
    assert numbers == [
        IntType(4, True),
        IntType(8, False, raw=True),
        IntType(8, True, raw=True),
        IntType(1, False),
    ]
    assert isinstance(last, VoidType)


def test_a_signature_overrides_debug_information():
    target = NamedTarget("x:many", sites=(ProbeSite("many", 0x200, file="/bin/x", identity=(1, 1)),))
    facts = kernel(programs={"many": FunctionTypes(types(), (None,) * 7)})

    def value_names(source, **options):
        scope = scope_of(parse_source(source), target, facts, **options)
        return [set(position.named) for position in (scope, scope.entry) if position is not None]

    expected = set("abcdefg")
    assert value_names("u:x:many") == [expected]
    assert value_names("u:x:many", signed=True) == [set()]
    assert value_names("ur:x:many") == [set(), expected]
    assert value_names("ur:x:many", signed=True) == [set(), set()]


def test_arguments_of_go_are_not_read_from_the_registers_of_c():
    facts = kernel(programs={"work": FunctionTypes(types(), (None,) * 7)}, go={"work"})
    [target] = facts.named["u:x:work"].targets
    for source in ("u:x:work", "ur:x:work"):
        for signed in (False, True):
            scope = scope_of(parse_source(source), target, facts, signed=signed)
            begin = scope.entry or scope
            assert (begin.named, begin.numbered) == ({}, ())
            assert "Go passes arguments" in begin.missing_reason


def test_a_member_of_a_struct_passed_by_value_is_refused():
    message, position, _ = error_of('f:by_value "%d", arg2.x')
    assert "passed by value" in message
    assert position == "arg2"


def test_probe_specs_about_one_probe_are_distinguished_by_all_of_them():
    plan = distributed("k:vfs_read", "k:vfs_read()::count", "k:nothing", "kr:vfs_read#x")
    assert plan.probe_specs.names == ("k:vfs_read", "k:vfs_read()::count", "k:nothing", "x")


def test_saved_values_need_a_program_at_the_entry():
    plan = plan_specs("kr:vfs_read ($entry(count) == 3 && $entry(count) != retval)")
    assert [chosen.probe.program for chosen in plan.probes] == ["entry_0", "spec_0"]
    assert dict(plan.defines)["PT_SPEC_ENTRY_VALUES"] == "1"
    assert "PT_SPEC_CALLS" not in dict(plan_specs("kr:vfs_read (retval)").defines)
    assert dict(plan_specs("ur:x:work ($latency > 3)").defines)["PT_SPEC_ENTRY_VALUES"] == "1"


def test_columns_are_named_after_the_expressions():
    plan = plan_specs(
        'k:vfs_read "%d %s %d %d", count + 1, $comm, count  +  1, file->f_pos',
        't:sched:sched_process_exec "%s %d", comm, pid',
    )
    names = [column.name for column in plan.schema.columns]
    first = ["pid", "tid", "comm", "probe"]
    assert names == [*first, "count + 1", "$comm", "file->f_pos", "arg:comm", "arg:pid", "text"]


def test_conversions():
    def conversion_text(text):
        [conversion] = [
            piece for piece in parse_trace(f'k:vfs_read "{text}", 1').pieces if isinstance(piece, Conversion)
        ]
        return conversion.show("x" if conversion.sign in "sc" else 10), conversion.size

    assert conversion_text("%d") == ("10", 4)
    assert conversion_text("%-08.3lld") == ("010     ", 8)
    assert conversion_text("%hhu") == ("10", 1)
    assert conversion_text("%hX") == ("A", 2)
    assert conversion_text("%4s") == ("   x", 4)
    assert conversion_text("%zu") == ("10", 8)
    assert conversion_text("%5c") == ("    x", 4)


def test_u_of_bcc_may_be_a_usdt_probe():
    found_targets = FoundTargets((replace(mark(8), name="x:p:m"),))
    with pytest.raises(ProbeSpecError) as excinfo:
        plan_specs("u:x:m", facts=FakeKernel(named={"usdt:x:*:m": found_targets}))
    assert excinfo.value.hint == "there is a USDT probe: usdt:x:p:m"


def test_two_probe_specs_of_a_function_at_one_address():
    class ByAddress(FakeKernel):
        def probe(self, probe):
            result = super().probe(probe)
            return (
                replace(result, target_id_source=TargetIdSource.ADDRESS)
                if isinstance(probe, Kprobes)
                else result
            )

    addresses = {
        "k:vfs_read": FoundTargets((NamedTarget("vfs_read", 0x100),)),
        "k:nothing": FoundTargets((NamedTarget("nothing", 0x200),)),
    }
    facts = ByAddress(types=KERNEL.types, named=addresses, patterns=None)
    assert len(plan_specs("k:vfs_read (count)", "k:nothing", facts=facts).probes) == 2
    with pytest.raises(UsageError, match="two probe specs about k:vfs_read"):
        plan_specs("k:vfs_read (count)", "k:vfs_read", facts=facts)


def test_the_usdt_argument_map_has_the_size_that_the_c_reads():
    plan = plan_specs('usdt:p:m "%d", arg1')
    assert set(plan.targets.usdt_arguments) == {0}
    assert len(plan.targets.usdt_arguments[0]) == 192
    assert dict(plan.defines)["PT_USDT_SITES"] == dict(plan.defines)["PT_TARGETS"]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ('u:p:"ns::f(int)" "%d", arg1', Source("u", '"ns::f(int)"', place="p")),
        ('u:"/a b":f (arg1 > 2)', Source("u", "f", place='"/a b"')),
        ("u:p:main.(*T).M (arg1 > 2)", Source("u", "main.(*T).M", place="p")),
        ("u:p:ns::f(int, char*) (arg1 > 2)", Source("u", "ns::f(int, char*)", place="p")),
        ("u:p:ns::f(int a)", Source("u", "ns::f", place="p")),
        ("p:ns::f", None),
        ("/bin/p:ns::f", Source("u", "ns::f", place="/bin/p")),
        ("r::vfs_read", Source("kr", "vfs_read")),
    ],
)
def test_names_of_other_languages_and_names_in_quotes(text, source):
    if source is None:
        with pytest.raises(UsageError):
            parse_trace(text)
    else:
        assert parse_trace(text).source == source


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('p::vfs_read(struct file *file) "%d", file->f_flags', "struct file"),
        ('p::vfs_read "%d", (kuid_t)arg1', "kuid_t"),
        ('p::vfs_read "%d", $task->pid', "struct task_struct"),
    ],
)
def test_types_of_a_kernel_without_btf_are_refused_with_that_reason(text, name):
    facts = kernel()
    facts.types = None
    with pytest.raises(UnsupportedError) as excinfo:
        plan_specs(text, facts=facts)
    reason = "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF, Linux 5.2)"
    assert excinfo.value.message == f"{text}: the type {name} is unknown: {reason}"
