"""Test that imports go one way: cli and api import trace, trace the packages below it, down to errors.

A room is a package or module of ``pytracer``, or a package or module inside ``pytracer.bpf``. LAYERS lists
them from the bottom up; a room imports rooms of lower layers only. Tracers import the spec only.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

import pytracer

ROOT = Path(pytracer.__file__).parent
LAYERS = (
    ("errors", "exports", "ktime", "procfs", "record", "signal_mask", "startup", "text"),
    ("arrays", "progress"),
    ("spec", "inherited", "budget", "features.table"),
    ("kernel", "symbols", "model", "lang"),
    ("request",),
    ("plan", "enrich", "sinks", "targets"),
    ("view",),
    # bpf: system calls and data; assembler; attach; read; load, cache; compile; what combines them.
    ("bpf.sys", "bpf.digest"),
    ("bpf.identity", "bpf.line_info", "bpf.objects", "bpf.process_mark", "bpf.toolchain"),
    ("bpf.trial", "bpf.holders", "bpf.image", "bpf.obj_info"),
    ("bpf.prober", "bpf.asm"),
    ("bpf.attach",),
    ("bpf.read",),
    ("bpf.load", "bpf.cache"),
    ("bpf.compile", "bpf.asm.lessons"),
    ("bpf.builder",),
    ("bpf.target_programs",),
    ("features",),
    ("prog", "packing", "seccomp"),
    ("doctor", "trace"),
    ("explain",),
    ("web", "screen"),
    ("cli", "api"),
    ("__main__",),
    ("__init__",),
)
LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
FILES = sorted(
    Path(folder, name)
    for folder, _, names in os.walk(ROOT, followlinks=True)  # cli and tracers are symbolic links
    for name in names
    if name.endswith(".py")
)


INNER = ("bpf.asm.lessons", "features.table")
"""Packages in a room that are rooms of their own: of another layer than what is around them."""


def room_of(module: str) -> str:
    """Return the room of a module, which is given as a dotted name below ``pytracer``."""
    for inner in INNER:
        if module == inner or module.startswith(f"{inner}."):
            return inner
    first, *parts = module.split(".")
    if first != "bpf" or not parts:
        return first
    return f"bpf.{parts[0]}"


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(path: Path) -> set[str]:
    """Return the rooms that a file imports, at its head or inside a function."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            # "from pytracer.bpf import sys" imports a module, "from pytracer.errors import Loss" a class.
            if node.module in ("pytracer", "pytracer.bpf", "pytracer.bpf.asm", "pytracer.features"):
                modules |= {f"{node.module}.{alias.name}" for alias in node.names}
            else:
                modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    internal = {module.removeprefix("pytracer.") for module in modules if module.startswith("pytracer.")}
    return {room_of(module) for module in internal} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_layers(path):
    room = room_of(module_of(path))
    for imported in imports_of(path):
        if room == "tracers":
            assert imported == "spec", f"a tracer imports {imported}"
            continue
        assert imported != "tracers", "tracers are found by the registry, not imported"
        if imported != room:
            assert LAYER_OF[imported] < LAYER_OF[room], f"{room} imports {imported}"


def test_every_room_has_a_layer():
    rooms = {room_of(module_of(path)) for path in FILES} - {"tracers", "probes_c", "bpf"}
    assert rooms == set(LAYER_OF)


def test_the_architecture_page_has_the_layers():
    page = (Path(__file__).resolve().parents[2] / "docs" / "architecture.md").read_text()
    table = page.partition("<!-- layers -->")[2].partition("<!-- /layers -->")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", table, re.M)
    assert [set(re.findall(r"`([\w.]+)`", cell)) for cell in first_cells] == [
        set(rooms) for rooms in LAYERS[::-1]
    ]


def test_unit_tests_mirror_the_packages():
    """tests/unit/plan/test_plan.py tests src/pytracer/plan; lab and bench are beside src."""
    root = Path(__file__).resolve().parents[2]
    unit = root / "tests/unit"
    for path in unit.rglob("test_*.py"):
        folder = path.parent.relative_to(unit)
        assert (ROOT / folder).is_dir() or (root / folder).is_dir(), f"{path}: there is no package {folder}"


def test_only_the_toolchain_names_bcc():
    for path in FILES:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not any(a.name.split(".")[0] == "bcc" for a in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "bcc", path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path):
    limit = 60 if room_of(module_of(path)) == "tracers" else 400
    assert len(path.read_text().splitlines()) <= limit
