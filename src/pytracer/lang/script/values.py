"""Translate values of scripts to C, and manage the memory that a program works in.

A number or an address is a C expression. Longer values are in the program's memory: ``lines`` gets the code
that writes one, and its C expression is the address. No text of the user becomes part of the C.
"""

from __future__ import annotations

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert, size_of
from pytracer.lang.checker import Checker
from pytracer.lang.scope import USER, Comm, Lvalue, Operand, Scope, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.state import ScriptState
from pytracer.lang.script.types import (
    WORD,
    ArrayValueType,
    BufferType,
    IntArrayType,
    RecordType,
    StringType,
    TupleType,
    in_memory,
    stored_size,
    words_for,
)
from pytracer.lang.script.value_types import value_type
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    S64,
    ArrayType,
    IntType,
    PointerType,
    StoredType,
    StructType,
    Type,
    is_string,
    is_text,
)
from pytracer.record import record, replace

_MEMORY_WORDS_MAX = 4000  # a value of a per-CPU map has at most 32 KiB


@record
class Variable:
    """A scratch variable: ``code`` is the C variable or memory that holds it."""

    code: str
    type: Type


@record
class Substitute:
    """The argument for a macro's parameter, with the names in scope at the macro's call."""

    node: Node
    variables: dict[str, Variable]
    substitutes: dict[str, Substitute]


class ValueWriter(Checker):
    """Generates C that writes values to memory and reads them, for one block at one target."""

    def __init__(self, state: ScriptState, scope: Scope) -> None:
        super().__init__(state.text, replace(scope, types=state.with_structs(scope.types)))
        self.state = state
        self.lines = list[str]()
        self.functions = list[tuple[str, ...]]()  # the bodies of loops: the kind, then the lines
        self.undefined = set[str]()  # variables that were declared without a type or value
        self.variables = dict[str, Variable]()
        self.substitutes = dict[str, Substitute]()  # of a macro's parameters
        self._fixed = self._used = self.memory_words = 0
        self._temporaries = 0
        self.indent = 1
        self.variables_in_memory = False  # the bodies of loops, which are C functions, see no C variables

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
        offset = self._used
        self._used += words
        if fixed:
            self._fixed = self._used
        self.memory_words = max(self.memory_words, self._used)
        return f"(u64)&m->words[{offset}]"

    def release(self) -> None:
        """Release the memory of a statement, so that the next one can use it."""
        self._used = self._fixed

    @property
    def exceeds_memory(self) -> bool:
        """True if the block needs more memory than a program can have."""
        return self.memory_words > _MEMORY_WORDS_MAX

    # Values

    def store(self, node: Node, to: str, kind: Type) -> str:
        """Add code that stores an expression's value, as type ``kind``, at the address ``to``.

        Returns C for the length of a string that was read to there, else "".
        """
        if isinstance(kind, (TupleType, RecordType)) and isinstance(
            node, (script.TupleLiteral, script.RecordLiteral)
        ):
            for position, item in enumerate(node.items):
                if isinstance(node, script.RecordLiteral) and isinstance(kind, RecordType):
                    position = kind.names.index(node.names[position])
                self.store(item, f"{to} + {kind.offset(position)}", kind.items[position])
            return ""
        value = self.value(node, to=to, room=stored_size(kind))
        self.copy(value, to, kind)
        return value.length if value.code == to else ""

    def copy(self, value: Value, to: str, kind: Type) -> None:
        """Add code that writes a value to the address ``to``."""
        if value.code == to:
            return
        if not in_memory(kind):
            code = convert(value, S64).code if isinstance(value.type, IntType) else value.code
            self.line(f"*(u64 *)({to}) = (u64)({code});")
            return
        if isinstance(value.type, TupleType) and isinstance(kind, TupleType) and value.type != kind:
            for position, (item_type, stored_type) in enumerate(
                zip(value.type.items, kind.items, strict=True)
            ):
                item = self.load(f"{value.code} + {value.type.offset(position)}", item_type)
                self.copy(item, f"{to} + {kind.offset(position)}", stored_type)
            return
        if isinstance(value.type, RecordType) and isinstance(kind, RecordType) and value.type != kind:
            for position, (name, item_type) in enumerate(
                zip(value.type.names, value.type.items, strict=True)
            ):
                item = self.load(f"{value.code} + {value.type.offset(position)}", item_type)
                index = kind.names.index(name)
                self.copy(item, f"{to} + {kind.offset(index)}", kind.items[index])
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
        """Translate an expression that has to be a number or an address; of a struct it is the address."""
        operand = self._resolve_into(node, "", 0)
        if isinstance(operand, Lvalue) and isinstance(operand.type, StructType):
            return Value(operand.address, PointerType(operand.type, user=operand.memory == USER))
        value = self.operand_value(node, operand)
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"a number is expected here, and this is a {value.type.text}")
        return value

    def value(self, node: Node, to: str = "", room: int = 0) -> Value:
        """Translate an expression. Raises ProbeSpecError.

        ``to`` and ``room`` are the address and size of memory for the value. The code uses it if it avoids a
        copy and the value fits.
        """
        return self.operand_value(node, self._resolve_into(node, to, room), to, room)

    def operand_value(self, node: Node, operand: Operand, to: str = "", room: int = 0) -> Value:
        """Read what an expression refers to; see ``value``."""
        if isinstance(operand, Comm):
            return self._comm(to, room)
        if isinstance(operand, Lvalue):
            kind = operand.type
            if isinstance(kind, ArrayType) and is_text(kind) and (is_string(kind) or not size_of(kind)):
                most = kind.length + 1 if kind.length else self.state.string_room  # a trace event's string
                return self.read_string(operand.address, most, operand.memory, to, room)
            if isinstance(kind, (ArrayType, StructType)):
                return self._read_array_or_struct(operand)
            if isinstance(kind, StoredType):  # behind the address of a variable
                to = self.memory(kind.size)
                self.line(f"script_copy({to}, {kind.size}, {operand.address});")
                return Value(to, kind)
        return self._read(node, operand)

    def _read_array_or_struct(self, place: Lvalue) -> Value:
        """Add code that reads a whole struct or array; return the address of one that is too large."""
        kind = value_type(place.type, self.scope.types)
        if isinstance(kind, StoredType):
            return self.read_whole(place, kind)
        target = place.type.of if isinstance(place.type, ArrayType) else place.type
        return Value(place.address, PointerType(target, user=place.memory == USER))

    def read_whole(self, place: Lvalue, kind: StoredType) -> Value:
        """Add code that reads all items of a value."""
        to = self.memory(kind.size)
        self._read_items(place, kind, to)
        return Value(to, kind)

    def _read_items(self, place: Lvalue, kind: Type, to: str) -> None:
        if isinstance(kind, StringType):
            self.line(
                f"script_read_string({to}, {kind.room}, {kind.size}, {place.address}, {place.memory}, &bad);"
            )
        elif isinstance(kind, IntArrayType):
            self.line(f"script_zero({to}, {kind.size});")
            size = kind.of.size * kind.length
            self.line(f"pt_spec_read((void *)({to}), {size}, {place.address}, {place.memory});")
        elif isinstance(kind, ArrayValueType) and isinstance(place.type, ArrayType):
            step = size_of(place.type.of)
            for number, item in enumerate(kind.items):
                part = replace(place, offset=place.offset + number * step, type=place.type.of)
                self._read_items(part, item, f"{to} + {kind.offset(number)}")
        elif isinstance(kind, RecordType) and isinstance(place.type, StructType):
            members = self.scope.types.members(place.type)
            for number, (name, item) in enumerate(zip(kind.names, kind.items, strict=True)):
                part = self.member_of(place, members[name])
                self._read_items(part, item, f"{to} + {kind.offset(number)}")
        else:
            assert isinstance(kind, (IntType, PointerType))
            self.copy(self._load(place, kind), to, kind)

    def read_string(self, address: str, room: int, memory: str, to: str = "", most: int = 0) -> Value:
        """Add code that reads a string of up to ``room`` bytes, its NUL included."""
        kind = StringType(min(room, self.state.string_room))
        if not to or most < kind.size:
            to = self.memory(kind.size)
        read = f"script_read_string({to}, {kind.room}, {kind.size}, {address}, {memory}, &bad)"
        return Value(to, kind, length=self.temporary("u32", read))

    def read_bytes(self, address: str, size: int, memory: str) -> Value:
        """Add code that reads bytes."""
        kind = BufferType(size)
        to = self.memory(kind.size)
        self.line(f"bad |= script_read_bytes({to}, {size}, {kind.size - WORD}, {address}, {memory});")
        return Value(to, kind)

    def literal(self, node: syntax.TextLiteral, to: str = "", room: int = 0) -> Value:
        """Add code that writes a string literal, as numbers: the programs have no constant data."""
        data = node.value.encode("utf-8", "surrogateescape")
        if len(data) >= self.state.string_room:
            raise self.fail(node, f"a string has less than {self.state.string_room} bytes")
        kind = StringType(len(data) + 1)
        if not to or room < kind.size:
            to, room = self.memory(kind.size), kind.size
        data = data.partition(b"\0")[0].ljust(kind.size, b"\0")  # a string ends at its first NUL, as in C
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

    def _resolve_into(self, node: Node, to: str, room: int) -> Operand:
        """Translate an expression; see ``value``."""
        raise NotImplementedError


def wide(kind: Type) -> str:
    """Return the C type that holds a number of any width, or an address."""
    return "s64" if isinstance(kind, IntType) and kind.signed else "u64"
