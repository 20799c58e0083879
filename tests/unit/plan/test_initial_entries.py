"""Test the initial entries of maps, also those that depend on the run."""

from __future__ import annotations

import os
import struct
from types import SimpleNamespace

import pytest

from pytracer.kernel import interfaces
from pytracer.kernel.facts import TargetIdSource
from pytracer.plan import initial_entries, make_plan
from pytracer.plan.alternatives import ChosenProbe
from pytracer.plan.attach_targets import ProbeSpecPlan, TargetPlan
from pytracer.plan.initial_entries import UNKNOWN_RUN, ConfigValues, RunFacts
from pytracer.request import Fault, Request
from pytracer.spec import Filter, KprobeEvents, registry
from support.fake_kernel import FakeKernel

COMMAND = RunFacts(command=77, is_own=True)
ADDRESSES = KprobeEvents("hit", targets=(5, 9), patterns=("k:vfs_*",), addresses=(0x1000, 0x2000))


def plan_of(tracer: str, **request):
    return make_plan(Request(registry.get(tracer), **request), FakeKernel())


def entries_of(plan, name: str, run: RunFacts = UNKNOWN_RUN) -> dict[bytes, bytes]:
    [entry] = [entry for entry in plan.initial_entries if entry.map == name]
    return dict(entry.entries(run))


def names(plan) -> list[str]:
    return [entry.map for entry in plan.initial_entries]


def u32(number: int) -> bytes:
    return struct.pack("I", number)


def entries_by_map(plan: TargetPlan) -> dict[str, dict[bytes, bytes]]:
    request = Request(registry.get("syscalls"))
    full_plan = make_plan(request, FakeKernel())
    entries = initial_entries.initial_entries(
        request, full_plan.schema, ConfigValues("pt_config", (), ()), plan, ()
    )
    return {entry.map: dict(entry.entries(UNKNOWN_RUN)) for entry in entries if entry.map.startswith("pt_")}


def test_values_that_change_from_run_to_run_are_written_by_slot():
    plan = plan_of("sockcount", interfaces={1: "lo"}, options={"direction": "out"})
    assert entries_of(plan, "pt_config") == {u32(0): struct.pack("Q", 1)}


def test_keys_of_filters_are_members_of_a_set():
    plan = plan_of("syscalls", filters={Filter.PID: (u32(23), u32(29))})
    assert entries_of(plan, "pt_pids") == {u32(23): b"\1", u32(29): b"\1"}


def test_cgroups_are_given_as_open_folders_and_by_id(tmp_path):
    plan = plan_of("syscalls", filters={Filter.CGROUP: (os.fsencode(tmp_path),)})
    folders = next(entry for entry in plan.initial_entries if entry.map == "pt_cgroups")
    for key, value in folders.entries(UNKNOWN_RUN):
        assert key == u32(0)
        assert os.path.samestat(os.fstat(struct.unpack("I", value)[0]), tmp_path.stat())
    assert entries_of(plan, "pt_cgroup_ids") == {struct.pack("Q", tmp_path.stat().st_ino): b"\1"}


def test_a_cgroups_descriptor_is_closed_once_it_is_written(tmp_path):
    plan = plan_of("syscalls", filters={Filter.CGROUP: (os.fsencode(tmp_path),)})
    [value] = entries_of(plan, "pt_cgroups").values()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(struct.unpack("I", value)[0])


def test_functions_are_known_by_their_address_and_behind_an_endbr():
    probes = (ChosenProbe(ADDRESSES, "2 functions", target_id_source=TargetIdSource.ADDRESS),)
    addresses = entries_by_map(TargetPlan(probes=probes))["pt_addresses"]
    assert {
        struct.unpack("Q", address)[0]: struct.unpack("I", number)[0] for address, number in addresses.items()
    } == {
        0x1000: 5,
        0x1004: 5,
        0x2000: 9,
        0x2004: 9,
    }


def test_functions_that_are_known_by_a_cookie_are_in_no_map():
    probes = (ChosenProbe(ADDRESSES, "2 functions", target_id_source=TargetIdSource.COOKIE),)
    assert "pt_addresses" not in entries_by_map(TargetPlan(probes=probes))


def test_arguments_of_usdt_probes_are_written_by_target():
    assert entries_by_map(ProbeSpecPlan(usdt_arguments={3: b"abc"}))["pt_usdt"] == {u32(3): b"abc"}


def test_a_followed_command_is_written_once_its_process_is_known():
    plan = plan_of("syscalls", command=("ls",))
    assert entries_of(plan, "pt_followed_pids") == {}
    assert entries_of(plan, "pt_followed_pids", COMMAND) == {u32(77): b"\1"}


def test_a_command_that_is_only_the_load_is_not_followed():
    plan = plan_of("syscalls", command=("ls",), load=True)
    assert "pt_followed_pids" not in names(plan)


@pytest.mark.parametrize("initial", [True, None])
def test_pytracers_own_process_is_left_out(monkeypatch, initial):
    monkeypatch.setattr(initial_entries, "in_initial_namespace", lambda _: initial)
    expected = {u32(0): struct.pack("II", os.getpid(), 77)}
    assert entries_of(plan_of("syscalls"), "pt_tracer", COMMAND) == expected


def test_the_process_of_a_program_that_uses_the_library_is_not_left_out():
    assert entries_of(plan_of("syscalls"), "pt_tracer", RunFacts(77)) == {}


def test_in_a_pid_namespace_no_process_is_left_out(monkeypatch):
    monkeypatch.setattr(initial_entries, "in_initial_namespace", lambda _: False)
    assert entries_of(plan_of("syscalls"), "pt_tracer", COMMAND) == {}


def test_a_list_is_whole():
    assert "pt_tracer" not in names(plan_of("tasks"))


def test_injection_spares_this_process_and_ends_with_the_duration(monkeypatch):
    monkeypatch.setattr(initial_entries.ktime, "monotonic_ns", lambda: 1_000)
    facts = FakeKernel(functions={"should_failslab"})
    request = Request(
        registry.get("inject"),
        fault=Fault("should_failslab", "ENOMEM"),
        duration=2.0,
        options={"everyone": True},
    )
    plan = make_plan(request, facts)
    assert entries_of(plan, "pt_bounds") == {u32(0): struct.pack("QQ", os.getpid(), 2_000_001_000)}
    assert entries_of(plan, "pt_config")[u32(0)] == struct.pack("q", -12)


@pytest.mark.parametrize(
    ("wanted", "count"), [({1: "lo"}, {}), ({0: "any"}, {0: 2}), ({3: "wg0"}, {0: 2}), ({}, {})]
)
def test_interfaces_without_an_ethernet_header_are_written(monkeypatch, wanted, count):
    """No program looks up an interface that is not traced, so it needs no entry."""
    kinds = {1: 772, 3: 65534, 4: 519}  # ARPHRD_LOOPBACK, _NONE, _RAWIP
    monkeypatch.setattr(
        interfaces,
        "list_interfaces",
        lambda: {index: SimpleNamespace(type=kind) for index, kind in kinds.items()},
    )
    plan = plan_of("sockcount", interfaces=wanted)
    assert entries_of(plan, "links") == {u32(3): u32(0), u32(4): u32(0)}
    assert entries_of(plan, "pt_links") == {u32(address): u32(number) for address, number in count.items()}
    refreshed = [entry.map for entry in plan.initial_entries if entry.is_refreshed]
    assert refreshed == (["links", "pt_links"] if 0 in wanted else [])
