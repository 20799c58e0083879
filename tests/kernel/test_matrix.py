"""Every way to hook x every source of kernel types x a cold and a warm cache: all see the same, to the last.

What a kernel cannot serve must be refused, and by right (support/needs.py). All of it is marked ``matrix``,
and ``lab`` what every kernel goes through each time: compiling against packaged headers takes 16 s and more
in an emulated machine, so that only the first way of each tracer does.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.bpf.headers.packaged import MODULES
from pytracer.kernel.btf import VMLINUX
from pytracer.spec import Hook, registry
from pytracer.spec.common import FOLLOW
from support import packets
from support.cli import Ended, Result, run, start, stop
from support.needs import needs, refused_by_right
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.matrix]
PACKAGE = MODULES / os.uname().release / "build"
IN_THE_LAB = Path("/run/lab/settings")
WARM = re.compile(r"\bcached\b|\bwas kept\b")  # -v says so of the types, or of the whole program


def syscalls(*words: str) -> tuple[Result, object, object]:
    """23 getppid calls of a program that is linked with nothing."""
    result = run("syscalls", "-f", "json", "-v", *words, "--", workload("calls"), "getppid", 23)
    seen = {r["syscall"]: (r["calls"], r["errors"]) for r in records(result)}
    return result, seen, {"execve": (1, 0), "getppid": (23, 0)}


def sockcount(*words: str) -> tuple[Result, object, object]:
    """101 packets on the loopback interface of a network namespace of its own."""
    sent = [packets.ethernet("UDP", 101, packets.ETH_P_IP, packets.ipv4(17, bytes(30)))]
    with packets.namespace():
        try:
            tracer = start("sockcount", "-f", "json", *words, "lo", 60)
        except Ended as ended:
            return ended.result, None, None
        packets.send("lo", sent)
        result = stop(tracer, signal.SIGTERM)
    result.err = "".join(tracer.said) + result.err
    seen = {r["protocol"]: (r["packets"], r["bytes"]) for r in records(result)}
    return result, seen, packets.expected(sent, received=True)


KNOWN = {"syscalls": syscalls, "sockcount": sockcount}


def records(result: Result) -> list[dict[str, object]]:
    """The summary; no loss, nothing else."""
    if result.status:
        return []
    assert {record["kind"] for record in result.records} <= {"summary", "row"}, result.out
    return result.of("summary")


def ways(hooks: tuple[Hook, ...]) -> Iterator[dict[str, str]]:
    """Every alternative of every hook at least once: those of one name together."""
    for name in dict.fromkeys(way.name for hook in hooks for way in hook.alternatives):
        yield {hook.name: name for hook in hooks if name in [way.name for way in hook.alternatives]}


def combinations() -> Iterator[object]:
    for name in KNOWN:
        tracer = registry.get(name)
        hooks = (*tracer.hooks, *([FOLLOW] if tracer.follow else []))
        for number, wanted in enumerate(ways(hooks)):
            way = next(iter(wanted.values()))
            for headers in ("btf", "package"):
                marks = [pytest.mark.lab] if headers == "btf" or number == 0 else []
                marks += [pytest.mark.smoke] if headers == "btf" and number < 2 else []
                yield pytest.param(name, wanted, headers, id=f"{name}-{way}-{headers}", marks=marks)


@pytest.mark.parametrize(("tracer", "wanted", "headers"), list(combinations()))
def test_every_combination_is_exact_or_refused_by_right(tracer, wanted, headers, tmp_path, monkeypatch):
    if headers == "btf":
        needs("BTF", VMLINUX.exists())
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    words = [word for hook, way in wanted.items() for word in ("--hook", f"{hook}={way}")]
    for cache in ("cold", "warm"):
        result, seen, expected = KNOWN[tracer](*words, "--headers", headers)
        if result.status == 1 and headers == "package" and not PACKAGE.exists():
            # No property of the kernel, and said so. The lab's kernels all have theirs.
            assert not IN_THE_LAB.exists(), result.err
            assert f"error: there is no {PACKAGE}" in result.err
            return
        if refused_by_right(result.status, result.err, wanted):
            return
        assert seen == expected
        if headers == "btf":
            assert bool(WARM.search(result.err)) is (cache == "warm"), result.err
