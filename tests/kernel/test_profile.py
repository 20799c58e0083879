"""Test profile against programs whose stacks are known."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

import pytracer
from pytracer.features import feature_table
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel.cpus import online_cpus
from pytracer.kernel.policy import read_sysctl
from pytracer.model import Loss, StackSnapshot
from pytracer.spec import PerfSample
from pytracer.spec.common import SAMPLES
from pytracer.symbols import memory_maps
from support import worker_ids
from support.cgroups import cgroup
from support.cli import run, wait_for
from support.cpu_contention import LAB
from support.debuginfod import Server, path_of
from support.workloads import workload

pytestmark = [pytest.mark.kernel, pytest.mark.filterwarnings("ignore:not a bytes object")]

CALLERS = ["b", "a", "main"]


def profile(*words):
    """Return the summary records."""
    result = run("profile", "-f", "json", *words)
    assert result.status == 0, result.err
    assert not result.of("loss")
    assert {record["kind"] for record in result.records} == {"summary"}
    return result.records


@contextlib.contextmanager
def spinning(mode="user", milliseconds=20000, *name, path=None, **options):
    """Run the workload until the block is left."""
    process = subprocess.Popen([path or workload("spin"), mode, str(milliseconds), *name], **options)
    try:
        yield process
    finally:
        with process:  # which closes its pipes
            process.kill()


@pytest.fixture
def own_cgroup():
    with cgroup() as folder:
        yield folder


@pytest.mark.smoke
@pytest.mark.lab
def test_every_stack_of_a_loop_is_that_of_its_calls():
    start = time.monotonic()
    records = profile("--", workload("spin"), "user", 500)
    maximum = 99 * (time.monotonic() - start) * len(online_cpus())
    spins = [record for record in records if record["user"][:1] == ["spin"]]
    assert spins
    for record in spins:  # the command had ended before anything was looked up
        assert record["user"][1:4] == CALLERS
        assert record["comm"] == "spin"
    assert 0 < sum(record["samples"] for record in records) <= maximum
    assert len({record["pid"] for record in spins}) == 1


@pytest.mark.lab
def test_the_kernels_part_begins_where_the_program_called_it():
    records = profile("--", workload("spin"), "kernel", 500)
    reads = [record for record in records if "ksys_read" in record["kernel"]]
    assert reads
    for record in reads:
        assert record["kernel"].index("ksys_read") < record["kernel"].index("do_syscall_64")
        assert record["user"][0] in ("read", "__read", "__GI___libc_read")
        assert record["user"][-1] == "main" or "main" in record["user"]


@pytest.mark.lab
def test_children_are_followed_and_those_that_ended_keep_their_names():
    program = workload("spin")
    script = f"{program} user 300 & {program} user 300; wait; exec {program} user 300"
    records = profile("--", "sh", "-c", script)
    spins = [record for record in records if record["user"][:1] == ["spin"]]
    assert len({record["pid"] for record in spins}) == 3
    assert all(record["user"][1:4] == CALLERS for record in spins)


@pytest.mark.lab
def test_lost_and_shown_samples_add_up_to_all():
    command = ["sh", "-c", f"{workload('spin')} user 300; {workload('spin')} kernel 300"]
    with pytracer.open("profile", command=command, max_stacks=1, frequency=499) as trace:
        items = list(trace)
        samples = sum(image.samples for image in trace.session.collector._maps.images().values())
    shown_samples = sum(sum(item.columns["samples"]) for item in items if isinstance(item, StackSnapshot))
    lost = {item.reason: item.lost for item in items if isinstance(item, Loss)}
    assert lost["stacks_full"] > 0  # two places for a stack, and there were more than two
    assert shown_samples > 0
    assert shown_samples + sum(lost.values()) == samples


def test_rows_beyond_those_that_fit_are_lost():
    command = ["sh", "-c", f"{workload('spin')} user 200; {workload('spin')} kernel 200"]
    with pytracer.open("profile", command=command, max_rows=1, frequency=499) as trace:
        items = list(trace)
        samples = sum(image.samples for image in trace.session.collector._maps.images().values())
    (stacks,) = (item for item in items if isinstance(item, StackSnapshot))
    lost: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Loss):
            lost[item.reason] += item.lost
    assert set(lost) == {"map_full"}  # one row a reading, of which there is one a second
    assert stacks.columns["samples"].sum() + lost["map_full"] == samples


def test_loss_is_an_error_under_strict():
    script = f"{workload('spin')} user 200; {workload('spin')} kernel 200"
    result = run(
        "profile", "--strict", "-F", 499, "--max-stacks", 1, "-f", "folded", "--", "sh", "-c", script
    )
    assert result.status == 3
    assert re.search(r"^\[lost\];stacks_full \d+$", result.out, re.M)


@pytest.mark.lab
def test_the_image_is_computed_alike_on_both_sides():
    with spinning() as process, pytracer.open("profile", pid=process.pid, duration=0.5) as trace:
        assert isinstance(list(trace)[-1], StackSnapshot)
        images = trace.session.collector._maps.images()
        assert {pid: image.image for pid, image in images.items()} == {
            process.pid: memory_maps.image_of(process.pid)
        }


@pytest.mark.parametrize("filter_kind", ["pid", "tid", "comm", "uid", "cgroup"])
def test_filters(filter_kind, own_cgroup):
    user = {"user": worker_ids.UID} if filter_kind == "uid" else {}
    with (
        spinning("user", 20000, "other") as other,
        spinning("user", 20000, worker_ids.NAME, **user) as process,
    ):
        (own_cgroup / "cgroup.procs").write_text(str(process.pid))
        value = {"comm": worker_ids.NAME, "uid": worker_ids.UID, "cgroup": own_cgroup}.get(
            filter_kind, process.pid
        )
        wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == f"{worker_ids.NAME}\n", "the name")
        records = profile(f"--{filter_kind}", value, "-F", 999, "-d", 1)
        assert {record["pid"] for record in records} == {process.pid}
        assert {record["comm"] for record in records} == {worker_ids.NAME}
        assert other.poll() is None


def test_stacks_of_user_or_kernel_alone():
    kernel = profile("-K", "--", workload("spin"), "kernel", 300)
    assert all(record["user"] == [] for record in kernel)
    assert any(record["kernel"] for record in kernel)
    user = profile("-U", "--", workload("spin"), "kernel", 300)
    assert all(record["kernel"] == [] for record in user)
    assert any("main" in record["user"] for record in user)
    result = run("profile", "-U", "-K", "--", "true")
    assert result.status == 2
    assert "do not go together" in result.err


def test_idle_threads_are_shown_on_request():
    names = [word for cpu in online_cpus() for word in ("--comm", f"swapper/{cpu}")]
    result = run("profile", "-f", "json", *names, "-d", 0.5)
    assert result.status == 0
    assert result.out == ""
    records = []

    def are_seen():  # a machine may be busy for long
        records.extend(run("profile", "-f", "json", "--idle", *names, "-d", 1).records)
        return records

    wait_for(are_seen, "idle threads")
    assert {record["pid"] for record in records} == {0}
    assert all(record["user"] == [] for record in records)


def test_a_stripped_program_shows_where_in_its_file(tmp_path):
    program = tmp_path / "stripped"
    shutil.copy(workload("spin"), program)
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    start = int(re.search(r"^(\w+) T spin$", symbols, re.M)[1], 16)
    subprocess.run(["strip", program], check=True)
    records = profile("--", program, "user", 300)
    assert "spin" not in {name for record in records for name in record["user"]}
    first = max(records, key=lambda record: record["samples"])["user"][0]
    assert first.startswith("stripped+0x")
    assert start <= int(first.rpartition("+")[2], 16) < start + 64


def test_a_program_that_was_deleted_while_it_ran_has_names(tmp_path):
    program = tmp_path / "deleted"
    shutil.copy(workload("spin"), program)
    with spinning(path=program) as process:
        program.unlink()
        program.write_text("something else under its name")
        records = profile("-p", process.pid, "-d", 0.5)
    assert any(record["user"][:4] == ["spin", *CALLERS] for record in records)
    assert not any("something" in name or "deleted+" in name for r in records for name in r["user"][:4])


@pytest.mark.lab
def test_functions_of_a_jit_have_the_names_of_its_perf_map():
    records = profile("--", workload("spin"), "made", 500)
    stacks = [record["user"] for record in records if record["user"][:1] == ["made;to measure"]]
    assert stacks
    assert all("main" in user for user in stacks)


@pytest.mark.parametrize("unshare_options", [["--user", "--map-root-user"], []])
def test_functions_of_a_jit_in_a_container_have_names(unshare_options):
    """The container has a /tmp and a PID namespace of its own."""
    # What it runs is in the /tmp that it then has no more.
    shell = 'exec 9< "$1" && mount -t tmpfs none /tmp && exec /proc/self/fd/9 made 500'
    container = [
        "unshare",
        *unshare_options,
        "--mount",
        "--pid",
        "--fork",
        "sh",
        "-c",
        shell,
        "sh",
        workload("spin"),
    ]
    assert any(record["user"][:1] == ["made;to measure"] for record in profile("--", *container))


def test_a_program_of_32_bits():
    records = profile("-U", "--", workload("spin32"))
    spins = [record["user"] for record in records if record["user"][:1] == ["spin"]]
    assert spins
    assert all(user[:4] == ["spin", "b", "a", "_start"] for user in spins)


def test_cpp_names_are_demangled(tmp_path):
    source = tmp_path / "loop.c"  # what a compiler of C++ would call it is all that counts
    source.write_text(
        "#include <time.h>\n"
        'void run(long n) __asm__("_ZN4deep4LoopIlE3runEl");\n'
        "void run(long n) { while (clock() < CLOCKS_PER_SEC / 3)\n"
        "    for (volatile long i = 0; i < n; i++) ; }\n"
        "int main() { run(100000); }\n"
    )
    program = tmp_path / "loop"
    subprocess.run(["gcc", "-O0", "-fno-omit-frame-pointer", "-o", program, source], check=True)
    out = run("profile", "-U", "-f", "folded", "--", program).out
    assert re.search(r";main;deep::Loop<long>::run \d+$", out, re.M)
    out = run("profile", "-U", "-f", "folded", "--parameters", "--", program).out
    assert re.search(r";main;deep::Loop<long>::run\(long\) \d+$", out, re.M)


def stripped(folder, debug):
    """Return the workload without its symbols, which go to ``debug(build id)``."""
    program = folder / "stripped"
    shutil.copy(workload("spin"), program)
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    file = debug(re.search(r"Build ID: (\w+)", notes)[1])
    file.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["objcopy", "--only-keep-debug", program, file], check=True)
    subprocess.run(["strip", program], check=True)
    return str(program)


def test_stripped_symbols_are_found_by_the_build_id(tmp_path, monkeypatch):
    monkeypatch.setattr("pytracer.symbols.debug.FOLDER", tmp_path / "debug")
    program = stripped(tmp_path, lambda build_id: tmp_path / "debug" / build_id[:2] / f"{build_id[2:]}.debug")
    with pytracer.open("profile", command=[program, "user", "300"]) as trace:
        *_, summary = trace
    assert any(user[:4] == ("spin", "b", "a", "main") for user in summary.columns["user"])


def test_symbols_that_a_server_has_are_requested(tmp_path, monkeypatch):
    names = []
    program = stripped(tmp_path, lambda build_id: names.append(build_id) or tmp_path / "symbols")
    server = Server()
    server.files[path_of(names[0])] = (tmp_path / "symbols").read_bytes()
    monkeypatch.setenv("DEBUGINFOD_URLS", server.url)
    monkeypatch.setenv("DEBUGINFOD_CACHE_PATH", str(tmp_path / "cache"))
    try:
        with pytracer.open("profile", command=[program, "user", "300"]) as trace:
            *_, summary = trace
    finally:
        server.close()
    assert any(user[:4] == ("spin", "b", "a", "main") for user in summary.columns["user"])
    assert path_of(names[0]) in server.requests


def test_a_hostile_name_stays_on_its_line():
    result = run("profile", "-U", "-f", "folded", "--", workload("spin"), "user", 300, "a;b 7\n\x1b[2J")
    assert result.status == 0
    lines = [re.fullmatch(r"(.+) (\d+)", line) for line in result.out.split("\n")[:-1]]
    assert all(lines)
    stacks = [line[1].split(";") for line in lines]
    assert [r"a\x3bb 7\n\x1b[2J", "main", "a", "b", "spin"] in [[stack[0], *stack[-4:]] for stack in stacks]


def test_the_kernels_functions_can_be_marked():
    out = run("profile", "-f", "folded", "--annotate", "--", workload("spin"), "kernel", 300).out
    assert re.search(r";main;.*;do_syscall_64_\[k\];.*ksys_read_\[k\];", out)


def test_a_table_has_a_paragraph_a_stack():
    out = run("profile", "-U", "--top", 1, "--", workload("spin"), "user", 300).out
    assert re.search(r"\n\n\d+ samples, pid \d+, comm spin\n  spin\n  b\n  a\n  main\n", out)


def test_intervals_add_up():
    with spinning() as process:
        result = run("profile", "-f", "json", "-p", process.pid, 0.3, 3)
    rows, summary = ([r["samples"] for r in result.of(kind)] for kind in ("row", "summary"))
    assert sum(rows) == sum(summary) > 0


def touching(records):
    """Return how many samples were taken in the function that touches pages."""
    return sum(record["samples"] for record in records if "touch" in record["user"][:1])


def in_threads(pages, **options):
    """Return the page faults of a process with seven threads, four of which run before the trace."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with spinning("threads", pages, path=workload("faults"), **pipes) as process:
        process.stdout.read(1)
        with pytracer.open("profile", event="page-faults", pid=process.pid, **options) as trace:
            others = [probe for probe in trace.plan.probes if probe.probe.kind != "task_sample"]
            assert len(trace.session.links) == 4 + len(others)  # which see what is mapped
            process.stdin.write(b"g")
            process.stdin.flush()
            [summary] = trace
    return summary.rows()


@pytest.mark.lab
@pytest.mark.parametrize("alternative", [alternative.name for alternative in SAMPLES.alternatives])
def test_each_fault_of_a_command_is_a_sample(alternative):
    hook = ("--hook", f"sample={alternative}")
    records = profile(*hook, "--event", "page-faults", "--", workload("faults"), "touch", 1009)
    assert touching(records) == 1009
    assert [r["user"][1] for r in records if r["user"][:1] == ["touch"]] == ["main"]


@pytest.mark.lab
def test_each_time_a_command_sleeps_is_a_switch():
    records = profile("--event", "context-switches", "--", workload("faults"), "sleep", 23)
    slept = [r for r in records if r["user"][:2] == ["nap", "main"]]
    assert sum(r["samples"] for r in slept if any("nanosleep" in name for name in r["kernel"])) == 23


@pytest.mark.lab
def test_tasks_are_sampled_where_that_misses_none_of_them():
    def chosen(*words):
        return re.search(r"hook +sample: (.*)", run("profile", "--dry-run", *words).out)[1]

    caveat = "cpu; not task: tasks that end before their first sample"
    assert chosen("--", "true") == chosen("-p", os.getpid()) == caveat
    assert chosen("-p", os.getpid(), "--event", "page-faults", "--period", 2) == caveat
    assert chosen("-p", os.getpid(), "--event", "page-faults") == chosen("--tid", os.getpid()) == "task"


@pytest.mark.lab
def test_existing_and_later_threads_are_sampled():
    assert touching(in_threads(101)) == 7 * 101


@pytest.mark.lab
def test_a_sample_is_taken_of_every_n_events():
    # Counted in each thread; what it faults on beside, its stack and such, may bring it to a third.
    # On a host, a policy may keep a program from running now and then.
    minimum = 7 * 2 if LAB else 7
    assert minimum <= touching(in_threads(130, period=50, hook={"sample": "task"})) <= 7 * 3


def test_hardware_counters_or_the_reason_for_their_absence():
    result = run("profile", "--event", "cycles", "-f", "json", "--", workload("spin"), "user", 300)
    feature = next(f for f in feature_table.FEATURES if f.name == "hardware counter")
    if feature_table.probe(feature).status == feature_table.GRANTED:
        assert result.status == 0
        assert any(record["user"][:1] == ["spin"] for record in result.records)
    else:
        assert result.status == 4
        assert len(result.err.splitlines()) == 2
        assert "this machine does not count cycles" in result.err


def test_two_rates_are_refused():
    result = run("profile", "-F", 99, "--period", 7, "--", "true")
    assert result.status == 2
    assert "--frequency and --period do not go together" in result.err


def test_a_rate_above_the_kernels_limit_is_refused():
    limit = read_sysctl("kernel.perf_event_max_sample_rate")
    result = run("profile", "-F", limit + 1, "--", "true")
    assert result.status == 2
    assert f"at most {limit} samples" in result.err


def test_samples_are_granted():
    facts = RunningKernel()
    assert facts.probe(PerfSample("")).is_supported
    facts.close()


def test_descriptors_are_closed():
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytracer.open("profile", command=[workload("spin"), "user", "200"]) as trace:
        list(trace)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
