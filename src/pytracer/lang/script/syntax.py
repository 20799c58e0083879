"""The syntax tree of scripts: probes, statements, and the expressions that only scripts have.

Each node has its offsets in the text.
"""

from __future__ import annotations

from pytracer.lang.syntax import Node, TypeName
from pytracer.lang.types import IntType
from pytracer.record import as_dict, record

# Expressions


def children(node: Node) -> list[Node]:
    """Return the child nodes of a node."""
    nodes = list[Node]()
    for value in as_dict(node).values():
        nodes += [
            part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, Node)
        ]
    return nodes


@record
class MapAccess(Node):
    """``@name`` or ``@name[key, ...]``."""

    name: str
    keys: tuple[Node, ...] = ()

    @property
    def is_whole(self) -> bool:
        """True if no key in brackets follows: the whole map, or its only value."""
        return not self.keys


@record
class Call(Node):
    """``name(argument, ...)``."""

    name: str
    arguments: tuple[Node, ...]


@record
class TupleLiteral(Node):
    """``(a, b, ...)``."""

    items: tuple[Node, ...]


@record
class RecordLiteral(Node):
    """``(name=a, other=b, ...)``."""

    names: tuple[str, ...]
    items: tuple[Node, ...]


@record
class BlockExpression(Node):
    """``{ statement; ...; last }``: a block whose value is that of its last expression."""

    statements: tuple[Node, ...]
    last: Node


@record
class Comptime(Node):
    """``comptime expression``: its value is known before the script runs."""

    of: Node


@record
class SizeOf(Node):
    """``sizeof(TYPE)`` or ``sizeof(EXPRESSION)``; ``offsetof(TYPE, a.b)`` where ``members`` are given."""

    of: Node
    members: tuple[str, ...] = ()


@record
class TypeOf(TypeName):
    """``typeof(expression)``: the type that an expression has."""

    of: Node | None = None


@record
class Step(Node):
    """``++`` or ``--`` (``by`` is 1 or -1) before or behind a variable or a map."""

    of: Node
    by: int
    before: bool


# Statements


@record
class Assignment(Node):
    """``target = value``, or with another operator, as in ``+=``. ``declares``: with ``let``; ``type`` is
    the declared type; ``value`` is None in ``let $x``."""

    target: Node
    operator: str
    value: Node | None
    declares: bool = False
    type: TypeName | None = None


@record
class ExpressionStatement(Node):
    """An expression of which the value is not used."""

    of: Node


@record
class Block(Node):
    """A block: statements in braces."""

    statements: tuple[Node, ...]


@record
class If(Node):
    """``if condition { yes } else { no }``."""

    condition: Node
    yes: Block
    no: Block | None


@record
class While(Node):
    """``while condition { ... }``."""

    condition: Node
    body: Block


@record
class Unroll(Node):
    """``unroll (count) { ... }``."""

    count: Node
    body: Block


@record
class ForRange(Node):
    """``for $x : first..last { ... }``; ``last`` is not included."""

    variable: str
    first: Node
    last: Node
    body: Block


@record
class ForMap(Node):
    """``for $entry : @map { ... }``."""

    variable: str
    map: MapAccess
    body: Block


@record
class Jump(Node):
    """``break``, ``continue`` or ``return``. The value of ``return`` is evaluated and discarded."""

    word: str
    value: Node | None = None


# Probes


@record
class AttachPoint(Node):
    """``kprobe:vfs_read``: the parts between colons as they are written; the first is the provider."""

    text: str
    parts: tuple[str, ...]


@record
class ProbeBlock(Node):
    """A probe: attach points, a predicate, and a body."""

    points: tuple[AttachPoint, ...]
    predicate: Node | None
    body: Block


@record
class Macro(Node):
    """``macro name($variable, expression, @map) { ... }``."""

    name: str
    parameters: tuple[str, ...]
    body: Node


@record
class MapDeclaration(Node):
    """``let @name = lruhash(100);``."""

    name: str
    kind: str
    capacity: int


@record
class StructField:
    """A member of a struct: its type, the lengths of arrays of it, the bits of a bit-field (0: none).

    Without a name it is a struct or union whose members are found in the one around it.
    """

    name: str
    type: TypeName
    lengths: tuple[int, ...] = ()
    bits: int = 0


@record
class StructDefinition(Node):
    """``struct name { ... } __attribute__((packed, aligned(8)));``, or union. ``align`` 0: as C aligns it."""

    kind: str
    name: str
    fields: tuple[StructField, ...]
    packed: bool = False
    align: int = 0


@record
class Import(Node):
    """``import "path";``."""

    path: str


@record
class EnumDefinition(Node):
    """``enum name { A, B = 2 };``; one without a name gets a number for it."""

    name: str
    members: tuple[tuple[str, int], ...]

    @property
    def type(self) -> IntType:
        """The type of its values."""
        return IntType(4, any(value < 0 for _, value in self.members), enum=self.name)


@record
class Script:
    """A parsed script: ``text`` is the whole of it, ``config`` its settings by name, ``macros`` are by name
    and number of parameters; ``constants`` are from ``#define``. ``text`` holds
    the imported files behind its own; ``files`` are the places where each begins, with its name."""

    text: str
    probes: tuple[ProbeBlock, ...]
    config: dict[str, str]
    macros: dict[tuple[str, int], Macro]
    maps: tuple[MapDeclaration, ...] = ()
    structs: tuple[StructDefinition, ...] = ()
    constants: tuple[tuple[str, int], ...] = ()
    enums: tuple[EnumDefinition, ...] = ()
    imports: tuple[Import, ...] = ()
    files: tuple[tuple[int, str], ...] = ((0, "stdin"),)
