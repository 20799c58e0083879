"""Values of scripts in C, and the memory that a program works in.

A number or an address is a C expression. Everything longer lies in memory of the program: code that writes it
there goes to ``lines``, and its value is C for its address. All C is made of our own words and of numbers.
"""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert, size_of
from pytracer.lang.checker import Checker
from pytracer.lang.scope import USER, Comm, Found, Lvalue, Scope, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.state import ScriptState
from pytracer.lang.script.types import (
    WORD,
    BufferType,
    IntArrayType,
    RecordType,
    StringType,
    TupleType,
    in_memory,
    stored_size,
    words_for,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    S64,
    ArrayType,
    IntType,
    PointerType,
    StoredType,
    StructType,
    Type,
    is_text,
)
from pytracer.record import record, replace

_MEMORY = 4000  # words that the program of a probe may work in: a value of a per-CPU map has 32 KiB


@record
class Variable:
    """A scratch variable: the C variable or memory that holds it."""

    code: str
    type: Type


@record
class Substitute:
    """The argument of a macro's parameter, with the names that are known where the macro is used."""

    node: Node
    variables: dict[str, Variable]
    substitutes: dict[str, Substitute]


class ValueWriter(Checker):
    """Writes values to memory and reads them from it, for one block at one target."""

    def __init__(self, state: ScriptState, scope: Scope) -> None:
        super().__init__(state.text, replace(scope, types=state.types_over(scope.types)))
        self.state = state
        self.lines = list[str]()
        self.functions = list[tuple[str, ...]]()  # the bodies of loops: the kind, and the lines
        self.undefined = set[str]()  # variables that were declared without a type or value
        self.variables = dict[str, Variable]()
        self.substitutes = dict[str, Substitute]()  # of a macro's parameters
        self._fixed = self._used = self.memory_words = 0
        self._temporaries = 0
        self.indent = 1
        self.keeps_variables = False  # in memory, and not as variables of C

    # Memory and lines

    def line(self, text: str) -> None:
        """Add a line of C."""
        self.lines.append("    " * self.indent + text)

    def temporary(self, kind: str, code: str) -> str:
        """Add a C variable, and return its name."""
        self._temporaries += 1
        name = f"t{self._temporaries}"
        self.line(f"{kind}{'' if kind.endswith('*') else ' '}{name} = {code};")
        return name

    def memory(self, size: int, *, fixed: bool = False) -> str:
        """Reserve memory until the end of the statement, or of the block (``fixed``); C for its address."""
        words = words_for(size)
        place = self._used
        self._used += words
        if fixed:
            self._fixed = self._used
        self.memory_words = max(self.memory_words, self._used)
        return f"(u64)&m->words[{place}]"

    def release(self) -> None:
        """Let the next statement use the memory of this one."""
        self._used = self._fixed

    @property
    def is_too_large(self) -> bool:
        """True if the block works in more memory than a program can have."""
        return self.memory_words > _MEMORY

    # Values

    def store(self, node: Node, to: str, kind: Type) -> None:
        """Add code that writes an expression's value to the address ``to``, as ``kind`` is stored."""
        if isinstance(kind, (TupleType, RecordType)) and isinstance(
            node, (script.TupleLiteral, script.RecordLiteral)
        ):
            for position, item in enumerate(node.items):
                if isinstance(node, script.RecordLiteral) and isinstance(kind, RecordType):
                    position = kind.names.index(node.names[position])
                self.store(item, f"{to} + {kind.offset(position)}", kind.items[position])
            return
        value = self.value(node, to=to, room=stored_size(kind))
        self.copy(value, to, kind)

    def copy(self, value: Value, to: str, kind: Type) -> None:
        """Add code that writes a value to the address ``to``."""
        if value.code == to:
            return
        if not in_memory(kind):
            code = convert(value, S64).code if isinstance(value.type, IntType) else value.code
            self.line(f"*(u64 *)({to}) = (u64)({code});")
            return
        if isinstance(value.type, TupleType) and isinstance(kind, TupleType) and value.type != kind:
            for position, (mine, part) in enumerate(zip(value.type.items, kind.items, strict=True)):
                item = self.load(f"{value.code} + {value.type.offset(position)}", mine)
                self.copy(item, f"{to} + {kind.offset(position)}", part)
            return
        if isinstance(value.type, RecordType) and isinstance(kind, RecordType) and value.type != kind:
            for position, (name, mine) in enumerate(zip(value.type.names, value.type.items, strict=True)):
                item = self.load(f"{value.code} + {value.type.offset(position)}", mine)
                place = kind.names.index(name)
                self.copy(item, f"{to} + {kind.offset(place)}", kind.items[place])
            return
        assert isinstance(kind, StoredType)
        size = min(stored_size(value.type), kind.size)
        if size < kind.size:
            self.line(f"script_zero({to}, {kind.size});")
        self.line(f"script_copy({to}, {size}, {value.code});")

    def load(self, address: str, kind: Type) -> Value:
        """Return the value that is stored at an address."""
        if in_memory(kind):
            return Value(address, kind)
        return Value(f"(({wide(kind)})*(u64 *)({address}))", kind)

    def number(self, node: Node) -> Value:
        """Translate an expression that has to be a number or an address."""
        value = self.value(node)
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"a number is expected here, and this is a {value.type.text}")
        return value

    def value(self, node: Node, to: str = "", room: int = 0) -> Value:
        """Translate an expression. A value in memory is written to ``to`` where that spares a copy and
        ``room`` bytes are enough. Raises ProbeSpecError."""
        found = self._resolve_into(node, to, room)
        if isinstance(found, Comm):
            return self._comm(to, room)
        if isinstance(found, Lvalue):
            if isinstance(found.type, ArrayType) and not is_string(found.type) and size_of(found.type):
                return self.read_array(found.address, found.type, found.memory)
            if isinstance(found.type, ArrayType) and is_text(found.type) and found.type.length != 0:
                return self.read_string(found.address, found.type.length + 1, found.memory, to, room)
            if isinstance(found.type, ArrayType) and is_text(found.type):  # a trace event's dynamic string
                return self.read_string(found.address, self.state.string_room, found.memory, to, room)
            if isinstance(found.type, StructType):
                return Value(found.address, PointerType(found.type, user=found.memory == USER))
        return self._read(node, found)

    def read_string(self, address: str, room: int, memory: str, to: str = "", most: int = 0) -> Value:
        """Add code that reads a string of up to ``room`` bytes, its NUL included."""
        kind = StringType(min(room, self.state.string_room))
        if not to or most < kind.size:
            to = self.memory(kind.size)
        self.line(f"script_read_string({to}, {kind.room}, {kind.size}, {address}, {memory});")
        return Value(to, kind)

    def read_array(self, address: str, kind: ArrayType, memory: str) -> Value:
        """Add code that reads an array: of numbers, or of what is made of bytes."""
        if not isinstance(kind.of, IntType):
            return Value(f"(u64)({address})", PointerType(kind.of, user=memory == USER))
        made = IntArrayType(kind.of, kind.length)
        to = self.memory(made.size)
        self.line(f"script_zero({to}, {made.size});")
        self.line(f"pt_spec_read((void *)({to}), {size_of(kind)}, {address}, {memory});")
        return Value(to, made)

    def read_bytes(self, address: str, size: int, memory: str) -> Value:
        """Add code that reads bytes."""
        kind = BufferType(size)
        to = self.memory(kind.size)
        self.line(f"script_read_bytes({to}, {size}, {kind.size - WORD}, {address}, {memory});")
        return Value(to, kind)

    def literal(self, node: syntax.TextLiteral, to: str = "", room: int = 0) -> Value:
        """Add code that writes a literal: as numbers, since programs here have no constant data."""
        data = node.value.encode("utf-8", "surrogateescape")
        if b"\0" in data or len(data) >= self.state.string_room:
            raise self.fail(node, f"a string has less than {self.state.string_room} bytes, none of them 0")
        kind = StringType(len(data) + 1)
        if not to or room < kind.size:
            to, room = self.memory(kind.size), kind.size
        data = data.ljust(kind.size, b"\0")
        for at in range(0, len(data), WORD):
            word = int.from_bytes(data[at : at + WORD], "little")
            self.line(f"*(u64 *)({to} + {at}) = {word:#x}ULL;")
        if room > kind.size:
            self.line(f"script_zero({to} + {kind.size}, {room - kind.size});")
        return Value(to, kind)

    def _comm(self, to: str, room: int) -> Value:
        kind = StringType(16)
        if not to or room < kind.size:
            to, room = self.memory(kind.size), kind.size
        if room > kind.size:
            self.line(f"script_zero({to} + {kind.size}, {room - kind.size});")
        self.line(f"bpf_get_current_comm((void *)({to}), 16);")
        return Value(to, kind)

    def _resolve_into(self, node: Node, to: str, room: int) -> Found:
        """Translate an expression; see ``value``."""
        raise NotImplementedError


def wide(kind: Type) -> str:
    """Return the C type that holds a number of any width, or an address."""
    return "s64" if isinstance(kind, IntType) and kind.signed else "u64"


def is_string(kind: ArrayType) -> bool:
    """Return whether an array is a string: of characters, not of small numbers."""
    return isinstance(kind.of, IntType) and kind.of.size == 1 and (kind.of.char or kind.of.signed)
