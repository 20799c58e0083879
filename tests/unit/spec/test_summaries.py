"""Test that tracers are listed without being loaded, with what their declarations say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytracer.errors import PytracerError
from pytracer.spec import registry
from pytracer.spec.registry import TracerSummary


def test_summaries_are_those_of_the_declarations():
    assert registry.summaries() == [TracerSummary.of(tracer) for tracer in registry.all_tracers()]


def test_no_tracer_is_loaded():
    code = (
        "import sys\nfrom pytracer.spec import registry\nregistry.summaries()\n"
        "print([name for name in sys.modules if name.startswith('pytracer.tracers.')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_a_tracer_of_the_user_is_loaded(monkeypatch, tmp_path):
    declaration = Path(registry._own_file("bashreadline")).read_text()
    (tmp_path / "own.py").write_text(declaration.replace('name="bashreadline"', 'name="o" + "wn"'))
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path))
    assert TracerSummary.of(registry.get("bashreadline"))._replace(name="own") in registry.summaries()


def test_a_tracer_that_cannot_be_loaded_is_reported_and_left_out(monkeypatch, tmp_path):
    (tmp_path / "own.py").write_text("TRACER = 7\n")
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path))
    errors = list[PytracerError]()
    assert len(registry.summaries(errors.append)) == len(registry.names()) - 1
    assert [str(tmp_path / "own.py") in error.message for error in errors] == [True]
    with pytest.raises(PytracerError, match="assigns no Tracer"):
        registry.summaries()
