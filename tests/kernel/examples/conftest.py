"""The tracers of examples/ are found by PYTRACER_PATH, so their tests run them by name like any other."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _examples_are_found(monkeypatch):
    monkeypatch.setenv("PYTRACER_PATH", str(Path(__file__).parents[3] / "examples"))
