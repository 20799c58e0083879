"""Pictures for the documentation, from real runs: ``scripts/record --screens``, as root, with Chromium."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from support.browser import screenshot
from support.devtools import browser
from support.disks import loop, work
from support.pages import serving

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
FILES = "find /usr/share/doc -type f | sort | head -n 4000"
PIPELINE = FILES + " | tr '\\n' '\\0' | xargs -0 cat | gzip -6 | sha256sum"
LEVELS = {"before": "-9", "after": "-1"}
BURSTS = """
import time
for _ in range(24):
    end = time.time() + 0.1
    while time.time() < end:
        pass
    time.sleep(0.25)
"""
WIDTH, HEIGHT = 1200, 860  # pixels of a picture, at most


def main() -> int:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    _page(IMAGES / "page.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for picture, make in PICTURES.items():
            file = folder / f"{picture}.svg"
            make(file)
            height = re.search(r'height="(\d+)"', file.read_text())
            assert height, f"{picture} is no picture"
            screenshot(folder, file, IMAGES / f"{picture}.png", WIDTH, min(int(height[1]), HEIGHT))
            print(IMAGES / f"{picture}.png", file=sys.stderr)
    return 0


def pytracer(*words: object, folder: Path | None = None) -> None:
    """Run to the end; what a command prints is dropped."""
    command = [sys.executable, "-m", "pytracer", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def _profile(file: Path) -> None:
    pytracer("profile", "-f", "flamegraph", "-o", file, "--", "sh", "-c", PIPELINE)


def _offcputime(file: Path) -> None:
    pytracer("offcputime", "--icicle", "-f", "flamegraph", "-o", file, "--", "sh", "-c", PIPELINE)


def _diff(file: Path) -> None:
    for name, level in LEVELS.items():
        out = file.with_name(f"{name}.json")
        pytracer("profile", "-f", "json", "-o", out, "--", "sh", "-c", PIPELINE.replace("-6", level))
    pytracer("diff", *(f"{name}.json" for name in LEVELS), "-o", file, folder=file.parent)


def _heatmap(file: Path) -> None:
    """Reads and writes of a disk of our own: for some seconds with flushes between them."""
    with loop(file.parent) as device:
        stopped = threading.Event()

        def load() -> None:
            begun = time.monotonic()
            while not stopped.is_set():
                flushes = 7 if 4 < time.monotonic() - begun < 7 else 0
                work(device, reads=23, writes=23, flushes=flushes)

        worker = threading.Thread(target=load)
        worker.start()
        try:
            pytracer("biolatency", "--by", "operation", "0.2", "-d", "10", "-f", "heatmap", "-o", file)
        finally:
            stopped.set()
            worker.join()


def _offsets(file: Path) -> None:
    pytracer("profile", "-f", "heatmap", "-o", file, "--", sys.executable, "-c", BURSTS)


def _page(picture: Path) -> None:
    """Show the page with a heat map, and a run that has ended."""
    with (
        tempfile.TemporaryDirectory() as name,
        loop(Path(name)) as device,
        serving("--allow-commands") as page,
        browser(Path(name)) as tab,
    ):
        run = page.start("profile", command=shlex.join(["sh", "-c", PIPELINE]))
        page.wait(run, "ended")
        run = page.start("biolatency", options={"by": "operation"}, interval="0.25")
        tab.resize(WIDTH, HEIGHT)
        tab.open(page.url)
        tab.wait_for(f"null !== document.querySelector('#runs [data-run=\"{run}\"]')")
        tab.evaluate(f"element('tracer').value = 'biolatency'; showForm(); choose({run})")
        end = time.monotonic() + 12
        while time.monotonic() < end:
            work(device, reads=23, writes=23, flushes=0)
        tab.evaluate("element('draw').click()")
        tab.wait_for("null !== document.querySelector('#picture iframe')")
        time.sleep(2)  # for the frame to be drawn
        tab.screenshot(picture)
        print(picture, file=sys.stderr)


PICTURES: dict[str, Callable[[Path], None]] = {
    "flamegraph": _profile,
    "icicle": _offcputime,
    "difference": _diff,
    "heatmap": _heatmap,
    "offsets": _offsets,
}
