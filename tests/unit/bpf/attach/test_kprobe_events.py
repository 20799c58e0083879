"""Test probes on many kernel functions: which functions, and the trace events created for them."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from pytracer.bpf.attach import kprobe_events, kprobe_multi, probe_events
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.owner import name_owner
from pytracer.errors import AttachError, NotPermittedError, UnsupportedError
from pytracer.kernel import functions
from pytracer.kernel.functions import KernelFunctions

SYMBOLS = """ffffffff81000000 T __x64_sys_read
ffffffff81000000 T __ia32_sys_read
ffffffff81000010 t __x64_sys_read.cold
ffffffff81000020 W __x64_sys_fork
ffffffff81000020 T __do_sys_fork
ffffffff81000030 T __x64_sys_hidden
ffffffff81000040 D __x64_sys_data
ffffffff81000050 T not__x64_sys_read
ffffffffc0000000 t __x64_sys_of_a_module\t[evil]
"""
WANTED = ("__x64_sys_*", "__ia32_sys_*")


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Use a folder in place of tracefs, with a symbol table."""
    monkeypatch.setattr(functions, "SYMBOLS", tmp_path / "kallsyms")
    (tmp_path / "kallsyms").write_text(SYMBOLS)
    tracing = tmp_path / "tracing"
    tracing.mkdir()
    monkeypatch.setattr(functions.tracefs, "root", lambda: tracing)
    (tracing / "available_filter_functions").write_text("__ia32_sys_read\n__do_sys_fork\nother [evil]\n")
    functions.matching.cache_clear()
    yield tracing
    functions.matching.cache_clear()


def test_functions_with_several_names_are_probed_once(kernel: Path) -> None:
    actual = functions.matching(WANTED)
    assert actual.names == {0xFFFFFFFF81000000: "__ia32_sys_read", 0xFFFFFFFF81000020: "__x64_sys_fork"}
    assert actual.hidden == ("__x64_sys_hidden",)
    assert actual.note == "not seen, since they cannot be probed: __x64_sys_hidden"
    assert actual.describe == "2 functions (__x64_sys_*, __ia32_sys_*)"


def test_full_coverage_needs_no_note(kernel: Path) -> None:
    assert functions.matching(("__ia32_sys_*",)).note == ""


def test_no_such_function(kernel: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"no function __arm64_sys_\*"):
        functions.matching(("__arm64_sys_*",))


def test_hidden_addresses_are_not_mistaken_for_one_function(kernel: Path) -> None:
    zeros = "".join(f"{'0' * 16}{line[16:]}\n" for line in SYMBOLS.splitlines())
    functions.SYMBOLS.write_text(zeros)
    with pytest.raises(NotPermittedError, match="hides the addresses"):
        functions.matching(WANTED)


def test_a_kernel_without_ftrace(kernel: Path) -> None:
    (kernel / "available_filter_functions").unlink()
    with pytest.raises(UnsupportedError, match="CONFIG_DYNAMIC_FTRACE"):
        functions.matching(WANTED)


class Tracefs:
    """Records writes to kprobe_events, and its contents."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.written: list[str] = []
        self.fails: dict[str, int] = {}
        monkeypatch.setattr(probe_events, "_write_commands", self.write)
        monkeypatch.setattr(probe_events.tracefs, "event_id", lambda category, event: 7)
        monkeypatch.setattr(probe_events, "attach_program", self.attach)
        self.holds("")

    def holds(self, text: str) -> None:
        (self.root / "kprobe_events").write_text(text)

    def write(self, lines, listing="kprobe_events") -> None:
        for line in lines:
            self.written.append(line)
            for start, number in self.fails.items():
                if line.startswith(start):
                    raise OSError(number, os.strerror(number))

    def attach(self, attr: bytes, program: int, cookies: tuple[int, ...] = (), *, process: int = 0) -> int:
        if "attach" in self.fails:
            raise OSError(self.fails["attach"], "")
        return os.open(os.devnull, os.O_RDONLY)


@pytest.fixture
def events(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> Tracefs:
    return Tracefs(kernel, monkeypatch)


FOUND = KernelFunctions(("f*",), {0x10: "f1", 0x20: "f2"}, ())


def test_one_event_has_a_probe_on_each_function_and_goes_with_its_link(events: Tracefs) -> None:
    link = kprobe_events.attach_event(FOUND, 3, "enter")
    first, second = events.written
    name = first.split()[0].removeprefix("p:")
    assert name.startswith(f"pytracer/enter_{Path('/proc/self/ns/pid').stat().st_ino}_{os.getpid()}_")
    assert (first, second) == (f"p:{name} 0x10 n=\\0", f"p:{name} 0x20 n=\\1")
    event = name.partition("/")[2]
    profile = f"  {event}  5  2\n  {event}  6  1\n  {event}x  0  9\n  other  0  9\n"
    (events.root / "kprobe_profile").write_text(profile)
    assert link.missed == 3
    link.detach()
    assert len(events.written) == 2
    link.close()
    assert events.written[2:] == [f"-:{name}"]


def test_a_return_has_an_event_of_its_own_with_room_for_calls_in_flight(events: Tracefs) -> None:
    link = kprobe_events.attach_return("vfs_read", 3, "hit7", ())
    [line] = events.written
    assert re.fullmatch(r"r512:pytracer/hit7_\d+_\d+_\d+ vfs_read", line)
    events.holds(f"{line}\n".replace(f"_{os.getpid()}_", "_1_"))
    probe_events.sweep()  # such a name, too, says whose it was
    assert events.written[1].startswith("-:pytracer/hit7_")
    link.close()


@pytest.mark.parametrize("fails", ["p:", "attach"])
def test_created_events_are_removed_if_others_fail(events: Tracefs, fails: str) -> None:
    events.fails = {fails: errno.EBUSY}
    with pytest.raises(AttachError, match=r"a kprobe event on 2 functions \(f\*\)"):
        kprobe_events.attach_event(FOUND, 3, "enter")
    assert events.written[-1].startswith("-:pytracer/enter_")


def test_an_event_that_somebody_uses_is_not_left_in_silence(events: Tracefs) -> None:
    link = kprobe_events.attach_event(FOUND, 3, "enter")
    events.fails = {"-": errno.EBUSY}
    with pytest.raises(AttachError, match="cannot take the trace event pytracer/enter_") as excinfo:
        link.close()
    assert "kprobe_events" in (excinfo.value.hint or "")


def test_only_leftovers_of_dead_processes_are_removed(events: Tracefs) -> None:
    local = Path("/proc/self/ns/pid").stat().st_ino
    alive = name_owner(os.getpid())
    lines = [
        f"p:pytracer/enter_{alive} 0x10 n=1",
        f"p:pytracer/enter_{local}_{os.getpid()}_1 0x10 n=1",  # the number has come round
        f"p:pytracer/enter_{local}_{os.getpid()}_1 0x20 n=2",
        f"p:pytracer/enter_{local + 1}_1_1 0x10 n=1",  # another PID namespace's
        "p:kprobes/mine 0x10",
        f"p:other/enter_{local}_{os.getpid()}_1 0x10",
    ]
    events.holds("".join(f"{line}\n" for line in lines))
    probe_events.sweep()
    assert events.written == [f"-:pytracer/enter_{local}_{os.getpid()}_1"]


def test_a_zombie_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert name_owner(child) == ""
    os.waitpid(child, 0)
    assert name_owner(child) == ""
    assert name_owner(os.getpid()) != ""


def test_commands_are_written_in_pieces_that_tracefs_takes(kernel: Path, monkeypatch) -> None:
    pieces: list[bytes] = []
    (kernel / "kprobe_events").write_text("")
    monkeypatch.setattr(probe_events.os, "write", lambda _fd, data: pieces.append(data))
    lines = [f"p:group/event {number:#x}" for number in range(1000)]
    probe_events._write_commands(lines)
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 4095
    assert b"".join(pieces).decode().splitlines() == lines
    assert all(piece.endswith(b"\n") for piece in pieces)


@pytest.mark.parametrize(("reported", "count"), [(5, 5), (0, 0), (None, None)])
def test_missed_runs_are_distinguished_from_an_unknown_number(
    monkeypatch, reported: int | None, count: int | None
) -> None:
    def info(_fd: int, buffer: bytearray) -> None:
        if reported is not None:
            buffer[32:40] = reported.to_bytes(8, "little")

    monkeypatch.setattr(kprobe_multi, "object_info", info)
    assert kprobe_multi.read_missed(3) == count
    link = kprobe_multi.MultiLink(os.open(os.devnull, os.O_RDONLY))
    link.detach()
    assert link.missed == (count or 0)


def test_a_link_is_closed_once() -> None:
    link = Link(os.open(os.devnull, os.O_RDONLY))
    link.detach()
    link.close()
    assert link.missed == 0
