"""Test the parser of conditions on arguments of system calls."""

from __future__ import annotations

import os

import pytest

from pytracer.errors import ProbeSpecError
from pytracer.request import Condition
from pytracer.request.call_conditions import parse_conditions

LOW = 0xFFFFFFFF
ALL = (1 << 64) - 1


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("arg1 == 3", [Condition(0, "==", 3)]),
        ("arg6 >= 0x10", [Condition(5, ">=", 16)]),
        ("arg3 & O_CREAT", [Condition(2, "!=", 0, os.O_CREAT)]),
        ("(arg3 & 3) == (O_WRONLY|2)", [Condition(2, "==", 3, 3)]),
        ("arg3 & (O_CREAT | O_EXCL)", [Condition(2, "!=", 0, os.O_CREAT | os.O_EXCL)]),
        ("arg3 & ~1", [Condition(2, "!=", 0, ALL - 1)]),
        ("(int)arg1 == -100", [Condition(0, "==", LOW - 99, LOW)]),
        ("(unsigned int)arg1 < 5", [Condition(0, "<", 5, LOW)]),
        ("(u32)arg2 & 7", [Condition(1, "!=", 0, 7)]),
        ("arg1", [Condition(0, "!=", 0)]),
        (
            "arg1 == 1 && arg2 != 2 && arg3 > 3",
            [Condition(n, op, n + 1) for n, op in enumerate(("==", "!=", ">"))],
        ),
    ],
)
def test_conditions(text, conditions):
    assert parse_conditions(text) == tuple(conditions)


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("", "something is missing at the end", 0),
        ("arg7 == 1", "this is no argument", 0),
        ("arg0 == 1", "this is no argument", 0),
        ("fd == 1", "this is no argument", 0),
        ("arg1 == 1 || arg2 == 2", "this is no argument", 0),
        ("!arg1", "this is no argument", 0),
        ("arg1 == arg2", "this is no number", 8),
        ("arg1 == O_NOTHING", "this is no number", 8),
        ("arg1 == -1", "a negative number", 8),
        ("(int)arg1 < 3", "compares without a sign", 0),
        ("arg1 == 1 arg2", "'arg2' is not allowed here", 10),
        ("arg1 == " + "9" * 30, "more than 64 bits", 8),
        (" && ".join(["arg1"] * 33), "more than 32 conditions", 256),
        ("arg1 = 1", "assignments are not allowed", 5),
        ("\x1b[0m", "has no meaning here", 0),
    ],
)
def test_what_no_filter_can_test_is_refused(text, message, at):
    with pytest.raises(ProbeSpecError, match=message) as excinfo:
        parse_conditions(text)
    assert excinfo.value.start == at
