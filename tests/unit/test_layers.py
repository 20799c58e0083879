"""Imports go one way: cli -> conductors -> rooms -> facts -> spec -> errors; tracers import the spec only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytracer

ROOT = Path(pytracer.__file__).parent
TIERS = {
    "errors": 0,
    "ktime": 0,
    "inherited": 1,
    "procfs": 0,
    "progress": 0,
    "waiting": 0,
    "record": 0,
    "budget": 1,
    "text": 0,
    "arrays": 0,
    "spec": 1,
    "kernel": 2,
    "symbols": 2,
    "model": 2,
    "ask": 2,
    "plan": 3,
    "bpf": 3,
    "enrich": 3,
    "sinks": 3,
    "launch": 3,
    "seccomp": 4,
    "walker": 4,
    "showing": 5,
    "itself": 4,
    "link_headers": 4,
    "session": 6,
    "doctor": 4,
    "programs": 4,
    "dissection": 5,
    "pinning": 4,
    "trace": 7,
    "packing": 7,
    "run": 8,
    "explain": 9,
    "cli": 10,
    "api": 11,
    "__main__": 11,
    "__init__": 12,
}
FILES = sorted(path for path in ROOT.rglob("*.py") if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The rooms that a file imports, wherever in the file it does."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "pytracer":
                names = [f"pytracer.{alias.name}" for alias in node.names]
            else:
                names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("pytracer.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = room_of(path)
    for imported in imports_of(path):
        if room == "tracers":
            assert imported == "spec", f"a tracer imports {imported}"
            continue
        assert imported != "tracers", "tracers are found by the registry, not imported"
        if imported != room:
            assert TIERS[imported] < TIERS[room], f"{room} imports {imported}"


def test_every_room_is_known():
    rooms = {room_of(path) for path in FILES} - {"tracers", "probes_c"}
    assert rooms <= set(TIERS)


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
    limit = 60 if room_of(path) == "tracers" else 400
    assert len(path.read_text().splitlines()) <= limit
