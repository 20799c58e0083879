"""Test every alternative x every source of kernel types x a cold and a warm cache: all count the same.

So it is for the tracers of EVERY_WAY. The others' own tests go every way by BTF; here they are tried with
packaged headers. What a kernel cannot serve must be refused, and by right (support/needs.py). All of it is
marked ``matrix``, and ``lab`` what every kernel goes through each time: compiling against packaged headers
takes 16 s and more in an emulated machine, so that only the first way of each of EVERY_WAY does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytracer.bpf.compile.headers.packaged import MODULES
from pytracer.kernel.btf import VMLINUX
from pytracer.spec import Hook, registry
from pytracer.spec.calls import needs_names
from pytracer.spec.common import FOLLOW
from support.known_workloads import KNOWN
from support.needs import needs, refused_by_right

pytestmark = [pytest.mark.kernel, pytest.mark.matrix]
PACKAGE = MODULES / os.uname().release / "build"
IN_THE_LAB = Path("/run/lab/settings")
EVERY_WAY = ("syscalls", "sockcount")
WARM = re.compile(r"\bcached\b")  # -v says so of the types, or of the whole program


def alternatives(hooks: tuple[Hook, ...]) -> Iterator[dict[str, str]]:
    """Yield every alternative of every hook at least once; those of one name together."""
    names = dict.fromkeys(
        alternative.name
        for hook in hooks
        for alternative in hook.alternatives
        if not needs_names(alternative)
    )
    for name in names:
        yield {
            hook.name: name
            for hook in hooks
            if name in [alternative.name for alternative in hook.alternatives]
        }


def combinations() -> Iterator[object]:
    for name in EVERY_WAY:
        tracer = registry.get(name)
        hooks = (*tracer.hooks, *([FOLLOW] if tracer.follow else []))
        for number, selected in enumerate(alternatives(hooks)):
            alternative = next(iter(selected.values()))
            for headers in ("btf", "package"):
                marks = [pytest.mark.lab] if headers == "btf" or number == 0 else []
                marks += [pytest.mark.smoke] if headers == "btf" and number < 2 else []
                yield pytest.param(name, selected, headers, id=f"{name}-{alternative}-{headers}", marks=marks)
    for name in sorted(KNOWN.keys() - set(EVERY_WAY)):
        yield pytest.param(name, {}, "package", id=f"{name}-package")


@pytest.mark.parametrize(("tracer", "wanted", "headers"), list(combinations()))
def test_every_combination_is_exact_or_refused_by_right(tracer, wanted, headers, tmp_path, monkeypatch):
    if headers == "btf":
        needs("BTF", VMLINUX.exists())
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path))
    words = [word for hook, alternative in wanted.items() for word in ("--hook", f"{hook}={alternative}")]
    for cache in ("cold", "warm"):
        result, actual, expected = KNOWN[tracer](*words, "--headers", headers)
        if result.status == 1 and headers == "package" and not PACKAGE.exists():
            # No property of the kernel, and said so. The lab's kernels all have theirs.
            assert not IN_THE_LAB.exists(), result.err
            assert f"error: there is no {PACKAGE}" in result.err
            return
        if refused_by_right(result.status, result.err, wanted):
            return
        assert actual == expected
        if headers == "btf":
            assert bool(WARM.search(result.err)) is (cache == "warm"), result.err
