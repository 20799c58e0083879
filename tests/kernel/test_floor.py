"""Test that the C of every tracer compiles for every alternative, and uses what the table says."""

from __future__ import annotations

import pytest

from pytracer.kernel import tracefs
from pytracer.spec import registry
from support.compiled_uses import Floor, recorded_uses
from support.needs import running

pytestmark = [pytest.mark.kernel, pytest.mark.matrix]


@pytest.mark.parametrize("tracer", registry.all_tracers(), ids=lambda tracer: tracer.name)
def test_every_alternative_compiles_and_uses_the_features_in_the_table(tracer):
    tracefs.root()  # mounts it: the compiler reads the formats of trace events there
    floor = Floor(tracer)
    for variant, reason in floor.missing.items():
        assert "=" in variant, reason
        assert running().excuse(variant), f"{variant}: {reason}"
    assert floor.uses == recorded_uses(tracer.name), f"scripts/record --uses {tracer.name}"
