"""Test that installed packages are looked at for tracers as importlib.metadata does, which loads slowly."""

from __future__ import annotations

import sys
import zipfile

import pytest

from pytracer.spec import registry


@pytest.fixture
def site(monkeypatch, tmp_path):
    """A folder of installed packages, the only one, none of which has tracers."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    monkeypatch.setattr(sys, "meta_path", [finder for finder in sys.meta_path if _is_of_python(finder)])
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[console_scripts]\nother = other:main\n")
    (tmp_path / "flat-1.0.egg-info").write_text("Name: flat\n")
    return tmp_path


def _is_of_python(finder: object) -> bool:
    return finder is registry.PathFinder or not hasattr(finder, "find_distributions")


def test_packages_without_tracers_are_not_parsed(site, monkeypatch):
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)  # an import of it fails
    assert "syscalls" in registry.names()
    assert "plugged" not in registry.names()


@pytest.mark.parametrize("name", ["plugin-1.dist-info", "plugin.egg-info", "Plugin-1.DIST-INFO"])
def test_a_package_with_a_tracer_is_found(site, name):
    (site / name).mkdir()
    (site / name / "entry_points.txt").write_text("[pytracer.tracers]\nplugged = plugin:TRACER\n")
    (site / name / "METADATA").write_text("Name: plugin\nVersion: 1\n")
    assert "plugged" in registry.names()


def test_importlib_finds_packages_outside_of_the_path(site, monkeypatch):
    assert not registry._may_have_entry_points()
    with zipfile.ZipFile(site / "packed.zip", "w") as packed:
        packed.writestr("plugin-1.dist-info/entry_points.txt", "[pytracer.tracers]\nzipped = plugin:TRACER\n")
        packed.writestr("plugin-1.dist-info/METADATA", "Name: plugin\nVersion: 1\n")
    sys.path.append(str(site / "packed.zip"))
    assert "zipped" in registry.names()
    sys.path[:] = [str(site / "one.egg")]
    (site / "one.egg").mkdir()
    assert registry._may_have_entry_points()
    sys.path[:] = [str(site)]

    class Finder:
        def find_distributions(self, context):
            return iter(())

    sys.meta_path.append(Finder())
    assert registry._may_have_entry_points()
