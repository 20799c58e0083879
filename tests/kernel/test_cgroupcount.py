"""Test cgroupcount as people run it, in cgroups of the test's own; and what holds for all programs on
cgroups."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pytracer.bpf.attach.cgroup_skb import POINTS
from support import packets, worker_ids
from support.cgroups import DATAGRAMS, attached, cgroup, programs_on, run_in
from support.cli import EarlyExit, Result, finish, run, start, stop
from support.needs import refused_by_right

pytestmark = pytest.mark.kernel
ALTERNATIVES = ("cgroup-link", "cgroup-attach")
WORK = f"""{DATAGRAMS}
send(socket.AF_INET, "127.0.0.1", 23, 30)
send(socket.AF_INET6, "::1", 7, 100)
"""
UNANSWERED = """
import socket
there, here = (socket.socket(type=socket.SOCK_DGRAM) for _ in "ab")
there.bind(("127.0.0.1", 0))
here.sendto(b"x", there.getsockname())
there.setblocking(False)
try:
    there.recv(1)
except BlockingIOError:  # over loopback, it would be there by now
    raise SystemExit(0)
raise SystemExit("it got through")
"""
SENT = {"UDP": (23 + 7, 23 * (20 + 8 + 30) + 7 * (40 + 8 + 100))}


@pytest.fixture
def folder():
    """Create a cgroup in a network namespace where only the test sends packets."""
    with packets.namespace(ipv6=True), cgroup() as path:
        yield path


def count_packets(folder: Path, *words: object, work: str = WORK, cgroup_path: Path | None = None) -> Result:
    """Run cgroupcount while the work is done in the cgroup. Returns its result."""
    try:
        tracer = start("cgroupcount", "-f", "json", "--cgroup", folder, *words, 60)
    except EarlyExit as error:
        return error.result
    run_in(cgroup_path or folder, work)
    return stop(tracer)


def totals(result: Result, folder: Path) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the whole run's (packets, bytes) of a cgroup, by direction and protocol."""
    assert result.status == 0, result.err
    assert not result.of("loss")
    actual: dict[str, dict[str, tuple[int, int]]] = {"in": {}, "out": {}}
    for record in result.of("summary"):
        if record["cgroup"].endswith(f"/{folder.name}"):
            actual[record["direction"]][record["protocol"]] = record["packets"], record["bytes"]
    return actual


@pytest.mark.lab
@pytest.mark.smoke
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_packets_are_counted_in_both_directions_to_the_byte(folder, alternative):
    result = count_packets(folder, "--hook", f"cgroup_packet={alternative}")
    if not refused_by_right(result.status, result.err, {"cgroup_packet": alternative}):
        assert totals(result, folder) == {"in": SENT, "out": SENT}
    assert programs_on(folder) == {"ingress": (), "egress": ()}


def test_raw_sockets_and_child_cgroups_are_counted(folder):
    child_cgroup = folder / "below"
    child_cgroup.mkdir()
    work = DATAGRAMS + 'send(socket.AF_INET, "127.0.0.1", 5, 40, socket.SOCK_RAW, 253)'
    result = count_packets(folder, work=work, cgroup_path=child_cgroup)
    present = {"other": (5, 5 * 60)}
    assert totals(result, child_cgroup)["out"] == present
    assert totals(result, folder) == {"in": {}, "out": {}}


def test_a_cgroup_that_is_named_twice_is_counted_once(folder):
    child_cgroup = folder / "below"
    child_cgroup.mkdir()
    assert (
        totals(
            count_packets(folder, "--cgroup", child_cgroup, "--cgroup", folder, cgroup_path=child_cgroup),
            child_cgroup,
        )["out"]
        == SENT
    )


def test_a_neighbour_is_not_counted(folder):
    for name in ("a", "b"):
        (folder / name).mkdir()
    tracer = start("cgroupcount", "-f", "json", "--cgroup", folder / "a", 60)
    run_in(folder / "b", WORK)
    assert stop(tracer).of("summary") == []


@pytest.mark.lab
def test_a_filter(folder):
    result = count_packets(folder, "--filter", "ip6 and udp")
    assert totals(result, folder) == {alternative: {"UDP": (7, 7 * 148)} for alternative in ("in", "out")}


def test_a_container_by_its_name(folder):
    box = folder / f"lxc.payload.{worker_ids.NAME}"
    box.mkdir()
    tracer = start("cgroupcount", "-f", "json", "--container", worker_ids.NAME, 60)
    run_in(box, WORK)
    assert totals(stop(tracer, signal.SIGTERM), box) == {"in": SENT, "out": SENT}


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_packets_that_another_program_denies_are_counted_and_still_denied(folder, alternative):
    """The kernel runs all programs; one that denies is enough."""
    work = DATAGRAMS.replace("            there.recv(65536)\n", "")
    work += 'send(socket.AF_INET, "127.0.0.1", 23, 30)'
    with attached(folder, POINTS["ingress"], 0, flags=2) as other:
        result = count_packets(folder, "--hook", f"cgroup_packet={alternative}", work=work)
        assert totals(result, folder)["in"] == {"UDP": (23, 23 * 58)}
        assert programs_on(folder) == {"ingress": (other,), "egress": ()}
        run_in(folder, UNANSWERED)


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_program_that_allows_none_beside_it_is_reported_and_stays(folder, alternative):
    child_cgroup = folder / "below"
    child_cgroup.mkdir()
    with attached(folder, POINTS["egress"], 1, flags=0) as other:
        for path in (folder, child_cgroup):
            result = run("cgroupcount", "--cgroup", path, "--hook", f"cgroup_packet={alternative}", "-d", 1)
            assert result.status == 1
            first, hint = result.err.splitlines()
            assert f"another program on the cgroup {folder} allows none beside it, and stays" in first
            assert f"'somebody_s' (id {other})" in first
            assert hint.startswith("hint: ")
            # The program that was put on what comes in, before, is off again.
            assert programs_on(path) == {"ingress": (), "egress": (other,) if path == folder else ()}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_leftovers_of_a_killed_process_are_detached_by_the_next_run(folder, alternative):
    words = ("--cgroup", folder, "--hook", f"cgroup_packet={alternative}")
    tracer = start("cgroupcount", *words, 60)
    with attached(folder, POINTS["egress"], 1) as other:
        tracer.kill()
        tracer.communicate()
        assert len(programs_on(folder)["ingress"]) == (alternative == "cgroup-attach")
        assert run("cgroupcount", *words, "-d", 0.1).status == 0
        assert programs_on(folder) == {"ingress": (), "egress": (other,)}


@pytest.mark.lab
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_cgroup_that_disappears_is_reported_and_ends_it(folder, alternative):
    removed = folder / "gone"
    removed.mkdir()
    tracer = start(
        "cgroupcount", "-f", "json", "--cgroup", removed, "--hook", f"cgroup_packet={alternative}", 0.1
    )
    run_in(removed, WORK)
    removed.rmdir()
    result = finish(tracer)
    assert result.err.count(f"warning: cgroup {removed}: it is gone") == 1
    assert totals(result, removed) == {"in": SENT, "out": SENT}


def test_an_error_while_attaching_leaves_nothing_attached(folder):
    """If the second cgroup cannot be attached to, the first is detached."""
    for name in ("a", "b"):
        (folder / name).mkdir()
    with attached(folder / "b", POINTS["egress"], 1, flags=0):
        result = run("cgroupcount", "--cgroup", folder / "a", "--cgroup", folder / "b", "-d", 1)
        assert result.status == 1
        assert programs_on(folder / "a") == {"ingress": (), "egress": ()}


def test_a_folder_that_is_no_cgroup_of_version_2():
    result = run("cgroupcount", "--cgroup", "/proc", "-d", 1)
    assert result.status == 2
    assert result.err.startswith("pytracer: error: no cgroup '/proc'")
