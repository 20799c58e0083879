"""Test that scripts/new-tracer writes working tracers, and that only trusted folders are searched for
tracers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pytracer
from pytracer.bpf.compile.source import read_source
from pytracer.cli.main import COMMANDS
from pytracer.enrich import check_decoders, decoders
from pytracer.errors import PytracerError, SchemaError, UsageError
from pytracer.model import Schema
from pytracer.plan import make_plan
from pytracer.record import replace
from pytracer.request import Request
from pytracer.spec import declaration, registry
from support.fake_kernel import FakeKernel

ROOT = Path(__file__).parents[2]
SHAPES = {"table": "Table", "histogram": "Histogram", "stream": "Stream", "stacks": "Stacks"}


@pytest.fixture(autouse=True)
def _no_folders(monkeypatch):
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.delenv(registry.VARIABLE, raising=False)


def make(*words: object, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "scripts/new-tracer", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_tracer_can_be_planned(tmp_path, shape):
    result = make("mine", "--shape", shape, "--into", tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.c", "mine.py"]
    registry.add_folder(tmp_path)
    tracer = registry.get("mine")
    assert type(tracer.outputs[0]).__name__ == SHAPES[shape]
    assert tracer.c_file == str(tmp_path / "mine.c")
    assert '#line 1 "mine.c"' in read_source(tracer.c_file)
    assert make_plan(Request(tracer), FakeKernel()).probes
    assert "mine" in registry.names()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_new_tracer_in_the_checkout_has_a_test_of_its_name(tmp_path, shape):
    for folder in ("tracers", "probes_c", "scripts"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(ROOT / "tests/kernel/examples", tmp_path / "tests/kernel/examples")
    shutil.copy(ROOT / "scripts/new-tracer", tmp_path / "scripts")
    result = make("mine", "--shape", shape, root=tmp_path)
    paths = ["tracers/mine.py", "probes_c/mine.c", "tests/kernel/test_mine.py"]
    *printed, last = result.stdout.splitlines()
    assert printed == paths
    assert "replace the sentences" in last
    assert 'run("mine", ' in (tmp_path / paths[2]).read_text()
    second_run = make("mine", "--shape", shape, root=tmp_path)
    assert (second_run.returncode, second_run.stdout) == (1, "")
    assert "tracers/mine.py exists" in second_run.stderr


@pytest.mark.parametrize("words", [("Mine",), ("1st",), ("a-b",), ("mine", "--into", "/nonexistent")])
def test_names_and_folders_are_checked(words):
    result = make(*words, "--shape", "table")
    assert result.returncode == 2
    assert "error: " in result.stderr


@pytest.mark.parametrize("name", ["list", "run"])
def test_names_of_commands_are_refused(tmp_path, name):
    result = make(name, "--shape", "table", "--into", tmp_path)
    assert result.returncode == 2
    assert f"{name!r} is the name of a command" in result.stderr
    assert make("mine", "--shape", "table", "--into", tmp_path).returncode == 0
    text = (tmp_path / "mine.py").read_text()
    (tmp_path / f"{name}.py").write_text(text.replace('"mine"', f'"{name}"'))
    registry.add_folder(tmp_path)
    with pytest.raises(UsageError, match=f"{name}.py: {name!r} is the name of a command"):
        registry.get(name)


def test_the_names_of_commands_are_known():
    assert {*COMMANDS, "help", "run"} == registry.RESERVED


def test_earlier_folders_have_priority(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert make("mine", "--shape", "table", "--into", tmp_path / name).returncode == 0
    monkeypatch.setenv(registry.VARIABLE, f"{tmp_path}/one:{tmp_path}/two")
    assert registry.get("mine").c_file == f"{tmp_path}/one/mine.c"
    registry.add_folder(tmp_path / "two")
    assert registry.get("mine").c_file == f"{tmp_path}/two/mine.c"


@pytest.mark.parametrize("writable", ["folder", "file"])
def test_code_that_others_can_write_is_not_run(tmp_path, monkeypatch, writable):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine.py").write_text("raise SystemExit('it was run')\n")
    monkeypatch.setenv(registry.VARIABLE, str(folder))
    (folder if writable == "folder" else folder / "mine.py").chmod(0o777)
    with pytest.raises(UsageError, match="can be written by others"):
        registry.get("mine")
    with pytest.raises(UsageError, match="No such file"):
        registry.add_folder(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_code_of_another_user_is_not_run_but_that_of_who_called_sudo(tmp_path, monkeypatch):
    assert make("mine", "--shape", "table", "--into", tmp_path).returncode == 0
    os.chown(tmp_path / "mine.py", 12345, 12345)
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="uid 12345"):
        registry.get("mine")
    monkeypatch.setenv("SUDO_UID", "12345")
    assert registry.get("mine").name == "mine"


def test_a_declaration_that_fails_is_an_error_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setenv(registry.VARIABLE, str(tmp_path))
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match=r"broken.py:1: ZeroDivisionError: division by zero"):
        registry.get("broken")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(UsageError, match=r"empty.py assigns no Tracer to TRACER"):
        registry.get("empty")
    (tmp_path / "ends.py").write_text("raise SystemExit(3)\n")
    assert make("mine", "--shape", "table", "--into", tmp_path).returncode == 0
    errors = list[PytracerError]()
    tracers = {tracer.name for tracer in registry.all_tracers(errors.append)}
    assert tracers == {*registry.names()} - {"broken", "empty", "ends"}
    assert "mine" in tracers
    assert [Path(error.message.partition(":")[0].split()[0]).stem for error in errors] == [
        "broken",
        "empty",
        "ends",
    ]
    (tmp_path / "empty.py").unlink()
    (tmp_path / "ends.py").unlink()
    with pytest.warns(UserWarning, match=r"broken.py:1: ZeroDivisionError"):
        assert "mine" in [tracer.name for tracer in pytracer.list_tracers()]


def test_a_broken_file_does_not_end_the_list(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytracer", "--tracers", tmp_path, "list"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "  syscalls  " in result.stdout
    warning, hint = result.stderr.splitlines()
    assert warning == f"pytracer: warning: {tmp_path}/broken.py:1: ZeroDivisionError: division by zero"
    assert hint.startswith("hint: ")


def test_headers_beside_a_c_file_are_included(tmp_path):
    (tmp_path / "own.h").write_text("int own;\n")
    (tmp_path / "mine.c").write_text('#include "own.h"\n#include "task.h"\n')
    text = read_source(str(tmp_path / "mine.c"))
    assert "int own;" in text
    assert "pt_trace_state" in text


HEAD = "from pytracer.spec import Alternative, Column, Flag, GroupBy, Hook, RawTracepoint, Table, Tracer\n"
WHOLE = """PROBE = RawTracepoint("made", event="sched_process_fork")
HOOKS = (Hook("fork", "a fork", (Alternative("raw-tracepoint", (PROBE,)),)),)
ROWS = Table("rows", (Column("count", "forks"),{}), sort="{}")
TRACER = Tracer("mine", "processes", "s", "d", HOOKS, (ROWS,){})
"""
MISTAKES = {
    'TRACER = Tracer("mine", "processes", "s", "d", (), outputs=(), exemples=())\n': (
        "mine.py:2: Tracer has no field 'exemples'; its fields are name, group, "
    ),
    'TRACER = Tracer("mine", "tasks")\n': "mine.py:2: Tracer needs a value for 'summary'",
    'COUNT = Column("count", "forks", lable="N")\n': "mine.py:2: Column has no field 'lable'; its fields are",
    "TRACER = Trazer()\n": "mine.py:2: NameError: name 'Trazer' is not defined",
    "TRACER = (\n": "mine.py:2: '(' was never closed",
    WHOLE.format("", "cuont", ""): "mine.py: the table is sorted by 'cuont', which is no column",
    WHOLE.format(' Column("count", "again")', "count", ""): "mine.py: two columns are called 'count'",
    WHOLE.format(
        ' Column("Total-ns", "time")', "count", ""
    ): "mine.py: column 'Total-ns' has an invalid name",
    WHOLE.format(' Column("avg", "mean", ratio=("total", "count"))', "count", ""): (
        "mine.py: column 'avg' is a ratio of 'total', which is no other column"
    ),
    WHOLE.format(' Column("avg", "mean", ratio=("avg", "count"))', "count", ""): (
        "mine.py: column 'avg' is a ratio of 'avg', which is no other column"
    ),
    WHOLE.format(' Column("most", None)', "count", ""): "mine.py: help of Column is None, which is no str",
    WHOLE.format(' Column("most", "m", computed=True)', "count", ""): (
        "mine.py: a computed column needs probe specs"
    ),
    WHOLE.format("", "count", "").replace("processes", "procs"): (
        "mine.py: group 'procs' is none of the groups of pytracer list"
    ),
    WHOLE.format("", "", ""): "mine.py: the table is sorted by '', which is no column",
    WHOLE.format("", "count", ", examples=('mine',)"): "mine.py: example 'mine' is no pair of texts",
    WHOLE.format("", "count", "").replace("HOOKS, (ROWS", "(), (ROWS"): "mine.py: the tracer has no hooks",
    WHOLE.format("", "count", "").replace("(ROWS,)", "(ROWS, ROWS)"): (
        "mine.py: not exactly one output of the tracer has no flag"
    ),
    WHOLE.format("", "count", ", options=(Flag('pid', 'p'), Flag('pid', 'q'))"): (
        "mine.py: two options or filters are called 'pid'"
    ),
    WHOLE.format("", "count", ", options=(GroupBy('by', 'k', default='pid'),)"): (
        "mine.py: the default of --by is 'pid', which is no key"
    ),
    WHOLE.format("", "count", ', notes=("caveat")'): "mine.py: notes of Tracer is str, not a tuple of str",
    WHOLE.format("", "count", ", filters=('-p',)"): "mine.py: filters of Tracer has '-p', which is no Filter",
}


@pytest.mark.parametrize("declaration", MISTAKES)
def test_a_mistake_in_a_declaration_is_one_line_that_names_the_file(tmp_path, declaration):
    (tmp_path / "mine.py").write_text(HEAD + declaration)
    registry.add_folder(tmp_path)
    with pytest.raises(UsageError) as excinfo:
        registry.get("mine")
    assert excinfo.value.message.startswith(f"{tmp_path}/{MISTAKES[declaration]}")
    assert "\n" not in excinfo.value.message + excinfo.value.hint
    assert excinfo.value.exit_code == 2


@pytest.mark.parametrize("name", registry.names())
def test_declarations_of_the_package_pass_the_check(name):
    declaration.check(registry.get(name))
    assert registry.get(name).file == f"tracers/{name}.py"


def test_an_unknown_decoder_names_the_column():
    tracer = registry.get("tccount")
    output = tracer.outputs[0]
    column = replace(output.columns[0], decode="erno")
    schema = Schema(tracer.name, (), (column,), output)
    with pytest.raises(SchemaError) as excinfo:
        check_decoders(schema, decoders({}), "tracers/tccount.py")
    assert excinfo.value.message == "tracers/tccount.py: column 'packets' has the unknown decoder 'erno'"
    assert excinfo.value.hint == "did you mean errno?"


@pytest.mark.parametrize(
    ("decoder", "numeric", "message"),
    [
        ("text", True, "has the decoder 'text', which takes bytes, but the C's 'packets' is a number"),
        ("errno", False, "has the decoder 'errno', which takes a number, but the C's 'packets' is an array"),
    ],
)
def test_a_decoder_that_does_not_fit_the_c_names_the_column(decoder, numeric, message):
    tracer = registry.get("tccount")
    column = replace(tracer.outputs[0].columns[0], decode=decoder)
    schema = Schema(tracer.name, (), (column,), tracer.outputs[0])
    with pytest.raises(SchemaError) as excinfo:
        check_decoders(schema, decoders({}), "tracers/tccount.py", {"packets": numeric})
    assert excinfo.value.message == f"tracers/tccount.py: column 'packets' {message}"
    assert excinfo.value.hint
    check_decoders(schema, decoders({}), "tracers/tccount.py", {"packets": not numeric})
