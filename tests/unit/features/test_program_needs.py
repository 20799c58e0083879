"""Test what programs use beyond their hooks: the packaged table, and its effect on plans."""

from __future__ import annotations

import errno

import pytest

from pytracer.bpf.attach.kind import LoadAttributes
from pytracer.bpf.sys import ProgType
from pytracer.bpf.trial import instruction
from pytracer.errors import UnsupportedError
from pytracer.features import program_needs
from pytracer.features.program_needs import ProgramNeeds, describe_lack
from pytracer.features.table import helpers, map_types
from pytracer.features.table.uses import NOTHING, ProgramUses, TracerUses, uses_of
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import registry
from support.compiled_uses import calls, context_reads, recorded_uses
from support.fake_kernel import FakeKernel

TRACERS = registry.all_tracers()
GET_TASK_STACK, SKB_CGROUP_ID, LOOKUP = 141, 79, 1
FOUND = TracerUses(
    {
        "programs": {
            "f": {
                "h=a": {"helpers": [1, 4], "context": [[16, 4]]},
                "h=b": {"helpers": [141]},
                "--flag": {"helpers": [79]},
            },
            "g": {"": {"helpers": [5, 174]}},
        },
        "maps": {"": [2], "h=b": [9]},
    }
)


@pytest.mark.parametrize(
    ("program", "alternative", "flags", "uses"),
    [
        ("f", "h=a", (), ProgramUses((1,), ((16, 4),), (2,), (4,))),  # 4: or what is newer
        ("f", "h=b", (), ProgramUses((141,), (), (2, 9))),
        ("f", "h=a", ("flag", "other"), ProgramUses((1, 79), ((16, 4),), (2,), (4,))),
        (
            "f",
            "h=new",
            (),
            ProgramUses((1,), ((16, 4),), (2,), (4,)),
        ),  # did not compile there
        ("g", "k=kprobe", (), ProgramUses((5,), (), (2,))),
        ("none", "h=a", (), NOTHING),
    ],
)
def test_uses_are_looked_up_by_alternative_and_flags(program, alternative, flags, uses):
    assert FOUND.of(program, alternative, flags) == uses


def test_tracers_outside_of_the_table_have_no_needs():
    assert uses_of("tasks", "/home/me/tasks.c").of("listed", "tasks=iterator") is NOTHING
    assert uses_of("mine", "mine.c").of("f", "h=a") is NOTHING
    assert GET_TASK_STACK in uses_of("tasks", "tasks.c").of("listed", "tasks=iterator").helpers


@pytest.mark.parametrize("tracer", TRACERS, ids=lambda tracer: tracer.name)
def test_uses_of_every_tracer_are_in_the_tables(tracer):
    """tests/kernel/test_floor.py tests by compiling that each line exists and is up to date."""
    line = recorded_uses(tracer.name) or {"programs": {}, "maps": {}}
    used = {
        number for kinds in line["programs"].values() for kind in kinds.values() for number in kind["helpers"]
    }
    assert used <= helpers.BY_NUMBER.keys()
    assert {number for types in line["maps"].values() for number in types} <= map_types.BY_NUMBER.keys()


def test_helpers_and_fields_are_found_in_code():
    code = b"".join(
        (
            instruction(0xBF, dst=6, src=1),  # r6 = the context
            instruction(0x61, dst=2, src=6, offset=16),
            instruction(0x18, dst=1, immediate=0x85),  # two slots: the second is no instruction
            instruction(0x85, immediate=99),
            instruction(0x85, immediate=LOOKUP),
            instruction(0x85, src=1, immediate=7),  # a call of a function of the program
            instruction(0x69, dst=3, src=1, offset=4),  # r1 is no longer the context
            instruction(0x69, dst=6, src=6, offset=8),
            instruction(0x79, dst=0, src=6, offset=24),  # nor is r6
            instruction(0x95),
        )
    )
    assert calls(code) == [LOOKUP]
    assert context_reads(code) == [(8, 2), (16, 4)]


class Trials:
    """Trials of helpers and of the context, with results that a test sets."""

    def __init__(self, monkeypatch, *, running="5.9"):
        self.calls, self.reads, self.maps = [], [], []
        self.no_helpers, self.no_fields, self.no_maps = set(), set(), set()
        self.error = 0
        version = tuple(map(int, running.split(".")))
        monkeypatch.setattr(program_needs, "helper_refusal", self.call)
        monkeypatch.setattr(program_needs, "context_refusal", self.read)
        monkeypatch.setattr(program_needs, "create_map", self.create)
        monkeypatch.setattr(
            program_needs.kconfig, "is_since", lambda since: version >= tuple(map(int, since.split(".")))
        )

    def call(self, kind, number, **_):
        self.calls.append((kind, number))
        if self.error:
            raise OSError(self.error, "")
        return "unknown func" if (kind, number) in self.no_helpers else ""

    def read(self, kind, fields, result, **_):
        self.reads.append(fields)
        if self.error:
            raise OSError(self.error, "")
        return bool(self.no_fields & set(fields))

    def create(self, feature):
        self.maps.append(feature.name)
        if feature.number in self.no_maps:
            raise OSError(errno.EINVAL, "")
        return ""


@pytest.fixture
def trials(monkeypatch):
    return Trials(monkeypatch)


def lack(alternative, **uses):
    return describe_lack(ProgramNeeds(), alternative, ProgramUses(**uses))


KPROBE, CGROUP = LoadAttributes(ProgType.KPROBE), LoadAttributes(ProgType.CGROUP_SKB, 0)


def test_helpers_that_the_version_guarantees_are_not_tried(trials):
    assert lack(KPROBE, helpers=(1, 5, 14, 141), maps=(1, 2)) == ""
    assert lack(CGROUP, helpers=(1, 5)) == ""
    assert (trials.calls, trials.maps) == ([], [])


def test_newer_or_type_dependent_helpers_are_tried_once(trials):
    needs = ProgramNeeds()
    uses = ProgramUses((26, 79, 174), ((16, 4),), (7, 27, 30))
    for _ in range(2):
        assert describe_lack(needs, CGROUP, uses) == ""
    assert trials.calls == [(8, 26), (8, 79), (8, 174)]
    assert trials.reads == [((16, 4),)]
    assert (
        trials.maps == ["stack_trace", "bloom_filter"] or trials.maps == ["stack_trace", "bloom_filter"][::-1]
    )


def test_a_lack_is_reported_with_the_version_that_has_it(trials):
    trials.no_helpers = {(8, 79), (2, 180)}
    trials.no_fields, trials.no_maps = {(76, 4)}, {30}
    assert lack(CGROUP, helpers=(79,)) == "this kernel has no bpf_skb_cgroup_id for its program (Linux 5.3)"
    assert lack(KPROBE, helpers=(79,)) == ""
    assert lack(KPROBE, helpers=(180,)) == "this kernel has no bpf_find_vma for its program (Linux 5.17)"
    assert lack(CGROUP, context=((0, 4), (76, 4))) == "this kernel's context has no field at offset 76"
    assert lack(CGROUP, maps=(30,)) == "this kernel has no bloom_filter (Linux 5.16)"


def test_before_the_ring_buffer_packets_are_sent_by_a_helper_that_filters_got_later(monkeypatch):
    socket_filter, tracing = LoadAttributes(ProgType.SOCKET_FILTER), KPROBE
    trials = Trials(monkeypatch, running="4.19")
    trials.no_helpers, trials.no_maps = {(1, 25)}, {27}
    reason = "this kernel has no bpf_perf_event_output for its program (Linux 5.4)"
    assert lack(socket_filter, replaced=(25,)) == reason
    assert lack(tracing, replaced=(4, 25, 35, 45)) == ""
    assert (trials.calls, trials.maps) == ([(1, 25)], ["ringbuf"])
    trials.no_maps = set()
    assert lack(socket_filter, replaced=(25,)) == ""


def test_programs_on_cgroups_need_the_older_helper_or_the_newer(trials):
    trials.no_helpers = {(8, 4)}
    assert lack(CGROUP, replaced=(4,)) == ""
    assert trials.calls == [(8, 4), (8, 113)]
    trials.no_helpers.add((8, 113))
    assert lack(CGROUP, replaced=(4,)) == "this kernel has no bpf_probe_read for its program"


def test_trials_refused_by_policy_are_left_to_the_load(trials):
    trials.error = errno.EPERM
    assert lack(CGROUP, helpers=(79,), context=((0, 4),)) == ""


def test_a_hook_without_the_helper_gives_the_next_alternative_or_a_reason():
    tracer = registry.get("cgroupcount")
    kernel = FakeKernel(no_calls={("cgroup_skb", SKB_CGROUP_ID)})
    [note] = make_plan(Request(tracer), kernel).hooks.notes
    assert note.startswith("cgroup_packet: cgroup-attach; not cgroup-link: cgroup_skb has no helper 79")
    kernel.no_calls.add(("cgroup_skb_attach", SKB_CGROUP_ID))
    with pytest.raises(UnsupportedError, match=r"no way to see .* has no helper 79"):
        make_plan(Request(tracer), kernel)


def test_macros_are_for_helpers_that_all_programs_may_call():
    tracer = registry.get("sockcount")
    assert ("PT_HAS_TASK_BTF", "") in make_plan(Request(tracer), FakeKernel()).defines
    kernel = FakeKernel(no_calls={("socket_filter", helpers.CURRENT_TASK_BTF.number)})
    defines = dict(make_plan(Request(tracer), kernel).defines)
    assert "PT_HAS_TASK_BTF" not in defines
    assert "PT_HAS_BPF_LOOP" in defines
