"""Set PYTRACER_PATH to examples/, so that its tests run the tracers by name."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _examples_are_found(monkeypatch):
    monkeypatch.setenv("PYTRACER_PATH", str(Path(__file__).parents[3] / "examples"))
