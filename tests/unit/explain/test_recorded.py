"""Test recorded runs: the output of --example, and that each line of the file names a tracer."""

from __future__ import annotations

import pytest

from pytracer.cli.main import main
from pytracer.explain import recorded
from pytracer.spec import registry

RUN = recorded.RecordedRun(
    "sockcount", "6.12.1", "lo -d 1", ("PROTOCOL", "TCP  23"), {"count": (46, 57.26), "pt_exec": (1, 9.0)}
)


@pytest.fixture
def one_run(monkeypatch, tmp_path):
    monkeypatch.setattr(recorded, "FILE", tmp_path / "runs")
    recorded.FILE.write_text(recorded.as_line(RUN) + "\n")


def test_a_run_is_read_as_it_was_written(one_run):
    actual = recorded.recorded_run("sockcount")
    assert (actual.session(), actual.release) == (RUN.session(), RUN.release)
    assert actual.programs == {"count": (46, 57.3), "pt_exec": (1, 9.0)}
    assert recorded.recorded_run("tcplife") is None


def test_example_prints_it_without_the_arguments_that_a_run_needs(one_run, capsys):
    assert main(["sockcount", "--example"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "$ sudo pytracer sockcount lo -d 1",
        "PROTOCOL",
        "TCP  23",
        "",
        "Linux 6.12.1; instructions for each event, by program: count 57",
    ]


def test_without_a_run_the_examples_of_the_help_are_named(one_run, capsys):
    assert main(["tcplife", "--example"]) == 2
    assert "pytracer tcplife --help" in capsys.readouterr().err


def test_runs_are_of_tracers_and_hold_nothing_that_a_terminal_would_obey():
    runs = recorded.load(recorded.FILE.read_text())
    assert set(runs) <= {tracer.name for tracer in registry.all_tracers()}
    assert all(line.isprintable() for run in runs.values() for line in run.session())
