"""Mistakes in the C of a tracer are errors that name the thing and a remedy, before anything is attached."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
EXAMPLES = Path(__file__).parents[2] / "examples"


class Mistake(NamedTuple):
    """A tracer, changes of its C and of its declaration, and the expected message and hint."""

    tracer: str
    in_c: dict[str, str]
    message: str
    hint: str
    in_declaration: dict[str, str] = {}


MISTAKES = {
    "a program that is not there": Mistake(
        "forkcount",
        {"int forked(": "int forkd("},
        "forkcount.c has no program forked, which the declaration names",
        "programs: forkd;",
    ),
    "a missing include": Mistake(
        "lifetimes",
        {'#include "log2.h"\n': ""},
        "does not compile: lifetimes.c:26: pt_bucket() is not declared",
        '#include "log2.h" declares it',
    ),
    "a function that the include calls": Mistake(
        "forkcount",
        {
            "// The context": "static int pt_no_such(u64 a);\n//",
            "row->forks++": "row->forks += pt_no_such(1)",
        },
        "pt_no_such() is not defined",
        "--debug shows",
    ),
    "a reason for loss": Mistake(
        "forkcount",
        {"if (row)": "pt_lost(PT_LOSS_NO_SUCH);\n    if (row)"},
        "PT_LOSS_NO_SUCH is not declared",
        "MAP_FULL, INFLIGHT_FULL,",
    ),
    "an option without config": Mistake(
        "forkcount",
        {"if (row)": "if (PT_CFG_MIN)"},
        "PT_CFG_MIN is not declared",
        'no option of the tracer has config="min"',
    ),
    "durations without the hook that measures": Mistake(
        "renames",
        {'#include "task.h"': '#define PT_TIMED\n#include "returns.h"\n#include "task.h"'},
        "leave out PT_TIMED, and declare the hook RETURN_TIMED",
        "",
    ),
    "an option that the C ignores": Mistake(
        "forkcount",
        {},
        "forkcount.c ignores --size: it does not have SIZE",
        "SIZE is its value",
        {
            "import (\n": "import (\n    Number,\n",
            "options=(\n": 'options=(\n        Number("size", "the size", define="SIZE"),\n',
        },
    ),
    "an event that no map can hold": Mistake(
        "renames",
        {"char new[PT_COMM_LEN]": "char new[80000]", "sizeof(event->new)": "16"},
        "the map pt_record cannot be created: its keys or values are too large",
        "at most 32 KiB",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(mistake, tmp_path, monkeypatch):
    for suffix, changes in ((".c", mistake.in_c), (".py", mistake.in_declaration)):
        text = (EXAMPLES / f"{mistake.tracer}{suffix}").read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{mistake.tracer}{suffix}").write_text(text)
    monkeypatch.setenv("PYTRACER_PATH", str(tmp_path))
    result = run(mistake.tracer, "-d", 0.1)
    assert result.status in (1, 2)
    message, hint = result.err.splitlines()
    assert mistake.message in message
    assert mistake.hint in hint


def test_a_ring_without_room_for_an_event_is_refused(tmp_path, monkeypatch):
    """Two strings: the first takes its whole size of each record."""
    for suffix in (".c", ".py"):
        text = (EXAMPLES / f"renames{suffix}").read_text()
        (tmp_path / f"renames{suffix}").write_text(text.replace("char old[PT_COMM_LEN]", "char old[4096]"))
    monkeypatch.setenv("PYTRACER_PATH", str(tmp_path))
    result = run("renames", "-d", 0.1, "--buffer", "4k")
    assert result.status == 2
    assert "an event of renames takes 4128 bytes and does not fit into a ring of 4096" in result.err
    assert "hint: --buffer 8k" in result.err
    assert run("renames", "-d", 0.1, "--buffer", "8k").status == 0
