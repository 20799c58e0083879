"""Test the answers that a plan gets from kernels that accept, refuse, or fail otherwise."""

from __future__ import annotations

import errno
import functools
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.bpf import identity, prober, trial
from pytracer.bpf.attach import kprobe, kprobe_multi, perf_sample, raw_tracepoint, task_sample, tracepoint
from pytracer.bpf.sys import ProgType
from pytracer.errors import NotPermittedError, ResourcesError, UnsupportedError
from pytracer.features import kernel_facts
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import functions
from pytracer.kernel.facts import KernelInfo, Support, TargetIdSource
from pytracer.kernel.functions import KernelFunctions
from pytracer.record import replace
from pytracer.spec import (
    Kprobe,
    KprobeEvents,
    KprobeMulti,
    KretprobeMulti,
    PerfSample,
    RawTracepoint,
    SocketFilter,
    TaskSample,
    Tracepoint,
)
from support import unprivileged

SYMBOLS = b"""ffffffff81000000 T vfs_read
ffffffff81000010 t split.isra.0
ffffffff81000020 t moved\t[ext4]
ffffffff81000030 T vfs_read_more
"""

NO_RAW_TRACEPOINTS = "this kernel has no raw tracepoints (CONFIG_TRACEPOINTS, Linux 4.17)"
NO_SAMPLES = "this kernel takes no samples of cpu-clock (CONFIG_BPF_EVENTS, Linux 4.9)"


def raw(name: str, arguments: int = 0, *, exact: bool = False) -> RawTracepoint:
    return RawTracepoint("", event=name, arguments=arguments, exact=exact)


def event(category: str, name: str) -> Tracepoint:
    return Tracepoint("", category=category, event=name)


def function(*symbols: str) -> Kprobe:
    return Kprobe("", symbols=symbols)


class Kernel:
    """Results of requests to the kernel: errnos by request, one after the other of a list. Descriptors are
    real, of /dev/null."""

    def __init__(self) -> None:
        self.loads: dict[int, int] = {}
        self.sleeps = errno.EINVAL
        self.opens: dict[str, int | list[int]] = {}
        self.attaches: list[int] = []
        self.calls: list[str] = []

    def load(self, kind: int, code: bytes, *, flags: int = 0, **_: object) -> int:
        if flags:
            return self._answer(self.sleeps)
        self.calls.append(f"load {kind}")
        return self._answer(self.loads.get(kind, 0))

    def raw_tracepoint_open(self, event: str, program: int) -> int:
        self.calls.append(f"open {event}")
        answer = self.opens.get(event, errno.ENOENT)
        return self._answer(answer.pop(0) if isinstance(answer, list) else answer)

    def attach_program(self, attr: bytes, program: int, cookies: tuple[int, ...] = ()) -> int:
        self.calls.append("attach")
        return self._answer(self.attaches.pop(0) if self.attaches else 0)

    @staticmethod
    def _answer(number: int) -> int:
        if number:
            raise OSError(number, os.strerror(number))
        return os.open(os.devnull, os.O_RDONLY)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel()
    for module, name in (
        (prober, "load"),
        (raw_tracepoint, "raw_tracepoint_open"),
        (kprobe, "attach_program"),
        (tracepoint, "attach_program"),
    ):
        monkeypatch.setattr(module, name, getattr(kernel, name))
    monkeypatch.setattr(prober.policy, "missing_capabilities", lambda needed: [])
    monkeypatch.setattr(prober.policy, "raise_memlock", lambda: None)
    monkeypatch.setattr(prober.policy, "explain_refusal", lambda: "refused by somebody")
    monkeypatch.setattr(functions.mounts, "ensure_mounted", lambda fstype, path: False)
    functions.blacklist.cache_clear()
    functions.traceable.cache_clear()
    symbols = tmp_path / "kallsyms"
    symbols.write_bytes(SYMBOLS)
    monkeypatch.setattr(prober, "_KALLSYMS", symbols)
    pmu = tmp_path / "pmu"
    pmu.mkdir()
    (pmu / "type").write_text("8\n")
    monkeypatch.setattr(kprobe, "PMU", pmu)
    debug = tmp_path / "debug"
    (debug / "kprobes").mkdir(parents=True)
    (debug / "kprobes/blacklist").write_text("0xffffffff81000000-0xffffffff81000100\tforbidden\n")
    (debug / "README").write_text("fetcharg: (%<register>), $retval, \\imm-value\n")
    (debug / "available_filter_functions").write_text("vfs_read\nmoved [ext4]\n")
    monkeypatch.setattr(tracepoint.tracefs, "DEBUG", debug)
    monkeypatch.setattr(tracepoint.tracefs, "root", lambda: debug)
    yield kernel
    functions.blacklist.cache_clear()
    functions.traceable.cache_clear()


@pytest.fixture
def without_cap_bpf(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(prober.policy, "missing_capabilities", lambda needed: ["CAP_BPF"])
    return kernel


def test_running_kernel_answers_the_questions_of_a_plan() -> None:
    answers: KernelInfo = RunningKernel()
    assert answers.architecture == os.uname().machine


def test_a_raw_tracepoint_is_found_without_being_attached_to(kernel: Kernel) -> None:
    kernel.opens = {"sys_enter": errno.EINVAL}
    facts = RunningKernel()
    assert facts.probe(raw("sys_enter")) == Support(True, "sys_enter")
    assert facts.probe(raw("nonsense")) == Support(False, reason="no raw tracepoint nonsense")
    assert kernel.calls == ["load 17", "open sys_enter", "open nonsense"]


def test_each_probe_runs_once(kernel: Kernel) -> None:
    facts = RunningKernel()
    assert facts.probe(raw("x")) is facts.probe(raw("x"))
    assert facts.probe(function("vfs_read")) is facts.probe(function("vfs_read"))
    assert facts.probe(SocketFilter("")) is facts.probe(SocketFilter(""))
    assert kernel.calls == ["load 17", "open x", "load 2", "attach", "load 1"]


def test_a_kernel_without_the_program_type(kernel: Kernel) -> None:
    kernel.loads = {17: errno.EINVAL}
    facts = RunningKernel()
    assert facts.probe(raw("x")) == Support(False, reason=NO_RAW_TRACEPOINTS)
    assert not facts.probe(raw("y")).is_supported
    assert kernel.calls == ["load 17"]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_trial_without_descriptors_or_memory_is_no_answer(kernel: Kernel, number: int) -> None:
    """The result is not stored, since there may be some later."""
    kernel.loads, kernel.sleeps, kernel.opens = {17: number, 2: number}, number, {"x": errno.EINVAL}
    facts = RunningKernel()
    for probe in (raw("x"), function("vfs_read"), function("is_not_there")):
        with pytest.raises(ResourcesError) as excinfo:
            facts.probe(probe)
        assert excinfo.value.hint
    for ask in (lambda: facts.has_loops, lambda: facts.may_preempt, lambda: facts.has_helper(1)):
        with pytest.raises(ResourcesError):
            ask()
    kernel.loads, kernel.sleeps = {}, errno.EINVAL
    assert facts.probe(raw("x")) == Support(True, "x")


def test_a_refusal_is_distinguished_from_absence(kernel: Kernel) -> None:
    kernel.opens = {"x": errno.EPERM}
    kernel.loads = {1: errno.EACCES}
    kernel.attaches = [errno.EPERM]
    facts = RunningKernel()
    refused = Support(False, reason="refused by somebody", is_forbidden=True)
    assert facts.probe(raw("x")) == refused
    assert facts.probe(SocketFilter("")) == refused
    assert facts.probe(function("vfs_read")) == refused


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (0, Support(True, "cpu-clock")),
        (
            errno.ENOENT,
            Support(False, reason=NO_SAMPLES),
        ),
        (
            errno.EOPNOTSUPP,
            Support(False, reason=NO_SAMPLES),
        ),
        (errno.EACCES, Support(False, reason="refused by somebody", is_forbidden=True)),
    ],
)
def test_reasons_for_missing_samples(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, number: int, answer: Support
) -> None:
    def open_events(wanted: object, program: int) -> list[int]:
        return [kernel._answer(number)]

    monkeypatch.setattr(perf_sample, "open_events", open_events)
    monkeypatch.setattr(task_sample, "open_events", open_events)
    assert RunningKernel().probe(PerfSample("")) == answer
    assert RunningKernel().probe(TaskSample("", threads=(7,))) == answer


def test_reasons_for_missing_counters_and_privileges(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perf_sample, "open_events", lambda *_: [kernel._answer(errno.ENOENT)])
    answer = RunningKernel().probe(PerfSample("", event="cycles"))
    assert answer.reason == "this machine does not count cycles (a virtual one may not be given counters)"
    assert RunningKernel().probe(TaskSample("")) == Support(False, reason="no process is named")


def test_a_trace_event_is_tried_once_a_category(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracepoint.tracefs, "has_event", lambda category, event: event != "none")
    monkeypatch.setattr(tracepoint.tracefs, "event_id", lambda category, event: 7)
    facts = RunningKernel()
    assert facts.probe(event("sched", "a")) == Support(True, "sched:a")
    assert facts.probe(event("sched", "b")) == Support(True, "sched:b")
    assert facts.probe(event("sched", "none")) == Support(False, reason="no trace event sched:none")
    assert kernel.calls == ["load 5", "attach"]
    kernel.attaches = [errno.EINVAL]
    assert facts.probe(event("syscalls", "a")) == Support(
        False, reason="the trace event syscalls:a takes no program"
    )
    assert not facts.probe(event("syscalls", "b")).is_supported
    assert kernel.calls == ["load 5", "attach", "attach"]


def test_no_tracefs_is_a_reason(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(category: str, event: str) -> bool:
        raise UnsupportedError("this kernel has no tracefs")

    monkeypatch.setattr(tracepoint.tracefs, "has_event", none)
    assert RunningKernel().probe(event("a", "b")) == Support(False, reason="this kernel has no tracefs")


def test_the_first_probeable_function_is_chosen(kernel: Kernel) -> None:
    kernel.attaches = [errno.ENOENT, 0]
    assert RunningKernel().probe(function("newer", "vfs_read")) == Support(True, "vfs_read")


@pytest.mark.parametrize(
    ("symbol", "number", "reason"),
    [
        ("newer", errno.ENOENT, "no function newer"),
        ("vfs_rea", errno.ENOENT, "no function vfs_rea"),
        ("split", errno.ENOENT, "split is there in parts only, split up by the compiler"),
        ("forbidden", errno.EINVAL, "forbidden is one that may not be probed (noprobe)"),
        ("vfs_read_more", errno.EINVAL, "vfs_read_more is one that may not be traced (notrace)"),
        ("moved", errno.EADDRNOTAVAIL, "there is more than one function moved"),
        ("moved", errno.EBUSY, "moved cannot be probed (Device or resource busy)"),
    ],
)
def test_reasons_for_unprobeable_functions(kernel: Kernel, symbol: str, number: int, reason: str) -> None:
    kernel.attaches = [number]
    assert RunningKernel().probe(function(symbol)) == Support(False, reason=reason)


PATTERNS = ("f*",)
ENTRIES = KprobeMulti("", patterns=PATTERNS)
RETURNS = KretprobeMulti("", patterns=PATTERNS)
EVENTS = KprobeEvents("", patterns=PATTERNS)


def test_before_linux_5_5_a_trace_event_has_one_probe(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "debug/README").write_text("fetcharg: (%<register>), $retval\n")
    reason = "this kernel has no kprobe events (CONFIG_KPROBE_EVENTS, Linux 5.5)"
    assert RunningKernel().probe(EVENTS) == Support(False, reason=reason)


@pytest.fixture
def multi_results(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Set the results for many functions at once: the errno of the link, and its count."""
    results: dict[str, object] = {
        "link": 0,
        "missed": 0,
        "found": KernelFunctions(PATTERNS, {16: "f"}, ("f_hidden",)),
    }

    def matching(patterns: tuple[str, ...]) -> KernelFunctions:
        if isinstance(results["found"], Exception):
            raise results["found"]
        return results["found"]

    monkeypatch.setattr(kprobe_multi.functions, "matching", matching)
    monkeypatch.setattr(kprobe_multi, "create_link", lambda *_, **__: kernel._answer(results["link"]))
    monkeypatch.setattr(kprobe_multi, "read_missed", lambda _: results["missed"])
    return results


def test_many_functions_are_tried_by_one(multi_results: dict[str, object]) -> None:
    granted = Support(True, "1 functions (f*)", reason="not seen, since they cannot be probed: f_hidden")
    facts = RunningKernel()
    assert facts.probe(ENTRIES) == replace(granted, target_id_source=TargetIdSource.COOKIE)
    assert facts.probe(RETURNS) == replace(granted, target_id_source=TargetIdSource.COOKIE)
    assert facts.probe(EVENTS) == replace(granted, target_id_source=TargetIdSource.ADDRESS)


def test_return_probes_that_miss_silently_are_not_used(multi_results: dict[str, object]) -> None:
    multi_results["missed"] = None
    facts = RunningKernel()
    assert facts.probe(ENTRIES).is_supported
    assert facts.probe(RETURNS).reason.startswith("this kernel does not count")


def test_a_kernel_without_links_on_many_functions(multi_results: dict[str, object]) -> None:
    multi_results["link"] = errno.EINVAL
    answer = RunningKernel().probe(ENTRIES)
    assert answer == Support(False, reason="this kernel has no kprobe.multi (CONFIG_FPROBE, Linux 5.18)")


def test_functions_that_are_not_there_or_not_shown(multi_results: dict[str, object]) -> None:
    multi_results["found"] = UnsupportedError("no function f*")
    assert RunningKernel().probe(ENTRIES) == Support(False, reason="no function f*")
    assert RunningKernel().probe(EVENTS) == Support(False, reason="no function f*")
    multi_results["found"] = NotPermittedError("hidden")
    for answer in (
        RunningKernel().probe(ENTRIES),
        RunningKernel().probe(EVENTS),
    ):
        assert answer == Support(False, reason="hidden", is_forbidden=True)


def test_without_privileges_many_functions_are_not_looked_up(
    without_cap_bpf: Kernel, multi_results: dict[str, object]
) -> None:
    multi_results["found"] = NotPermittedError("never asked")
    for answer in (
        RunningKernel().probe(RETURNS),
        RunningKernel().probe(EVENTS),
    ):
        assert (answer.is_supported, answer.was_tried, answer.name) == (True, False, "f*")


def test_a_kernel_without_kprobes(kernel: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(kprobe, "PMU", tmp_path / "none")
    answer = RunningKernel().probe(function("vfs_read"))
    assert answer == Support(False, reason="this kernel has no kprobes (CONFIG_KPROBE_EVENTS, Linux 4.17)")
    assert RunningKernel().probe(EVENTS) == answer
    assert kernel.calls == []


def test_without_privileges_nothing_is_tried(without_cap_bpf: Kernel) -> None:
    facts = RunningKernel()
    for answer in (
        facts.probe(raw("sys_enter")),
        facts.probe(event("sched", "sched_switch")),
        facts.probe(function("vfs_read")),
        facts.probe(SocketFilter("")),
        facts.probe(PerfSample("")),
    ):
        assert (answer.is_supported, answer.was_tried, answer.reason) == (
            True,
            False,
            "not tried: needs root",
        )
    assert facts.has_helper(113)
    assert facts.has_loops
    assert without_cap_bpf.calls == []


def test_without_privileges_functions_are_still_looked_up(without_cap_bpf: Kernel) -> None:
    facts = RunningKernel()
    assert facts.probe(function("newer", "moved")).name == "moved"
    assert facts.probe(function("newer", "newest")) == Support(
        False, reason="no function newer or newest", was_tried=False
    )


def test_a_helper_is_tried_in_a_program_that_loads(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[tuple[int, int]] = []

    def refusal(kind: int, number: int) -> str:
        requests.append((kind, number))
        return "" if number == 113 else "unknown func"

    monkeypatch.setattr(kernel_facts, "helper_refusal", refusal)
    kernel.loads = {ProgType.RAW_TRACEPOINT: errno.EINVAL}
    facts = RunningKernel()
    assert facts.has_helper(113)
    assert facts.has_helper(113)
    assert not facts.has_helper(999)
    assert requests == [(ProgType.KPROBE, 113), (ProgType.KPROBE, 999)]


def test_loops_are_tried_in_a_program_that_loads(kernel: Kernel) -> None:
    kernel.loads = {ProgType.RAW_TRACEPOINT: errno.EINVAL}
    assert RunningKernel().has_loops
    assert kernel.calls == [
        f"load {int(kind)}" for kind in (ProgType.RAW_TRACEPOINT, ProgType.KPROBE, ProgType.KPROBE)
    ]
    kernel.loads = dict.fromkeys(
        (ProgType.RAW_TRACEPOINT, ProgType.KPROBE, ProgType.TRACEPOINT), errno.EINVAL
    )
    assert not RunningKernel().has_loops


@pytest.mark.parametrize("refusal", ["", "unknown func"])
def test_programs_are_identified_by_a_cookie_where_there_are_cookies(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    requests: list[int] = []

    def message(kind: int, number: int) -> str:
        requests.append(number)
        return refusal

    monkeypatch.setattr(prober, "helper_refusal", message)
    facts = RunningKernel()
    assert facts.probe(function("vfs_read")).target_id_source is TargetIdSource.PROGRAM
    assert requests == []
    for number in range(3):
        answer = facts.probe(replace(function("vfs_read"), offset=number, targets=(number,)))
        assert answer.target_id_source is (TargetIdSource.PROGRAM if refusal else TargetIdSource.COOKIE)
    assert requests == [174]


def test_no_instruction_begins_there(kernel: Kernel) -> None:
    kernel.attaches = [errno.EILSEQ]
    answer = RunningKernel().probe(replace(function("vfs_read"), offset=1))
    assert answer == Support(False, reason="no instruction begins at vfs_read+0x1")


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        (b"0: (85) call unknown#9999\ninvalid func unknown#9999\n", True),
        (b"0: (85) call bpf_probe_write_user#36\nunknown func bpf_probe_write_user#36\n", True),
        (b"0: (85) call x#36\nprogram of this type cannot use helper x#36\n", True),
        (b"0: (85) call bpf_probe_read_kernel#113\nR1 type=ctx expected=fp, pkt\n", False),
    ],
)
def test_verifier_messages_about_helpers(
    monkeypatch: pytest.MonkeyPatch, message: bytes, refused: bool
) -> None:
    def load(kind: int, code: bytes, *, log: bytearray, **_: object) -> int:
        log[: len(message)] = message
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(trial, "load", load)
    assert bool(trial.helper_refusal(2, 113)) is refused


@pytest.mark.parametrize(
    ("version", "release", "code"),
    [
        ("#1 SMP Debian 4.19.208-1 (2021-09-29)", "4.19.0-18-amd64", 4 << 16 | 19 << 8 | 208),
        ("#1 SMP PREEMPT_DYNAMIC", "6.12.5", 6 << 16 | 12 << 8 | 5),
        ("#1 SMP", "4.9.337+", 4 << 16 | 9 << 8 | 255),
        ("#1 SMP", "6.1-rc3", 6 << 16 | 1 << 8),
        ("", "strange", 0),
    ],
)
def test_the_version_that_old_kernels_want_to_see(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, release: str, code: int
) -> None:
    system = SimpleNamespace(version=version, release=release)
    monkeypatch.setattr(identity.os, "uname", lambda: system)
    version_of = functools.partial(identity.kernel_version, tmp_path / "none")
    monkeypatch.setattr(identity, "kernel_version", version_of)
    identity.version_code.cache_clear()
    assert identity.version_code() == code
    identity.version_code.cache_clear()


def test_compat_is_seen_by_its_sysctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="x86_64"))
    monkeypatch.setattr(kernel_facts, "_X86_ABI", tmp_path / "vsyscall32")
    monkeypatch.setattr(kernel_facts, "_PROC_SYS", tmp_path)
    assert not RunningKernel().runs_compat
    (tmp_path / "vsyscall32").touch()
    assert RunningKernel().runs_compat
    monkeypatch.setattr(kernel_facts, "_X86_ABI", tmp_path / "hidden/vsyscall32")
    monkeypatch.setattr(kernel_facts, "_PROC_SYS", tmp_path / "hidden")
    assert RunningKernel().runs_compat, "what cannot be seen may be there"
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(machine="s390x"))
    assert RunningKernel().runs_compat


def test_a_raw_tracepoint_has_a_caveat_where_its_programs_may_sleep(kernel: Kernel) -> None:
    kernel.opens = {"sys_enter": errno.EINVAL}
    kernel.sleeps = 0
    facts = RunningKernel()
    assert "preempted" in facts.probe(raw("sys_enter")).caveat
    assert not facts.probe(replace(raw("sys_enter"), preempted=False)).caveat
    absent = facts.probe(raw("absent"))
    assert (absent.is_supported, absent.caveat) == (False, "")


def descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def test_closed_kernel_facts_leave_no_descriptors(kernel: Kernel) -> None:
    gc.collect()  # what earlier tests dropped is none of this
    before = descriptors()
    facts = RunningKernel()
    facts.probe(raw("x"))
    facts.probe(function("vfs_read"))
    facts.probe(SocketFilter(""))
    assert len(descriptors()) > len(before)
    del facts
    gc.collect()
    assert descriptors() == before


def test_an_unprivileged_user_gets_answers_too() -> None:
    """On the real machine, without privileges."""
    code = (
        "from pytracer.features.kernel_facts import RunningKernel\n"
        "from pytracer.spec import Kprobe, RawTracepoint\n"
        "known = RunningKernel()\n"
        "answer = known.probe(RawTracepoint('', event='sys_enter'))\n"
        "assert answer.is_supported and not answer.was_tried, answer\n"
        "assert known.has_helper(113) and isinstance(known.runs_compat, bool)\n"
        "known.probe(Kprobe('', symbols=('vfs_read',)))\n"
    )
    result = unprivileged.python("-c", code)
    assert result.returncode == 0, result.stderr


def test_the_arguments_of_a_raw_tracepoint_are_identified_by_reading_the_last(kernel: Kernel) -> None:
    kernel.opens = {"long": 0, "short": errno.EINVAL, "refused": errno.EPERM}
    facts = RunningKernel()
    assert facts.probe(raw("long", 2)) == Support(True, "long")
    assert facts.probe(raw("long", 2)) is facts.probe(raw("long", 2))
    assert facts.probe(raw("short", 0)) == Support(True, "short")
    reason = "the raw tracepoint short has fewer arguments"
    assert facts.probe(raw("short", 2)) == Support(False, reason=reason)
    assert facts.probe(raw("refused", 2)).is_forbidden
    assert not facts.probe(raw("absent", 2)).is_supported


def test_a_form_with_more_arguments_is_another_event(kernel: Kernel) -> None:
    """As that of block I/O before Linux 5.11, whose first argument is the queue."""
    absent = errno.EINVAL
    kernel.opens = {"same": [absent, 0, absent], "more": [absent, 0, 0], "odd": [absent, 0, errno.EPERM]}
    facts = RunningKernel()
    assert facts.probe(raw("same", 1, exact=True)) == Support(True, "same")
    reason = "the raw tracepoint more has more arguments"
    assert facts.probe(raw("more", 1, exact=True)) == Support(False, reason=reason)
    assert facts.probe(raw("odd", 1, exact=True)).is_forbidden
