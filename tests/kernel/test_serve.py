"""Test the page's runs on a real kernel: rows, end, pictures, and leftovers."""

from __future__ import annotations

import pytest

from support.pages import serve_page
from support.workloads import workload

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def page():
    with serve_page("--allow-commands") as actual:
        yield actual


def column(rows, name):
    return [definition["name"] for definition in rows["columns"]].index(name)


def test_the_rows_are_those_of_the_run(page):
    run = page.start("syscalls", command=f"{workload('calls')} getppid 23", interval="0.5")
    page.wait(run, "ended")
    table = page.rows(run, lambda table: "whole run" in table["title"])
    assert table["command"] == f"pytracer syscalls 0.5 -- {workload('calls')} getppid 23"
    [row] = [index for index, cells in enumerate(table["cells"]) if cells[0] == "getppid"]
    assert table["cells"][row][column(table, "CALLS")] == "23"
    assert table["sort"][row][column(table, "CALLS")] == 23
    assert (table["messages"], table["losses"]) == ([], [])


def test_events_are_shown_as_they_occur_and_stop_ends_the_run(page):
    script = f"{workload('opens')} openat 0 23 /pt/not/there; exec sleep 60"
    run = page.start("opensnoop", filters={"comm": ["opens"]}, command=f'sh -c "{script}"')
    table = page.rows(run, lambda table: table["total"] >= 23)
    assert table["total"] == 23
    assert {cells[column(table, "PATH")] for cells in table["cells"]} == {"/pt/not/there"}
    assert page.state(run) == "running"
    assert page.post("/api/stop", {"run": run}).status == 200
    page.wait(run, "ended")
    assert page.post("/api/remove", {"run": run}).status == 200
    assert page.state(run) == ""


def test_a_failed_run_shows_its_hint(page):
    run = page.start("trace", arguments=["t:no:such_event"])
    page.wait(run, "failed")
    table = page.rows(run, lambda table: table["messages"])
    assert table["messages"][0].startswith("error: ")


def test_pictures_are_of_the_run(page):
    burn = f"{workload('calls')} getppid 3000000"
    run = page.start("profile", command=burn, options={"user-only": True})
    page.wait(run, "ended")
    samples = page.rows(run, lambda table: "whole run" in table["title"])
    total = sum(int(row[column(samples, "SAMPLES")]) for row in samples["sort"])
    response = page.post("/api/picture", {"run": run}).json
    picture = page.get(response["path"])
    assert response["name"] == "flame graph"
    assert f"profile: {total} samples in" in picture.body.decode()
    assert "sandbox" in picture.headers["Content-Security-Policy"]
    assert page.get(response["path"]).status == 404  # it is fetched once


def test_a_tracer_is_explained(page):
    explanation = page.post("/api/explain", {"tracer": "syscalls", "options": {"by": "comm"}})
    assert explanation.status == 200, explanation.body
    text = page.get(explanation.json["path"]).body.decode()
    assert "pytracer syscalls --by comm" in text
    assert "bytecode" in text


def test_eight_runs_are_the_maximum(page):
    runs = [page.start("exitsnoop", filters={"comm": ["pt-nobody"]}) for _ in range(8)]
    answer = page.post("/api/start", {"tracer": "exitsnoop"})
    assert answer.status == 400
    assert "run already" in answer.json["error"]
    for run in runs:
        page.post("/api/stop", {"run": run})
    for run in runs:
        page.wait(run, "ended")
