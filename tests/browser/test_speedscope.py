"""speedscope itself (npm's package, which has no dependencies) reads what we write: of each function the same
numbers as in the rows of that run, and slices beside each other."""

from __future__ import annotations

import json
from collections import Counter

import pytest

import pytracer
from support.devtools import browser
from support.formats import write_items
from support.timelines import write_items as written_timeline
from support.viewers import open_speedscope, serve_folder, speedscope_files
from support.workloads import workload

pytestmark = pytest.mark.kernel
SANDWICH = (
    "Array.from(document.querySelectorAll('tr'), row => row.innerText.split('\\t').map(one => one.trim()))"
)


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    """speedscope's files, and the address at which a server has them."""
    files = speedscope_files(tmp_path_factory.mktemp("speedscope"))
    with serve_folder(files) as address:
        yield files, address


def test_speedscope_reads_each_format(viewer, tmp_path):
    files, address = viewer
    out = write_items("profile", [], [workload("spin"), "user", "400"])
    rows = [json.loads(line) for line in out["json"].splitlines()]
    itself = Counter()
    for row in rows:
        if row["kind"] == "summary":
            itself[[*row["kernel"], *row["user"]][0]] += row["samples"]
    [(busiest_thread, _)] = itself.most_common(1)
    with browser(tmp_path) as tab:
        tab.resize(1200, 900)
        for form in ("speedscope", "folded", "pprof"):
            (files / form).write_bytes(out[form])
            open_speedscope(tab, address, form)
            tab.press("3")
            listed = f"row => row.length > 2 && row[2] === '{busiest_thread}' && !row[1].startsWith('0 ')"
            tab.wait_for(f"{SANDWICH}.some({listed})")
            displayed = Counter()
            for row in tab.evaluate(SANDWICH):
                if row[-1] in itself:  # a thread and a function may have the same name
                    displayed[row[-1]] += int(row[1].partition(" ")[0].replace(",", ""))
            assert {name: itself[name] for name in displayed} == dict(displayed), form


def test_speedscope_reads_slices_that_follow_each_other(viewer, tmp_path):
    """Those of the busiest thread are beside each other: none spends time in another."""
    files, address = viewer
    command = ["sh", "-c", "for n in $(seq 30); do sleep 0.005; done"]
    with pytracer.open("schedsnoop", command=command) as trace:
        items = list(trace)
    slices = [e for e in json.loads(written_timeline("chrome", trace.schema, *items)) if e["ph"] == "X"]
    [(busiest, _)] = Counter(item["tid"] for item in slices if item["pid"] == item["tid"]).most_common(1)
    own_slices = [item for item in slices if item["tid"] == busiest and item["dur"]]
    (files / "chrome").write_text(json.dumps(own_slices))
    with browser(tmp_path) as tab:
        tab.resize(1200, 900)
        open_speedscope(tab, address, "chrome")
        tab.press("3")
        rows = f"{SANDWICH}.filter(row => /^(slept|wait|ran) /.test(row[2]))"
        tab.wait_for(f"{rows}.length > 20")
        assert [row for row in tab.evaluate(rows) if row[0] != row[1]] == []
        assert [text for text in tab.warnings() if "frame" in text or "end" in text] == []
