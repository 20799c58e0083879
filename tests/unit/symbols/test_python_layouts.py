"""Test the offsets of CPython's versions, against what interpreters say about themselves."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from pytracer.symbols import python_layouts
from pytracer.symbols.python_layouts import DEBUG_OFFSETS, LAYOUTS, MEMBERS, Layout, find_layout, pack
from support.compilers import compile_files
from support.pythons import find_libraries

SCRIPT = Path(__file__).parents[3] / "scripts/python-layout"
C = """
struct _PyInterpreterFrame {
    long a;
    struct { long b; } *f_code;
    struct _PyInterpreterFrame *previous;
    char owner;
};
struct _is { int a; struct { int b, head; } threads; };
typedef struct { long length; int state; } PyASCIIObject;
int main() { struct _PyInterpreterFrame frame; struct _is is; PyASCIIObject text; return 0; }
"""


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("python_layout", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("python_layout", loader))
    loader.exec_module(module)
    return module


def read_types(script, path):
    with open(path, "rb") as stream:
        types = script.find_types(ELFFile(stream))
        return script.layout(types), script.debug_offsets(types)


def test_the_script_has_every_member_in_order(script):
    assert tuple(script.MEMBERS) == MEMBERS
    assert (*script.DEBUG_OFFSETS, "text_data") == MEMBERS


def test_offsets_are_those_of_interpreters_with_debug_information(script):
    """Of all that are on this machine."""
    for version, path in find_libraries():
        offsets, own = read_types(script, path)
        assert offsets == LAYOUTS.get(version, offsets), path
        assert own == DEBUG_OFFSETS.get(version, own), path


def test_the_script_reads_debug_information(script, tmp_path):
    """Members of members count, the first name that is there does, and others are 0."""
    path = compile_files(tmp_path, {"program.c": C}, "-g")
    offsets, own = read_types(script, path)
    layout = dict(zip(MEMBERS, offsets, strict=True))
    assert layout["interpreter_threads"] == 8
    assert (layout["frame_code"], layout["frame_previous"], layout["frame_kind"]) == (8, 16, 24)
    assert (layout["text_state"], layout["text_ascii"], layout["text_data"]) == (8, 16, 0)
    assert own == ()


def debug_offsets(version=(3, 13), free_threaded=0, **members):
    size = max(DEBUG_OFFSETS[version]) + 8
    data = bytearray(size)
    struct.pack_into("<8sQQ", data, 0, b"xdebugpy", 0x030D00F0, free_threaded)
    for number, (name, place) in enumerate(zip(MEMBERS, DEBUG_OFFSETS[version], strict=False)):
        if place:
            struct.pack_into("<Q", data, place, members.get(name, 100 + number))
    return bytes(data)


def test_a_version_with_offsets_of_its_own_is_asked():
    layout = find_layout((3, 13), lambda size: debug_offsets()[:size])
    assert (layout.interpreters, layout.cframe_frame, layout.text_ascii) == (100, 0, 119)
    assert layout.text_data == layout.text_ascii + 16


@pytest.mark.parametrize(
    "data",
    [
        b"",
        debug_offsets()[:-1],
        b"y" + debug_offsets()[1:],
        debug_offsets(free_threaded=1),
        debug_offsets(frame_code=1 << 40),
    ],
)
def test_offsets_that_are_none_are_refused(data):
    assert find_layout((3, 13), lambda size: data[:size]) is None


def test_a_version_that_is_not_known_has_no_layout():
    assert find_layout((3, 8), lambda _: b"") is None
    assert find_layout((4, 0), lambda _: b"") is None


@pytest.mark.parametrize(
    ("version", "traits"),
    [((3, 9), (0, 0, 1, 0)), ((3, 11), (1, 0, 1, 1)), ((3, 12), (1, 1, 0, 3)), ((3, 13), (0, 1, 0, 3))],
)
def test_traits_of_versions(version, traits):
    """A frame in another struct, frames of calls, code objects without a number, and the last kind."""
    layout = Layout(*range(1, len(MEMBERS) + 1))
    assert struct.unpack_from("=4I", pack(version, layout)) == traits


def test_what_is_compared_of_a_code_object_is_bounded():
    layout = Layout(*[1 << 19 if name == "code_linetable" else 3 for name in MEMBERS])
    start, size = struct.unpack_from("=2I", pack((3, 13), layout), 14 * 4)
    assert (start, size) == (0, python_layouts._CODE_LIMIT)
