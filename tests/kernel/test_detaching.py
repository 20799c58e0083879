"""Test detaching many probes one by one: progress is shown, and nothing stays attached."""

from __future__ import annotations

import re
import signal

import pytest

import pytracer
from pytracer.model import Batch
from support import packets
from support.cgroups import cgroup
from support.compilers import compile_files
from support.progress import BAR, on_terminal
from support.uprobes import Program

pytestmark = pytest.mark.kernel
FUNCTIONS = 41
"""Each takes up to 0.1 s to be taken off on Linux 6.18, for which the kernel waits under a lock."""
CALLS = 23
ON_PLACES = ("socksnoop", "cgroupcount", "packetsnoop", "sockcount", "tccount", "xdpcount")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build a program that calls each of its many functions."""
    functions = "".join(f'void f{number}(void) {{ asm(""); }}\n' for number in range(FUNCTIONS))
    calls = " ".join(f"f{number}();" for number in range(FUNCTIONS))
    text = f"""
        #include <stdio.h>
        {functions}
        int main(void)
        {{
            puts("ready");
            fflush(stdout);
            getchar();
            for (int n = 0; n < {CALLS}; n++) {{ {calls} }}
            puts("done");
            fflush(stdout);
            getchar();
        }}
    """
    return compile_files(tmp_path_factory.mktemp("many"), {"many.c": text}, "-fno-inline", "-fno-ipa-icf")


@pytest.mark.lab
@pytest.mark.parametrize("numbers", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT)])
def test_detaching_of_many_probes_is_reported_and_never_skipped(program, numbers):
    """A second Ctrl-C, which skips output, arrives while probes are detached."""
    with Program(program) as process:
        words = ["funccount", f"u:{program}:f*", "--hook", "u=uprobe", "-v"]
        words += ["-p", process.pid, "-f", "json", "-d", 600]
        tracer = on_terminal(*words)
        tracer.wait_for("pytracer: tracing")
        process.process.stdin.write("\n")
        process.process.stdin.flush()
        assert process.process.stdout.readline() == "done\n"
        tracer.process.send_signal(numbers[0])
        if len(numbers) > 1:
            tracer.wait_for("pytracer: detaching [")
            tracer.process.send_signal(numbers[1])
        result = tracer.finish()
    assert result.status == 0, result.err
    bars = re.findall(rf"pytracer: detaching {BAR}", result.err)
    assert bars
    steps = [int(done) for done, _ in bars]
    assert steps == sorted(steps)
    totals = {int(total) for _, total in bars}
    assert max(totals) <= FUNCTIONS + 1  # and one that looks after the process
    assert len(totals) == 1
    if len(numbers) == 1:
        assert [record["count"] for record in result.of("summary")] == [CALLS] * FUNCTIONS
        assert not result.of("loss")


@pytest.mark.lab
@pytest.mark.parametrize("tracer", ON_PLACES)
def test_a_link_detached_while_a_batch_is_shown_is_not_polled(tracer):
    """A signal detaches while a batch is shown; the probes are polled each second."""
    with packets.namespace(), cgroup() as folder:
        on_cgroup = tracer in ("socksnoop", "cgroupcount")
        words, names = ((), {"cgroup": str(folder)}) if on_cgroup else (("lo",), {})
        with pytracer.open(tracer, *words, **names) as trace:
            items = iter(trace)
            trace.detach()
            assert not trace.session.check_links()
            assert not [item for item in items if isinstance(item, Batch) and len(item)]
