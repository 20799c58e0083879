"""Test detaching many probes one by one: progress is shown, and nothing stays attached."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

import pytracer
from pytracer.model import Batch
from support import packets
from support.cgroups import cgroup
from support.cli import finish
from support.compilers import compile_files
from support.uprobes import Program

pytestmark = pytest.mark.kernel
FUNCTIONS = 41
"""Each takes up to 0.1 s to be taken off on Linux 6.18, for which the kernel waits under a lock."""
CALLS = 23
ON_PLACES = ("socksnoop", "cgroupcount", "packetsnoop", "sockcount", "tccount", "xdpcount")
# A line each few milliseconds instead of each second: how long the kernel takes is not known.
IMPATIENT = (
    "import sys\nfrom pytracer import progress\nprogress._SECONDS = 0.005\n"
    "from pytracer.cli.main import main\nsys.exit(main())"
)


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
        tracer = subprocess.Popen(
            [sys.executable, "-c", IMPATIENT, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for line in tracer.stderr:
            if "pytracer: tracing" in line:
                break
        process.process.stdin.write("\n")
        process.process.stdin.flush()
        assert process.process.stdout.readline() == "done\n"
        message = ""
        tracer.send_signal(numbers[0])
        if len(numbers) > 1:
            message = tracer.stderr.readline()
            tracer.send_signal(numbers[1])
        result = finish(tracer)
    assert result.status == 0, result.err
    remaining = re.findall(
        r"^pytracer: warning: still detaching: (\d+) probes are left$", message + result.err, re.M
    )
    assert remaining
    assert list(map(int, remaining)) == sorted(map(int, remaining), reverse=True)
    assert int(remaining[0]) <= FUNCTIONS + 1  # and one that looks after the process
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
