"""Test fault injection: which functions may fail, how, and errors about others."""

from __future__ import annotations

import errno
import re

import pytest

from pytracer.cli import tracer_parser
from pytracer.errors import PolicyError, UnsupportedError, UsageError
from pytracer.kernel import injection, mounts, tracefs
from pytracer.plan import make_plan
from pytracer.plan.fault_injection import like
from pytracer.request import Condition, Fault, parse_fault
from pytracer.spec import Override, registry
from support.fake_kernel import FakeKernel

LIST = {
    "should_failslab": "ERRNO",
    "__x64_sys_mkdir": "ERRNO",
    "__x64_sys_mkdirat": "ERRNO",
    "__ia32_sys_mkdir": "ERRNO",
    "open_ctree": "ERRNO",
    "btrfs_get": "ERRNO_NULL",
    "give": "NULL",
    "ask": "TRUE",
}
KERNEL = FakeKernel(functions=set(LIST) | {"vfs_mkdir"}, injectable=LIST)


SLOTS = ("PT_CFG_EVERY", "PT_CFG_PERCENT", "PT_CFG_TIMES")


def plan_line(line, kernel=KERNEL):
    request, _ = tracer_parser.parse(registry.get("inject"), line.split())
    return make_plan(request, kernel)


def slot(plan, name):
    return plan.config[int(dict(plan.defines)[f"PT_CFG_{name}"])]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("__x64_sys_mkdir ENOSPC", -errno.ENOSPC),
        ("__x64_sys_mkdir enospc", -errno.ENOSPC),
        ("btrfs_get EIO", -errno.EIO),
        ("btrfs_get NULL", 0),
        ("give NULL", 0),
        ("ask TRUE", 1),
    ],
)
def test_injected_errors(words, value):
    plan = plan_line(f"{words} -- true")
    assert slot(plan, "RETURNS") == value % (1 << 64)
    [chosen] = [chosen for chosen in plan.probes if isinstance(chosen.probe, Override)]
    assert (chosen.name, chosen.probe.program) == (words.split()[0], "hit")


def test_the_frequency_of_faults_is_parsed():
    plan = plan_line("give NULL -- true")
    assert [slot(plan, name) for name in ("EVERY", "PERCENT", "TIMES")] == [1, 100, 0]
    plan = plan_line("give NULL --every 7 --probability 5 --times 3 -- true")
    assert [slot(plan, name) for name in ("EVERY", "PERCENT", "TIMES")] == [7, 5, 3]
    slots = [value for name, value in plan.defines if name in ("PT_CFG_RETURNS", *SLOTS)]
    assert sorted(slots) == ["0", "1", "2", "3"]


def test_fault_injection_ends_by_itself():
    request, values = tracer_parser.parse(registry.get("inject"), ["give", "NULL", "--everyone"])
    assert request.duration == values.duration == 60
    request, _ = tracer_parser.parse(registry.get("inject"), ["give", "NULL", "--everyone", "-d", "3"])
    assert request.duration == 3
    assert tracer_parser.parse(registry.get("syscalls"), [])[0].duration is None


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("__x64_sys_mkdir NULL -- true", "cannot fail with NULL", "it may return an error"),
        ("give EIO -- true", "cannot fail with EIO", "it may return NULL"),
        ("ask NULL -- true", "cannot fail with NULL", "it may return TRUE"),
        ("btrfs_get TRUE -- true", "cannot fail with TRUE", "an error or NULL"),
        ("__x64_sys_mkdir EIO", "would fail for every process", "--everyone"),
        ("__x64_sys_mkdir EIO --load -- true", "would fail for every process", "--everyone"),
        ("__x64_sys_mkdir EIO 1 5", "would fail for every process", "--everyone"),
    ],
)
def test_contradictory_requests_are_refused(line, message, hint):
    with pytest.raises(UsageError, match=message) as excinfo:
        plan_line(line)
    assert hint in excinfo.value.hint
    assert excinfo.value.exit_code == 2


def test_all_processes_may_be_affected():
    assert plan_line("__x64_sys_mkdir EIO --everyone").probes
    assert plan_line("__x64_sys_mkdir EIO -u 0").probes


def test_a_function_that_does_not_allow_it_and_those_like_it_that_do():
    with pytest.raises(UnsupportedError, match="vfs_mkdir is not among the 8 functions") as excinfo:
        plan_line("vfs_mkdir EIO -- true")
    assert excinfo.value.hint
    with pytest.raises(UnsupportedError) as excinfo:
        plan_line("sys_mkdir EIO -- true")
    assert excinfo.value.hint == (
        "these are: __ia32_sys_mkdir, __x64_sys_mkdir, __x64_sys_mkdirat, security_inode_mkdir"
    )


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("mkdir", ["__ia32_sys_mkdir", "__x64_sys_mkdir", "__x64_sys_mkdirat"]),
        ("__x64_sys_openat", ["__x64_sys_mkdir", "__x64_sys_mkdirat"]),
        ("open_tree", ["open_ctree"]),
        ("should_fail_alloc_page", ["should_failslab"]),
        ("zzz", []),
        ("__", []),
        ("\x1b[0m", []),
    ],
)
def test_like_names(name, first):
    assert like(name, LIST)[: len(first)] == first
    assert bool(like(name, LIST)) is bool(first)


def test_a_kernel_that_was_not_built_for_it():
    with pytest.raises(UnsupportedError, match="CONFIG_FUNCTION_ERROR_INJECTION") as excinfo:
        plan_line("__x64_sys_mkdir EIO -- true", FakeKernel(injectable=None))
    assert excinfo.value.hint == "these are: security_inode_mkdir"
    kernel = FakeKernel(injectable=LIST, refuses={"modify_return", "lsm"})
    with pytest.raises(PolicyError, match="kprobe: no function __x64_sys_mkdir; modify-return, lsm: refused"):
        plan_line("__x64_sys_mkdir EIO -- true", kernel)


def find_answer(plan):
    [chosen] = [chosen for chosen in plan.probes if chosen.probe.program == "hit"]
    return chosen.probe.kind, chosen.name


@pytest.mark.parametrize(
    ("refuses", "answer"),
    [
        (set(), ("modify_return", "security_bprm_check")),
        ({"modify_return"}, ("lsm", "bprm_check_security")),
    ],
)
def test_a_permission_check_fails_on_a_kernel_that_was_not_built_for_it(refuses, answer):
    plan = plan_line("security_bprm_check EPERM -- true", FakeKernel(injectable=None, refuses=refuses))
    assert slot(plan, "RETURNS") == -errno.EPERM % (1 << 64)
    assert find_answer(plan) == answer
    assert plan.hooks.warnings == (
        "security_bprm_check is passed by exec, and by each interpreter of a script",
    )
    assert not plan_line("security_inode_mkdir EPERM -- true", FakeKernel()).hooks.warnings


def test_a_function_of_the_list_fails_where_kprobes_cannot_return_in_its_place():
    kernel = FakeKernel(injectable=LIST, refuses={"kprobe"})
    assert find_answer(plan_line("btrfs_get EIO -- true", kernel)) == ("modify_return", "btrfs_get")
    for words in ("btrfs_get NULL", "give NULL", "ask TRUE"):  # the program's 0 would let the function run
        with pytest.raises(PolicyError, match=r"answered for: kprobe: refused by policy$"):
            plan_line(f"{words} -- true", kernel)


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("security_file_open NULL -- true", UsageError, "cannot fail with NULL"),
        ("security_file_open EIO", UsageError, "would fail for every process"),
        ("security_file_alloc EIO -- true", UnsupportedError, "is not among the 47 permission checks"),
        ("security_file_open EIO --hook call=kprobe -- true", UnsupportedError, "kprobe: no function"),
    ],
)
def test_what_a_permission_check_cannot_do(line, error, message):
    with pytest.raises(error, match=message):
        plan_line(line)


NO_LIST = FakeKernel(injectable=None)
"""A kernel without bpf_override_return: it has no function of the calls either."""


@pytest.mark.parametrize(
    ("line", "kernel", "chosen"),
    [
        ("mkdir EIO -- true", KERNEL, "kprobe"),
        ("mkdir EIO --times 3 -p 1", KERNEL, "kprobe"),
        ("mkdir EIO --where arg2 -- true", KERNEL, "seccomp-errno"),
        ("mkdir EIO -- true", NO_LIST, "seccomp-errno"),
        ("mkdir EIO --every 3 -- true", NO_LIST, "seccomp-notify"),
        ("mkdir EIO --times 3 -- true", NO_LIST, "seccomp-notify"),
        ("mkdir EIO --probability 3 -- true", NO_LIST, "seccomp-notify"),
        ("mkdir EIO --hook call=seccomp-notify -- true", NO_LIST, "seccomp-notify"),
        ("mkdir EIO --hook call=seccomp -- true", KERNEL, "seccomp-errno"),
        ("mkdir EIO --hook call=seccomp --every 2 -- true", KERNEL, "seccomp-notify"),
        ("execve EIO -- true", NO_LIST, "seccomp-notify"),
    ],
)
def test_a_system_call_fails_by_its_function_or_by_a_filter(line, kernel, chosen):
    plan = plan_line(line, kernel)
    assert plan.resolved_hooks[0].alternative == chosen
    assert (plan.syscall_filter is not None) == chosen.startswith("seccomp")
    if plan.syscall_filter is not None:
        assert (plan.program, len(plan.probes)) == ("filter", 1)  # no program follows the command
        assert plan.syscall_filter.notifies == (chosen == "seccomp-notify")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mkdir EIO -p 1", "without -p and other filters"),
        ("mkdir EIO --comm x -- true", "without -p and other filters"),
        ("mkdir EIO --load --everyone -- true", "without -p and other filters"),
        ("mkdir EIO --wait-all -- true", "--wait-all"),
        ("mkdir EIO --times 3 --every 2 --hook call=seccomp-errno -- true", r"\(--every, --times\)"),
        ("execve EIO --hook call=seccomp-errno -- true", "could not be executed"),
        ("execve EIO --where arg1 -- true", "arguments of execve are addresses"),
    ],
)
def test_what_a_filter_of_system_calls_cannot_do(line, message):
    with pytest.raises(UnsupportedError, match=message):
        plan_line(line, NO_LIST)


def test_calls_that_never_fail_and_arguments_of_functions_are_refused():
    for call in ("exit", "exit_group", "rt_sigreturn"):
        with pytest.raises(UsageError, match="never fails"):
            plan_line(f"{call} EIO -- true")
    for function in ("security_file_open", "give", "vfs_mkdir"):
        with pytest.raises(UsageError, match="is no system call"):
            plan_line(f"{function} EIO --where arg1 -- true")


def test_conditions_on_arguments_are_part_of_the_fault():
    request, _ = tracer_parser.parse(registry.get("inject"), ["mkdir", "EIO", "--where", "arg2 == 5"])
    assert request.fault == Fault("mkdir", "EIO", (Condition(1, "==", 5),))


def test_which_calls_fail_is_counted_by_what_the_kernel_has():
    for has_atomic_fetch in (True, False):
        kernel = FakeKernel(has_atomic_fetch=has_atomic_fetch)
        plan = plan_line("security_file_open EIO -- true", kernel)
        assert ("PT_HAS_ATOMIC_FETCH" in dict(plan.defines)) == has_atomic_fetch


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "needs a function and an error"),
        ("mkdir", "needs a function and an error"),
        ("mkdir EIO more", "'more' is too much"),
        ("mkdir EFOO", "no error 'EFOO'"),
        ("mkdir 5", "needs a function and an error"),  # a number is an INTERVAL
        ("mkdir EIO --probability 101", "no whole number from 1 to 100"),
        ("mkdir EIO --every 0", "no whole number"),
    ],
)
def test_the_command_line(line, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        tracer_parser.parse(registry.get("inject"), line.split())
    assert parse_fault("f", "eio") == Fault("f", "EIO")


def test_the_kernels_list(tmp_path, monkeypatch):
    monkeypatch.setattr(mounts, "ensure_mounted", lambda *_: False)
    monkeypatch.setattr(tracefs, "DEBUG", tmp_path)
    assert injection.functions() is None
    folder = tmp_path / "error_injection"
    folder.mkdir()
    text = "__x64_sys_mkdir\tERRNO\nopen_ctree [btrfs]\tERRNO\nf+0x0/0x20\tNULL\ng.cold+0x0/0x10 [m]\tTRUE\n"
    (folder / "list").write_text(text)
    assert injection.functions() == {
        "__x64_sys_mkdir": "ERRNO",
        "open_ctree": "ERRNO",
        "f": "NULL",
        "g.cold": "TRUE",
    }
