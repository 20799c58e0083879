"""Test the policies that hinder a tracer: read from a simulated machine, and explained."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.bpf.attach.refusal import make_attach_error
from pytracer.errors import AttachError, NotPermittedError, PolicyError, PytracerError, UnsupportedError
from pytracer.kernel import mounts, policy
from support import unprivileged

ALL = (1 << 41) - 1


def bits(*names: str) -> int:
    return sum(1 << policy.CAPABILITIES.index(name) for name in names)


Machine = Callable[..., None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a function that sets up a fake machine; each call replaces it."""
    proc, sys_ = tmp_path / "proc", tmp_path / "sys"
    (proc / "self").mkdir(parents=True)
    (proc / "sys/kernel").mkdir(parents=True)
    (sys_ / "kernel/security").mkdir(parents=True)
    monkeypatch.setattr(policy, "PROC", proc)
    monkeypatch.setattr(policy, "SYS", sys_)
    monkeypatch.setattr(policy, "_CONTAINER_MARKS", ())

    def no_mounts(fstype: str, path: object) -> bool:
        raise PermissionError(errno.EPERM, fstype)

    monkeypatch.setattr(mounts, "ensure_mounted", no_mounts)

    def make(
        capabilities: int = ALL,
        *,
        seccomp: int = 0,
        lockdown: str = "[none] integrity confidentiality",
        lsms: str = "lockdown,capability",
        last: int = 40,
        initial: bool | None = True,
        release: str = "6.1.0",
        memlock: int = resource.RLIM_INFINITY,
        paranoid: int = 2,
        euid: int = 0,
    ) -> None:
        (proc / "self/status").write_text(
            f"Name:\tx\nCapInh:\t0\nCapEff:\t{capabilities:016x}\nSeccomp:\t{seccomp}\nSeccomp_filters:\t3\n"
        )
        (proc / "sys/kernel/cap_last_cap").write_text(f"{last}\n")
        (proc / "sys/kernel/perf_event_paranoid").write_text(f"{paranoid}\n")
        for name, text in (("lockdown", lockdown), ("lsm", lsms)):
            path = sys_ / "kernel/security" / name
            path.write_text(text) if text else path.unlink(missing_ok=True)
        monkeypatch.setattr(policy, "in_initial_namespace", lambda kind: initial if kind == "user" else True)
        monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release=release))
        monkeypatch.setattr(policy.resource, "getrlimit", lambda limit: (memlock, memlock))
        monkeypatch.setattr(policy.os, "geteuid", lambda: euid)

    make()
    return make


def explain_refusal(number: int = errno.EPERM, needed: Sequence[str] = policy.TRACING) -> PytracerError:
    return policy.explain(OSError(number, os.strerror(number)), "raw tracepoint x", capabilities=needed)


def test_capabilities_have_the_numbers_of_the_kernel() -> None:
    numbers = {
        "CAP_NET_RAW": 13,
        "CAP_SYS_ADMIN": 21,
        "CAP_SYS_RESOURCE": 24,
        "CAP_PERFMON": 38,
        "CAP_BPF": 39,
    }
    assert {name: policy.CAPABILITIES.index(name) for name in numbers} == numbers
    assert len(policy.CAPABILITIES) == len(set(policy.CAPABILITIES)) == 41


def test_capabilities_newer_than_the_table_have_a_number(machine: Machine) -> None:
    machine(1 << 50 | 1)
    assert policy.effective_capabilities() == {"CAP_CHOWN", "CAP_50"}


def test_sys_admin_replaces_the_finer_capabilities(machine: Machine) -> None:
    machine(bits("CAP_SYS_ADMIN"))
    assert policy.missing_capabilities(("CAP_BPF", "CAP_PERFMON", "CAP_NET_RAW")) == ["CAP_NET_RAW"]
    machine(bits("CAP_BPF"))
    assert policy.missing_capabilities(policy.TRACING) == ["CAP_PERFMON"]


def test_missing_capabilities_of_an_old_kernel_are_those_it_has(machine: Machine) -> None:
    machine(0, last=37)
    assert policy.missing_capabilities((*policy.TRACING, "CAP_NET_RAW")) == ["CAP_SYS_ADMIN", "CAP_NET_RAW"]


def test_root_of_a_user_namespace_has_no_privileges_over_the_kernel(machine: Machine) -> None:
    machine(initial=False)
    assert policy.missing_capabilities((*policy.TRACING, "CAP_NET_RAW")) == ["CAP_BPF", "CAP_PERFMON"]
    error = explain_refusal()
    assert type(error) is NotPermittedError
    assert "in a user namespace only" in error.message
    assert "user namespace" in error.hint


def test_require_names_what_is_missing_in_one_line(machine: Machine) -> None:
    policy.require_capabilities(policy.TRACING, "tracing")
    machine(0, euid=1000)
    with pytest.raises(NotPermittedError) as excinfo:
        policy.require_capabilities(policy.TRACING, "tracing")
    assert type(excinfo.value) is NotPermittedError
    assert excinfo.value.exit_code == 5
    assert excinfo.value.message == "tracing needs CAP_BPF and CAP_PERFMON, which this process does not have"
    assert "sudo" in excinfo.value.hint
    assert "--cap-add=BPF --cap-add=PERFMON" in excinfo.value.hint


def test_root_without_capabilities_gets_no_hint_about_sudo(machine: Machine) -> None:
    machine(0)
    hint = explain_refusal().hint
    assert "sudo" not in hint
    assert "CapabilityBoundingSet" in hint


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_a_refusal_without_capabilities_is_not_a_policy(machine: Machine, number: int) -> None:
    machine(0, seccomp=2, lockdown="none integrity [confidentiality]")
    assert type(explain_refusal(number)) is NotPermittedError


@pytest.mark.parametrize(
    ("options", "policy_name"),
    [
        ({"seccomp": 2}, "seccomp filter"),
        ({"lockdown": "none integrity [confidentiality]"}, "lockdown=confidentiality"),
        ({"lockdown": "none [integrity] confidentiality"}, "lockdown=integrity"),
        ({"lsms": "lockdown,capability,selinux"}, "selinux"),
        ({"lsms": "capability,apparmor"}, "apparmor"),
        ({"capabilities": bits("CAP_BPF", "CAP_PERFMON"), "paranoid": 4}, "kernel.perf_event_paranoid=4"),
        ({"release": "5.10.0-28-amd64", "memlock": 65536}, "RLIMIT_MEMLOCK (64 KiB)"),
    ],
)
def test_a_refusal_names_the_policy_in_force(
    machine: Machine, options: dict[str, object], policy_name: str
) -> None:
    machine(**options)
    error = explain_refusal()
    assert isinstance(error, PolicyError)
    assert policy_name in error.message
    assert "root" not in error.message
    assert error.exit_code == 5


def test_the_likeliest_policy_comes_first(machine: Machine) -> None:
    machine(seccomp=2, lockdown="none [integrity] confidentiality", lsms="selinux")
    message = explain_refusal().message
    assert message.index("seccomp") < message.index("selinux") < message.index("lockdown=integrity")


def test_an_unexplained_refusal_names_the_excluded_policies(machine: Machine) -> None:
    error = explain_refusal()
    assert isinstance(error, PolicyError)
    assert "no seccomp filter, no lockdown, no security module that would" in error.message
    machine(lockdown="", lsms="")
    assert "lockdown cannot be seen, security modules cannot be seen" in explain_refusal().message


def test_a_kernel_without_lockdown_has_none(machine: Machine) -> None:
    machine(lockdown="", lsms="capability,yama")
    assert policy.read_lockdown() == "none"


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV, errno.E2BIG, 524]
)
def test_an_unknown_command_of_bpf_is_unsupported(machine: Machine, number: int) -> None:
    error = explain_refusal(number)
    assert isinstance(error, UnsupportedError)
    assert error.exit_code == 4
    assert "Unknown error" not in error.message


def test_enosys_is_a_refusal_where_a_filter_is_on(machine: Machine) -> None:
    assert isinstance(explain_refusal(errno.ENOSYS), UnsupportedError)
    machine(seccomp=2)
    assert isinstance(explain_refusal(errno.ENOSYS), PolicyError)


def test_other_errors_are_reported_in_words(machine: Machine) -> None:
    assert type(explain_refusal(errno.EIO)) is PytracerError
    assert explain_refusal(errno.EIO).message == "raw tracepoint x: Input/output error"
    assert "no reason" in explain_refusal(0).message


def test_attaching_has_an_error_of_its_own(machine: Machine) -> None:
    error = make_attach_error(OSError(errno.EBUSY, "busy"), "kprobe f")
    assert isinstance(error, AttachError)
    assert error.message == "cannot attach to kprobe f: Device or resource busy"
    assert isinstance(make_attach_error(OSError(errno.ENOENT, ""), "kprobe f"), UnsupportedError)
    assert isinstance(make_attach_error(OSError(errno.EPERM, ""), "kprobe f"), PolicyError)
    machine(bits("CAP_BPF", "CAP_PERFMON"))
    error = make_attach_error(OSError(errno.EPERM, ""), "packet socket", capabilities=("CAP_NET_RAW",))
    assert "needs CAP_NET_RAW" in error.message


def test_everything_at_once(machine: Machine) -> None:
    machine(seccomp=2)
    parsed = policy.read_policy()
    assert parsed.seccomp == "filter"
    assert parsed.lsms == ("lockdown", "capability")
    assert parsed.sysctls["kernel.perf_event_paranoid"] == 2
    assert parsed.sysctls["kernel.kptr_restrict"] is None


def test_an_unprivileged_user_sees_the_missing_capabilities() -> None:
    """On the real machine, without privileges."""
    code = (
        "from pytracer.kernel import policy, tracefs\n"
        "from pytracer.errors import NotPermittedError\n"
        "assert policy.missing_capabilities(policy.TRACING)\n"
        "policy.raise_memlock()\n"
        "policy.read_policy()\n"
        "for ask in tracefs.root, tracefs.events, lambda: tracefs.event_id('sched', 'sched_switch'):\n"
        "    try: ask()\n"
        "    except NotPermittedError as error: assert type(error) is NotPermittedError, error\n"
        "    else: raise SystemExit('that was let through')\n"
    )
    result = unprivileged.python("-c", code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("restrict", "paranoid", "is_shown"),
    [(0, 1, True), (0, -1, True), (0, 2, None), (0, 3, None), (0, None, None), (1, 1, None), (2, -1, False)],
)
def test_addresses_are_shown_to_all_only_where_perf_may_profile_the_kernel(
    restrict: int, paranoid: int | None, is_shown: bool | None
) -> None:
    sysctls = {"kernel.kptr_restrict": restrict, "kernel.perf_event_paranoid": paranoid}
    assert policy.shows_addresses(sysctls) is is_shown


@pytest.mark.parametrize(
    ("lsms", "function", "unused"),
    [
        ("lockdown,capability", "bpf_lsm_file_open", True),
        ("lockdown,capability,bpf", "bpf_lsm_file_open", False),
        ("lockdown,capability", "security_file_open", False),
        ("", "bpf_lsm_file_open", False),
    ],
)
def test_hooks_of_bpf_are_called_where_it_is_a_security_module(
    machine: Machine, lsms: str, function: str, unused: bool
) -> None:
    machine(lsms=lsms)
    reason = policy.unused_lsm_hook(function)
    assert bool(reason) is unused
    assert reason == "" or f"({lsms.replace(',', ', ')}): boot with lsm=...,bpf" in reason


def test_an_offset_within_an_instruction_is_no_multibyte_character(machine: Machine) -> None:
    machine()
    error = explain_refusal(errno.EILSEQ)
    assert error.message == "raw tracepoint x: the offset lies within an instruction"


def test_lockdown_is_named_as_the_reason(machine: Machine) -> None:
    machine(lockdown="none [integrity] confidentiality")
    assert not policy.is_confidential()
    machine(lockdown="none integrity [confidentiality]")
    assert policy.is_confidential()
    error = policy.make_lockdown_error("trace events")
    assert isinstance(error, PolicyError)
    assert error.message == "trace events: withheld by lockdown=confidentiality"
