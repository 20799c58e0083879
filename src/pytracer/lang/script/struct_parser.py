"""Parse the structs and unions that a script defines, also within each other."""

from __future__ import annotations

from pytracer.lang.expressions import ExpressionParser
from pytracer.lang.lexer import NAME, NUMBER
from pytracer.lang.script import syntax
from pytracer.lang.script.statements import StatementParser
from pytracer.lang.syntax import TypeName
from pytracer.record import replace

_KINDS = ("struct", "union")
_ALIGN_MAX = 4096  # bytes


class StructParser(StatementParser):
    """Parses definitions of structs."""

    def struct_definitions(self) -> list[syntax.StructDefinition]:
        """Parse a definition; those within it come first, since they are laid out first."""
        kind, name = self.take(), self.take()
        definitions = list[syntax.StructDefinition]()
        self._definition(kind.start, kind.text, name.text, definitions)
        self.skip(";")
        return definitions

    def _definition(
        self, start: int, kind: str, name: str, definitions: list[syntax.StructDefinition]
    ) -> None:
        """Parse the members in braces, and the attributes behind them."""
        self.expect("{")
        fields = list[syntax.StructField]()
        while not self.at("}"):
            member_type, is_defined_here = self._member_type(name, definitions)
            if is_defined_here and self.at(";"):  # its members are those of the struct around it
                fields.append(syntax.StructField("", member_type))
            else:
                fields += self._members(member_type)
            if not self.skip(";") and not self.at("}"):
                raise self.fail("';' is missing here after a member")
        end = self.take().end
        packed, align = self._attributes()
        definitions.append(
            syntax.StructDefinition(start, end, kind, name, tuple(fields), packed=packed, align=align)
        )

    def _member_type(self, outer: str, definitions: list[syntax.StructDefinition]) -> tuple[TypeName, bool]:
        """Parse the type of members; True if it is defined there, in braces."""
        start, kind = self.next.start, self.next.text
        if kind not in _KINDS or "{" not in (self._ahead(1).text, self._ahead(2).text):
            return ExpressionParser.type_name(self), False
        self.take()
        name = self.take().text if self.next.kind == NAME else f"{outer}.{len(definitions)}"
        self._definition(start, kind, name, definitions)
        return TypeName(start, self.taken, (kind, name), 0), True

    def _members(self, type_name: TypeName) -> list[syntax.StructField]:
        """Parse ``a, *b, c[8], d : 3``, the members of one type."""
        fields = list[syntax.StructField]()
        while not fields or self.skip(","):
            stars = type_name.stars
            while self.skip("*"):
                stars += 1
            member = self.take()
            lengths, bits = list[int](), 0
            while self.skip("["):
                lengths.append(int(self.take().value) if self.next.kind == NUMBER else 0)
                self.expect("]")
            if self.skip(":"):
                bits = int(self.take().value or 0)
            fields.append(
                syntax.StructField(member.text, replace(type_name, stars=stars), tuple(lengths), bits)
            )
        return fields

    def _attributes(self) -> tuple[bool, int]:
        """Parse ``__attribute__((packed, aligned(8)))``: whether it is packed, and its alignment (0: C's)."""
        packed, align = False, 0
        while self.next.text == "__attribute__":
            self.take()
            self.expect("(")
            self.expect("(")
            while not self.skip(")"):
                name = self.take()
                word = name.text.strip("_")
                if word == "packed":
                    packed = True
                elif word == "aligned" and self.skip("("):
                    align = int(self.take().value or 0)
                    self.expect(")")
                else:
                    raise self.fail(f"no attribute {name.text!r}", token=name, hint="packed, aligned(BYTES)")
                if align not in (0, 1) and (align & (align - 1) or align > _ALIGN_MAX):
                    raise self.fail(f"aligned({align}): it takes a power of two", token=name)
                self.skip(",")
            self.expect(")")
        return packed, align
