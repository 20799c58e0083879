"""Describe a kernel with a few types, and check probe specs against it."""

from __future__ import annotations

from pytracer.kernel.btf import Btf, BtfKind
from pytracer.kernel.facts import FoundTargets, NamedTarget
from pytracer.spec import ProbeSite, SiteArgument
from support.btf_builder import CHAR, INT, LONG, Builder, basic
from support.fake_kernel import FakeKernel

OPENAT = """name: sys_enter_openat
ID: 636
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;

print fmt: "dfd: 0x%08lx", ((unsigned long)(REC->dfd))
"""
EXEC = """name: sched_process_exec
format:
\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;
\tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;
\tfield:u8 address[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] more;\toffset:36;\tsize:4;\tsigned:0;
\tfield:struct file * file;\toffset:40;\tsize:8;\tsigned:0;
"""
RAW_SYSCALLS = """name: sys_{0}
format:
\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;
\tfield:{1};\toffset:16;\tsize:8;\tsigned:0;
"""


_FILE = 20  # the number that the struct of that name gets below


def types() -> Btf:
    """Build the types of ``long vfs_read(struct file *file, char *buf, size_t count, bool fast)``, and
    more."""
    b: Builder = basic()
    char_p = b.ptr(CHAR)
    size = b.int("unsigned long", 8, encoding=0)
    boolean = b.int("_Bool", 1, encoding=4)
    byte = b.int("unsigned char", 1, encoding=0)
    name = b.array(CHAR, 16)
    numbers = b.array(INT, 4)
    colour = b.enum("colour", {"RED": 1, "BLUE": 7})
    call = b.ptr(b.add(BtfKind.FUNC_PROTO, "", 0))
    inner = b.struct("", 8, ("one", INT, 0), ("two", INT, 32))
    bits = b.bits("flags", 4, ("low", INT, 0, 3), ("high", INT, 3, 29))
    file_p = b.ptr(_FILE)
    hidden_p = b.ptr(b.add(BtfKind.FWD, "hidden", 0))
    dentry = b.struct("dentry", 32, ("d_name", char_p, 0), ("d_iname", name, 64), ("d_file", file_p, 192))
    dentry_p = b.ptr(dentry)
    members = {
        "dentry": (dentry_p, 0),
        "f_pos": (LONG, 8),
        "numbers": (numbers, 16),
        "": (inner, 32),
        "flags": (bits, 40),
        "colour": (colour, 44),
        "call": (call, 48),
        "small": (byte, 56),
        "fast": (boolean, 57),
        "hidden": (hidden_p, 64),
        "whole": (dentry, 72),
    }
    number = b.struct("file", 104, *((name, type_, 8 * index) for name, (type_, index) in members.items()))
    assert number == _FILE
    size_t = b.typedef("size_t", size)
    pair = b.struct("pair", 16, ("a", LONG, 0), ("b", LONG, 64))
    b.struct("pt_regs", 168, ("di", LONG, 8 * 112), ("orig_ax", LONG, 8 * 120))
    task = b.ptr(b.struct("task_struct", 32, ("pid", INT, 0), ("comm", name, 32)))

    def function(name: str, returns: int, **arguments: int) -> None:
        words = [word for argument, type_ in arguments.items() for word in (b.string(argument), type_)]
        proto = b.add(BtfKind.FUNC_PROTO, "", returns, *words, count=len(arguments))
        b.add(BtfKind.FUNC, name, proto)

    function("vfs_read", LONG, file=file_p, buf=char_p, count=size_t, fast=boolean)
    function("by_value", 0, first=INT, both=pair, last=INT)
    function("many", INT, a=INT, b=INT, c=INT, d=INT, e=INT, f=INT, g=INT)
    function("nothing", 0)
    function("__traceiter_sched_switch", INT, __data=char_p, preempt=boolean, prev=task, next=task)
    words = [word for type_ in (char_p, boolean, task, task) for word in (0, type_)]
    b.typedef("btf_trace_sched_switch", b.ptr(b.add(BtfKind.FUNC_PROTO, "", 0, *words, count=4)))
    return b.btf()


def mark(*sizes: int, trouble: str = "") -> NamedTarget:
    """Return a USDT probe with arguments of these sizes (negative: signed), the last of them in
    ``trouble``."""
    arguments = [SiteArgument(size, bytes(16)) for size in sizes]
    if trouble:
        arguments.append(SiteArgument(8, bytes(16), trouble))
    site = ProbeSite("p:m", 0x100, file="/bin/x", identity=(1, 1), arguments=tuple(arguments))
    return NamedTarget("p:m", sites=(site,))


def kernel(**more: object) -> FakeKernel:
    """Return a kernel with these types, and with targets such as ``k:vfs_read``."""
    functions = ("vfs_read", "by_value", "many", "nothing", "unknown")
    targets_by_source = {
        f"{kind}:{name}": FoundTargets((NamedTarget(name),))
        for kind in ("k", "kr", "f", "fr")
        for name in functions
    }
    targets_by_source["k:vfs_read+0x10"] = FoundTargets((NamedTarget("vfs_read"),))
    targets_by_source["rt:sched_switch"] = FoundTargets((NamedTarget("sched_switch"),))
    targets_by_source["t:syscalls:sys_enter_openat"] = FoundTargets(
        (NamedTarget("syscalls:sys_enter_openat"),)
    )
    targets_by_source["t:sched:sched_process_exec"] = FoundTargets((NamedTarget("sched:sched_process_exec"),))
    for event in ("raw_syscalls:sys_enter", "raw_syscalls:sys_exit"):
        targets_by_source[f"t:{event}"] = FoundTargets((NamedTarget(event),))
    site = ProbeSite("work", 0x200, file="/bin/x", identity=(1, 1))
    for kind in ("u", "ur"):
        targets_by_source[f"{kind}:x:work"] = FoundTargets((NamedTarget("x:work", sites=(site,)),))
        targets_by_source[f"{kind}:c:malloc"] = FoundTargets((NamedTarget("c:malloc", sites=(site,)),))
    targets_by_source["usdt:p:m"] = FoundTargets((mark(-4, 8, 1, trouble="it is a floating-point number"),))
    formats = {
        "syscalls:sys_enter_openat": OPENAT,
        "sched:sched_process_exec": EXEC,
        "raw_syscalls:sys_enter": RAW_SYSCALLS.format("enter", "unsigned long args[6]"),
        "raw_syscalls:sys_exit": RAW_SYSCALLS.format("exit", "long ret"),
    }
    fields = {
        "types": types(),
        "formats": formats,
        "named": targets_by_source,
        "functions": set(functions),
        "patterns": None,
    }
    return FakeKernel(**(fields | more))
