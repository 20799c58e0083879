"""The types that scripts have in addition to C's, and the layout of their values in maps and events.

The layout uses words of 8 bytes: a number or an address takes one, a longer value as many as it needs.
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
"""The type names of scripts; None for types whose size depends on the value."""


def words_for(size: int) -> int:
    """Return the number of words that hold ``size`` bytes."""
    return -(-size // WORD)


@record
class StringType(StoredType):
    """A string with ``capacity`` bytes, the NUL included; bytes behind the NUL are 0."""

    capacity: int

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD * words_for(self.capacity)

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"string[{self.capacity}]"


@record
class BufferType(StoredType):
    """Bytes: their number, then ``capacity`` bytes of them."""

    capacity: int

    @property
    def size(self) -> int:
        """See StoredType."""
        return WORD + WORD * words_for(self.capacity)

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"buffer[{self.capacity}]"


class CompositeType(StoredType):
    """Base class of types with several values, the ``items``, stored one after the other."""

    items: tuple[Type, ...]

    @property
    def size(self) -> int:
        """See StoredType."""
        return sum(map(stored_size, self.items))

    def offset(self, number: int) -> int:
        """Return the offset of an item, in bytes."""
        return sum(map(stored_size, self.items[:number]))


@record
class TupleType(CompositeType):
    """A tuple: values stored one after the other."""

    items: tuple[Type, ...]

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"({','.join(item.text for item in self.items)})"


@record
class RecordType(CompositeType):
    """A record: named values stored one after the other."""

    names: tuple[str, ...]
    items: tuple[Type, ...]

    @property
    def text(self) -> str:
        """See StoredType."""
        return "{" + ", ".join(f".{n} = {k.text}" for n, k in zip(self.names, self.items, strict=True)) + "}"


@record
class ArrayValueType(CompositeType):
    """An array of strings, addresses, arrays or structs: values of one type, stored one after the other."""

    items: tuple[Type, ...]

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"{self.items[0].text}[{len(self.items)}]"


@record
class IntArrayType(StoredType):
    """An array of ``length`` numbers of a type, with C's layout."""

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


TARGET_SYMBOL = 1 << 63
"""The flag in a symbol's first word: the other bits are the id of the target whose function it is."""


@record
class SymbolType(StoredType):
    """A function, stored as the process id (0 for the kernel), then the address. See TARGET_SYMBOL."""

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
    """A number that is printed as a name: ``kind`` is ``username``, ``probe``, ``strftime``, ``strerror``,
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


AGGREGATES = ("count", "sum", "avg", "min", "max", "stats", "hist", "lhist", "tseries")
SERIES = ("last", "avg", "max", "min", "sum")
"""Functions that reduce the values of an interval of a time series to one."""


@record
class AggregateType(StoredType):
    """The value of one CPU in a map that functions of :data:`AGGREGATES` update.

    ``count`` and ``sum`` take a word, ``avg`` and ``stats`` the total and the number of values, ``min`` and
    ``max`` the value and 1 once there is one. Histograms have a word for each bucket, whose number is the
    last word of the key. ``parameters`` are the bits of hist, and the first, the last and the step of lhist.

    A time series has an entry for each of its last intervals, used in turn: the number of the interval, its
    value, and the number of values, or when the last was set. Its parameters are the length of an interval,
    how many are kept, and the index in :data:`SERIES`.
    """

    kind: str
    signed: bool = False
    parameters: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """See StoredType."""
        if self.kind == "tseries":
            return 3 * WORD
        return WORD * (2 if self.kind in ("avg", "stats", "min", "max") else 1)

    @property
    def has_buckets(self) -> bool:
        """True if its map has an entry for each bucket."""
        return self.kind in ("hist", "lhist", "tseries")

    @property
    def text(self) -> str:
        """See StoredType."""
        return f"{self.kind}_t"


def in_memory(kind: Type) -> bool:
    """Return whether the C expression of a value is its address, not the value itself."""
    return isinstance(kind, StoredType) and not isinstance(kind, CodeType)


PENDING = IntType(1, True, loose=True)
"""The type of a map or variable that a later block assigns, until that block is compiled."""


def is_pending(kind: Type) -> bool:
    """Return whether a type, or the type of one of its items, is not known yet."""
    if isinstance(kind, CompositeType):
        return any(map(is_pending, kind.items))
    return kind == PENDING


def stored_size(kind: Type) -> int:
    """Return the size of a value in a map or event, in bytes."""
    return kind.size if isinstance(kind, StoredType) else WORD


def stored(kind: Type) -> Type:
    """Return the type of a value after it was stored. Each number takes a word, whatever its width."""
    if isinstance(kind, IntType) and not kind.boolean and kind != PENDING:
        return IntType(kind.size, kind.signed, enum=kind.enum)
    return kind


def _c_alignment(kind: Type) -> int:
    if isinstance(kind, CompositeType):
        return max(map(_c_alignment, kind.items), default=1)
    if isinstance(kind, IntArrayType):
        return kind.of.size
    return min(c_size(kind), WORD) if isinstance(kind, (IntType, PointerType)) else 1


def c_size(kind: Type) -> int:
    """Return the size of a type in C, as sizeof() gives it."""
    if isinstance(kind, CompositeType):
        end = 0
        for item in kind.items:
            align = _c_alignment(item)
            end = -(-end // align) * align + c_size(item)
        align = _c_alignment(kind)
        return -(-end // align) * align
    if isinstance(kind, StringType):
        return kind.capacity
    if isinstance(kind, IntArrayType):
        return kind.of.size * kind.length
    if isinstance(kind, StoredType):
        return kind.size
    return kind.size if isinstance(kind, IntType) else WORD


def literal_type(value: int) -> IntType:
    """Return the smallest signed type that holds a number, or uint64 if no signed type does."""
    for size in (1, 2, 4, 8):
        if -(1 << (8 * size - 1)) <= value < 1 << (8 * size - 1):
            return IntType(size, True)
    return U64


def _unify_numbers(first: IntType, second: IntType) -> IntType:
    if first.boolean and second.boolean:
        return first
    size = max(first.size, second.size)
    if first.signed == second.signed:
        return IntType(size, first.signed, enum=first.enum if first.enum == second.enum else "")
    unsigned = second if first.signed else first
    return IntType(min(max(size, 2 * unsigned.size), 8), True)


def unify(first: Type, second: Type) -> Type | None:
    """Return a type that holds values of both types; None if there is none."""
    if first == second:
        return first
    if isinstance(first, IntType) and isinstance(second, IntType):
        return _unify_numbers(first, second)
    if isinstance(first, PointerType) and isinstance(second, (PointerType, IntType)):
        return first
    if isinstance(first, IntType) and isinstance(second, PointerType):
        return second
    if isinstance(first, StringType) and isinstance(second, StringType):
        return first if first.capacity >= second.capacity else second
    if isinstance(first, BufferType) and isinstance(second, BufferType):
        return first if first.capacity >= second.capacity else second
    if isinstance(first, StackType) and isinstance(second, StackType) and first.user == second.user:
        return first if first.depth >= second.depth else second
    if (
        isinstance(first, TupleType)
        and isinstance(second, TupleType)
        and len(first.items) == len(second.items)
    ):
        items = [unify(a, b) for a, b in zip(first.items, second.items, strict=True)]
        return None if None in items else TupleType(tuple(item for item in items if item is not None))
    if (
        isinstance(first, ArrayValueType)
        and isinstance(second, ArrayValueType)
        and len(first.items) == len(second.items)
    ):
        item = unify(first.items[0], second.items[0])
        return None if item is None else ArrayValueType((item,) * len(first.items))
    if (
        isinstance(first, RecordType)
        and isinstance(second, RecordType)
        and set(first.names) == set(second.names)
    ):
        parts = [
            unify(a, second.items[second.names.index(n)])
            for n, a in zip(first.names, first.items, strict=True)
        ]
        return (
            None
            if None in parts
            else RecordType(first.names, tuple(part for part in parts if part is not None))
        )
    if isinstance(first, AggregateType) and isinstance(second, AggregateType):
        same_kind = (first.kind, first.parameters) == (second.kind, second.parameters)
        return (first if first.signed else second) if same_kind else None
    return None


def enums_within(kind: Type) -> set[str]:
    """Return the names of the enums whose values a type holds."""
    if isinstance(kind, CompositeType):
        return set().union(*map(enums_within, kind.items))
    return {kind.enum} if isinstance(kind, IntType) and kind.enum else set()


def type_name(kind: Type) -> str:
    """Return the name of a type as scripts write it: ``uint8``, ``string[16]``."""
    if isinstance(kind, IntType):
        return "bool" if kind.boolean else f"{'' if kind.signed else 'u'}int{8 * kind.size}"
    return kind.text
