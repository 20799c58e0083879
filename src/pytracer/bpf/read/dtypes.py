"""Convert BCC's descriptions of C types to NumPy dtypes."""

from __future__ import annotations

import json
from typing import Any

from pytracer.arrays import np
from pytracer.errors import SchemaError

_BASE = {
    "_Bool": "?",
    "bool": "?",
    "char": "i1",
    "signed char": "i1",
    "unsigned char": "u1",
    "short": "i2",
    "unsigned short": "u2",
    "int": "i4",
    "unsigned int": "u4",
    "long": "i8",
    "unsigned long": "u8",
    "long long": "i8",
    "unsigned long long": "u8",
}
_PADDING = "__pad_"
"""The prefix of the members that BCC adds for padding."""


def dtype_of(description: str, size: int) -> np.dtype[Any]:
    """Return the dtype of BCC's description: a type name, or ``[name, members, "struct"|"union"|...]``.

    ``size`` is the compiled size. Raises SchemaError if the description is malformed or has another size.
    """
    try:
        dtype = _dtype(json.loads(description))
    except (ValueError, TypeError, RecursionError) as error:  # in a file that somebody wrote himself
        raise SchemaError(f"a map's type is described as what is no type: {description[:80]!r}") from error
    if dtype.itemsize != size:
        raise SchemaError(
            f"a map's type is {size} bytes in C but {dtype.itemsize} as described: {description!r}"
        )
    if dtype.names is None:
        return dtype
    return dtype[[name for name in dtype.names if not name.startswith(_PADDING)]]  # in their places


def members_of(description: str) -> tuple[str, ...]:
    """Return the names of a struct's members, none for other types; does not need NumPy.

    The keys of a queue are described as "".
    """
    node = json.loads(description or '""')
    return () if isinstance(node, str) else tuple(member[0] for member in node[1])


def _dtype(node: Any) -> np.dtype[Any]:
    if isinstance(node, str):
        if node.startswith("enum"):
            return np.dtype("u4")
        if node.endswith("*"):
            return np.dtype("u8")
        if node not in _BASE:
            raise SchemaError(f"a map holds a C type that is not known here: {node}")
        return np.dtype(_BASE[node])
    _name, members, *kind = node
    form = kind[0] if kind else "struct"
    if form == "union":
        fields = [(name, *_member(member)) for name, *member in members]
        return np.dtype({
            "names": [name for name, *_ in fields],
            "formats": [np.dtype((t, s)) if s else np.dtype(t) for _, t, s in fields],
            "offsets": [0] * len(fields),
        }, align=True)  # fmt: skip
    return np.dtype([(name, *_member(member)) for name, *member in members], align=form != "struct_packed")


def _member(member: list[Any]) -> tuple[Any, tuple[int, ...]]:
    """Return the (type, shape) of a member; an array of characters is a string, one of u8 is bytes."""
    node, *array_length = member
    if array_length and isinstance(array_length[0], int):
        raise SchemaError("a map holds a bit-field, which BCC does not say the place of: use a whole member")
    shape = tuple(array_length[0]) if array_length and isinstance(array_length[0], list) else ()
    if node == "char" and len(shape) == 1:
        return np.dtype(f"S{shape[0]}"), ()
    return _dtype(node), shape
