"""Parse statements and the expressions that only scripts have: maps, calls, tuples, ``++``."""

from __future__ import annotations

from pytracer.lang import syntax as expressions
from pytracer.lang.expressions import ExpressionParser
from pytracer.lang.lexer import END, NAME, NUMBER, TEXT
from pytracer.lang.script import syntax
from pytracer.lang.script.tokens import DURATION, MAP, UNITS
from pytracer.lang.script.types import TYPE_NAMES
from pytracer.lang.syntax import Node

_ASSIGNMENTS = ("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
_JUMPS = ("break", "continue", "return")
_STEPS = ("++", "--")
_NO_CALL = ("sizeof", "offsetof")


class StatementParser(ExpressionParser):
    """Parses blocks of statements."""

    def block(self) -> syntax.Block:
        """Parse ``{ statement; ... }``."""
        start = self.expect("{").start
        statements = list[Node]()
        while not self.at("}"):
            if self.next.kind == END:
                raise self.fail("'}' is missing at the end")
            statements.append(self.statement())
        end = self.take().end
        return syntax.Block(start, end, tuple(statements))

    def statement(self) -> Node:
        """Parse a statement and the semicolon after it."""
        word = self.next.text
        match word:
            case "{":
                return self._block_or_expression()
            case "if":
                choice = self._if()
                return choice if isinstance(choice, syntax.If) else _unused(choice)
            case "while":
                start = self.take().start
                condition = self.expression()
                body = self.block()
                return syntax.While(start, body.end, condition, body)
            case "unroll":
                start = self.take().start
                count = self.expression()
                body = self.block()
                return syntax.Unroll(start, body.end, count, body)
            case "for":
                return self._for()
        while self.skip(";"):
            if self.at("}"):
                return syntax.Block(self.taken, self.taken, ())
            return self.statement()
        statement = self._simple()
        if not self.skip(";") and not self.at("}"):
            raise self.fail("';' is missing here")
        return statement

    def _simple(self) -> Node:
        start, word = self.next.start, self.next.text
        if word in _JUMPS and self.next.kind == NAME:
            self.take()
            value = self.expression() if word == "return" and not self.at(";", "}") else None
            return syntax.Jump(start, self.taken, word, value)
        declares = word == "let" and self.next.kind == NAME
        if declares:
            self.take()
        target = self.expression()
        kind: expressions.TypeName | None = None
        if declares and self.skip(":"):
            kind = self.type_name()
        if self.at(*_ASSIGNMENTS):
            operator = self.take().text
            value = self.expression()
            return syntax.Assignment(start, value.end, target, operator, value, declares, kind)
        if declares:
            return syntax.Assignment(start, self.taken, target, "=", None, True, kind)
        return syntax.ExpressionStatement(start, target.end, target)

    def _if(self) -> syntax.If | expressions.Conditional:
        """Parse ``if condition { yes } else { no }``: a Conditional where both blocks have a value."""
        start = self.take().start
        condition = self.expression()
        yes, no = self.block_expression(), None
        if self.next.text == "else" and self.next.kind == NAME:
            self.take()
            no = self._if() if self.next.text == "if" else self.block_expression()
        if (
            no is not None
            and not isinstance(yes, syntax.Block)
            and not isinstance(no, (syntax.Block, syntax.If))
        ):
            return expressions.Conditional(start, no.end, condition, yes, no)
        return syntax.If(start, (no or yes).end, condition, as_block(yes), as_block(no) if no else None)

    def _for(self) -> Node:
        start = self.take().start
        parenthesis = self.skip("(")
        variable = self.next
        if not variable.text.startswith("$"):
            raise self.fail("a variable is expected here", hint="for $i : 0..10 { ... }")
        self.take()
        self.expect(":", "after the variable")
        if self.next.kind == MAP and self._ahead(1).text in ("{", ")"):
            entries = self._map()
            if parenthesis:
                self.expect(")")
            body = self.block()
            return syntax.ForMap(start, body.end, variable.text, entries, body)
        first = self.expression()
        self.expect("..", "between the first value and the one behind the last")
        last = self.expression()
        if parenthesis:
            self.expect(")")
        body = self.block()
        return syntax.ForRange(start, body.end, variable.text, first, last, body)

    # Expressions

    def _chosen(self, condition: Node) -> Node:
        """See ExpressionParser; without an operand, it is the condition."""
        return condition if self.at(":") else super()._chosen(condition)

    def _binary(self, level: int) -> Node:
        """See ExpressionParser; a slash before a brace ends a predicate, and ``=`` belongs to statements."""
        left = self._unary()
        while self._level() >= level:
            sign = self.take()
            right = self._binary(self._levels[sign.text] + 1)
            left = expressions.Binary(left.start, right.end, sign.text, left, right, sign.start)
        return left

    def _level(self) -> int:
        if self.next.kind != "sign" or (self.at("/") and self._ahead(1).text == "{"):
            return 0
        return self._levels.get(self.next.text, 0)

    def _is_type(self, offset: int) -> bool:
        first, second = self._ahead(offset), self._ahead(offset + 1)
        if first.text == "typeof" and second.text == "(":
            return True
        if first.kind == NAME and first.text in TYPE_NAMES and second.text in (")", "*", "["):
            return True
        if first.kind == NAME and second.text == "*" and self._ahead(offset + 2).text == ")":
            return True  # no expression ends in a star
        return super()._is_type(offset)

    def type_name(self) -> expressions.TypeName:
        """See ExpressionParser; ``[N]`` and stars may follow in any order."""
        if self.next.text == "typeof" and self._ahead(1).text == "(":
            return self._type_of()
        name = super().type_name()
        lengths = list[int]()
        while self.at("["):
            self.take()
            length = int(self.take().value) if self.next.kind == NUMBER else 0
            end = self.expect("]").end
            lengths.append(length)
            name = expressions.TypeName(name.start, end, name.words, name.stars, tuple(lengths))
        return name

    def _type_of(self) -> expressions.TypeName:
        """Parse ``typeof(TYPE)`` or ``typeof(EXPRESSION)``, and the stars after it."""
        start = self.take().start
        self.expect("(")
        operand = self.type_name() if self._begins_type() else self.expression()
        self.expect(")")
        stars = 0
        while self.skip("*"):
            stars += 1
        if isinstance(operand, expressions.TypeName):
            return expressions.TypeName(
                start, self.taken, operand.words, operand.stars + stars, operand.lengths
            )
        return syntax.TypeOf(start, self.taken, ("typeof",), stars, (), operand)

    def _unary(self) -> Node:
        if self.at(*_STEPS):
            sign = self.take()
            operand = self._unary()
            return syntax.Step(sign.start, operand.end, operand, 1 if sign.text == "++" else -1, True)
        if self.next.text == "comptime" and self.next.kind == NAME:
            start = self.take().start
            operand = self._unary()
            return syntax.Comptime(start, operand.end, operand)
        return super()._unary()

    def _postfix(self) -> Node:
        node = self._primary()
        while True:
            if self.at(".", "->"):
                node = self._member(node)
            elif self.skip("["):
                index = self.expression()
                end = self.expect("]", "after the index")
                node = expressions.Index(node.start, end.end, node, index)
            elif self.at(*_STEPS):
                sign = self.take()
                node = syntax.Step(node.start, sign.end, node, 1 if sign.text == "++" else -1, False)
            else:
                return node

    def _member(self, operand: Node) -> Node:
        sign, name = self.take(), self.next
        if name.kind not in (NAME, NUMBER) or name.text.startswith("$"):
            raise self.fail(f"the name of a member must follow {sign.text!r}")
        self.take()
        return expressions.Member(operand.start, name.end, operand, name.text, sign.text == "->", name.start)

    def _primary(self) -> Node:
        token = self.next
        if token.kind == MAP:
            return self._map()
        if token.kind == DURATION:
            self.take()
            digits = token.text.rstrip("abcdefghijklmnopqrstuvwxyz")
            value = int(digits) * UNITS[token.text[len(digits) :]]
            return expressions.NumberLiteral(token.start, token.end, value)
        if token.kind == TEXT:
            self.take()
            text = str(token.value)
            end = token.end
            while self.next.kind == TEXT:  # as in C, literals behind each other are one
                next_token = self.take()
                text, end = text + str(next_token.value), next_token.end
            return expressions.TextLiteral(token.start, end, text)
        if token.text == "typeof" and self._ahead(1).text == "(":
            return self._type_of()
        if self.at("{"):
            return self.block_expression()
        if self.at("("):
            return self._parenthesis()
        if token.text == "if" and token.kind == NAME:
            expression = self._if()
            if isinstance(expression, syntax.If):
                hint = "if CONDITION { VALUE } else { VALUE }"
                raise self.fail("this has no value in both cases", token=token, hint=hint)
            return expression
        return super()._primary()

    def _parenthesis(self) -> Node:
        """Parse an expression in parentheses, a tuple or a record."""
        start = self.take().start
        if self.at(")"):
            return syntax.TupleLiteral(start, self.take().end, ())
        if self.next.kind == NAME and self._ahead(1).text == "=":
            return self._record(start)
        items, is_tuple = [self.expression()], False
        while self.skip(","):
            is_tuple = True
            if self.at(")"):
                break
            items.append(self.expression())
        end = self.expect(")").end
        return syntax.TupleLiteral(start, end, tuple(items)) if is_tuple else items[0]

    def _record(self, start: int) -> Node:
        names, items = list[str](), list[Node]()
        while not self.at(")"):
            names.append(self.take().text)
            self.expect("=")
            items.append(self.expression())
            if not self.skip(","):
                break
        end = self.expect(")").end
        return syntax.RecordLiteral(start, end, tuple(names), tuple(items))

    def _block_or_expression(self) -> Node:
        """Parse a block, or a block that is an expression statement."""
        expression = self.block_expression(as_statement=True)
        return expression if isinstance(expression, syntax.Block) else _unused(expression)

    def block_expression(self, *, as_statement: bool = False) -> Node:
        """Parse ``{ statement; ...; last }``; returns a Block if it has no last expression."""
        start = self.expect("{").start
        statements = list[Node]()
        last: Node | None = None
        while not self.at("}"):
            if self.next.kind == END:
                raise self.fail("'}' is missing at the end")
            before = self.taken
            statement = self.statement()
            has_semicolon = self.text[self.taken - 1] == ";" if self.taken > before else False
            last = (
                statement.of
                if isinstance(statement, syntax.ExpressionStatement) and not has_semicolon
                else None
            )
            statements.append(statement)
        end = self.take().end
        if last is not None and not as_statement:
            return syntax.BlockExpression(start, end, tuple(statements[:-1]), last)
        return syntax.Block(start, end, tuple(statements))

    def _map(self) -> syntax.MapAccess:
        token = self.take()
        if not self.at("["):
            return syntax.MapAccess(token.start, token.end, token.text)
        self.take()
        keys = [self.expression()]
        while self.skip(","):
            keys.append(self.expression())
        end = self.expect("]", "after the key").end
        return syntax.MapAccess(token.start, end, token.text, tuple(keys))

    def _name(self) -> Node:
        token = self.take()
        if not self.at("("):
            return expressions.Name(token.start, token.end, token.text)
        if token.text in _NO_CALL:
            return self._size_of(token.start, token.text)
        self.take()
        arguments = list[Node]()
        while not self.at(")"):
            if arguments:
                self.expect(",", "between the arguments")
            arguments.append(self.expression())
        end = self.take().end
        return syntax.Call(token.start, end, token.text, tuple(arguments))

    def _size_of(self, start: int, word: str) -> Node:
        self.expect("(")
        operand: Node = self.type_name() if self._begins_type() else self.expression()
        members = list[str]()
        if word == "offsetof":
            self.expect(",")
            members.append(self.take().text)
            while self.skip("."):
                members.append(self.take().text)
        end = self.expect(")").end
        return syntax.SizeOf(start, end, operand, tuple(members))

    def _begins_type(self) -> bool:
        """Return whether the next tokens name a type, not an expression."""
        if self.next.text in ("struct", "union", "enum"):
            return True
        return self.next.kind == NAME and (self.next.text in TYPE_NAMES or self._is_type(0))


def _unused(node: Node) -> syntax.ExpressionStatement:
    return syntax.ExpressionStatement(node.start, node.end, node)


def as_block(node: Node) -> syntax.Block:
    """Return a block in braces that has a value, or an ``if``, as a block without one."""
    if isinstance(node, syntax.Block):
        return node
    if isinstance(node, syntax.BlockExpression):
        return syntax.Block(node.start, node.end, (*node.statements, _unused(node.last)))
    inner = node if isinstance(node, syntax.If) else _unused(node)
    return syntax.Block(node.start, node.end, (inner,))
