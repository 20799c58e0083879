"""Expressions and types as a user wrote them, with the place of each in his text."""

from __future__ import annotations

from pytracer.record import as_dict, record


@record
class Node:
    """Base: from ``start`` to before ``end`` of the text."""

    start: int
    end: int


def parts(node: Node) -> list[Node]:
    """Return the child nodes."""
    return [part for part in as_dict(node).values() if isinstance(part, Node)]


@record
class TypeName(Node):
    """``words`` (``unsigned long``, ``struct sock``) and how many stars follow, and then ``lengths`` of
    arrays (0: as the value has it)."""

    words: tuple[str, ...]
    stars: int = 0
    lengths: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """As C writes it."""
        return " ".join(self.words) + " *" * bool(self.stars) + "*" * max(self.stars - 1, 0)


@record
class Parameter(Node):
    """One of a signature."""

    name: str
    type: TypeName


@record
class NumberLiteral(Node):
    """A literal. ``suffix``: the u and l behind it, ``hexadecimal`` or octal: it may be unsigned."""

    value: int
    suffix: str = ""
    hexadecimal: bool = False


@record
class TextLiteral(Node):
    """A string between quotes."""

    value: str


@record
class Name(Node):
    """A word: an argument, a field, ``retval``, ``$pid``."""

    name: str


@record
class EntryValue(Node):
    """``$entry(expression)``: its value at the function's entry."""

    of: Node


@record
class Member(Node):
    """``of->name`` or ``of.name``; the name begins at ``at``."""

    of: Node
    name: str
    arrow: bool
    at: int


@record
class Index(Node):
    """``of[index]``."""

    of: Node
    index: Node


@record
class Unary(Node):
    """``-``, ``+``, ``~``, ``!``, ``*`` or ``&`` and an operand."""

    sign: str
    of: Node


@record
class Binary(Node):
    """Two operands; the sign stands at ``at``."""

    sign: str
    left: Node
    right: Node
    at: int


@record
class Conditional(Node):
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node


@record
class Cast(Node):
    """``(type)of``."""

    type: TypeName
    of: Node


@record
class Compare(Node):
    """``STRCMP("text", of)``: whether they are the same."""

    text: TextLiteral
    of: Node


@record
class UserAddress(Node):
    """``of@user``: it points into the program's memory."""

    of: Node
