"""Test trace with types from debug information, on tests/workloads/typed.c."""

from __future__ import annotations

import pytest

from support.cli import run
from support.workloads import workload

pytestmark = pytest.mark.kernel
TIMES = 23


def trace_lines(spec: str) -> list[str]:
    """Return the lines that a probe spec of the program prints."""
    result = run("trace", "-f", "json", spec.format(workload("typed")), "--", workload("typed"), TIMES)
    assert result.status == 0, result.err
    return [record["text"] for record in result.of("event")]


@pytest.mark.lab
@pytest.mark.smoke
def test_arguments_have_names_types_and_members_of_their_pointees():
    spec = '"%d %s %d %d %d %d %s %d"'
    spec += ", node->key, node->name, node->at[0], node->at[1], node->low, node->high, list->title, shade"
    assert trace_lines(f"u:{{}}:insert {spec}") == [
        f"{i} node {i} {10 * i} {-i} {i % 8} {i % 32} all of them {7 if i % 2 else -1}" for i in range(TIMES)
    ]


@pytest.mark.lab
def test_return_values_have_their_type_and_enumerators_their_names():
    spec = (
        'ur:{}:insert ($entry(shade) == GREEN && retval->next->next) "%d %s", retval->next->key, retval->name'
    )
    assert trace_lines(spec) == [f"{i - 1} node {i}" for i in range(TIMES) if i % 2 and i > 1]


def test_numbers_with_a_fraction_are_in_other_registers_and_are_not_shown():
    assert trace_lines('u:{}:insert "%d", times') == [str(i) for i in range(TIMES)]
    refused = run("trace", f'u:{workload("typed")}:insert "%d", weight')
    assert refused.status == 2
    assert "double" in refused.err.splitlines()[0]


def test_a_cast_finds_the_programs_own_types():
    spec = 'u:{}:insert "%d %s", ((struct node *)arg2)->key, ((struct list *)arg1)->title'
    assert trace_lines(spec) == [f"{i} all of them" for i in range(TIMES)]


def test_registers_are_those_that_debug_information_names():
    """After a struct passed by value, and with the implicit argument for a large result."""
    assert trace_lines('u:{}:size "%d", more') == [str(i) for i in range(TIMES)]
    assert trace_lines('u:{}:wide "%ld", first') == [str(i) for i in range(TIMES)]
    assert trace_lines('u:{}:wide(void *made, long first) "%ld", first') == [str(i) for i in range(TIMES)]


def test_a_signature_counts_for_more():
    assert trace_lines('u:{}:insert(void *list, int *first) "%d", *first') == [str(i) for i in range(TIMES)]


def test_near_names_are_suggested_and_the_mark_is_below_the_users_text():
    refused = run("trace", f'u:{workload("typed")}:insert "%d", node->kye')
    assert refused.status == 2
    error, text, mark, hint = refused.err.splitlines()
    assert "kye" in error
    assert text[mark.index("^") :].startswith("kye")
    assert "key" in hint


def test_values_that_no_histogram_holds_were_seen():
    words = ["-H", f"u:{workload('typed')}:insert():s64:0-1", "--", workload("typed"), TIMES]
    result = run("argdist", "-f", "json", *words)
    assert result.status == 0, result.err
    assert [loss["reason"] for loss in result.of("loss")] == ["negative"]
    assert "nothing was seen" not in result.err


def test_a_distribution():
    words = [f"u:{workload('typed')}:insert()::shade", "--", workload("typed"), TIMES]
    result = run("argdist", "-f", "json", *words)
    assert result.status == 0, result.err
    counts = {record["shade"]: record["count"] for record in result.of("summary")}
    assert counts == {-1: (TIMES + 1) // 2, 7: TIMES // 2}
