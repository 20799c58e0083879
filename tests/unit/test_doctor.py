"""Test the doctor on simulated machines, and on this one without privileges."""

from __future__ import annotations

import errno
import gzip
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytracer import doctor
from pytracer.bpf.attach.link import Link
from pytracer.bpf.compile import shared_libraries
from pytracer.bpf.sys import BpfError, Command, SyscallError
from pytracer.cli import doctor as command
from pytracer.doctor import Check, Report
from pytracer.errors import NotPermittedError, PolicyError, ToolchainError, UnsupportedError, UsageError
from pytracer.features import feature_table, hook_probes
from pytracer.features.absence import explain_absence
from pytracer.features.feature_table import ProbeResult
from pytracer.features.table.feature import Feature
from pytracer.features.table.hook_features import HOOKS, KPROBE_MULTI, LSM
from support import unprivileged


def hook(name: str, status: str, reason: str = "") -> ProbeResult:
    return ProbeResult(Feature("hook", name, "4.1"), status, reason)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine that has only the parts that a test adds."""
    monkeypatch.setattr(doctor.packaged, "MODULES", tmp_path / "modules")
    monkeypatch.setattr(doctor.packaged, "KHEADERS", tmp_path / "kheaders.tar.xz")
    monkeypatch.setattr(doctor.btf, "VMLINUX", tmp_path / "vmlinux")
    monkeypatch.setattr(doctor.kconfig, "CONFIGS", (tmp_path / "config.gz",))
    monkeypatch.setattr(doctor, "LIBRARIES", (f"{tmp_path}/lib",))
    monkeypatch.setattr(doctor.policy, "PROC", tmp_path / "proc")
    monkeypatch.setattr(doctor.policy, "SYS", tmp_path / "sys")
    monkeypatch.setattr(doctor.mounts, "ensure_mounted", no_mounts)
    (tmp_path / "lib").mkdir()
    return tmp_path


def no_mounts(fstype: str, path: object) -> bool:
    raise PermissionError(errno.EPERM, fstype)


def by_name(checks: object) -> dict[str, Check]:
    return {check.name: check for check in checks}  # type: ignore[attr-defined]


def test_no_kernel_types_is_a_failure_that_names_the_package(machine: Path) -> None:
    checks = by_name(doctor._describe_types())
    assert {check.status for check in checks.values()} == {doctor.FAIL}
    assert checks["header package"].fix
    (machine / "vmlinux").touch()
    checks = by_name(doctor._describe_types())
    assert {check.status for check in checks.values()} == {doctor.OK}
    assert not any(check.fix for check in checks.values())


@pytest.mark.parametrize(
    ("config", "sysctl", "status"),
    [
        (b"CONFIG_BPF_JIT_ALWAYS_ON=y\n", None, doctor.OK),
        (b"# CONFIG_BPF_JIT_ALWAYS_ON is not set\n", 1, doctor.OK),
        (None, 2, doctor.OK),
        (None, 0, doctor.WARN),
        (None, None, doctor.UNKNOWN),
    ],
)
def test_jit(machine: Path, config: bytes | None, sysctl: int | None, status: str) -> None:
    if config is not None:
        (machine / "config.gz").write_bytes(gzip.compress(config))
    if sysctl is not None:
        path = machine / "proc/sys/net/core/bpf_jit_enable"
        path.parent.mkdir(parents=True)
        path.write_text(f"{sysctl}\n")
    check = doctor._describe_jit()
    assert check.status == status
    assert bool(check.fix) == (status == doctor.WARN)


def test_missing_bcc_is_a_failure_with_an_installation_hint(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> Path:
        raise ToolchainError("BCC is not installed", hint="sudo apt-get install python3-bpfcc")

    monkeypatch.setattr(doctor.toolchain, "find_bcc", none)
    checks = by_name(doctor._describe_compiler())
    assert checks["BCC"].status == doctor.FAIL
    assert checks["BCC"].fix == "sudo apt-get install python3-bpfcc"
    assert checks["libbcc"].status == doctor.UNKNOWN


def test_the_other_bcc_package_is_reported(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = machine / "site/bcc"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    monkeypatch.syspath_prepend(str(machine / "site"))
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    checks = by_name(doctor._describe_compiler())
    assert checks["another bcc"].status == doctor.WARN
    assert "crystal" in checks["another bcc"].found
    (package / "libbcc.py").touch()
    assert "another bcc" not in by_name(doctor._describe_compiler())


def library(*needed: str) -> bytes:
    """Return a shared library that contains only its list of needed libraries."""
    strings = b"\0"
    dynamic = b""
    for name in needed:
        dynamic += struct.pack("<qQ", 1, len(strings))
        strings += name.encode() + b"\0"
    start = 64 + 2 * 56
    base = 0x10000
    dynamic += struct.pack("<qQqQ", 5, base + start, 0, 0)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head = ident + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    size = start + len(strings) + len(dynamic)
    segments = struct.pack("<IIQQQQQQ", 1, 4, 0, base, base, size, size, 8)
    offset = start + len(strings)
    segments += struct.pack(
        "<IIQQQQQQ", 2, 4, offset, base + offset, base + offset, len(dynamic), len(dynamic), 8
    )
    return head + segments + strings + dynamic


@pytest.mark.parametrize(
    ("name", "version"), [("libLLVM-14.so.1", "14"), ("libLLVM.so.19.1", "19.1"), ("libLLVM-3.9.so.1", "3.9")]
)
def test_the_version_of_llvm_is_read_from_the_needed_libraries_of_libbcc(
    machine: Path, name: str, version: str
) -> None:
    (machine / "lib/libbcc.so.0").write_bytes(library("libc.so.6", "libclang-cpp.so.14", name))
    for present in (name, "libclang-cpp.so.14"):
        (machine / "lib" / present).touch()
    check = by_name(doctor._describe_compiler())["LLVM"]
    assert (check.status, check.found) == (doctor.OK, f"{version} ({name}, libclang-cpp.so.14)")
    (machine / "lib" / name).unlink()
    check = by_name(doctor._describe_compiler())["LLVM"]
    assert check.status == doctor.WARN
    assert name in check.found
    (machine / "lib/libbcc.so.0").write_bytes(library("libc.so.6"))
    assert by_name(doctor._describe_compiler())["LLVM"].status == doctor.UNKNOWN


@pytest.mark.parametrize("cut", [0, 1, 5, 40, 64, 100, 177, 200])
def test_a_broken_library_needs_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(library("liba.so.1")[:cut])
    assert shared_libraries.list_needed(path) == []


def test_needed_libraries_are_read_from_an_elf_file(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(library("liba.so.1", "libb.so.2"))
    assert shared_libraries.list_needed(path) == ["liba.so.1", "libb.so.2"]


def test_the_old_quiet_function_is_probed_where_the_other_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.5, whose refusals differ: ENOENT for the entry, EINVAL for the return."""
    tried = list[str]()

    def open_link(symbol: str, offset: int, program: int, *, at_return: bool) -> Link:
        tried.append(symbol)
        if len(tried) % 2:
            raise OSError(errno.EINVAL if at_return else errno.ENOENT, "")
        return Link(-1)

    monkeypatch.setattr(hook_probes, "load", lambda kind, code: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(hook_probes.kprobe_pmu, "is_there", lambda: True)
    monkeypatch.setattr(hook_probes.kprobe_pmu, "open_link", open_link)
    monkeypatch.setattr(hook_probes.kprobe_pmu, "PMU", Path("/"))
    assert hook_probes.kprobe() == hook_probes.kretprobe() == ""
    monkeypatch.setattr(hook_probes.kprobe_pmu, "PMU", Path("/none"))
    assert hook_probes.kprobe() == "by a trace event for each"
    assert tried == ["bpf_fentry_test1", "machine_restart"] * 3


def test_one_hook_that_is_granted_is_enough() -> None:
    untried = hook("kprobe", feature_table.UNTRIED, "why")
    check = doctor._summarize((untried, hook("uprobe", feature_table.GRANTED)))
    assert (check.status, check.found) == (doctor.OK, "works by uprobe")


def test_doctor_fails_if_nothing_is_granted() -> None:
    assert doctor._summarize((hook("kprobe", feature_table.ABSENT),)).status == doctor.FAIL
    assert doctor._summarize((hook("kprobe", feature_table.GRANTED),)).status == doctor.OK
    assert doctor._summarize((hook("kprobe", feature_table.UNTRIED, "why"),)).status == doctor.UNKNOWN
    refused = doctor._summarize((hook("kprobe", feature_table.REFUSED), hook("uprobe", feature_table.ABSENT)))
    assert refused.status == doctor.FAIL
    assert "refused" in refused.found


def probed(monkeypatch: pytest.MonkeyPatch, ask: Callable[[], str]) -> ProbeResult:
    """Return the result of a hook of Linux 6.0 that is probed by ``ask``."""
    monkeypatch.setitem(feature_table.HOOK_PROBES, "x", ask)
    return feature_table.probe(Feature("hook", "x", "6.0"))


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (None, feature_table.GRANTED),
        (OSError(errno.EPERM, ""), feature_table.REFUSED),
        (OSError(errno.EACCES, ""), feature_table.REFUSED),
        (OSError(errno.EINVAL, ""), feature_table.ABSENT),
        (OSError(524, ""), feature_table.ABSENT),
        (UnsupportedError("x"), feature_table.ABSENT),
        (PolicyError("x"), feature_table.REFUSED),
        (NotPermittedError("x"), feature_table.UNTRIED),
        (ToolchainError("x"), feature_table.UNTRIED),
    ],
)
def test_results_of_probes(monkeypatch: pytest.MonkeyPatch, problem: Exception | None, status: str) -> None:
    def ask() -> str:
        if problem is not None:
            raise problem
        return "a note"

    result = probed(monkeypatch, ask)
    assert result.status == status
    assert result.reason
    assert "Unknown error" not in result.reason


def test_without_capabilities_no_feature_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_table.policy, "missing_capabilities", lambda needed: ["CAP_BPF"])
    results = list(feature_table.probe_all())
    assert len(results) == len(feature_table.FEATURES)
    assert {result.status for result in results} == {feature_table.UNTRIED}
    assert {result.reason for result in results} == {"not tried: needs CAP_BPF"}


def test_features_have_names_of_their_own() -> None:
    names = [(feature.kind, feature.name) for feature in feature_table.FEATURES]
    assert len(names) == len(set(names))


Examined = Callable[[Report], None]


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Examined:
    return lambda report: monkeypatch.setattr(command.doctor, "examine", lambda: report)


HOSTILE = Check("kernel", "version", doctor.WARN, "Linux \x1b[2J " + "long " * 60, "do " * 60)


def test_the_table_keeps_to_its_width(examined: Examined, capsys: pytest.CaptureFixture[str]) -> None:
    examined(Report((HOSTILE,), (hook("kprobe", feature_table.ABSENT, "none " * 40),)))
    assert command.run([]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert out.isascii()
    assert "\x1b" not in out
    assert "fix: do do" in out
    assert out.endswith("\npytracer can run here\n")


def test_only_a_failure_is_an_error(examined: Examined, capsys: pytest.CaptureFixture[str]) -> None:
    failing = Check("compiler", "BCC", doctor.FAIL, "not installed", "install it")
    examined(Report((HOSTILE, failing), (hook("kprobe", feature_table.GRANTED),)))
    assert command.run([]) == 1
    assert capsys.readouterr().out.endswith("\npytracer cannot run here: BCC\n")


def test_json_is_one_object_a_line(examined: Examined, capsys: pytest.CaptureFixture[str]) -> None:
    examined(Report((HOSTILE,), (hook("kprobe", feature_table.REFUSED, "by somebody"),)))
    assert command.run(["-f", "json"]) == 0
    check, feature = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert check == {
        "kind": "check",
        "group": "kernel",
        "name": "version",
        "status": "warn",
        "found": HOSTILE.found,
        "fix": HOSTILE.fix,
    }
    assert feature == {
        "kind": "feature",
        "group": "hook",
        "name": "kprobe",
        "status": "refused",
        "found": "by somebody",
        "fix": "",
        "since": "4.1",
        "commit": "",
    }


def test_a_wrong_word_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        command.run(["-f", "xml"])
    with pytest.raises(UsageError):
        command.run(["kprobe"])
    with pytest.raises(SystemExit, match=r"^0$"):
        command.run(["--help"])
    assert "--format" in capsys.readouterr().out


def test_doctor_works_without_privileges() -> None:
    """On the real machine, without privileges."""
    result = unprivileged.python("-m", "pytracer", "doctor", "-f", "json")
    assert result.stderr == ""
    records = [json.loads(line) for line in result.stdout.splitlines()]
    checks = {record["name"]: record for record in records if record["kind"] == "check"}
    assert checks["version"]["found"].startswith(f"Linux {os.uname().release}")
    assert checks["capabilities"]["status"] == "warn"
    assert "sudo" in checks["capabilities"]["fix"]
    assert checks["tracing"]["status"] == "unknown"
    assert {record["status"] for record in records if record["kind"] == "feature"} == {"untried"}
    failed = any(record["status"] == "fail" for record in checks.values())
    assert result.returncode == (1 if failed else 0)


@pytest.mark.parametrize(
    ("restrict", "paranoid", "expected"),
    [
        (0, 1, "0: kernel addresses are shown to all"),
        (0, 2, "0: kernel addresses are shown with CAP_SYSLOG, as kernel.perf_event_paranoid is above 1"),
        (1, 1, "1: kernel addresses are shown with CAP_SYSLOG"),
        (2, 1, "2: kernel addresses are hidden: stacks have no kernel names"),
    ],
)
def test_users_that_see_kernel_addresses(machine: Path, restrict: int, paranoid: int, expected: str) -> None:
    folder = machine / "proc/sys/kernel"
    folder.mkdir(parents=True)
    (folder / "kptr_restrict").write_text(f"{restrict}\n")
    (folder / "perf_event_paranoid").write_text(f"{paranoid}\n")
    assert by_name(doctor._describe_policies())["kernel.kptr_restrict"].found == expected


@pytest.mark.parametrize(
    ("release", "config", "reason"),
    [
        ("5.17.0-x", "# CONFIG_FPROBE is not set\n", "it came with Linux 5.18"),
        ("6.1.0-x", "# CONFIG_FPROBE is not set\n", "this kernel is built without CONFIG_FPROBE"),
        ("6.1.0-x", "CONFIG_FPROBE=y\n", ""),
        ("6.1.0-x", None, "it takes CONFIG_FPROBE"),
        ("10.0.0", None, "it takes CONFIG_FPROBE"),
    ],
)
def test_a_missing_feature_is_explained_by_a_version_or_an_option(
    machine: Path, monkeypatch: pytest.MonkeyPatch, release: str, config: str | None, reason: str
) -> None:
    if config is not None:
        (machine / "config.gz").write_bytes(gzip.compress(config.encode()))
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(release=release))
    assert explain_absence(KPROBE_MULTI) == reason


def test_every_hook_has_a_probe() -> None:
    assert list(feature_table.HOOK_PROBES) == [feature.name for feature in HOOKS]


@pytest.mark.parametrize("confidential", [True, False])
def test_hooks_refused_by_lockdown_are_reported(monkeypatch: pytest.MonkeyPatch, confidential: bool) -> None:
    monkeypatch.setattr(feature_table.policy, "is_confidential", lambda: confidential)

    def ask() -> str:
        raise PermissionError(errno.EPERM, "")

    reason = probed(monkeypatch, ask).reason
    assert ("lockdown=confidentiality" in reason) is confidential


@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
@pytest.mark.parametrize(
    ("error", "call"),
    [
        (lambda number: BpfError(number, Command.PROG_LOAD, b""), "bpf(BPF_PROG_LOAD)"),
        (lambda number: SyscallError(number, "perf_event_open"), "perf_event_open"),
    ],
)
@pytest.mark.parametrize("modules", [("capability", "bpf"), ("capability",)])
def test_a_refusal_names_the_failed_call_and_the_policy(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: Any,
    call: str,
    modules: tuple[str, ...],
) -> None:
    monkeypatch.setattr(feature_table.policy, "read_lsms", lambda: modules)
    monkeypatch.setattr(feature_table.policy, "read_lockdown", lambda: "none")

    def ask() -> str:
        raise error(number)

    result = probed(monkeypatch, ask)
    assert result.status == feature_table.REFUSED
    assert result.reason.startswith(f"{call}: {errno.errorcode[number]}, by a policy of the kernel")
    assert ("(bpf)" in result.reason) is ("bpf" in modules)


@pytest.mark.parametrize(
    ("modules", "status"), [(("capability",), feature_table.ABSENT), (("bpf",), feature_table.GRANTED)]
)
def test_security_hooks_that_are_never_called_are_absent(
    monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], status: str
) -> None:
    monkeypatch.setattr(hook_probes, "_find_btf_id", lambda kind, name: 1)
    monkeypatch.setattr(hook_probes, "load", lambda *words, **options: os.open("/dev/null", os.O_RDONLY))
    monkeypatch.setattr(hook_probes.policy, "read_lsms", lambda: modules)
    result = feature_table.probe(LSM)
    assert result.status == status
    assert result.reason.startswith("loads")
