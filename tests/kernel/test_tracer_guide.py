"""Test that the C of docs/writing-tracers.md that is in no example compiles and works as described."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
GUIDE = (Path(__file__).parents[2] / "docs" / "writing-tracers.md").read_text()
CHDIRS = """
from pytracer.spec import Column, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS

COLUMNS = (*TASK_COLUMNS, ERROR, Column("path", "the path", decode="text"))
TRACER = Tracer(
    "chdirs", "files", "s", "d", (return_of("chdir"),), (Stream(columns=COLUMNS),), (ONLY_FAILED,),
    TASK_FILTERS, follow=True,
)
"""
FIRSTRUNS = """
from pytracer.spec import Alternative, Column, Hook, RawTracepoint, Table, Tracer
from pytracer.spec.filters import TASK_FILTERS

FORKED = RawTracepoint("forked", event="sched_process_fork", arguments=2)
SWITCHED = RawTracepoint("switched", event="sched_switch", arguments=3)
HOOKS = tuple(
    Hook(probe.program, "s", (Alternative("raw-tracepoint", (probe,)),)) for probe in (FORKED, SWITCHED)
)
ROWS = Table("rows", (Column("children", "c"), Column("total", "t")), sort="children")
TRACER = Tracer("firstruns", "cpu", "s", "d", HOOKS, (ROWS,), filters=TASK_FILTERS, follow=True)
"""
ROWS = """#include "task.h"

struct row_key {
    u32 none;
};

struct row_value {
    u64 children;
    u64 total;
};
#include "rows.h"

"""
COUNT = """struct row_key key = {};
    struct row_value *row = pt_row(&key);

    if (row) {
        row->children++;
        row->total += ns;
    }"""


def code(first_line: str) -> str:
    """Return the block of the guide that begins with a line."""
    [block] = re.findall(rf"(?<=\n\n)(    {re.escape(first_line)}\n(?:(?:    .*)?\n)+)", GUIDE)
    return textwrap.dedent(block)


def run_tracer(folder: Path, name: str, declaration: str, c: str, *words: object):
    (folder / f"{name}.py").write_text(declaration)
    (folder / f"{name}.c").write_text(c)
    result = run("--tracers", folder, name, "-f", "json", *words)
    assert result.status == 0, result.err
    return result


@pytest.mark.parametrize("alternative", ["raw-tracepoint", "tracepoint"])
def test_the_tracer_of_a_system_call(tmp_path, alternative):
    script = "cd /tmp; cd /pt/not/there 2>/dev/null; cd /"
    hook = ["--hook", f"return={alternative}"]
    result = run_tracer(
        tmp_path, "chdirs", CHDIRS, code('#include "task.h"'), *hook, "--", "sh", "-c", script
    )
    opens = [(event["path"], event["err"]) for event in result.of("event")]
    assert opens == [("/tmp", None), ("/pt/not/there", "ENOENT"), ("/", None)]


def test_the_map_from_one_event_to_the_next(tmp_path):
    script = "i=0; while [ $i -lt 23 ]; do /bin/true & i=$((i+1)); done; wait"
    c = code("struct start {")
    assert "... // count ns" in c
    c = ROWS + c.replace("... // count ns", COUNT)
    result = run_tracer(tmp_path, "firstruns", FIRSTRUNS, c, "--", "sh", "-c", script)
    [row] = result.of("summary")
    assert row["children"] == 23
    assert row["total"] > 0
