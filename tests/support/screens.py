"""Record pictures for the documentation from real runs: ``scripts/record --screens``, as root, with
Chromium."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from support.browser import screenshot
from support.devtools import browser
from support.disks import loop, work
from support.live_screens import Until, picture
from support.pages import serve_page
from support.terminals import Terminal
from support.viewers import (
    open_perfetto,
    open_speedscope,
    perfetto_files,
    query,
    serve_folder,
    speedscope_files,
)

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
FILES = "find /usr/share/doc -type f | sort | head -n 4000"
PIPELINE = FILES + " | tr '\\n' '\\0' | xargs -0 cat | gzip -6 | sha256sum"
LEVELS = {"before": "-9", "after": "-1"}
BURSTS = """
import os, time
os.nice(-15)
for _ in range(60):
    end = time.time() + 0.1
    while time.time() < end:
        pass
    time.sleep(0.25)
"""
# A web server and its client, two threads.
WEB = """
import http.client, http.server, json, re, sqlite3, threading
def rows():
    table = sqlite3.connect(":memory:")
    table.execute("create table words (id integer, text text)")
    table.executemany("insert into words values (?, ?)", ((i, f"word {i}") for i in range(500)))
    return table.execute("select id, text from words order by text").fetchall()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        found = [row for row in rows() if re.search(r"word \\d*7", row[1])]
        body = json.dumps(found, indent=1).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
def ask(port, times):
    for _ in range(times):
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("GET", "/")
        json.loads(client.getresponse().read())
        client.close()
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
ask(server.server_port, 1000)
"""
WOKEN = """
    select s.id, s.ts from flow f join slice s on f.slice_in = s.id
    join thread_track tt on tt.id = s.track_id join thread t using (utid)
    where t.name = 'gzip' and s.dur > 500000 limit 1
"""
WIDTH, HEIGHT = 1200, 860  # pixels of a picture, at most


def main(names: Sequence[str]) -> int:
    """Make these pictures, or all."""
    IMAGES.mkdir(exist_ok=True)
    for name, show in PAGES.items():
        if not names or name in names:
            show(IMAGES / f"{name}.png")
            print(IMAGES / f"{name}.png", file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for name, make in PICTURES.items():
            if names and name not in names:
                continue
            file = folder / f"{name}.svg"
            make(file)
            screenshot(folder, file, IMAGES / f"{name}.png", WIDTH, min(_height(file), HEIGHT))
            print(IMAGES / f"{name}.png", file=sys.stderr)
    return 0


def _height(file: Path) -> int:
    """Return the height of a picture of WIDTH; one without a size of its own is as wide as the window."""
    text = file.read_text()
    if own_height := re.search(r'height="(\d+)"', text):
        return int(own_height[1])
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    assert box, f"{file.name} is no picture"
    return round(float(box[2]) * WIDTH / float(box[1]))


def pytracer(*words: object, folder: Path | None = None) -> None:
    """Run pytracer to its end, without the output of a traced command."""
    command = [sys.executable, "-m", "pytracer", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def _profile(file: Path) -> None:
    pytracer("profile", "-f", "flamegraph", "-o", file, "--", "sh", "-c", PIPELINE)


def _python(file: Path) -> None:
    words = ("-U", "-F", 499, "--icicle", "-f", "flamegraph", "-o", file)
    pytracer("profile", *words, "--", "/usr/bin/python3", "-c", WEB)


def _offcputime(file: Path) -> None:
    pytracer("offcputime", "--icicle", "-f", "flamegraph", "-o", file, "--", "sh", "-c", PIPELINE)


def _offwaketime(file: Path) -> None:
    pytracer("offwaketime", "--icicle", "-f", "flamegraph", "-o", file, "--", "sh", "-c", PIPELINE)


def _diff(file: Path) -> None:
    for name, level in LEVELS.items():
        output = file.with_name(f"{name}.json")
        pytracer("profile", "-f", "json", "-o", output, "--", "sh", "-c", PIPELINE.replace("-6", level))
    pytracer("diff", *(f"{name}.json" for name in LEVELS), "-o", file, folder=file.parent)


def _heatmap(file: Path) -> None:
    """Read and write a disk of the test for some seconds, with flushes between."""
    with loop(file.parent) as device:
        stopped = threading.Event()

        def load() -> None:
            start = time.monotonic()
            while not stopped.is_set():
                flushes = 7 if 4 < time.monotonic() - start < 7 else 0
                work(device, reads=23, writes=23, flushes=flushes)

        worker = threading.Thread(target=load)
        worker.start()
        try:
            pytracer("biolatency", "--by", "operation", "0.2", "-d", "10", "-f", "heatmap", "-o", file)
        finally:
            stopped.set()
            worker.join()


def _heat_lines(file: Path) -> None:
    """Show how long reads took, on a terminal."""
    words = ["syscalls", "--latency", "-e", "read", "-f", "heatmap", "0.4"]
    with Terminal(*words, "--", "sh", "-c", f"{PIPELINE} > /dev/null", columns=118, rows=44) as terminal:
        terminal.finish()
        lines = terminal.lines
    while not lines[-1]:
        lines.pop()
    texts = [
        f'<text x="8" y="{18 * number}" xml:space="preserve">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    ]
    height = 18 * len(lines) + 10
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}">'
        '<style>text { font: 15px "DejaVu Sans Mono", monospace; fill: #ddd; }</style>'
        f'<rect width="100%" height="100%" fill="#111"/>{"".join(texts)}</svg>'
    )


def _offsets(file: Path) -> None:
    pytracer("profile", "-f", "heatmap", "-o", file, "--", sys.executable, "-c", BURSTS)


def _page(picture: Path) -> None:
    """Show the page with a heat map, and a run that has ended."""
    with (
        tempfile.TemporaryDirectory() as name,
        loop(Path(name)) as device,
        serve_page("--allow-commands") as page,
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


def _page_row(picture: Path) -> None:
    """Show a row of an earlier interval, with the tracers that look closer at it."""
    row = "document.querySelectorAll('#rows tbody tr')"
    with (
        tempfile.TemporaryDirectory() as name,
        serve_page("--allow-commands") as page,
        browser(Path(name)) as tab,
    ):
        command = shlex.join(["sh", "-c", PIPELINE])
        run = page.start("syscalls", options={"by": "pid,syscall"}, command=command, interval="0.5")
        tab.resize(WIDTH, 760)
        tab.open(page.url)
        tab.wait_for(f"null !== document.querySelector('#runs [data-run=\"{run}\"]')")
        tab.evaluate(f"choose({run})")
        tab.wait_for("state.shown.newest > 3")
        tab.evaluate("step(-2)")
        tab.wait_for("element('title').textContent.endsWith('paused')")
        tab.evaluate(f"{row}[0].click()")
        tab.wait_for("!element('detail').hidden")
        tab.screenshot(picture)
        page.wait(run, "ended")


def _timeline(picture: Path) -> None:
    """Show what threads do in Perfetto's viewer: some milliseconds, and a wake-up that leads to a slice."""
    with tempfile.TemporaryDirectory() as name, serve_folder(files := perfetto_files(Path(name))) as address:
        pytracer("schedsnoop", "-f", "perfetto", "-o", files / "timeline", "--", "sh", "-c", PIPELINE)
        with browser(Path(name)) as tab:
            tab.resize(WIDTH, 760)
            open_perfetto(tab, address, "timeline")
            tab.wait_for("app.commands.commands.some(one => one.id === 'dev.perfetto.ExpandAllGroups')")
            [number, begin] = query(tab, WOKEN)[0]
            tab.evaluate(f"""
                app.commands.runCommand("dev.perfetto.ToggleLeftSidebar");
                app.commands.runCommand("dev.perfetto.ExpandAllGroups");
                app.trace.timeline.setViewportTime({begin}n - 8000000n, {begin}n + 8000000n);
                app.trace.selection.selectSqlEvent("slice", {number});
            """)
            time.sleep(3)  # for what loads and moves
            tab.screenshot(picture)


def _speedscope(picture: Path) -> None:
    """Show samples in speedscope, sorted by their number."""
    with (
        tempfile.TemporaryDirectory() as name,
        serve_folder(files := speedscope_files(Path(name))) as address,
    ):
        pytracer("profile", "-f", "speedscope", "-o", files / "profile", "--", "sh", "-c", PIPELINE)
        with browser(Path(name)) as tab:
            tab.resize(WIDTH, 560)
            open_speedscope(tab, address, "profile")
            tab.press("2")
            time.sleep(3)
            tab.screenshot(picture)


def _intervals(count: int) -> Until:
    return lambda view: len(view.rates) >= count and len(view) > 0


def _live_top(file: Path) -> None:
    picture(file, ["top", "--", "sh", "-c", PIPELINE], _intervals(4))


def _live_events(file: Path) -> None:
    """Show the files of a command, some of which do not exist: paused, filtered, sorted by time."""
    keys = ["slash", *"err=ENOENT path~conf", "enter", "up", "up"]
    command = "for number in $(seq 200); do cat /etc/nowhere$number.conf /etc/host.conf; sleep 0.02; done"
    picture(file, ["opensnoop", "--", "sh", "-c", command], lambda view: view.seen > 800, keys)


def _live_row(file: Path) -> None:
    picture(
        file,
        ["syscalls", "--latency", "--", "sh", "-c", PIPELINE],
        _intervals(3),
        ["down", "enter"],
        (100, 34),
    )


def _live_histograms(file: Path) -> None:
    picture(file, ["syscalls", "--latency", "--", "sh", "-c", PIPELINE], _intervals(3))


def _live_stacks(file: Path) -> None:
    """Show the stacks of the whole run so far."""
    picture(file, ["profile", "--", "sh", "-c", PIPELINE], _intervals(3), ["a"])


def _live_closer(file: Path) -> None:
    picture(file, ["top", "--", "sh", "-c", PIPELINE], _intervals(2), ["s"])


PAGES: dict[str, Callable[[Path], None]] = {
    "page": _page,
    "page-row": _page_row,
    "timeline": _timeline,
    "speedscope": _speedscope,
}
PICTURES: dict[str, Callable[[Path], None]] = {
    "flamegraph": _profile,
    "python": _python,
    "icicle": _offcputime,
    "wakers": _offwaketime,
    "difference": _diff,
    "heatmap": _heatmap,
    "heat-lines": _heat_lines,
    "offsets": _offsets,
    "live-top": _live_top,
    "live-events": _live_events,
    "live-histograms": _live_histograms,
    "live-row": _live_row,
    "live-stacks": _live_stacks,
    "live-closer": _live_closer,
}
