"""Test that what lockdown=confidentiality withholds is refused by that name, and by another reason without
it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytracer import doctor
from pytracer.bpf.attach import kprobe, kprobe_events
from pytracer.bpf.load import loader
from pytracer.bpf.prober import FeatureProber
from pytracer.cli import doctor as command
from pytracer.doctor import LOCKDOWN, OK, UNKNOWN, WARN, Check, Report
from pytracer.errors import PolicyError, VerifierError
from pytracer.kernel import policy, tracefs
from pytracer.prog import leftovers
from pytracer.spec import KprobeEvents

SAID = {
    "5.10": "unknown func bpf_probe_read_kernel#113",
    "6.14": "program of this type cannot use helper bpf_probe_read_kernel#113",
}


@pytest.fixture(params=[True, False])
def is_confidential(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    for module in (policy, loader):
        monkeypatch.setattr(module, "is_confidential", lambda: request.param)
    return bool(request.param)


def load_error(reason: str) -> Exception:
    def load(log: bytearray | None = None, level: int = 1) -> int:
        if log is not None:
            text = f"0: (85) call 113\n{reason}\n".encode()
            log[: len(text)] = text
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    with pytest.raises((PolicyError, VerifierError)) as excinfo:
        loader.load_code("syscalls:enter", load, keep_logs=False)
    return excinfo.value


@pytest.mark.parametrize("kernel", SAID)
def test_programs_that_read_kernel_memory(is_confidential: bool, kernel: str) -> None:
    error = load_error(SAID[kernel])
    assert isinstance(error, PolicyError) is is_confidential
    assert ("lockdown=confidentiality" in str(error)) is is_confidential


def test_other_verifier_errors_are_not_blamed_on_lockdown(is_confidential: bool) -> None:
    assert isinstance(load_error("R1 type=scalar expected=ctx"), VerifierError)


def test_a_tracefs_without_files(
    is_confidential: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tracefs, "TRACING", tmp_path)
    monkeypatch.setattr(tracefs, "_exists", lambda path: path == tmp_path)
    monkeypatch.setattr(tracefs, "_mirror_path", lambda path: None)
    if is_confidential:
        with pytest.raises(PolicyError, match="withheld by lockdown=confidentiality"):
            tracefs.root()
        (tmp_path / "available_events").write_text("")  # the kernel was locked down later
    assert tracefs.root() == tmp_path


@pytest.mark.parametrize(("status", "all_of_them"), [(WARN, False), (OK, True)])
def test_the_doctors_last_line(status: str, all_of_them: bool) -> None:
    line = command._verdict(Report((Check("policy", LOCKDOWN, status, ""),), ()))
    assert (line == "pytracer can run here") is all_of_them
    assert ("lockdown" in line) is not all_of_them


def refuse_tracefs(*_: object) -> Path:
    raise policy.make_lockdown_error("trace events (tracefs)")


def test_functions_by_address_are_refused_where_no_trace_event_can_be_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The symbol table has their addresses, so no other step would look at tracefs before attaching."""
    (tmp_path / "README").write_text(r"<fetcharg>, \imm-value")
    monkeypatch.setattr(kprobe, "PMU", tmp_path)
    monkeypatch.setattr(FeatureProber, "missing_capabilities", [])
    probe = KprobeEvents("hit", patterns=("k:vfs_read",), addresses=(0xFFFFFFFF81000000,))
    monkeypatch.setattr(kprobe_events.tracefs, "root", lambda: tmp_path)
    assert kprobe_events.check_support(probe, FeatureProber()).is_supported
    monkeypatch.setattr(kprobe_events.tracefs, "root", refuse_tracefs)
    answer = kprobe_events.check_support(probe, FeatureProber())
    assert answer.is_forbidden
    assert "lockdown=confidentiality" in answer.reason


def test_the_doctor_finds_leftovers_without_tracefs(monkeypatch: pytest.MonkeyPatch) -> None:
    leftover = leftovers.Leftover("a filter on lo ingress", "tc filter del dev lo ingress")
    monkeypatch.setattr(doctor.policy, "missing_capabilities", lambda needed: [])
    monkeypatch.setattr(leftovers.probe_events, "list_leftovers", refuse_tracefs)
    for name in ("_iter_xdp", "_iter_cgroups"):
        monkeypatch.setattr(leftovers, name, lambda: iter(()))
    monkeypatch.setattr(leftovers, "_iter_filters", lambda: iter((leftover,)))
    assert [check.fix for check in doctor._describe_leftovers()] == [leftover.command]
    for name in ("_iter_filters", "_iter_xdp", "_iter_cgroups"):
        monkeypatch.setattr(leftovers, name, refuse_tracefs)
    [check] = doctor._describe_leftovers()
    assert check.status == UNKNOWN
    assert "lockdown=confidentiality" in check.found
