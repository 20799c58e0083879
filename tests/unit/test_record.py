"""Test that records behave as frozen dataclasses do."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pytest

from pytracer.record import as_dict, default_factory, record, replace


@record
class Point:
    """A place."""

    kind: ClassVar[str] = "point"
    x: int
    y: int = 0
    tags: dict[str, int] = default_factory(factory=dict)

    @property
    def total(self) -> int:
        return self.x + self.y


@record
class Named(Point):
    """A place with a name, and another default."""

    y: int = 7
    name: str = ""


@record
class Reckless:
    """One that is equal to all others."""

    x: int

    def __eq__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "reckless"


@dataclasses.dataclass(frozen=True)
class Like:
    """The same class by the standard library."""

    x: int
    y: int = 0
    tags: dict[str, int] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize(
    ("values", "keywords"),
    [((1,), {}), ((1, 2), {}), ((), {"x": 1, "y": 3}), ((1,), {"tags": {"a": 1}}), ((1, 2, {"b": 2}), {})],
)
def test_fields_are_filled_like_a_dataclass_fills_them(values, keywords):
    assert as_dict(Point(*values, **keywords)) == dataclasses.asdict(Like(*values, **keywords))


@pytest.mark.parametrize(
    ("values", "keywords"),
    [
        ((), {}),
        ((), {"y": 1}),
        ((1, 2, {}, 4), {}),
        ((1,), {"x": 1}),
        ((1,), {"z": 1}),
        ((1,), {"kind": "b"}),
    ],
)
def test_wrong_arguments_are_refused_like_a_dataclass_does(values, keywords):
    for cls in (Point, Like):
        with pytest.raises(TypeError):
            cls(*values, **keywords)


def test_the_fields_of_the_base_come_first_and_keep_their_place():
    record = Named(1, name="n")
    assert as_dict(record) == {"x": 1, "y": 7, "tags": {}, "name": "n"}
    assert Named.__match_args__ == ("x", "y", "tags", "name")
    assert Point.__match_args__ == ("x", "y", "tags")
    assert record.total == 8
    assert record.kind == "point"


def test_default_factories_are_not_shared():
    first, second = Point(1), Point(1)
    first.tags["a"] = 1
    assert second.tags == {}
    assert not hasattr(Point, "tags")


def test_records_are_immutable():
    point = Point(1)
    with pytest.raises(AttributeError, match="'x' cannot be changed"):
        point.x = 2
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(AttributeError):
        point.other = 2
    assert as_dict(point) == {"x": 1, "y": 0, "tags": {}}


def test_records_of_one_class_with_equal_fields_are_equal():
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(1, 3)
    assert Named(1, 2) != Point(1, 2)
    assert Point(1) != Like(1)
    assert hash(Named(1, 2, tags=(), name="a")) == hash(Named(1, 2, tags=(), name="a"))
    with pytest.raises(TypeError):
        hash(Point(1))  # a dict is in it


def test_methods_of_the_class_stay():
    assert Reckless(1) == 2
    assert repr(Reckless(1)) == "reckless"
    with pytest.raises(TypeError):
        hash(Reckless(1))
    assert repr(Point(1)) == "Point(x=1, y=0, tags={})"


def test_replace_returns_a_copy_with_some_fields_changed():
    point = Named(1, name="a")
    other = replace(point, y=5)
    assert (other, type(other)) == (Named(1, 5, name="a"), Named)
    assert point.y == 7
    with pytest.raises(TypeError):
        replace(point, z=1)


def test_records_match_positional_patterns():
    match Named(1, 2):
        case Named(x, y):
            assert (x, y) == (1, 2)
