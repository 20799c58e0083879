"""Test which absences excuse a kernel test, and which do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytracer.features.table.feature import Feature
from pytracer.plan.attach_targets import ALTERNATIVES
from support import needs
from support.needs import NEEDS, DeclaredSkip, KernelUnderTest, Need, refused_by_right

KERNEL_TESTS = Path(__file__).parents[1] / "kernel"


def kernel(release: str = "6.1.0-56-cloud-amd64", machine: str = "x86_64", **options: str) -> KernelUnderTest:
    return KernelUnderTest(release, machine, lambda name: options.get(name, "y"))


@pytest.fixture
def feature(monkeypatch):
    """Return a feature of Linux 5.2 to 6.12, for x86-64, that requires an option."""
    feature = Feature("change", "foo", "5.2", until="6.13", options=("FOO",), machines=("x86_64",))
    monkeypatch.setitem(NEEDS, "hook=foo", Need((feature,), says="no foo"))
    return {"hook": "foo"}


@pytest.mark.parametrize(
    ("survey", "excuse"),
    [
        (kernel(), ""),
        (kernel("5.2.0"), ""),
        (kernel("6.12.117+deb13-cloud-amd64"), ""),
        (kernel("5.1.99"), "it came with Linux 5.2, and this is 5.1.99"),
        (kernel("4.19.0-27-amd64"), "it came with Linux 5.2, and this is 4.19.0-27-amd64"),
        (kernel("6.13-rc1"), "Linux 6.13 took it away, and this is 6.13-rc1"),
        (kernel(machine="aarch64"), "it is for x86_64, and this is aarch64"),
        (kernel(FOO="n"), "built without CONFIG_FOO"),
        (kernel(FOO="m"), ""),
    ],
)
def test_reasons_that_excuse_a_kernel(feature, survey, excuse):
    assert survey.excuse("hook=foo") == excuse


def test_a_configuration_that_cannot_be_read_is_no_excuse(feature):
    assert KernelUnderTest("6.1.0", "x86_64", lambda name: None).excuse("hook=foo") == ""


def test_present_features_run_and_inexcusably_missing_ones_fail(feature, monkeypatch):
    monkeypatch.setattr(needs, "running", kernel)
    needs.needs("hook=foo", True)
    with pytest.raises(pytest.fail.Exception, match="no excuse"):
        needs.needs("hook=foo", False)
    monkeypatch.setattr(needs, "running", lambda: kernel(FOO="n"))
    with pytest.raises(DeclaredSkip, match="built without CONFIG_FOO"):
        needs.needs("hook=foo", False)


def test_a_refusal_needs_an_excuse_the_right_status_and_the_right_reason(feature):
    old = kernel("4.19.0")
    assert refused_by_right(4, "this kernel has no way: no foo", feature, old)
    for status, message in ((1, "no foo"), (5, "no foo"), (4, "something else")):
        with pytest.raises(AssertionError):
            refused_by_right(status, message, feature, old)
    with pytest.raises(AssertionError, match="must run"):
        refused_by_right(4, "no foo", feature, kernel())
    with pytest.raises(AssertionError, match="must run"):
        refused_by_right(1, "crashed", feature, kernel())


def test_a_running_feature_must_not_be_excused(feature):
    assert not refused_by_right(0, "", feature, kernel())
    assert not refused_by_right(0, "", feature, kernel("4.19.0"))  # a backport
    for survey in (kernel("7.2.0"), kernel(FOO="n")):
        with pytest.raises(AssertionError, match="out of date"):
            refused_by_right(0, "", feature, survey)


def test_every_alternative_of_every_tracer_has_its_place_in_the_table():
    alternatives = {
        f"{hook.name}={alternative.name}" for hook in needs.hooks() for alternative in hook.alternatives
    }
    alternatives |= {
        f"{kind}={alternative.name}" for kind, rows in ALTERNATIVES.items() for alternative in rows
    }
    assert {name for name in NEEDS if "=" in name} <= alternatives
    for name in alternatives:
        assert all(need.says for need in needs.needed(name)), name


@pytest.mark.parametrize("path", sorted(KERNEL_TESTS.glob("*.py")), ids=lambda path: path.name)
def test_no_kernel_test_skips_itself(path):
    assert not re.search(r"pytest\.skip|skipif|importorskip|xfail", path.read_text())
