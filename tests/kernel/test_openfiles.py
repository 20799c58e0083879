"""Test openfiles against processes whose open files are known."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pytracer
from pytracer.cli import tracer_parser
from pytracer.errors import UnsupportedError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.kernel import filter_values
from pytracer.model import Batch
from pytracer.spec import registry
from pytracer.trace.loop import TraceLoop
from support import packets, worker_ids
from support.cli import COMMAND, run, wait_for
from support.needs import needs, running
from support.python_process import python_process

pytestmark = pytest.mark.kernel

HOLDS = """
import os, sys
prelude, folder, count, length = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
files = [open(f"{folder}/{number:0{length}}", "a") for number in range(count)]
exec(prelude)
print(flush=True)
sys.stdin.read()
"""


def holding(folder, count=23, length=1, prelude=""):
    """Run a process that has this number of files of the folder open."""
    return python_process(HOLDS, prelude, folder, count, length)


def listed(*words):
    """Return the entries of a run, which must have no other records."""
    result = run("openfiles", "-f", "json", "--strict", *words)
    assert result.status == 0, result.err
    assert {record["kind"] for record in result.records} <= {"entry"}
    return result.records


@pytest.mark.smoke
@pytest.mark.lab
def test_every_file_of_a_process_once(tmp_path):
    has_whole_paths = "PT_HAS_D_PATH" in run("openfiles", "--dry-run").out
    if not has_whole_paths:  # the kernel makes no paths for iterators, and is to have an excuse
        assert running().excuse("paths of iterators")
    with holding(tmp_path) as process:
        entries = listed("-p", process.pid)
        comm = Path(f"/proc/{process.pid}/comm").read_text().strip()
        targets_by_fd = {int(fd.name): str(fd.readlink()) for fd in Path(f"/proc/{process.pid}/fd").iterdir()}
        inodes = {fd: Path(f"/proc/{process.pid}/fd/{fd}").stat().st_ino for fd in targets_by_fd}
    assert {(e["pid"], e["comm"]) for e in entries} == {(process.pid, comm)}
    assert {e["fd"]: e["inode"] for e in entries} == inodes
    assert len(entries) == len(targets_by_fd)
    if has_whole_paths:
        assert {e["fd"]: e["path"] for e in entries} == targets_by_fd
    own_entries = [e for e in entries if e["inode"] in {(tmp_path / str(n)).stat().st_ino for n in range(23)}]
    assert sorted(e["path"].rpartition("/")[2] for e in own_entries) == sorted(map(str, range(23)))
    assert {(e["type"], e["flags"], e["offset"]) for e in own_entries} == {("file", "WRONLY|APPEND", 0)}
    assert {e["type"] for e in entries if e["fd"] < 2} == {"pipe"}


@pytest.mark.lab
def test_more_than_the_kernel_gives_at_once(tmp_path):
    with holding(tmp_path, count=1009, length=200) as process:
        entries = listed("-p", process.pid)
    assert sum(len(e["path"].rpartition("/")[2]) == 200 for e in entries) == 1009


PRELUDES = {
    "--uid": f"os.setuid({worker_ids.UID})",
    "--netns": "import ctypes; assert ctypes.CDLL(None).unshare(0x40000000) == 0",
    "--mntns": "import ctypes; assert ctypes.CDLL(None).unshare(0x20000) == 0",
    "--comm": f"open('/proc/self/comm', 'w').write({worker_ids.NAME!r})",
}


@pytest.mark.lab
@pytest.mark.parametrize("filter_kind", ["--pid", "--cgroup", *PRELUDES])
def test_filters(filter_kind, tmp_path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(holding(tmp_path))
        selected = stack.enter_context(holding(tmp_path, prelude=PRELUDES.get(filter_kind, "")))
        values = {"--uid": worker_ids.UID, "--comm": worker_ids.NAME}.get(filter_kind, selected.pid)
        if filter_kind == "--cgroup":
            values = stack.enter_context(cgroup(selected.pid))
        entries = listed(filter_kind, values)
    assert {e["pid"] for e in entries} == {selected.pid}
    assert sum(e["path"].rpartition("/")[2].isdecimal() for e in entries if e["type"] == "file") == 23


@contextlib.contextmanager
def cgroup(process):
    """Create a cgroup above the one of the process."""
    folder = filter_values.cgroup2_roots()[0] / f"pytracer-test-{os.getpid()}"
    inner_cgroup = folder / "inner"
    inner_cgroup.mkdir(parents=True)
    (inner_cgroup / "cgroup.procs").write_text(str(process))
    yield folder
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: not (inner_cgroup / "cgroup.procs").read_text(), "its end")
    inner_cgroup.rmdir()
    folder.rmdir()


@pytest.mark.lab
def test_killed_in_the_middle_and_a_full_disk_leave_nothing(tmp_path):
    with holding(tmp_path, count=1009, length=200) as process:
        words = [*COMMAND, "openfiles", "-f", "json", "-p", str(process.pid)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as tracer:
            assert tracer.stdout.read(1) == b"{"  # the rest does not fit into a pipe
            tracer.kill()
        result = run("openfiles", "-o", "/dev/full", "-p", process.pid)
    assert tracer.returncode == -signal.SIGKILL
    assert result.status == 1
    assert "No space left" in result.err


def test_a_listing_from_python_is_one_batch(tmp_path):
    with holding(tmp_path) as process, pytracer.open("openfiles", pid=process.pid) as trace:
        [batch] = trace
    assert isinstance(batch, Batch)
    assert (batch.kind, len(batch)) == ("entry", 26)


@pytest.mark.lab
def test_processes_with_open_files_below_a_folder(tmp_path):
    needs("paths of iterators", "PT_HAS_D_PATH" in run("openfiles", "--dry-run").out)
    (tmp_path / "other").mkdir()
    with holding(tmp_path), holding(tmp_path / "other", count=7) as process:
        below_folder = listed("-p", process.pid, "--path", f"{tmp_path}/other/*")
        selected = listed("-p", process.pid, "--path", f"{tmp_path}/other/3")
        excluded = listed("-p", process.pid, "--path", f"!{tmp_path}/*")
    assert [(e["pid"], e["path"]) for e in below_folder] == [
        (process.pid, f"{tmp_path}/other/{number}") for number in range(7)
    ]
    assert [e["path"] for e in selected] == [f"{tmp_path}/other/3"]
    assert {e["fd"] for e in excluded} >= {0, 1, 2}
    assert not [e for e in excluded if e["path"].startswith(str(tmp_path))]


DEEP = """
for _ in range(21):
    os.mkdir("d" * 200), os.chdir("d" * 200)
files += [open(f"{number:0200}", "a") for number in range(1009)]
"""


@pytest.mark.lab
def test_paths_that_are_too_long_are_names_and_counted(tmp_path):
    needs("paths of iterators", "PT_HAS_D_PATH" in run("openfiles", "--dry-run").out)
    with holding(tmp_path, count=0, prelude=f"os.chdir({str(tmp_path)!r}){DEEP}") as process:
        words = ("openfiles", "-f", "json", "-p", process.pid)
        has_whole_paths, selected = run(*words), run(*words, "--path", f"{tmp_path}/*")
    shutil.rmtree(tmp_path / ("d" * 200))
    names = [entry["path"] for entry in has_whole_paths.of("entry") if "APPEND" in entry["flags"]]
    assert names == [f"{number:0200}" for number in range(1009)]
    assert not selected.of("entry")
    for result in (has_whole_paths, selected):
        assert [(loss["reason"], loss["lost"]) for loss in result.of("loss")] == [("truncated", 1009)]


class NoPaths(RunningKernel):
    """This kernel with the features of Linux 5.11."""

    def has_helper(self, number):
        """See RunningKernel."""
        return number < 160 and super().has_helper(number)


def test_names_where_the_kernel_makes_no_paths(tmp_path):
    with holding(tmp_path) as process:
        request, _ = tracer_parser.parse(registry.get("openfiles"), ["-p", str(process.pid)])
        with TraceLoop(request, NoPaths) as trace:
            rows = [row for batch in trace for row in batch.rows()]
    names = [row["path"] for row in rows if row["path"].isdecimal()]
    assert sorted(names) == sorted(map(str, range(23)))
    assert not [row for row in rows if "/" in row["path"]]
    request, _ = tracer_parser.parse(registry.get("openfiles"), ["--path", "/etc/*"])
    with pytest.raises(UnsupportedError, match="makes no paths for iterators"):
        TraceLoop(request, NoPaths)


def test_intervals_are_not_for_lists():
    result = run("openfiles", 1)
    assert result.status == 2
    assert "openfiles lists once what there is" in result.err


# Sockets of each kind, with what getsockname and getpeername say of them, by descriptor. UNIX names as bytes.
SOCKETS = """
import json, os, socket, struct, sys
from socket import *
os.chdir(sys.argv[1])
made = []
def make(family, type, *, bind=None, connect=None, listen=False):
    one = socket(family, type)
    made.append(one)
    if bind is not None: one.bind(bind)
    if connect is not None: one.connect(connect)
    if listen: one.listen()
    return one
for family, own in ((AF_INET, "127.0.0.1"), (AF_INET6, "::1")):
    for type in (SOCK_STREAM, SOCK_DGRAM):
        make(family, type)
        server = make(family, type, bind=(own, 0), listen=type == SOCK_STREAM)
        client = make(family, type, connect=server.getsockname()[:2])
        if type == SOCK_STREAM:
            made.append(server.accept()[0])
            reset = make(family, type, connect=server.getsockname()[:2])
            peer, _ = server.accept()
            peer.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            try: reset.recv(1)
            except ConnectionResetError: pass
        else:
            again = make(family, type, connect=server.getsockname()[:2])
            again.connect((own, 9))
dual = make(AF_INET6, SOCK_STREAM, bind=("::", 0), listen=True)
make(AF_INET, SOCK_STREAM, connect=("127.0.0.1", dual.getsockname()[1]))
made.append(dual.accept()[0])
make(AF_UNIX, SOCK_STREAM, bind="a" * 107, listen=True)
make(AF_UNIX, SOCK_STREAM, connect="a" * 107)
make(AF_UNIX, SOCK_SEQPACKET, bind=b"\\0abstract", listen=True)
make(AF_UNIX, SOCK_SEQPACKET, connect=b"\\0abstract")
make(AF_UNIX, SOCK_DGRAM, bind="short")
make(AF_UNIX, SOCK_DGRAM, bind=b"\\0" + b"z" * 107, connect="short")
made += socketpair()
make(AF_NETLINK, SOCK_RAW)
make(AF_NETLINK, SOCK_RAW, bind=(0, 0))
def name(call):
    try: end = call()
    except OSError: return None
    return list(end)[:2] if isinstance(end, tuple) else os.fsdecode(end)
ends = {one.fileno(): (one.family, one.type, name(one.getsockname), name(one.getpeername)) for one in made}
print(json.dumps(ends), flush=True)
sys.stdin.read()
"""
FAMILIES = {1: "unix", 2: "IPv4", 10: "IPv6", 16: "netlink"}
TYPES = {1: "stream", 2: "dgram", 3: "raw", 5: "seqpacket"}


def expected_end(family, end, missing=(None, None)):
    """Return an end of a socket as openfiles shows it: an address and a port, or a name."""
    if family == 1:
        return (end or "").replace("\0", "@", 1)
    return missing if end is None else (str(end[0]).removeprefix("::ffff:"), end[1])


@pytest.mark.lab
def test_sockets_have_the_ends_that_the_process_gets(tmp_path):
    with (
        packets.namespace(ipv6=True),
        subprocess.Popen(
            [sys.executable, "-c", SOCKETS, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        ends = {int(fd): end for fd, end in json.loads(process.stdout.readline()).items()}
        entries = {entry["fd"]: entry for entry in listed("--sockets", "-p", process.pid)}
        sockets = subprocess.run(["ss", "-Hatn"], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert entries.keys() == ends.keys()
    for fd, (family, kind, own, peer) in ends.items():
        entry = entries[fd]
        assert (entry["family"], entry["type"]) == (FAMILIES[family], TYPES[kind])
        if family == 1:
            actual = entry["name"], entry["peer_name"]
            assert actual == (expected_end(1, own), expected_end(1, peer)), fd
            assert entry["saddr"] is entry["daddr"] is None
        elif family == 16:
            assert (entry["protocol"], entry["sport"], entry["dport"]) == ("route", own[0], 0)
        else:
            assert entry["protocol"] == ("TCP" if kind == 1 else "UDP")
            assert (entry["saddr"], entry["sport"]) == expected_end(family, own), (fd, entry)
            assert (entry["daddr"], entry["dport"]) == expected_end(family, peer), (fd, entry)
    states = sorted(entry["state"] for entry in entries.values() if entry["protocol"] == "TCP")
    names = {"LISTEN": "LISTEN", "ESTAB": "ESTABLISHED"}
    seen = [names[line.split()[0]] for line in sockets.splitlines() if line.split()[0] in names]
    closed = ["CLOSE"] * 4  # two that were never connected, two that the peer reset: ss lists none of them
    assert states == sorted(seen + closed)


def test_sockets_and_paths_do_not_go_together():
    result = run("openfiles", "--sockets", "--path", "/etc/*")
    assert result.status == 2
    assert "--sockets and --path do not go together" in result.err
