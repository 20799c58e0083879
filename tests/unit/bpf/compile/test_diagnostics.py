"""Messages of compilers become one line and a remedy; each version of clang has its own words."""

from __future__ import annotations

import pytest

from pytracer.bpf.compile.diagnostics import make_build_error
from pytracer.errors import UnsupportedError

UNDECLARED = "f.c:9:5: error: {} [-Wimplicit-function-declaration]\n    pt_row(&key);\n"


@pytest.mark.parametrize(
    "words",
    [
        "implicit declaration of function 'pt_row' is invalid in C99",
        "call to undeclared function 'pt_row'; ISO C99 and later do not support them",
    ],
)
def test_the_include_of_an_undeclared_function_is_named(words):
    error = make_build_error("f.c", "f.c:3:1: warning: unused\n" + UNDECLARED.format(words), "no")
    assert error.message == "f.c does not compile: f.c:9: pt_row() is not declared"
    assert error.hint == '#include "rows.h" declares it'
    assert words in error.detail


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PT_PASS", '#include "read.h" declares it'),
        ("PT_LOSS_RING_FULL", '#include "loss.h" declares it'),
        ("PT_LOSS_REASON", "the reasons of loss.h are MAP_FULL, INFLIGHT_FULL, "),
        ("PT_CFG_MIN", 'no option of the tracer has config="min"'),
        ("no_such_name", "--debug shows the compiler's output"),
    ],
)
def test_an_undeclared_name(name, hint):
    text = f"f.c:9:5: error: use of undeclared identifier '{name}'; did you mean 'PT_LOSS_REASONS'?\n"
    error = make_build_error("f.c", text, "no")
    assert error.message == f"f.c does not compile: f.c:9: {name} is not declared"
    assert error.hint.startswith(hint)


def test_a_function_that_an_include_calls_is_the_tracers():
    text = "returns.h:9:5: error: function 'on_return' has internal linkage but is not defined [-Werror]\n"
    error = make_build_error("f.c", text, "no")
    assert error.message == "f.c does not compile: returns.h:9: on_return() is not defined"
    assert error.hint == "returns.h calls it: the tracer's C defines it"


def test_other_messages_stay_as_they_are():
    text = "f.c:9:5: error: expected ';' after expression\nf.c:12:5: error: unknown\n"
    assert make_build_error("f.c", text, "no").message.endswith("f.c:9: expected ';' after expression")
    assert (
        make_build_error("f.c", "", "Failed to compile").message == "f.c does not compile: Failed to compile"
    )
    refused = make_build_error("f.c", "could not open bpf map: rows, error: Operation not permitted\n", "no")
    assert refused.message.endswith("the map rows cannot be created: Operation not permitted")


def test_an_error_about_the_kernel_is_no_fault_of_the_c():
    text = (
        'f.c:3:2: error: "this kernel has no groups of tasks (CONFIG_FAIR_GROUP_SCHED)"\n#error "this ..."\n'
    )
    error = make_build_error("f.c", text, "no")
    assert isinstance(error, UnsupportedError)
    assert error.message == "this kernel has no groups of tasks (CONFIG_FAIR_GROUP_SCHED)"
