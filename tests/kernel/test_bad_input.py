"""Test bad input: one line and a hint, the documented exit status, and no effect on others."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pytracer.bpf.attach import xdp
from pytracer.bpf.attach.cgroup_skb import POINTS
from pytracer.bpf.attach.interface import list_xdp_programs
from pytracer.bpf.sys import ProgType, link_create, prog_load
from pytracer.bpf.trial import return_code
from support import packets
from support.cgroups import attached, cgroup, programs_on
from support.cli import Result, finish, run, start
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.lab]
_PART = re.compile(r" [tT] (\w+)\.(?:constprop|isra|part)\.\d+$", re.M)


class Bad(NamedTuple):
    """A command line with its exit status and the words of the error and the hint ("" for no hint). Each
    ``{name}`` is one of the ``things``. ``refused``: the kernel's policy may refuse it first."""

    words: str
    status: int
    message: str
    hint: str = ""
    refused: bool = False


CASES = {
    # Functions of the kernel.
    "an unknown function": Bad(
        "funccount k:vfs_reed", 2, "no function of the kernel 'vfs_reed'", "did you mean vfs_read"
    ),
    "a function that may not be probed": Bad(
        "funccount k:do_syscall_64", 4, "may not be probed|may not be traced|no kprobes", refused=True
    ),
    "a function of which only parts are left": Bad(
        "funccount k:{part}", 4, r"the compiler left only parts of it or variants \({part}\.", r"{part}\.\*"
    ),
    "a pattern that nothing bears": Bad(
        "funccount k:zz_no_such_*", 2, "no function of the kernel 'zz_no_such_"
    ),
    "a trace event with a slip": Bad(
        "funccount t:shed:sched_switch", 2, "no trace event", "did you mean sched:sched_switch"
    ),
    "a raw tracepoint with a slip": Bad(
        "funccount rt:sched_swich", 2, "no raw tracepoint", "did you mean sched_switch"
    ),
    "too much": Bad(
        "funccount t:syscalls:*", 2, r"\d+ to attach to, and --max-probes is 500", "a narrower pattern, or"
    ),
    "more than was asked for": Bad(
        "funccount u:{marks}:* --max-probes 2", 2, "--max-probes is 2", "--max-probes"
    ),
    # Files and processes.
    "no ELF": Bad("funccount u:{text}:work", 2, "not an ELF file"),
    "no file": Bad("funccount u:{folder}/none:work", 2, "No such file"),
    "a folder": Bad("funccount u:{folder}:work", 2, "is no file with code in it"),
    "no library": Bad("funccount u:nosuch:work", 2, "no program or library 'nosuch'"),
    "a stripped file": Bad("funccount u:{stripped}:main", 2, "has no symbols of functions", "it is stripped"),
    "an unknown function of a file": Bad(
        "funccount u:{marks}:wrok", 2, "no function of ", "did you mean work"
    ),
    "no code there": Bad("funccount u:{marks}:+0x10", 2, "has no code at offset 0x10"),
    "no USDT probes": Bad("funccount usdt:{calls}:x", 2, "has no USDT probes"),
    "not that USDT probe": Bad(
        "funccount usdt:{marks}:forms:regsters", 2, "no USDT probe of ", "did you mean forms:registers"
    ),
    "a process that has ended, and its file": Bad(
        "funccount u:{marks}:work -p {ended}", 2, "no process {ended}"
    ),
    "a process that has ended": Bad("syscalls -p {ended}", 2, "no process {ended}", "ps -e"),
    # Interfaces, and what passes them.
    "no interface": Bad("sockcount nosuch", 2, "no network interface 'nosuch'", "there is lo"),
    **{
        f"no filter of {name}": Bad(
            f"{name} lo --filter 'tcp port'", 2, "--filter 'tcp port': .*syntax error", "man pcap-filter"
        )
        for name in ("sockcount", "tccount", "xdpcount")
    },
    "no filter of cgroups": Bad(
        "cgroupcount --filter 'tcp port'", 2, "--filter 'tcp port': .*syntax error", "man pcap-filter"
    ),
    "a filter that nothing passes": Bad(
        "sockcount lo --filter 'arp and ip'",
        2,
        "--filter 'arp and ip': expression rejects all",
        "man pcap-filter",
    ),
    "a filter of what has no Ethernet header": Bad(
        "cgroupcount --filter vlan", 2, "--filter 'vlan': no VLAN support", "man pcap-filter"
    ),
    "another's XDP program": Bad(
        "xdpcount lo",
        1,
        r"another XDP program is on lo, and stays: 'somebody_s' \(id",
        "tccount and sockcount",
    ),
    # Cgroups.
    "no cgroup": Bad("cgroupcount --cgroup nosuch", 2, "no cgroup 'nosuch'", "a folder below "),
    "a folder that is none": Bad("socksnoop --cgroup /proc", 2, "no cgroup '/proc'", "a folder below "),
    "a file of a cgroup": Bad(
        "cgroupcount --cgroup {cgroup}/cgroup.procs", 2, "no cgroup ", "a folder below "
    ),
    "another's program in a cgroup": Bad(
        "cgroupcount --cgroup {cgroup}", 1, r"allows none beside it, and stays: 'somebody_s' \(id", "bpftool"
    ),
    "no container": Bad("cgroupcount --container nosuch", 2, "no running container 'nosuch'", "docker"),
}


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return the things that command lines refer to, by name."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "text").write_text("neither code nor data " * 9)
    subprocess.run(["strip", "-o", folder / "stripped", workload("calls")], check=True)
    exited = subprocess.Popen(["true"])
    exited.wait()
    symbols = Path("/proc/kallsyms").read_text()
    symbol_names = set(re.findall(r" \w (\S+)$", symbols, re.M))
    part = next(name for name in _PART.findall(symbols) if name not in symbol_names)
    return {
        "folder": folder,
        "text": folder / "text",
        "stripped": folder / "stripped",
        "marks": workload("marks"),
        "calls": workload("calls"),
        "ended": exited.pid,
        "part": part,
    }


@pytest.fixture
def others() -> Iterator[dict[str, object]]:
    """Create a network with an XDP program of another owner on ``lo``, and a cgroup with a program that
    allows none beside it.

    Both are there after the test as they were before.
    """
    frames = prog_load(ProgType.XDP, return_code(xdp.PASS), name="somebody_s")
    with packets.namespace(), cgroup() as folder, attached(folder, POINTS["egress"], 1, flags=0):
        link = link_create(frames, 37, target=1, flags=xdp.GENERIC)
        try:
            before = list_xdp_programs(), programs_on(folder)
            yield {"cgroup": folder}
            assert (list_xdp_programs(), programs_on(folder)) == before
        finally:
            os.close(link)
            os.close(frames)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_reported_in_one_line_and_a_hint(name, things, others):
    bad, expected = CASES[name], things | others

    def filled(pattern: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: str(expected[name[1]]), pattern)

    result = run(*shlex.split(filled(bad.words)), "-d", 1)
    assert result.status in (bad.status, *((5,) if bad.refused else ())), result.err
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0].startswith("pytracer: error: ")
    assert re.search(filled(bad.message), lines[0])
    assert len(lines) <= 2
    if bad.hint:
        assert lines[1].startswith("hint: ")
        assert re.search(filled(bad.hint), lines[1])


# What goes away while it is traced is said once, and ends the trace with what was seen by then.


@pytest.mark.parametrize(
    ("tracer", "message"),
    [("sockcount", "network is down"), ("tccount", "it is gone"), ("xdpcount", "it is gone")],
)
def test_an_interface_that_vanishes(tracer, message):
    with packets.namespace():
        packets.veth()
        process = start(tracer, "-f", "json", "vb", 0.1)
        packets.ip("link", "del", "vb")
        assert_vanished(finish(process), f"interface vb: {message}")


@pytest.mark.parametrize("tracer", ["cgroupcount", "socksnoop"])
def test_a_cgroup_that_vanishes(tracer):
    with cgroup() as folder:
        process = start(tracer, "-f", "json", "--cgroup", folder)
        folder.rmdir()
        assert_vanished(finish(process), f"cgroup {folder}: it is gone")


def test_a_process_that_ends():
    with subprocess.Popen(["sleep", "1000"]) as traced:
        process = start("syscalls", "-f", "json", "-p", traced.pid)
        traced.kill()
        traced.wait()
    result = finish(process)
    assert result.status == 0, result.err


def assert_vanished(result: Result, message: str) -> None:
    assert result.status == 0, result.err
    assert result.err.count(f"warning: {message}") == 1
    assert result.of("row") == []
