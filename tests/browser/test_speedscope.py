"""speedscope itself (npm's package, which has no dependencies) reads what we write: of each function the same
numbers as in the rows of that run."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
from collections import Counter

import pytest

from support.devtools import browser
from support.formats import written
from support.workloads import workload

pytestmark = pytest.mark.kernel
PACKAGE = "speedscope@1.25.0"
SANDWICH = (
    "Array.from(document.querySelectorAll('tr'), row => row.innerText.split('\\t').map(one => one.trim()))"
)


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """speedscope's files, and the address at which a server has them."""
    folder = tmp_path_factory.mktemp("speedscope")
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", folder, PACKAGE], check=True)
    [archive] = folder.glob("*.tgz")
    subprocess.run(["tar", "-xzf", archive, "-C", folder], check=True)
    files = folder / "package" / "dist" / "release"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=files))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield files, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_speedscope_reads_each_format(viewer, tmp_path):
    files, address = viewer
    out = written("profile", [], [workload("spin"), "user", "400"])
    rows = [json.loads(line) for line in out["json"].splitlines()]
    itself = Counter()
    for row in rows:
        if row["kind"] == "summary":
            itself[[*row["kernel"], *row["user"]][0]] += row["samples"]
    [(most, _)] = itself.most_common(1)
    with browser(tmp_path) as tab:
        tab.resize(1200, 900)
        for form in ("speedscope", "folded", "pprof"):
            (files / form).write_bytes(out[form])
            tab.open(f"{address}/index.html?{form}#profileURL={address}/{form}&title={form}")
            tab.wait_for(f"document.title === '{form} - speedscope'")
            tab.press("3")
            listed = f"row => row.length > 2 && row[2] === '{most}' && !row[1].startsWith('0 ')"
            tab.wait_for(f"{SANDWICH}.some({listed})")
            shown = Counter()
            for row in tab.evaluate(SANDWICH):
                if row[-1] in itself:  # a thread and a function may have the same name
                    shown[row[-1]] += int(row[1].partition(" ")[0].replace(",", ""))
            assert {name: itself[name] for name in shown} == dict(shown), form
