"""The types of values that scripts have beside C's, and how values lie in maps and events.

Everything is made of words of 8 bytes: a number or an address takes one, what is longer as many as it needs.
So keys have no padding, and user space reads rows as arrays of words.
"""

from __future__ import annotations

from pytracer.lang.types import U64, IntType, PointerType, StoredType, Type
from pytracer.record import record

WORD = 8
TYPE_NAMES = {
    **{f"uint{8 * size}": IntType(size, False) for size in (1, 2, 4, 8)},
    **{f"int{8 * size}": IntType(size, True) for size in (1, 2, 4, 8)},
    "bool": IntType(1, False, boolean=True),
    "string": None,
    "buffer": None,
    "inet": None,
}
"""The names of types that scripts have; None: those with a size of their own."""


def words_for(size: int) -> int:
    """Return the number of words that ``size`` bytes take."""
    return -(-size // WORD)


@record
class StringType(StoredType):
    """A string with ``room`` bytes, the NUL included; bytes behind the NUL are 0."""

    room: int

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD * words_for(self.room)

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"string[{self.room}]"


@record
class BufferType(StoredType):
    """Bytes: their number, then ``room`` bytes of them."""

    room: int

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD + WORD * words_for(self.room)

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"buffer[{self.room}]"


class CompositeType(StoredType):
    """Base of types of several values, the ``items``, which lie behind each other."""

    items: tuple[Type, ...]

    @property
    def size(self) -> int:
        """See StoredType."""
        return sum(map(stored_size, self.items))

    def offset(self, number: int) -> int:
        """Return where an item begins, in bytes."""
        return sum(map(stored_size, self.items[:number]))


@record
class TupleType(CompositeType):
    """Several values behind each other."""

    items: tuple[Type, ...]

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"({','.join(item.text for item in self.items)})"


@record
class RecordType(CompositeType):
    """Named values behind each other."""

    names: tuple[str, ...]
    items: tuple[Type, ...]

    @property
    def text(self) -> str:
        """See StoredType."""
        return "{" + ", ".join(f".{n} = {k.text}" for n, k in zip(self.names, self.items, strict=True)) + "}"


@record
class IntArrayType(StoredType):
    """``length`` numbers of a type, which lie as in C."""

    of: IntType
    length: int

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD * words_for(self.of.size * self.length)

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"{'' if self.of.signed else 'u'}int{8 * self.of.size}[{self.length}]"


@record
class StackType(StoredType):
    """A stack: the process (0 for the kernel's stack), then up to ``depth`` addresses, 0 behind the last.
    ``mode`` is ``bpftrace``, ``perf`` or ``raw``, which print it in different forms."""

    user: bool
    depth: int
    mode: str = "bpftrace"

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD * (1 + self.depth)

    @property
    def text(self) -> str:
        """See StoredType."""
        return "ustack" if self.user else "kstack"


OF_TARGET = 1 << 63
"""The bit of a symbol's first word that says: it is the function of the target whose number the rest is."""


@record
class SymbolType(StoredType):
    """A function by its address: the process (0 for the kernel's), then the address. See OF_TARGET."""

    user: bool

    @property
    def size(self) -> int:
        """See StoredType."""
        return 2 * WORD

    @property
    def text(self) -> str:
        """See StoredType."""
        return "usym" if self.user else "ksym"


@record
class InetType(StoredType):
    """An IP address: its family, then 16 bytes."""

    @property
    def size(self) -> int:
        """See StoredType."""
        return 3 * WORD

    @property
    def text(self) -> str:
        """See StoredType."""
        return "inet"


@record
class CodeType(StoredType):
    """A number that is shown by name: ``kind`` is ``username``, ``probe``, ``strftime``, ``strerror``,
    ``mac`` or ``cgroup_path``. ``format`` is strftime's."""

    kind: str
    format: str = ""

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD

    @property
    def text(self) -> str:
        """See StoredType."""
        return self.kind


AGGREGATES = ("count", "sum", "avg", "min", "max", "stats", "hist", "lhist")


@record
class AggregateType(StoredType):
    """The value of a map that functions of :data:`AGGREGATES` fill in, of one CPU.

    ``count`` and ``sum`` take a word, ``avg`` and ``stats`` the total and the number of values, ``min`` and
    ``max`` the value and 1 once there is one. Histograms have a word for each bucket, whose number is the
    last word of the key. ``parameters`` are the bits of hist, and the first, the last and the step of lhist.
    """

    kind: str
    signed: bool = False
    parameters: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD * (2 if self.kind in ("avg", "stats", "min", "max") else 1)

    @property
    def has_buckets(self) -> bool:
        """True if its map has an entry for each bucket."""
        return self.kind in ("hist", "lhist")

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"{self.kind}_t"


def in_memory(kind: Type) -> bool:
    """Return whether C for a value of a type is its address; else it is the value itself."""
    return isinstance(kind, StoredType) and not isinstance(kind, CodeType)


PENDING = IntType(1, True, loose=True)
"""The type of what a map or variable holds that a later block assigns, until that block was compiled."""


def is_pending(kind: Type) -> bool:
    """Return whether a type is not known yet, or that of one of its parts."""
    if isinstance(kind, CompositeType):
        return any(map(is_pending, kind.items))
    return kind == PENDING


def stored_size(kind: Type) -> int:
    """Return the bytes that a value takes in a map or event."""
    return kind.size if isinstance(kind, StoredType) else WORD


def stored(kind: Type) -> Type:
    """Return the type of a value once it is stored. Numbers take a word each, whatever their width."""
    if isinstance(kind, IntType) and not kind.boolean and kind != PENDING:
        return IntType(kind.size, kind.signed)
    return kind


def c_size(kind: Type) -> int:
    """Return the bytes that a value of a type would take in C: what sizeof() says."""
    if isinstance(kind, CompositeType):
        end, widest = 0, 1
        for item in kind.items:
            size = c_size(item)
            align = min(size, WORD) if isinstance(item, (IntType, PointerType)) else 1
            if isinstance(item, CompositeType):
                align = WORD
            end = -(-end // align) * align + size
            widest = max(widest, align)
        return -(-end // widest) * widest
    if isinstance(kind, StringType):
        return kind.room
    if isinstance(kind, IntArrayType):
        return kind.of.size * kind.length
    if isinstance(kind, StoredType):
        return kind.size
    return kind.size if isinstance(kind, IntType) else WORD


def literal_type(value: int) -> IntType:
    """Return the smallest signed type that holds a number; uint64 for what no signed type holds."""
    for size in (1, 2, 4, 8):
        if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
            return IntType(size, True)
    return U64


def _unify_numbers(one: IntType, other: IntType) -> IntType:
    if one.boolean and other.boolean:
        return one
    size = max(one.size, other.size)
    if one.signed == other.signed:
        return IntType(size, one.signed)
    unsigned = other if one.signed else one
    return IntType(min(max(size, 2 * unsigned.size), 8), True)


def unify(one: Type, other: Type) -> Type | None:
    """Return a type that holds values of both types; None if there is none."""
    if one == other:
        return one
    if isinstance(one, IntType) and isinstance(other, IntType):
        return _unify_numbers(one, other)
    if isinstance(one, PointerType) and isinstance(other, (PointerType, IntType)):
        return one
    if isinstance(one, IntType) and isinstance(other, PointerType):
        return other
    if isinstance(one, StringType) and isinstance(other, StringType):
        return one if one.room >= other.room else other
    if isinstance(one, BufferType) and isinstance(other, BufferType):
        return one if one.room >= other.room else other
    if isinstance(one, StackType) and isinstance(other, StackType) and one.user == other.user:
        return one if one.depth >= other.depth else other
    if isinstance(one, TupleType) and isinstance(other, TupleType) and len(one.items) == len(other.items):
        items = [unify(a, b) for a, b in zip(one.items, other.items, strict=True)]
        return None if None in items else TupleType(tuple(item for item in items if item is not None))
    if isinstance(one, RecordType) and isinstance(other, RecordType) and set(one.names) == set(other.names):
        parts = [
            unify(a, other.items[other.names.index(n)]) for n, a in zip(one.names, one.items, strict=True)
        ]
        return (
            None
            if None in parts
            else RecordType(one.names, tuple(part for part in parts if part is not None))
        )
    if isinstance(one, AggregateType) and isinstance(other, AggregateType):
        alike = (one.kind, one.parameters) == (other.kind, other.parameters)
        return (one if one.signed else other) if alike else None
    return None
