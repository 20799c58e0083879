"""Records: values with named fields that do not change.

``@record`` is to readers and type checkers what ``@dataclass(frozen=True)`` is. The standard library's writes
and compiles the methods of each class as it is defined; a start defines a hundred of them, and took a quarter
of its time for that. Here all records share a few functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        """Return the class unchanged: the decorator is for type checkers."""
        return lambda decorated_class: decorated_class


T = TypeVar("T")
_NONE = object()  # stands for a value that was not given


class FactoryDefault:
    """The default factory of a field: each record gets a new value."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        """``factory`` makes it."""
        self.factory = factory


def default_factory(*, factory: Callable[[], T]) -> T:
    """Return a default for a field whose value ``factory`` makes for each record."""
    default: Any = FactoryDefault(factory)
    return default  # type: ignore[no-any-return] # to a type checker it is what is made


@dataclass_transform(frozen_default=True, field_specifiers=(default_factory,))
def record(cls: type[T]) -> type[T]:
    """Make a class of annotated names a record: its fields are the names, behind those of its base classes.

    Records of one class are equal if their fields are; they can be hashed if their fields can.
    ``__repr__``, ``__eq__`` and ``__hash__`` of the class itself are kept. A ``ClassVar`` is no field.
    """
    fields = dict[str, Any](getattr(cls, "__record__", {}))
    for name, kind in cls.__annotations__.items():
        if str(kind).startswith(("ClassVar", "typing.ClassVar")):
            continue
        fields[name] = cls.__dict__.get(name, _NONE)
    for name, default in fields.items():
        if isinstance(default, FactoryDefault) and name in cls.__dict__:
            delattr(cls, name)
    namespace = cls.__dict__
    setattr(cls, "__record__", fields)  # noqa: B010 - no attribute that type checkers know
    setattr(cls, "__match_args__", tuple(fields))  # noqa: B010
    for method, does in _METHODS.items():
        if method not in namespace or method in ("__init__", "__setattr__", "__delattr__"):
            setattr(cls, method, does)
    return cls


def replace(value: T, /, **changes: Any) -> T:
    """Return a record like ``value``, with the fields in ``changes`` replaced."""
    fields = as_dict(value)
    if not changes.keys() <= fields.keys():
        return type(value)(**{**fields, **changes})  # raises TypeError
    changed = object.__new__(type(value))
    changed.__dict__.update(fields, **changes)  # quicker than _init: many thousands of targets are changed
    return changed


def as_dict(value: Any) -> dict[str, Any]:
    """Return the fields of a record by name; nested records stay records."""
    attributes = value.__dict__
    return {name: attributes[name] for name in type(value).__record__}


def _init(self: Any, *values: Any, **named: Any) -> None:
    cls = type(self)
    fields = cls.__record__
    if len(values) > len(fields):
        raise TypeError(f"{cls.__name__} has {len(fields)} fields, not {len(values)}")
    attributes = self.__dict__
    positional = iter(values)
    left = len(values)
    for name, default in fields.items():
        if left:
            left -= 1
            attributes[name] = next(positional)
            continue
        value = named.pop(name, default)
        if value is _NONE:
            raise TypeError(f"{cls.__name__} needs a value for {name!r}")
        attributes[name] = value.factory() if type(value) is FactoryDefault else value
    if named:
        raise TypeError(
            f"{cls.__name__} has no field {', '.join(map(repr, named))}; its fields are {', '.join(fields)}"
        )


def _values(value: Any) -> tuple[Any, ...]:
    attributes = value.__dict__
    return tuple([attributes[name] for name in type(value).__record__])


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in as_dict(self).items())
    return f"{type(self).__qualname__}({fields})"


def _eq(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _refuse_assignment(self: Any, name: str, *_: object) -> None:
    raise AttributeError(f"{type(self).__name__} is a record: {name!r} cannot be changed")


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _refuse_assignment,
    "__delattr__": _refuse_assignment,
}
