"""Test what may be pinned, and what may be unloaded."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from pytracer.bpf.holders import EventProgram, Holders, Process
from pytracer.bpf.objects import ObjectKind
from pytracer.cli import prog_pin
from pytracer.errors import PytracerError, UnknownNameError
from pytracer.prog import own_pins, pinning, pins
from pytracer.prog.pins import Pin

TAG = "0123456789abcdef"


class Bpffs:
    """A BPF file system in a folder: a pin is a file that holds the name of its object."""

    def __init__(self, root: Path) -> None:
        self.root, self.mounted = root, True
        self.refuse = ""

    def put(self, descriptor: int, path: str) -> None:
        if self.refuse and self.refuse in path:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        Path(path).write_text(str(descriptor))

    def read(self, path: str) -> Pin:
        kind, number, program, tag = Path(path).read_text().split()
        return Pin(path, ObjectKind[kind], int(number), int(program), tag)


class Object:
    """The object that ``opened`` yields: the text of a pin."""

    def __init__(self, kind: ObjectKind, number: int) -> None:
        self.text = f"{kind.name} {number} {number if kind is ObjectKind.PROGRAM else 7} {TAG}"

    def __enter__(self) -> str:
        return self.text

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def bpffs(tmp_path, monkeypatch):
    bpffs = Bpffs(tmp_path)
    monkeypatch.setattr(own_pins, "BPFFS", tmp_path)
    monkeypatch.setattr(own_pins, "FOLDER", tmp_path / "pytracer")
    monkeypatch.setattr(own_pins, "open_object", Object)
    monkeypatch.setattr(pins, "create_pin", bpffs.put)
    monkeypatch.setattr(pins, "read_pin", bpffs.read)
    monkeypatch.setattr(pins, "list_mounts", lambda: iter([(str(tmp_path), "bpf")] if bpffs.mounted else []))
    return bpffs


class Program:
    """Has the members of a program that pinning reads."""

    def __init__(self, number: int, name: str = "enter") -> None:
        self.id, self.name, self.info = number, name, self
        self.tag = TAG


def test_a_program_and_its_links_are_pinned_and_unpinned(bpffs):
    folder = own_pins.pin(Program(7), [9, 12])
    assert sorted(path.name for path in folder.iterdir()) == ["link-12", "link-9", "program"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert own_pins.pin(Program(7), [9]) == folder  # again
    [pin] = own_pins.list_pinned()
    assert (pin.program, pin.tag, pin.links) == (7, TAG, (9, 12))
    own_pins.unpin(pin)
    assert not own_pins.FOLDER.exists()
    assert own_pins.list_pinned() == []


def test_pinning_is_all_or_nothing(bpffs):
    bpffs.refuse = "link-12"
    with pytest.raises(PytracerError, match="pinning program 7"):
        own_pins.pin(Program(7), [9, 12])
    assert not own_pins.FOLDER.exists()


def test_a_pin_that_differs_from_its_name_is_not_pytracers(bpffs):
    folder = own_pins.pin(Program(7), [9])
    for name, text in {
        "8-" + TAG: f"PROGRAM 9 9 {TAG}",  # another program
        "10-" + TAG: "PROGRAM 10 10 fedcba9876543210",  # another tag
        "11-" + TAG: f"MAP 11 11 {TAG}",
        "somebodys": f"PROGRAM 12 12 {TAG}",
    }.items():
        (own_pins.FOLDER / name).mkdir()
        (own_pins.FOLDER / name / "program").write_text(text)
    (folder / "link-13").write_text(f"LINK 13 8 {TAG}")  # a link of another program
    (own_pins.FOLDER / "file").write_text("")
    [pin] = own_pins.list_pinned()
    assert (pin.program, pin.links) == (7, (9,))
    with pytest.raises(PytracerError, match="link-13 is not pytracer's: nothing was removed"):
        own_pins.unpin(pin)
    assert len(list(folder.iterdir())) == 3
    (folder / "link-13").unlink()
    own_pins.unpin(pin)
    assert len(list(own_pins.FOLDER.iterdir())) == 5


def test_a_folder_that_others_may_write_to_is_not_trusted(bpffs):
    own_pins.pin(Program(7), [])
    own_pins.FOLDER.chmod(0o755)
    with pytest.raises(PytracerError, match="is not a folder that only this user can use"):
        own_pins.list_pinned()
    own_pins.FOLDER.chmod(0o700)
    assert own_pins.list_pinned()


@pytest.fixture
def running(bpffs, monkeypatch):
    """Simulate a machine with a tracer's programs 7 and 8, and another owner's program 9."""
    tracer, other = Process(100, "python", "syscalls", frozenset({7, 8})), Process(200, "agent")
    inject = Process(300, "python", "inject", frozenset({10}))
    holders = Holders({7: [tracer], 8: [tracer, other], 9: [other, tracer], 10: [inject]})
    monkeypatch.setattr(pinning.ProgramLister, "list", lambda _: {n: Program(n) for n in (7, 8, 9, 10)})
    monkeypatch.setattr(pinning, "find_holders", lambda: holders)
    monkeypatch.setattr(pinning, "holding", {7: [71], 8: [], 9: [91], 10: [101]}.__getitem__)
    return holders


def test_only_programs_of_a_running_tracer_are_pinned(running):
    stored = pinning.pin(["7", "8", "7"], attached=False)
    assert [(pin.pin.program, pin.pin.links, pin.name) for pin in stored] == [
        (7, (), "enter"),
        (8, (), "enter"),
    ]
    for names in (["9"], ["7", "9"]):  # the tracer holds it, but did not load it
        with pytest.raises(PytracerError, match="program 9 is not one that a running pytracer loaded"):
            pinning.pin(names, attached=False)
    with pytest.raises(UnknownNameError, match="no program '11'"):
        pinning.pin(["11"], attached=False)
    with pytest.raises(UnknownNameError, match="no program 'enter'"):
        pinning.pin(["enter"], attached=False)
    assert [pin.pin.program for pin in pinning.unload([])[0]] == [7, 8]


def test_all_that_tracers_loaded(running):
    assert [pin.pin.program for pin in pinning.pin(["tracer-owned"], attached=False)] == [7, 8, 10]
    pinning.unload([])
    running.programs.clear()
    with pytest.raises(PytracerError, match="no tracer runs"):
        pinning.pin(["tracer-owned"], attached=False)


def test_programs_that_cannot_stay_attached_are_refused_before_pinning(running):
    assert pinning.pin(["7"], attached=True)[0].pin.links == (71,)
    pinning.unload([])
    with pytest.raises(PytracerError, match="program 8 is not on links alone"):
        pinning.pin(["7", "8"], attached=True)
    with pytest.raises(PytracerError, match="program 10 makes functions fail"):
        pinning.pin(["10"], attached=True)
    running.events.append(EventProgram(7, "t:sched:sched_switch", 100, 5))
    with pytest.raises(PytracerError, match="program 7 is not on links alone"):
        pinning.pin(["7"], attached=True)
    assert not own_pins.FOLDER.exists()


def test_several_programs_are_all_pinned_or_none(running, bpffs):
    pinning.pin(["7"], attached=False)
    bpffs.refuse = "10-"
    with pytest.raises(PytracerError, match="pinning program 10"):
        pinning.pin(["tracer-owned"], attached=False)
    assert [pin.program for pin in own_pins.list_pinned()] == [7]


def test_links_are_not_pinned_either_where_one_cannot_be(running, bpffs, monkeypatch):
    """A program that was pinned without them would go on counting."""
    monkeypatch.setattr(pinning, "holding", {7: [71], 8: [81]}.__getitem__)
    pinning.pin(["7"], attached=False)
    bpffs.refuse = "8-"
    with pytest.raises(PytracerError, match="pinning program 8"):
        pinning.pin(["7", "8"], attached=True)
    assert [(pin.program, pin.links) for pin in own_pins.list_pinned()] == [(7, ())]


def test_only_pinned_programs_are_unloaded(running):
    pinning.pin(["8"], attached=False)
    stored, [refused] = pinning.unload(["7"])
    assert stored == []
    assert (refused.message, refused.hint) == ("7 is no program that pytracer pinned", "pinned: 8")
    assert [pin.program for pin in own_pins.list_pinned()] == [8]


def test_each_of_several_programs_that_can_be_unloaded_is_unloaded(running, monkeypatch, capsys):
    """Every failure is reported, and the exit status is that of the worst."""
    monkeypatch.setattr("pytracer.kernel.policy.missing_capabilities", lambda _: [])
    pinning.pin(["7", "8", "10"], attached=False)
    strange = next(own_pins.FOLDER.glob("8-*")) / "theirs"
    strange.touch()
    with pytest.raises(PytracerError) as excinfo:
        prog_pin.unload(["8", "7", "/sys/fs/bpf/x", "10"])
    message = capsys.readouterr()
    assert [line.split()[:2] for line in message.out.splitlines()] == [["unpinned", "7"], ["unpinned", "10"]]
    text = f"{message.err}{excinfo.value.message}"
    assert f"{strange} is not pytracer's: nothing was removed" in text
    assert "/sys/fs/bpf/x is no program that pytracer pinned" in text
    assert [pin.program for pin in own_pins.list_pinned()] == [8]
    strange.unlink()
    assert len(pinning.unload([])[0]) == 1


def test_completed_steps_are_reported(running, monkeypatch, capsys):
    monkeypatch.setattr("pytracer.kernel.policy.missing_capabilities", lambda _: [])
    assert prog_pin.pin(["7", "--attached"]) == 0
    assert capsys.readouterr().out == f"pinned 7 enter in {own_pins.FOLDER}/7-{TAG}, attached by 1 link\n"
    assert prog_pin.pin(["8", "-f", "json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert message == {
        "kind": "pinned", "id": 8, "name": "enter", "path": f"{own_pins.FOLDER}/8-{TAG}", "links": [],
        "pids": [100, 200],
    }  # fmt: skip
    assert prog_pin.unload(["8"]) == 0
    assert capsys.readouterr().out == (
        "unpinned 8 enter; still held by pytracer syscalls (100), agent (200)\n"
    )
    assert prog_pin.unload([]) == 0
    assert capsys.readouterr().out.startswith("unpinned 7 enter")
    assert prog_pin.unload([]) == 0
    assert capsys.readouterr().out == "no programs are pinned\n"
