"""Expressions: C's own, as far as they only look. Precedence as in C."""

from __future__ import annotations

from pytracer.errors import ProbeSpecError
from pytracer.lang import lexer, syntax
from pytracer.lang.lexer import CHARACTER, NAME, NUMBER, SIGN, TEXT, Token
from pytracer.lang.syntax import Node
from pytracer.lang.types import BASIC, WORDS

_BINARY = {
    sign: level
    for level, signs in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %"), start=1
    )
    for sign in signs.split()
}
_TAGS = ("struct", "union", "enum")
_QUALIFIERS = ("const", "volatile")
_DEEP = 64  # expressions within each other
STRCMP, ENTRY = "STRCMP", "$entry"


class ExpressionParser:
    """A reader of the tokens of ``text`` from ``start`` on; its methods raise ProbeSpecError."""

    _levels = _BINARY

    def __init__(self, text: str, start: int = 0, rules: lexer.Rules = lexer.PROBE_SPEC) -> None:
        self.text = text
        self._rules = rules
        self._depth = 0
        self.seek(start)

    # Tokens

    def seek(self, position: int) -> None:
        """Continue with the token that begins at ``position`` or behind it."""
        self._ahead_tokens = [lexer.token_at(self.text, position, self._rules)]
        self.taken = self.next.start

    @property
    def next(self) -> Token:
        """The next token, which is not consumed yet."""
        return self._ahead_tokens[0]

    def _ahead(self, count: int) -> Token:
        tokens = self._ahead_tokens
        while len(tokens) <= count:
            tokens.append(lexer.token_at(self.text, tokens[-1].end, self._rules))
        return tokens[count]

    def take(self) -> Token:
        """Consume the current token, unless it is the last. ``taken`` is then the position behind it."""
        token = self.next
        if token.kind != lexer.END:
            self._ahead(1)
            self._ahead_tokens.pop(0)
            self.taken = token.end
        return token

    def at(self, *signs: str) -> bool:
        """Return whether the next token is one of these signs."""
        return self.next.kind == SIGN and self.next.text in signs

    def skip(self, sign: str) -> bool:
        """Consume a sign if it is next. Returns whether it was."""
        if self.at(sign):
            self.take()
            return True
        return False

    def expect(self, sign: str, context: str = "") -> Token:
        """Consume this sign. Raises an error if it is not next."""
        if not self.at(sign):
            raise self.fail(f"{sign!r} is missing here" + (f" {context}" if context else ""))
        return self.take()

    def fail(self, message: str, *, hint: str = "", token: Token | None = None) -> ProbeSpecError:
        """Return an error that points at the next token, or at ``token``."""
        token = token or self.next
        return ProbeSpecError(message, self.text, token.start, max(token.end, token.start + 1), hint=hint)

    def unexpected(self, hint: str = "") -> ProbeSpecError:
        """Return the error for a token that is not allowed here."""
        if self.next.kind == lexer.END:
            return self.fail("something is missing at the end", hint=hint)
        return self.fail(f"{self.next.text[:40]!r} is not allowed here", hint=hint)

    # Expressions

    def expression(self) -> Node:
        """Parse one expression, without commas."""
        self._depth += 1
        if self._depth > _DEEP:
            raise self.fail(f"expressions within each other: more than {_DEEP}")
        condition = self._binary(1)
        if self.skip("?"):
            yes = self._chosen(condition)
            self.expect(":", "after what '?' chooses")
            no = self.expression()
            condition = syntax.Conditional(condition.start, no.end, condition, yes, no)
        self._depth -= 1
        if not self._depth:
            self._check_depth(condition)
        return condition

    def _chosen(self, _condition: Node) -> Node:
        """Parse what stands behind ``?``."""
        return self.expression()

    def _check_depth(self, root: Node) -> None:
        """Refuse an expression that is nested too deeply. Chains count as nested: a + b + c is a + b, and +
        c."""
        level = [root]
        for _ in range(_DEEP):
            level = [part for node in level for part in syntax.parts(node)]
        if level:
            message = f"expressions within each other: more than {_DEEP}"
            raise ProbeSpecError(message, self.text, level[0].start, level[0].end)

    def _binary(self, level: int) -> Node:
        left = self._unary()
        while self.next.kind == SIGN and _BINARY.get(self.next.text, 0) >= level:
            sign = self.take()
            right = self._binary(_BINARY[sign.text] + 1)
            left = syntax.Binary(left.start, right.end, sign.text, left, right, sign.start)
        if self.at("="):
            raise self.fail("assignments are not allowed", hint="== compares")
        return left

    def _unary(self) -> Node:
        self._depth += 1
        if self._depth > _DEEP:
            raise self.fail(f"expressions within each other: more than {_DEEP}")
        try:
            if self.at("-", "+", "~", "!", "*", "&"):
                sign = self.take()
                operand = self._unary()
                return syntax.Unary(sign.start, operand.end, sign.text, operand)
            if self.at("(") and self._is_type(1):
                begin = self.take()
                type_name = self.type_name()
                self.expect(")", "after the type")
                operand = self._unary()
                return syntax.Cast(begin.start, operand.end, type_name, operand)
            return self._postfix()
        finally:
            self._depth -= 1

    def _postfix(self) -> Node:
        node = self._primary()
        while True:
            if self.at(".", "->"):
                sign = self.take()
                name = self.next
                if name.kind != NAME or name.text.startswith("$"):
                    raise self.fail(f"the name of a member must follow {sign.text!r}")
                self.take()
                node = syntax.Member(node.start, name.end, node, name.text, sign.text == "->", name.start)
            elif self.skip("["):
                index = self.expression()
                end = self.expect("]", "after the index")
                node = syntax.Index(node.start, end.end, node, index)
            elif self.at("@"):
                self.take()
                where = self.next
                if where.kind != NAME or where.text != "user":
                    raise self.fail("only 'user' can follow '@'")
                self.take()
                node = syntax.UserAddress(node.start, where.end, node)
            elif self.at("("):
                raise self.fail("no function can be called here", hint=f'there is {STRCMP}("text", what)')
            else:
                return node

    def _primary(self) -> Node:
        token = self.next
        if token.kind == NUMBER:
            self.take()
            digits = token.text.rstrip("uUlL")
            assert isinstance(token.value, int)
            based = digits[0] == "0" and len(digits) > 1
            return syntax.NumberLiteral(
                token.start, token.end, token.value, token.text[len(digits) :].lower(), based
            )
        if token.kind == CHARACTER:
            self.take()
            return syntax.NumberLiteral(token.start, token.end, ord(str(token.value)))
        if token.kind == TEXT:
            self.take()
            return syntax.TextLiteral(token.start, token.end, str(token.value))
        if token.kind == NAME:
            return self._name()
        if self.skip("("):
            inner = self.expression()
            self.expect(")")
            return inner
        raise self.unexpected()

    def _name(self) -> Node:
        token = self.take()
        if not self.at("("):
            return syntax.Name(token.start, token.end, token.text)
        if token.text == STRCMP:
            self.take()
            text = self.next
            if text.kind != TEXT:
                raise self.fail(f"the first argument of {STRCMP} is a text in quotes")
            self.take()
            self.expect(",")
            operand = self.expression()
            end = self.expect(")")
            return syntax.Compare(
                token.start, end.end, syntax.TextLiteral(text.start, text.end, str(text.value)), operand
            )
        if token.text.lower() == ENTRY:
            self.take()
            operand = self.expression()
            end = self.expect(")")
            return syntax.EntryValue(token.start, end.end, operand)
        raise self.fail(
            "no function can be called here",
            hint=f'there is {STRCMP}("text", what) and {ENTRY}(argument)',
            token=token,
        )

    # Types

    def _is_type(self, offset: int) -> bool:
        """Return whether a type in parentheses begins ``offset`` tokens ahead."""
        first, second, third = (self._ahead(offset + index) for index in range(3))
        if first.kind != NAME or first.text.startswith("$"):
            return False
        if first.text in WORDS or first.text in BASIC or first.text in (*_TAGS, *_QUALIFIERS):
            return True
        # No operand follows another, nor ends with *: then the word is a type.
        if second.text == ")":
            return third.kind in (NAME, NUMBER, TEXT, CHARACTER)
        return second.text == "*" and third.kind == SIGN and third.text in (")", "*")

    def type_name(self) -> syntax.TypeName:
        """``const struct sock *``; const and volatile say nothing here."""
        start = self.next.start
        words = list[str]()
        while self.next.kind == NAME and not self.next.text.startswith("$"):
            word = self.next.text
            if word in _QUALIFIERS:
                self.take()
            elif word in _TAGS and not words:
                words.append(self.take().text)
                if self.next.kind != NAME:
                    raise self.fail(f"the name of the {word} is missing")
                words.append(self.take().text)
            elif (word in WORDS and all(part in WORDS for part in words)) or not words:
                words.append(self.take().text)
            else:
                break
        if not words:
            raise self.fail("a type is expected here", hint="as in int, u64, char *, struct sock *")
        end = self.taken
        stars = 0
        while self.at("*") or (self.next.kind == NAME and self.next.text in _QUALIFIERS):
            token = self.take()
            stars += token.text == "*"
            end = token.end
        return syntax.TypeName(start, end, tuple(words), stars)

    def signature(self) -> tuple[syntax.Parameter, ...]:
        """``(type name, ...)``, which begins here; empty for ``()`` and ``(void)``."""
        self.expect("(")
        found = list[syntax.Parameter]()
        while not self.at(")"):
            if found:
                self.expect(",", "between the arguments of a signature")
            type_name = self.type_name()
            if type_name.text == "void" and not found and self.at(")"):
                break
            name = self.next
            if name.kind != NAME or name.text.startswith("$"):
                raise self.fail(
                    "the name of an argument must follow its type",
                    hint="in a signature: (int fd, char *path); a filter stands behind a blank,"
                    " C++ parameters in quotes with the name",
                )
            self.take()
            stars = type_name.stars
            if self.skip("["):
                if self.next.kind == NUMBER:
                    self.take()
                self.expect("]")
                stars += 1
            if any(parameter.name == name.text for parameter in found):
                raise self.fail("two arguments of one name", token=name)
            named = syntax.TypeName(type_name.start, type_name.end, type_name.words, stars)
            found.append(syntax.Parameter(type_name.start, name.end, name.text, named))
        self.expect(")")
        return tuple(found)
