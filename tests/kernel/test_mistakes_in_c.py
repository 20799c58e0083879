"""Mistakes in the C of a tracer are errors that name the thing and a remedy, before anything is attached."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from support.cli import run

pytestmark = pytest.mark.kernel
EXAMPLES = Path(__file__).parents[2] / "examples"
DURATION = "Column, Duration, Hook, RawTracepoint, Stream, Tracepoint, Tracer"
MIN = 'options=(Duration("min", "only long ones", config="min"),),\n    outputs'


class Mistake(NamedTuple):
    """A tracer, changes of its C and of its declaration, and what the message and the hint say."""

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
