"""Translate a user's expression to our own C, with a type for every step.

Names, members and types are looked up, and only numbers and words of our own go into the C. So nothing that
a user wrote can become C.
"""

from __future__ import annotations

from pytracer.errors import ProbeSpecError, suggest_near
from pytracer.lang import syntax, types
from pytracer.lang.arithmetic import COMPARISONS, as_type, binary, convert, logical, number, size_of, unary
from pytracer.lang.identifiers import Identifiers
from pytracer.lang.lexer import quote
from pytracer.lang.scope import KERNEL, USER, Comm, Lvalue, Operand, RecordField, Scope, Value
from pytracer.lang.syntax import Node
from pytracer.lang.types import (
    INT,
    S64,
    U32,
    U64,
    ArrayType,
    IntType,
    PointerType,
    StoredType,
    StructType,
    Type,
    VoidType,
)
from pytracer.record import replace

_LONGEST = 100  # bytes of a text that something is compared with: it is put on the stack
_COMM = 15  # bytes of a task's name, without its end
_MAX_ENTRY_VALUES = 8  # values saved at a function's entry


class Checker(Identifiers):
    """Translates the expressions of one probe spec at one target.

    ``entry_values`` is C for each value that is saved at a function's entry.
    """

    def __init__(self, text: str, scope: Scope, *, outer: Checker | None = None) -> None:
        """``outer`` is set for the checker of an expression in ``$entry``."""
        super().__init__(text, scope, within=outer is not None)
        self.entry_values: list[str] = []

    # What a spec consists of

    def condition(self, node: Node) -> str:
        """Return a C expression that is true if the condition holds."""
        return f"({self.value(node).code}) != 0"

    def value(self, node: Node) -> Value:
        """Translate an expression for a number or an address. Raises ProbeSpecError."""
        return self._read(node, self._resolve(node))

    def text(self, node: Node) -> tuple[str, int, str] | Comm | None:
        """Return the location of a string: (C for its address, its maximum bytes or 0, memory); None if the
        expression is no string."""
        found = self._resolve(node)
        if isinstance(found, Comm):
            return found
        if isinstance(found, Lvalue) and types.is_text(found.type) and isinstance(found.type, ArrayType):
            return found.address, found.type.length, found.memory
        value = self._read(node, found)
        kind = value.type
        if isinstance(kind, IntType) and kind.raw and kind.size == size_of(PointerType(kind)):
            kind = PointerType(IntType(1, True, char=True), user=self.scope.memory == USER)
        if not isinstance(kind, PointerType) or not types.is_text(kind):
            return None
        limit = kind.to.length if isinstance(kind.to, ArrayType) else 0
        return value.code, limit, self._memory(kind)

    def type_of(self, name: syntax.TypeName) -> Type:
        """Look up a type by name. Raises ProbeSpecError."""
        words = name.words
        kind = types.basic(words)
        if kind is None and words[0] in ("struct", "union", "enum"):
            kind = self.scope.types.find(words[0], words[1])
            if kind is None:
                self.require_types(" ".join(words))
                typedefs = self.scope.types.names(words[0])
                raise self.fail(name, f"no {words[0]} {words[1]!r}", hint=suggest_near(words[1], typedefs))
        elif kind is None and len(words) == 1:
            kind = self.scope.types.find("typedef", words[0])
        if kind is None:
            self.require_types(" ".join(words))
            typedefs = {*types.BASIC, *types.WORDS} | self.scope.types.names("typedef")
            raise self.fail(
                name, f"no type {' '.join(words)!r}", hint=suggest_near(" ".join(words), typedefs)
            )
        for _ in range(name.stars):
            kind = PointerType(kind, user=self.scope.memory == USER)
        return kind

    # Expressions

    def _resolve(self, node: Node) -> Operand:
        match node:
            case syntax.NumberLiteral():
                return self._literal(node)
            case syntax.TextLiteral():
                raise self.fail(node, "a text can only be compared with", hint='as in $comm == "cat"')
            case syntax.Name():
                return self.name(node)
            case syntax.Member():
                return self._member(node)
            case syntax.Index():
                return self._index(node)
            case syntax.UserAddress():
                value = self.value(node.of)
                kind = value.type
                if isinstance(kind, PointerType):
                    return replace(value, type=replace(kind, user=True))
                if isinstance(kind, IntType) and kind.raw:
                    return replace(value, type=PointerType(IntType(1, True, char=True), user=True))
                raise self.fail(node.of, f"this is no address ({kind.text}): '@user' makes no sense of it")
            case syntax.Unary(sign="*"):
                return self._dereference(node.of, self.value(node.of))
            case syntax.Unary(sign="&"):
                return self._address(node)
            case syntax.Unary():
                return unary(node, self.value(node.of), self.fail)
            case syntax.Binary():
                return self._binary(node)
            case syntax.Conditional():
                return self._conditional(node)
            case syntax.Cast():
                return self._cast(node)
            case syntax.Compare():
                return self._same(node.text, node.of)
            case syntax.EntryValue():
                return self._entry(node)
        raise TypeError(f"no expression: {node}")

    def _read(self, node: Node, found: Operand) -> Value:
        """Read the value at a location; for an array its address, as in C."""
        if isinstance(found, Comm):
            raise self.fail(node, "this is text, and no number", hint='as in $comm == "cat", or by %s')
        if isinstance(found, Value):
            if isinstance(found.type, VoidType):
                raise self.fail(node, f"this cannot be looked at (it is a {found.type.text})")
            return found
        kind = found.type
        if isinstance(kind, ArrayType):
            return Value(found.address, PointerType(kind.of, user=found.memory == USER))
        if isinstance(kind, StructType):
            member_names = sorted(self.scope.types.members(kind))[:6]
            raise self.fail(
                node,
                f"this is a whole {kind.name}",
                hint=f"its members: {', '.join(member_names)}, ..." if member_names else "",
            )
        if isinstance(kind, (VoidType, StoredType)):
            raise self.fail(node, f"this cannot be looked at (it is a {kind.text})")
        return self._load(found, kind)

    def _load(self, lvalue: Lvalue, kind: IntType | PointerType) -> Value:
        if lvalue.bits:
            return self._bits(lvalue, kind)
        name, size = as_type(kind), size_of(kind)
        if lvalue.direct and lvalue.offset % size == 0:
            return Value(f"(({name})*(volatile {name} *)({lvalue.code} + {lvalue.offset}))", kind)
        return Value(f"(({name})pt_spec_load({lvalue.address}, {size}, {lvalue.memory}, &bad))", kind)

    def _bits(self, lvalue: Lvalue, kind: IntType | PointerType) -> Value:
        assert isinstance(kind, IntType)
        size = -(-(lvalue.shift + lvalue.bits) // 8)
        load = f"pt_spec_load({lvalue.address}, {size}, {lvalue.memory}, &bad)"
        shifted = f"({load} << {64 - lvalue.shift - lvalue.bits})"
        side = "s64" if kind.signed else "u64"
        kind = types.of_bits(kind, lvalue.bits)
        return Value(f"(({kind.c})(({side}){shifted} >> {64 - lvalue.bits}))", kind)

    def _memory(self, kind: PointerType) -> str:
        if kind.kernel:
            return KERNEL
        return USER if kind.user else self.scope.memory

    def _dereference(self, node: Node, value: Value) -> Lvalue:
        """Dereference an address."""
        kind = value.type
        if isinstance(kind, IntType):
            hint = "use a cast, as in ((struct sock *)arg1)->sk_family"
            hint += ", or a signature: NAME(struct sock *sk)" if kind.raw else ""
            raise self.fail(
                node, f"the type that this points to is unknown ({kind.text})", hint=hint if kind.raw else ""
            )
        assert isinstance(kind, PointerType)
        if isinstance(kind.to, VoidType):
            raise self.fail(node, f"the type that this points to is unknown ({kind.text})", hint="use a cast")
        return Lvalue(value.code, 0, kind.to, self._memory(kind))

    def _literal(self, node: syntax.NumberLiteral) -> Value:
        kinds = [INT, U32, S64, U64]
        if "u" in node.suffix:
            kinds = [U32, U64]
        elif not node.hexadecimal:
            kinds = [INT, S64, U64]
        if "l" in node.suffix:
            kinds = [kind for kind in kinds if kind.size == S64.size]
        kind = next(k for k in kinds if node.value < 1 << (8 * k.size - k.signed))
        return number(node.value, kind)

    def _entry(self, node: syntax.EntryValue) -> Value:
        if self.within:
            raise self.fail(node, "$entry within $entry")
        if self.scope.entry is None:
            raise self.fail(node, "$entry is available only where a function returns", hint="kr:, fr: or ur:")
        inner = Checker(self.whole, self.scope.entry, outer=self)
        value = inner.value(node.of)
        code = f"(u64)({value.code})"
        if code not in self.entry_values:
            if len(self.entry_values) == _MAX_ENTRY_VALUES:
                raise self.fail(node, f"more than {_MAX_ENTRY_VALUES} values are saved at the entry")
            self.entry_values.append(code)
        self.traces_entry = True
        saved = f"pt_spec_entry_value(call, {self.entry_values.index(code)}, &bad)"
        return Value(f"(({as_type(value.type)}){saved})", value.type)

    def _member(self, node: syntax.Member) -> Operand:
        if isinstance(node.of, syntax.Name) and node.of.name == "args" and self.scope.record:
            return self.name(syntax.Name(node.at, node.end, node.name))
        if node.arrow:
            lvalue = self._dereference(node.of, self.value(node.of))
        else:
            found = self._resolve(node.of)
            if not isinstance(found, Lvalue):
                self._read(node.of, found)  # which may have a reason of its own
                hint = f"-> goes through an address: ->{node.name}"
                is_address = isinstance(found, Value) and isinstance(found.type, PointerType)
                raise self.fail(node.of, "this is not a struct", hint=hint if is_address else "")
            lvalue = found
        return self._member_at(node, lvalue)

    def _member_at(self, node: syntax.Member, lvalue: Lvalue) -> Lvalue:
        """Return where the member lies of what lies at ``lvalue``."""
        kind = lvalue.type
        if not isinstance(kind, StructType):
            hint = ""
            if isinstance(kind, PointerType):
                hint = f"it is an address of one: ->{node.name}" if not node.arrow else ""
            raise self.fail(node.of, f"this is not a struct ({kind.text})", hint=hint)
        members = self.scope.types.members(kind)
        member = members.get(node.name)
        if member is None:
            hint = suggest_near(node.name, members) or ("" if members else "what is in it is not known")
            raise ProbeSpecError(
                f"{kind.name} has no member {node.name!r}", self.whole, node.at, node.end, hint=hint
            )
        found_member = self.member_of(lvalue, member)
        if found_member.bits and found_member.shift + found_member.bits > 64:
            raise self.fail(node, "a bit-field that lies across more than 8 bytes")
        return found_member

    def member_of(self, lvalue: Lvalue, member: RecordField) -> Lvalue:
        """Return where a member of the struct at ``lvalue`` lies."""
        shift = member.offset % 8 if member.bits else 0
        memory = lvalue.memory
        return Lvalue(
            lvalue.code,
            lvalue.offset + member.offset // 8,
            self._tag_user(member.type, memory),
            memory,
            shift,
            member.bits,
            lvalue.direct,
        )

    def _tag_user(self, kind: Type, memory: str) -> Type:
        """Mark pointers that were read from user memory, and those of the kernel in a program's probe."""
        if not isinstance(kind, PointerType):
            return kind
        if memory == USER:
            return replace(kind, user=True)
        is_kernel = memory == KERNEL and self.scope.memory == USER and not kind.user
        return replace(kind, kernel=True) if is_kernel else kind

    def _index(self, node: syntax.Index) -> Lvalue:
        return self._index_at(node, self._resolve(node.of))

    def _index_at(self, node: syntax.Index, found: Operand) -> Lvalue:
        """Return the location of the item in the object at ``node.of``."""
        index = self.value(node.index)
        if not isinstance(index.type, IntType):
            raise self.fail(node.index, f"an index is a number, and this is a {index.type.text}")
        if isinstance(found, Lvalue) and isinstance(found.type, ArrayType):
            kind, lvalue = found.type.of, found
            length = found.type.length
            if index.constant is not None and length and not 0 <= index.constant < length:
                message = f"the index {index.constant} is out of bounds for array of size {length}"
                raise self.fail(node.index, message)
        else:
            lvalue = self._dereference(node.of, self._read(node.of, found))
            kind = lvalue.type
        size = size_of(kind)
        if not size:
            raise self.fail(node.of, f"how large a {kind.text} is, is not known")
        kind = self._tag_user(kind, lvalue.memory)
        if index.constant is not None:
            return replace(lvalue, offset=lvalue.offset + index.constant * size, type=kind)
        step = convert(index, S64).code
        code = f"({lvalue.address} + (u64)({step} * {size}))"
        return Lvalue(code, 0, kind, lvalue.memory)

    def _address(self, node: syntax.Unary) -> Value:
        found = self._resolve(node.of)
        if not isinstance(found, Lvalue) or found.bits:
            raise self.fail(node.of, "this has no address")
        return Value(found.address, PointerType(found.type, user=found.memory == USER))

    def _binary(self, node: syntax.Binary) -> Value:
        if node.sign in ("&&", "||"):
            return logical(node.sign, self.value(node.left), self.value(node.right))
        for text, operand in ((node.left, node.right), (node.right, node.left)):
            if isinstance(text, syntax.TextLiteral):
                if node.sign not in COMPARISONS[:2]:
                    raise self.fail(node, f"{node.sign!r} makes no sense of text", hint="== and != do")
                comparison = self._same(text, operand)
                return comparison if node.sign == "==" else Value(f"((s32)!{comparison.code})", INT)
        return binary(node, self.value(node.left), self.value(node.right), self.fail)

    def _conditional(self, node: syntax.Conditional) -> Value:
        condition, yes, no = (self.value(part) for part in (node.condition, node.yes, node.no))
        if isinstance(yes.type, IntType) and isinstance(no.type, IntType):
            kind: Type = types.common(yes.type, no.type)
        elif isinstance(yes.type, PointerType):
            kind = yes.type
        else:
            kind = no.type
        yes, no = convert(yes, kind), convert(no, kind)
        return Value(f"(({as_type(kind)})(({condition.code}) ? {yes.code} : {no.code}))", kind)

    def _cast(self, node: syntax.Cast) -> Value:
        kind = self.type_of(node.type)
        if isinstance(kind, (StructType, ArrayType, VoidType)):
            raise self.fail(
                node.type, f"a value cannot be converted to {kind.text}", hint=f"{kind.text} * is an address"
            )
        value = self.value(node.of)
        if isinstance(kind, PointerType) and isinstance(value.type, PointerType):
            kind = replace(kind, user=kind.user or value.type.user)
        return convert(value, kind)

    def _same(self, text: syntax.TextLiteral, operand: Node) -> Value:
        """Compare a string, to its end, with a literal."""
        expected = text.value.encode("utf-8", "surrogateescape")
        if b"\0" in expected or len(expected) > _LONGEST:
            raise self.fail(
                text, f"a text to compare with has {_LONGEST} bytes at most, and none of them is 0"
            )
        if isinstance(operand, syntax.TextLiteral):
            raise self.fail(operand, "two texts that never change are compared")
        where = self.text(operand)
        if where is None:
            raise self.fail(operand, f"this is not a string ({self.value(operand).type.text})")
        self._check_room(text, expected, _COMM if isinstance(where, Comm) else where[1])
        words = -(-(len(expected) + 2) // 8)
        capacity = 8 * words
        if isinstance(where, Comm):
            words = max(words, 2)
            fetch = "bpf_get_current_comm(text_, 16);"
        else:
            code, limit, memory = where
            capacity = min(capacity, limit + 1) if limit else capacity
            fetch = f"pt_spec_read_text(text_, {capacity}, {code}, {memory}, &bad);"
        # All bytes of it, and the end behind it, as numbers: no constant data, which BCC cannot load.
        data, tests = expected + b"\0", []
        for word in range(-(-len(data) // 8)):
            part = data[8 * word : 8 * word + 8]
            mask = (1 << 8 * len(part)) - 1
            value = int.from_bytes(part, "little")
            tests.append(f"(text_[{word}] & {mask:#x}ULL) == {value:#x}ULL")
        body = f"u64 text_[{words}] = {{}}; {fetch} (s32)({' && '.join(tests)});"
        return Value(f"(({{ {body} }}))", INT)

    def _check_room(self, text: syntax.TextLiteral, expected: bytes, max_length: int) -> None:
        """Reject a literal longer than the string can be (``max_length`` bytes, 0: any): it would never be
        equal."""
        if max_length and len(expected) > max_length:
            raise self.fail(
                text,
                f"this has {len(expected)} bytes, and what it is compared with has {max_length} at most",
                hint=f"what is cut there is {quote(expected[:max_length].decode('utf-8', 'ignore'))}",
            )
