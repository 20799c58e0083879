"""Test probes on programs when the kernel refuses, or supports less."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from pytracer.bpf import prober
from pytracer.bpf.attach import uprobe, uprobe_multi
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.errors import AttachError, PolicyError, UnsupportedError, UsageError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.features.table.hook_features import UPROBE, UPROBE_MULTI, USDT_SEMAPHORE
from pytracer.kernel.facts import TargetIdSource
from pytracer.plan.alternatives import choose_alternative
from pytracer.request import Request
from pytracer.spec import Alternative, Filter, Hook, ProbeSite, Uprobe, UprobeMulti, registry
from pytracer.symbols import program_files
from support.elf_builder import Symbol, build
from support.fake_kernel import FakeKernel


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_bytes(build([Symbol(b"work", 0x401040, 8), Symbol(b"more", 0x401080, 8)]))
    return str(path)


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    """Simulate a kernel with a PMU. It accepts everything, except for the errnos of ``refuses``, for the
    next requests."""
    pmu = tmp_path / "pmu"
    (pmu / "format").mkdir(parents=True)
    (pmu / "type").write_text("9\n")
    (pmu / "format/retprobe").write_text("config:0\n")
    (pmu / "format/ref_ctr_offset").write_text("config:32-63\n")
    monkeypatch.setattr(uprobe, "PMU", pmu)

    class Kernel:
        refuses: list[int] = []
        attached: list[tuple[bytes, tuple[int, ...], int]] = []

        def attach(self, attr, program, cookies=(), *, process=0):
            if self.refuses and (number := self.refuses.pop(0)):
                raise OSError(number, os.strerror(number))
            self.attached.append((attr, cookies, process))
            return os.open(os.devnull, os.O_RDONLY)

        def link(self, program, attach_type, options, *, target=0):
            number = self.refuses.pop(0)
            raise OSError(number, os.strerror(number))

    kernel = Kernel()
    kernel.refuses, kernel.attached = [], []
    monkeypatch.setattr(uprobe, "attach_program", kernel.attach)
    monkeypatch.setattr(uprobe_multi, "link_create", kernel.link)
    monkeypatch.setattr(prober, "load", lambda *_, **__: os.open(os.devnull, os.O_RDONLY))
    monkeypatch.setattr(prober.policy, "missing_capabilities", lambda needed: [])
    monkeypatch.setattr(prober.policy, "raise_memlock", lambda: None)
    monkeypatch.setattr(prober.policy, "explain_refusal", lambda: "refused by somebody")
    return kernel


def requests(probe):
    facts = RunningKernel()
    try:
        return facts.probe(probe)
    finally:
        facts.close()


def test_attributes_of_an_attachment(kernel, program):
    sites = (ProbeSite("a", 0x1040, 0x30), ProbeSite("b", 0x1080))
    probe = Uprobe("", file=program, process=7, sites=sites, targets=(3, 4))
    with program_files.find(program) as file:
        links = uprobe.attach_sites(file, sites, 1, process=probe.process, cookies=probe.targets)
    assert len(links) == 2
    for link in links:
        link.close()
    (first, cookie, process), (second, other, _) = kernel.attached
    config, offset = struct.unpack_from("Q", first, 8)[0], struct.unpack_from("Q", first, 64)[0]
    assert (config, offset, cookie, process) == (0x30 << 32, 0x1040, (3,), 7)
    assert (struct.unpack_from("Q", second, 8)[0], other) == (0, (4,))


def test_uprobes_are_unsupported_without_a_pmu(kernel, program, monkeypatch, tmp_path):
    monkeypatch.setattr(uprobe, "PMU", tmp_path / "none")
    probe = Uprobe("", file=program, symbol="work")
    assert requests(probe).reason == UPROBE.absence
    with pytest.raises(UnsupportedError):
        uprobe.attach(probe, AttachTarget(""), 1)


def test_a_kernel_that_counts_no_semaphores_is_not_trusted_with_them(kernel, program):
    (uprobe.PMU / "format/ref_ctr_offset").unlink()
    probe = Uprobe("", file=program, sites=(ProbeSite("a", 0x1040, 0x30),))
    assert requests(probe).reason == USDT_SEMAPHORE.absence
    with pytest.raises(UnsupportedError, match="semaphores"):
        uprobe.attach(probe, AttachTarget(""), 1)
    assert requests(Uprobe("", file=program, sites=(ProbeSite("a", 0x1040),))).is_supported


@pytest.mark.parametrize(
    ("number", "error"),
    [(errno.EPERM, PolicyError), (errno.EIO, AttachError), (errno.EINVAL, UnsupportedError)],
)
def test_one_refused_site_detaches_the_others(kernel, program, number, error):
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    kernel.refuses = [0, number]
    with pytest.raises(error, match="program:"):
        uprobe.attach(Uprobe("", file=program, symbol="*"), AttachTarget(""), 1)
    assert len(kernel.attached) == 1
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_refusal_is_distinguished_from_absence(kernel, program):
    kernel.refuses = [errno.EACCES]
    answer = requests(Uprobe("", file=program, symbol="work"))
    assert (answer.is_supported, answer.is_forbidden, answer.reason) == (False, True, "refused by somebody")


@pytest.mark.parametrize(
    ("process", "refuses", "reason"),
    [
        (0, [errno.EINVAL], UPROBE_MULTI.absence),
        (0, [errno.EBADF], ""),
        (1, [errno.EBADF, errno.EBADF], uprobe_multi.ONE_THREAD),
        (1, [errno.EBADF, errno.ESRCH], uprobe_multi.ONE_THREAD),
        (0, [errno.EPERM], "refused by somebody"),
    ],
)
def test_links_are_used_where_they_lose_no_events(kernel, program, process, refuses, reason):
    kernel.refuses = list(refuses)
    answer = requests(UprobeMulti("", file=program, symbol="work", process=process))
    assert (answer.is_supported, answer.reason) == (not reason, reason)
    assert answer.target_id_source is (TargetIdSource.PROGRAM if reason else TargetIdSource.COOKIE)


def test_a_file_that_was_replaced_between_finding_and_attaching_is_an_error(kernel, program):
    sites = (ProbeSite("work", 0x1040, file=program, identity=(1, 2, 3)),)
    with pytest.raises(UsageError, match="was replaced just now"):
        uprobe.attach(Uprobe("", file=program, sites=sites), AttachTarget(""), 1)
    assert not kernel.attached


def test_declared_probes_are_searched_in_the_named_process():
    hook = Hook("call", "x", (Alternative("uprobe", (Uprobe("enter", file="libc", symbol="malloc"),)),))
    tracer = registry.get("funccount")
    request = Request(tracer, filters={Filter.PID: (struct.pack("I", 7),)})
    _, [chosen], _ = choose_alternative(hook, request, FakeKernel())
    assert chosen.probe.process == 7
    _, [chosen], _ = choose_alternative(hook, Request(tracer), FakeKernel())
    assert chosen.probe.process == 0


def test_an_alternative_is_forced_by_its_exact_name_before_the_familys():
    alternatives = tuple(Alternative(name, ()) for name in ("uprobe-multi", "uprobe", "uprobe-events"))
    hook = Hook("u", "x", alternatives)
    assert [alternative.name for alternative in hook.alternatives_named("uprobe")] == ["uprobe"]
    assert [
        alternative.name
        for alternative in Hook("u", "x", (alternatives[0], alternatives[2])).alternatives_named("uprobe")
    ] == [
        "uprobe-multi",
        "uprobe-events",
    ]
    assert hook.alternatives_named("kprobe") == ()
