"""Test that a filter which the C of a tracer does not apply is an error, not a result of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
EXAMPLES = Path(__file__).parents[2] / "examples"
CHECK = "if (!pt_is_current_traced())\n        return PT_PASS;"


@pytest.mark.parametrize("words", [["--comm", "sh"], ["-p", 1], ["--", "sleep", 0.1]])
def test_a_filter_that_no_program_reads_is_refused(words, tmp_path, monkeypatch):
    for file in ("forkcount.py", "forkcount.c"):
        text = (EXAMPLES / file).read_text()
        (tmp_path / file).write_text(text.replace(CHECK, ""))
        assert file.endswith(".py") or CHECK in text
    monkeypatch.setenv("PYTRACER_PATH", str(EXAMPLES))
    assert run("forkcount", "-d", 0.1, *words).status == 0
    monkeypatch.setenv("PYTRACER_PATH", str(tmp_path))
    assert run("forkcount", "-d", 0.1).status == 0
    result = run("forkcount", "-d", 0.1, *words)
    assert result.status == 1
    assert "a filter has no effect: no program " in result.err
    assert "pt_is_current_traced()" in result.err
