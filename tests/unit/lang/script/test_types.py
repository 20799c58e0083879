"""Test types of scripts: their sizes, common types, and sizeof."""

from __future__ import annotations

import pytest

from pytracer.lang.script.types import (
    AggregateType,
    InetType,
    IntArrayType,
    RecordType,
    StackType,
    StringType,
    TupleType,
    c_size,
    literal_type,
    stored_size,
    unify,
)
from pytracer.lang.types import S64, U64, IntType, PointerType, VoidType

S8, S16, S32 = (IntType(size, True) for size in (1, 2, 4))
U8, U32 = IntType(1, False), IntType(4, False)
WIDER = RecordType(("a", "b"), (S16, S64))
BOOL = IntType(1, False, boolean=True)


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        (S8, S32, S32),
        (U8, U32, U32),
        (S8, U8, S16),
        (S64, U32, S64),
        (U64, S8, S64),
        (BOOL, BOOL, BOOL),
        (StringType(4), StringType(9), StringType(9)),
        (PointerType(VoidType()), U64, PointerType(VoidType())),
        (TupleType((S8, StringType(2))), TupleType((S64, StringType(5))), TupleType((S64, StringType(5)))),
        (
            RecordType(("a", "b"), (S8, S8)),
            RecordType(("b", "a"), (S64, S16)),
            RecordType(("a", "b"), (S16, S64)),
        ),
        (AggregateType("sum"), AggregateType("sum", signed=True), AggregateType("sum", signed=True)),
        (StackType(False, 3), StackType(False, 9), StackType(False, 9)),
    ],
)
def test_a_type_that_holds_both(first, second, common):
    assert unify(first, second) == common


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (S8, StringType(4)),
        (TupleType((S8,)), TupleType((S8, S8))),
        (AggregateType("sum"), AggregateType("count")),
        (AggregateType("hist", parameters=(0,)), AggregateType("hist", parameters=(3,))),
        (StackType(False, 3), StackType(True, 3)),
        (InetType(), StringType(16)),
    ],
)
def test_types_without_a_common_type_do_not_unify(first, second):
    assert unify(first, second) is None
    assert unify(second, first) is None


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (S8, 8),
        (StringType(1), 8),
        (StringType(9), 16),
        (TupleType((S8, StringType(9), S64)), 32),
        (IntArrayType(U8, 6), 8),
        (StackType(True, 3), 32),
        (AggregateType("avg"), 16),
        (AggregateType("hist"), 8),
    ],
)
def test_room_is_whole_words(kind, size):
    assert stored_size(kind) == size


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (TupleType((S8, S64, S8, S64)), 32),
        (TupleType((S8, S16, S32)), 8),
        (TupleType((S32, S16, S8)), 8),
        (StringType(3), 3),
        (IntArrayType(U32, 3), 12),
        (PointerType(S8), 8),
    ],
)
def test_sizeof_is_that_of_c(kind, size):
    assert c_size(kind) == size


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, S8), (127, S8), (128, S16), (-129, S16), (1 << 31, S64), (1 << 63, U64)],
)
def test_a_literal_has_the_smallest_signed_type(value, kind):
    assert literal_type(value) == kind
