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

    def store(self, node: Node, dst: str, kind: Type) -> str:
        """Add code that stores an expression's value, as type ``kind``, at the address ``dst``.

        Returns C for the length of a string that was read to there, else "".
        """
        if isinstance(kind, (TupleType, RecordType)) and isinstance(
            node, (script.TupleLiteral, script.RecordLiteral)
        ):
            for position, item in enumerate(node.items):
                if isinstance(node, script.RecordLiteral) and isinstance(kind, RecordType):
                    position = kind.names.index(node.names[position])
                self.store(item, f"{dst} + {kind.offset(position)}", kind.items[position])
            return ""
        value = self.value(node, dst=dst, capacity=stored_size(kind))
        self.copy(value, dst, kind)
        return value.length if value.code == dst else ""

    def copy(self, value: Value, dst: str, kind: Type) -> None:
        """Add code that writes a value to the address ``dst``."""
        if value.code == dst:
            return
        if not in_memory(kind):
            code = convert(value, S64).code if isinstance(value.type, IntType) else value.code
            self.line(f"*(u64 *)({dst}) = (u64)({code});")
            return
        if isinstance(value.type, TupleType) and isinstance(kind, TupleType) and value.type != kind:
            for position, (item_type, stored_type) in enumerate(
                zip(value.type.items, kind.items, strict=True)
            ):
                item = self.load(f"{value.code} + {value.type.offset(position)}", item_type)
                self.copy(item, f"{dst} + {kind.offset(position)}", stored_type)
            return
        if isinstance(value.type, RecordType) and isinstance(kind, RecordType) and value.type != kind:
            for position, (name, item_type) in enumerate(
                zip(value.type.names, value.type.items, strict=True)
            ):
                item = self.load(f"{value.code} + {value.type.offset(position)}", item_type)
                index = kind.names.index(name)
                self.copy(item, f"{dst} + {kind.offset(index)}", kind.items[index])
            return
        assert isinstance(kind, StoredType)
        size = min(stored_size(value.type), kind.size)
        if size < kind.size:
            self.line(f"script_zero({dst}, {kind.size});")
        self.line(f"script_copy({dst}, {size}, {value.code});")

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

    def value(self, node: Node, dst: str = "", capacity: int = 0) -> Value:
        """Translate an expression. Raises ProbeSpecError.

        ``dst`` and ``capacity`` are the address and size of memory for the value. The code uses it if it
        avoids a copy and the value fits.
        """
        return self.operand_value(node, self._resolve_into(node, dst, capacity), dst, capacity)

    def operand_value(self, node: Node, operand: Operand, dst: str = "", capacity: int = 0) -> Value:
        """Read what an expression refers to; see ``value``."""
        if isinstance(operand, Comm):
            return self._comm(dst, capacity)
        if isinstance(operand, Lvalue):
            kind = operand.type
            if isinstance(kind, ArrayType) and is_text(kind) and (is_string(kind) or not size_of(kind)):
                max_length = (
                    kind.length + 1 if kind.length else self.state.string_room
                )  # a trace event's string
                return self.read_string(operand.address, max_length, operand.memory, dst, capacity)
            if isinstance(kind, (ArrayType, StructType)):
                return self._read_array_or_struct(operand)
            if isinstance(kind, StoredType):  # behind the address of a variable
                dst = self.memory(kind.size)
                self.line(f"script_copy({dst}, {kind.size}, {operand.address});")
                return Value(dst, kind)
        return self._read(node, operand)

    def _read_array_or_struct(self, lvalue: Lvalue) -> Value:
        """Add code that reads a whole struct or array; return the address of one that is too large."""
        kind = value_type(lvalue.type, self.scope.types)
        if isinstance(kind, StoredType):
            return self.read_whole(lvalue, kind)
        target = lvalue.type.of if isinstance(lvalue.type, ArrayType) else lvalue.type
        return Value(lvalue.address, PointerType(target, user=lvalue.memory == USER))

    def read_whole(self, lvalue: Lvalue, kind: StoredType) -> Value:
        """Add code that reads all items of a value."""
        dst = self.memory(kind.size)
        self._read_items(lvalue, kind, dst)
        return Value(dst, kind)

    def _read_items(self, lvalue: Lvalue, kind: Type, dst: str) -> None:
        if isinstance(kind, StringType):
            sizes, source = f"{kind.capacity}, {kind.size}", f"{lvalue.address}, {lvalue.memory}"
            self.line(f"script_read_string({dst}, {sizes}, {source}, &bad);")
        elif isinstance(kind, IntArrayType):
            self.line(f"script_zero({dst}, {kind.size});")
            size = kind.of.size * kind.length
            self.line(f"pt_spec_read((void *)({dst}), {size}, {lvalue.address}, {lvalue.memory});")
        elif isinstance(kind, ArrayValueType) and isinstance(lvalue.type, ArrayType):
            step = size_of(lvalue.type.of)
            for number, item in enumerate(kind.items):
                part = replace(lvalue, offset=lvalue.offset + number * step, type=lvalue.type.of)
                self._read_items(part, item, f"{dst} + {kind.offset(number)}")
        elif isinstance(kind, RecordType) and isinstance(lvalue.type, StructType):
            members = self.scope.types.members(lvalue.type)
            for number, (name, item) in enumerate(zip(kind.names, kind.items, strict=True)):
                part = self.member_of(lvalue, members[name])
                self._read_items(part, item, f"{dst} + {kind.offset(number)}")
        else:
            assert isinstance(kind, (IntType, PointerType))
            self.copy(self._load(lvalue, kind), dst, kind)

    def read_string(
        self, address: str, capacity: int, memory: str, dst: str = "", max_size: int = 0
    ) -> Value:
        """Add code that reads a string of up to ``capacity`` bytes, its NUL included."""
        kind = StringType(min(capacity, self.state.string_room))
        if not dst or max_size < kind.size:
            dst = self.memory(kind.size)
        call = f"script_read_string({dst}, {kind.capacity}, {kind.size}, {address}, {memory}, &bad)"
        return Value(dst, kind, length=self.temporary("u32", call))

    def read_bytes(self, address: str, size: int, memory: str) -> Value:
        """Add code that reads bytes."""
        kind = BufferType(size)
        dst = self.memory(kind.size)
        self.line(f"bad |= script_read_bytes({dst}, {size}, {kind.size - WORD}, {address}, {memory});")
        return Value(dst, kind)

    def literal(self, node: syntax.TextLiteral, dst: str = "", capacity: int = 0) -> Value:
        """Add code that writes a string literal, as numbers: the programs have no constant data."""
        data = node.value.encode("utf-8", "surrogateescape")
        if len(data) >= self.state.string_room:
            raise self.fail(node, f"a string has less than {self.state.string_room} bytes")
        kind = StringType(len(data) + 1)
        if not dst or capacity < kind.size:
            dst, capacity = self.memory(kind.size), kind.size
        data = data.partition(b"\0")[0].ljust(kind.size, b"\0")  # a string ends at its first NUL, as in C
        for at in range(0, len(data), WORD):
            word = int.from_bytes(data[at : at + WORD], "little")
            self.line(f"*(u64 *)({dst} + {at}) = {word:#x}ULL;")
        if capacity > kind.size:
            self.line(f"script_zero({dst} + {kind.size}, {capacity - kind.size});")
        return Value(dst, kind)

    def _comm(self, dst: str, capacity: int) -> Value:
        kind = StringType(16)
        if not dst or capacity < kind.size:
            dst, capacity = self.memory(kind.size), kind.size
        if capacity > kind.size:
            self.line(f"script_zero({dst} + {kind.size}, {capacity - kind.size});")
        self.line(f"bpf_get_current_comm((void *)({dst}), 16);")
        return Value(dst, kind)

    def _resolve_into(self, node: Node, dst: str, capacity: int) -> Operand:
        """Translate an expression; see ``value``."""
        raise NotImplementedError


def wide(kind: Type) -> str:
    """Return the C type that holds a number of any width, or an address."""
    return "s64" if isinstance(kind, IntType) and kind.signed else "u64"
