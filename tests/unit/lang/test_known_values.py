"""Test the values that a probe spec without a format shows."""

from __future__ import annotations

import pytest

from pytracer.lang import parse_trace
from pytracer.plan import make_plan
from pytracer.request import Request
from pytracer.spec import registry
from support.probe_spec_kernel import kernel

KERNEL = kernel()


def names_and_conversions(text):
    """Return the names and conversions of the values, for each set of them."""
    plan = make_plan(Request(registry.get("trace"), probe_specs=(parse_trace(text),)), KERNEL)
    return [
        [
            (expression.text, conversion.sign)
            for expression, conversion in zip(spec.expressions, spec.conversions, strict=True)
        ]
        for spec in plan.probe_specs.specs
    ]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("k:vfs_read", [("file", "p"), ("buf", "s"), ("count", "u"), ("fast", "u")]),
        ("kr:vfs_read", [("retval", "d")]),
        ("k:unknown", []),
        ("k:unknown(int n, char *text)", [("n", "d"), ("text", "s")]),
        ("k:vfs_read (count > 1)", [("file", "p"), ("buf", "s"), ("count", "u"), ("fast", "u")]),
        ('k:vfs_read ""', []),
        ("u:x:work", []),
    ],
)
def test_known_values(text, values):
    assert names_and_conversions(text) == [values]
