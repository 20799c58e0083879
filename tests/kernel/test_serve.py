"""Test the page's runs on a real kernel: rows, end, pictures, and leftovers."""

from __future__ import annotations

import pytest

from support.pages import serving
from support.workloads import workload

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def page():
    with serving("--allow-commands") as actual:
        yield actual


def column(shown, name):
    return [one["name"] for one in shown["columns"]].index(name)


def test_the_rows_are_those_of_the_run(page):
    run = page.start("syscalls", command=f"{workload('calls')} getppid 23", interval="0.5")
    page.wait(run, "ended")
    shown = page.rows(run, lambda shown: "whole run" in shown["title"])
    assert shown["command"] == f"pytracer syscalls 0.5 -- {workload('calls')} getppid 23"
    [row] = [at for at, cells in enumerate(shown["cells"]) if cells[0] == "getppid"]
    assert shown["cells"][row][column(shown, "CALLS")] == "23"
    assert shown["sort"][row][column(shown, "CALLS")] == 23
    assert (shown["messages"], shown["losses"]) == ([], [])


def test_events_come_as_they_happen_and_a_stop_ends_it(page):
    script = f"{workload('opens')} openat 0 23 /pt/not/there; exec sleep 60"
    run = page.start("opensnoop", filters={"comm": ["opens"]}, command=f'sh -c "{script}"')
    shown = page.rows(run, lambda shown: shown["total"] >= 23)
    assert shown["total"] == 23
    assert {cells[column(shown, "PATH")] for cells in shown["cells"]} == {"/pt/not/there"}
    assert page.state(run) == "running"
    assert page.post("/api/stop", {"run": run}).status == 200
    page.wait(run, "ended")
    assert page.post("/api/remove", {"run": run}).status == 200
    assert page.state(run) == ""


def test_a_failed_run_shows_its_hint(page):
    run = page.start("trace", arguments=["t:no:such_event"])
    page.wait(run, "failed")
    shown = page.rows(run, lambda shown: shown["messages"])
    assert shown["messages"][0].startswith("error: ")


def test_pictures_are_of_the_run(page):
    burn = f"{workload('calls')} getppid 3000000"
    run = page.start("profile", command=burn, options={"user-only": True})
    page.wait(run, "ended")
    samples = page.rows(run, lambda shown: "whole run" in shown["title"])
    total = sum(int(row[column(samples, "SAMPLES")]) for row in samples["sort"])
    created = page.post("/api/picture", {"run": run}).json
    picture = page.get(created["path"])
    assert created["name"] == "flame graph"
    assert f"profile: {total} samples in" in picture.body.decode()
    assert "sandbox" in picture.headers["Content-Security-Policy"]
    assert page.get(created["path"]).status == 404  # it is fetched once


def test_a_tracer_is_explained(page):
    created = page.post("/api/explain", {"tracer": "syscalls", "options": {"by": "comm"}})
    assert created.status == 200, created.body
    text = page.get(created.json["path"]).body.decode()
    assert "pytracer syscalls --by comm" in text
    assert "bytecode" in text


def test_there_are_at_most_eight_runs(page):
    runs = [page.start("exitsnoop", filters={"comm": ["pt-nobody"]}) for _ in range(8)]
    answer = page.post("/api/start", {"tracer": "exitsnoop"})
    assert answer.status == 400
    assert "run already" in answer.json["error"]
    for run in runs:
        page.post("/api/stop", {"run": run})
    for run in runs:
        page.wait(run, "ended")
