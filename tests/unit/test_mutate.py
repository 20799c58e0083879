"""Test the parts of scripts/mutate that need no mutation tester."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/mutate"


@pytest.fixture(scope="module")
def mutate():
    loader = importlib.machinery.SourceFileLoader("mutate", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutate", loader))
    loader.exec_module(module)
    return module


def test_every_room_has_modules_and_tests(mutate):
    for name in mutate.ROOMS:
        room = mutate.find_room(name)
        assert (bool(room.modules), bool(room.tests)) == (True, True), name


def test_a_room_or_a_module_of_it_has_the_tests_that_import_the_room(mutate):
    room = mutate.find_room("sinks/json")
    assert room.modules == [Path("src/pytracer/sinks/json.py")]
    tests = {path.name for path in room.tests}
    assert {"test_sinks.py", "test_house.py"} < tests
    assert "test_btf.py" not in tests


def test_annotations_are_not_evaluated(mutate):
    is_unevaluated = mutate.find_unevaluated("def f(a: int | None = 1 | 2) -> int | str: ...\n")
    assert [is_unevaluated((1, column)) for column in (13, 24, 39)] == [True, False, True]


def test_statements_within_functions_are_distinguished_from_those_that_are_imported(mutate):
    text = "A = (\n lambda: 1\n)\ndef f(\n a=1\n):\n if a:\n  b = (\n   1)\n return b\n"
    assert [mutate.inner_statements(text, line) for line in (2, 5, 7, 9, 10)] == [
        [],
        [],
        [(7, 9)],
        [(8, 9), (7, 9)],
        [(10, 10)],
    ]
