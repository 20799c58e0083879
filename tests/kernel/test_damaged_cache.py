"""Test starts with a cache that is damaged, read-only, or full of foreign files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli import COMMAND, wait_for
from support.workloads import workload

COMPILED = "pytracer: compiled by BCC"


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch):
    path = Path(f"/root/.pytracer-test-{os.getpid()}")
    path.mkdir(mode=0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(path))
    yield path
    shutil.rmtree(path)


def run_counting(*before: str) -> str:
    """Return the messages of a run, whose counts must be exact."""
    words = [
        *COMMAND,
        "syscalls",
        "-v",
        "-f",
        "csv",
        "-e",
        "getppid",
        "--",
        workload("calls"),
        "getppid",
        "23",
    ]
    result = subprocess.run([*before, *words], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert ",getppid,23," in result.stdout, result.stdout
    return result.stderr


def tree_of(cache: Path) -> Path:
    [tree] = (cache / "headers").iterdir()
    return tree


def empty(cache: Path) -> None:
    (tree_of(cache) / "include/linux/kconfig.h").write_text("")


def put_a_fifo_in_the_tree(cache: Path) -> None:
    header = tree_of(cache) / "include/linux/types.h"
    header.unlink()
    os.mkfifo(header)


def put_a_folder_in_the_tree(cache: Path) -> None:
    header = tree_of(cache) / "include/linux/kconfig.h"
    header.unlink()
    header.mkdir()


def put_a_folder_for_the_list_of_files(cache: Path) -> None:
    listed = tree_of(cache) / "files.json"
    listed.unlink()
    (listed / "x").mkdir(parents=True)


def put_fifos(cache: Path) -> None:
    for path in list(cache.iterdir()):
        shutil.rmtree(path)
        os.mkfifo(path)


def put_links(cache: Path) -> None:
    for path in list(cache.iterdir()):
        shutil.rmtree(path)
        path.symlink_to("/proc/self")


def give_away(cache: Path) -> None:
    for path in cache.iterdir():
        os.chown(path, 65534, 65534)


@pytest.mark.parametrize(
    "damage",
    [
        empty,
        put_a_fifo_in_the_tree,
        put_a_folder_in_the_tree,
        put_a_folder_for_the_list_of_files,
        put_fifos,
        put_links,
        give_away,
    ],
)
def test_a_damaged_cache_stops_no_start(cache: Path, damage: Callable[[Path], None]) -> None:
    run_counting()
    shutil.rmtree(cache / "images")
    (cache / "images").mkdir(mode=0o700)
    damage(cache)
    assert COMPILED in run_counting()
    if damage not in (put_fifos, put_links, give_away):  # with a place to keep things, there is now an image
        assert COMPILED not in run_counting()


def test_a_folder_in_the_place_of_an_image_stops_no_start(cache: Path) -> None:
    run_counting()
    [image] = (cache / "images").iterdir()
    image.unlink()
    (image / "x").mkdir(parents=True)
    assert COMPILED in run_counting()
    assert COMPILED not in run_counting()


READ_ONLY = (
    'for folder in "$0" /tmp; do '
    'mount --bind "$folder" "$folder" && mount -o remount,ro,bind "$folder" || exit; '
    'done; exec "$@"'
)


def test_a_read_only_cache_is_used(cache: Path) -> None:
    """/tmp is read-only as well, so the workload is elsewhere."""
    present = cache.with_name(cache.name + "-calls")
    shutil.copy(workload("calls"), present)
    words = [*COMMAND, "syscalls", "-v", "-f", "csv", "-e", "getppid", "--", str(present), "getppid", "23"]
    try:
        for stored in (False, True):
            command = ["unshare", "-m", "sh", "-c", READ_ONLY, str(cache), *words]
            result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
            assert result.returncode == 0, result.stderr
            assert ",getppid,23," in result.stdout
            assert f"cannot write in {cache}" in result.stderr
            assert (COMPILED in result.stderr) is not stored
            if not stored:
                subprocess.run(words, capture_output=True, check=True, timeout=300)
    finally:
        present.unlink()


def test_a_compile_ends_with_ctrl_c_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    """The compiler waits for a header that never comes, and receives no signal meanwhile."""
    fifo = tmp_path / "never.h"
    os.mkfifo(fifo)
    text = f'#include "{fifo}"\n'
    code = (
        "import sys, pytracer.trace.program_loading as s\nfrom pytracer.cli.main import main\n"
        f"read = s.read_source\ns.read_source = lambda *rest: read(*rest) + {text!r}\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["syscalls", "-f", "json", "--", workload("calls"), "getppid", "23"]
    process = subprocess.Popen([COMMAND[0], "-c", code, *words], stdout=-1, stderr=-1, start_new_session=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def compiling() -> list[int]:
        return [
            int(child)
            for child in children.read_text().split()
            if any("libbcc" in line for line in Path(f"/proc/{child}/maps").read_text().splitlines())
        ]

    wait_for(compiling, "a compiler")
    [compiler] = compiling()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not Path(f"/proc/{compiler}").exists()
    assert not list((cache / "headers").glob(".new-*"))
