"""Compile the block of a probe to the body of a C function: statements, loops, macros."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from pytracer.lang import syntax
from pytracer.lang.arithmetic import convert
from pytracer.lang.scope import Operand, Scope, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.actions import ACTIONS, Actions
from pytracer.lang.script.map_access import aggregate_number
from pytracer.lang.script.program import WALK_NUMBER, CompiledBlock
from pytracer.lang.script.state import ScriptState
from pytracer.lang.script.statements import as_block
from pytracer.lang.script.types import (
    AGGREGATES,
    WORD,
    AggregateType,
    TupleType,
    stored_size,
)
from pytracer.lang.script.values import Substitute, Variable
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, StoredType

_UNROLL_MAX = 100
_SHORT_LOOP = 16  # passes that the verifier may as well follow
_TURNS_MAX = 1 << 20  # of a while loop that the kernel runs by bpf_loop(): some ten milliseconds
_MACRO_DEPTH_MAX = 16  # macros within each other


class BlockCompiler(Actions):
    """Compiles one block at one target. ``program`` is C for the program's number."""

    def __init__(self, state: ScriptState, scope: Scope) -> None:
        super().__init__(state, scope)
        self._in_function = False
        self._c_loops = 0  # that are within each other, in the innermost function
        self.statement_functions = tuple(ACTIONS)

    def compile(self, block: script.ProbeBlock) -> CompiledBlock:
        """Compile a probe's predicate and body. Raises ProbeSpecError, which points into the script."""
        bodies = (block.body, *(macro.body for macro in self.state.macros.values()))
        self.variables_in_memory = any(map(self._needs_memory, bodies))
        if block.predicate is not None:
            condition = self.value(block.predicate)
            self.line(f"if (!({self._condition(block.predicate, condition)}))")
            self.line("    return;")
        self._statements(block.body.statements)
        if self.exceeds_memory:
            raise self.fail(
                block.body,
                "what this works on does not fit into a program's memory (32 KiB)",
                hint="config = { max_strlen = 64 } makes strings shorter",
            )
        functions = tuple(self.functions)
        return CompiledBlock(tuple(self.lines), self.memory_words, self.event_words, functions=functions)

    # Statements

    def _statement(self, node: Node) -> None:
        self.release()
        match node:
            case script.Block() if not node.statements:
                return
            case script.Block():
                self.line("{")
                self._body(node)
                self.line("}")
            case script.Assignment():
                self.assign(node)
            case script.ExpressionStatement(of=script.Call() as call) if call.name in AGGREGATES:
                raise self.fail(call, f"{call.name}() is assigned to a map", hint=f"@ = {call.name}(...)")
            case script.ExpressionStatement(of=syntax.Conditional() as choice):
                yes, no = as_block(choice.yes), as_block(choice.no)
                self._if(script.If(node.start, node.end, choice.condition, yes, no))
            case script.ExpressionStatement():
                self.translate_statement(node.of)
            case script.If():
                self._if(node)
            case script.While():
                self._while(node)
            case script.Unroll():
                self._unroll(node)
            case script.ForRange():
                self._for(node)
            case script.ForMap():
                self._for_map(node)
            case script.Jump():
                if node.value is not None:
                    self.value(node.value)
                self._jump(node.word)
            case _:
                raise self.fail(node, "this is no statement")

    def translate_statement(self, node: Node) -> None:
        """See ScriptExpressions."""
        if isinstance(node, script.Call) and node.name in ACTIONS:
            ACTIONS[node.name](self, node)
        else:
            self.value(node)

    def _needs_memory(self, node: Node) -> bool:
        """Return whether variables have to lie in memory: a loop's body may become a function of its own, and
        the address of a variable may be taken."""
        if isinstance(node, syntax.Unary) and node.sign == "&":
            return True
        by_helper = isinstance(node, script.While) and self.state.has_loop_helper
        if by_helper or isinstance(node, (script.ForMap, script.ForRange)):
            return True
        return any(map(self._needs_memory, script.children(node)))

    def _body(self, block: script.Block) -> None:
        """Compile the statements in braces; variables that they define are out of scope after them."""
        self.indent += 1
        outer = dict(self.variables)
        self._statements(block.statements)
        self.variables = outer
        self.indent -= 1

    def _statements(self, statements: Sequence[Node]) -> None:
        for position, statement in enumerate(statements):
            self._statement(statement)
            if _ends_block(statement) and position + 1 < len(statements):
                self.state.warn(statements[position + 1], "Unreachable statement")

    def _condition(self, node: Node, value: Value) -> str:
        if isinstance(value.type, StoredType):
            raise self.fail(node, f"a condition is a number, and this is a {value.type.text}")
        return value.code

    def _if(self, node: script.If) -> None:
        condition = self.value(node.condition)
        if self.is_decided(condition):
            block, other = (node.yes, node.no) if condition.constant else (node.no, node.yes)
            if other is not None:
                self._declare_from(other)
            if block is not None:
                self.line("{")
                self._body(block)
                self.line("}")
            return
        self.line(f"if ({self._condition(node.condition, condition)}) {{")
        self._body(node.yes)
        if node.no is not None:
            self.line("} else {")
            self._body(node.no)
        self.line("}")

    def _declare_from(self, node: Node) -> None:
        """Take the types of variables that are declared without one from assignments that do not run."""
        target = node.target if isinstance(node, script.Assignment) else None
        if isinstance(node, script.Assignment) and isinstance(target, syntax.Name) and node.value is not None:
            if target.name in self.undefined and target.name not in self.variables:
                self.state.widen_variable(self.block_id, target.name, self.type_of_value(node.value))
            return
        for part in script.children(node):
            self._declare_from(part)

    def _while(self, node: script.While) -> None:
        if self.state.has_loop_helper:
            self._while_by_helper(node)
            return
        self.line("while (1) {")
        self.indent += 1
        self._c_loops += 1
        condition = self.value(node.condition)
        self.line(f"if (!({self._condition(node.condition, condition)}))")
        self.line("    break;")
        self.indent -= 1
        self._body(node.body)
        self._c_loops -= 1
        self.line("}")

    def _while_by_helper(self, node: script.While) -> None:
        """Compile a loop by bpf_loop(): the verifier checks condition and body once, however many turns
        there are."""
        with self._function({}) as lines:
            self.indent = 1
            self.line(f"if ((u32)walk->key == {_TURNS_MAX}) {{")
            self.line("    pt_lost(PT_LOSS_LOOP_CUT);")
            self.line("    return 1;")
            self.line("}")
            condition = self.value(node.condition)
            self.line(f"if (!({self._condition(node.condition, condition)}))")
            self.line("    return 1;")
            self.release()
            self.indent = 0
            self._body(node.body)
        self._call_function(lines, f"script_loop({_TURNS_MAX + 1}, {{}}, &{{}});", "pt_loop")

    def _unroll(self, node: script.Unroll) -> None:
        count = self.constant(node.count)
        if count > _UNROLL_MAX:
            raise self.fail(node.count, f"unroll maximum value is {_UNROLL_MAX}")
        if count < 1:
            raise self.fail(node.count, "unroll minimum value is 1")
        for _ in range(count):
            self.line("{")
            self._body(node.body)
            self.line("}")

    def _for(self, node: script.ForRange) -> None:
        first, last = convert(self.number(node.first), S64), convert(self.number(node.last), S64)
        is_short = first.constant is not None and last.constant is not None
        is_short = is_short and (last.constant or 0) - (first.constant or 0) <= _SHORT_LOOP
        if self.state.has_loop_helper and not is_short:
            self._for_by_helper(node, first, last)
            return
        counter = self.temporary("s64", first.code)
        end = self.temporary("s64", last.code)
        outer = dict(self.variables)
        self.variables[node.variable] = Variable(counter, S64)
        self.line(f"for (; {counter} < {end}; {counter}++) {{")
        self._c_loops += 1
        self._body(node.body)
        self._c_loops -= 1
        self.line("}")
        self.variables = outer

    def _for_map(self, node: script.ForMap) -> None:
        """Compile a loop over the entries of a map: its body becomes a function, which the kernel calls."""
        target = self.resolve_map(node.map)
        if not self.state.has_type(target.name):
            if self.state.is_final:
                raise self.fail(node.map, f"nothing assigns a value to {target.name}")
            self.state.has_pending = True
            return
        known_map = self.state.map(target.name)
        if not known_map.keys:
            raise self.fail(node.map, f"{target.name} has no keys")
        value_kind = known_map.value
        aggregate = known_map.value
        if isinstance(aggregate, AggregateType):
            value_kind = aggregate_number(aggregate)
        key_kind = known_map.keys[0] if len(known_map.keys) == 1 else TupleType(known_map.keys)
        kind = TupleType((key_kind, value_kind))
        entry = self.memory(kind.size, fixed=True)
        size = stored_size(key_kind)
        with self._function({node.variable: Variable(entry, kind)}) as lines:
            self.indent = 1
            self.line(f"script_copy({entry}, {size}, walk->key);")
            if isinstance(aggregate, AggregateType):
                value = self.aggregate_value(node.map, known_map, aggregate, entry)
                self.line(f"*(u64 *)({entry} + {size}) = {value.code};")
            else:
                self.line(f"script_copy({entry} + {size}, {stored_size(value_kind)}, walk->value);")
            self.indent = 0
            self._body(node.body)
        self._call_function(lines, f"script_walk({known_map.number}, {{}}, &{{}});")

    def _for_by_helper(self, node: script.ForRange, first: Value, last: Value) -> None:
        """Compile a loop by bpf_loop(), whose body the verifier checks once."""
        start = self.memory(WORD, fixed=True)
        self.line(f"*(u64 *)({start}) = {first.code};")
        count = self.temporary("s64", f"{last.code} - *(s64 *)({start})")
        address = self.memory(WORD, fixed=True)
        with self._function({node.variable: Variable(f"(*(s64 *)({address}))", S64)}) as lines:
            self.indent = 1
            self.line(f"*(s64 *)({address}) = *(s64 *)({start}) + (u32)walk->key;")
            self.indent = 0
            self._body(node.body)
        self._call_function(lines, f"script_loop({count} > 0 ? {count} : 0, {{}}, &{{}});", "pt_loop")

    def map_length(self, access: script.MapAccess) -> Value:
        """See ValueFunctions."""
        access = self.resolve_map(access)
        if not self.state.has_type(access.name):
            return Value("0", U64)
        known_map = self.state.map(access.name)
        if not known_map.keys:
            raise self.fail(access, "call to len() expects a map with explicit keys (non-scalar map)")
        count = f"*(u64 *)({self.memory(8)})"  # not in a register: the verifier would follow each number
        self.line(f"{count} = 0;")
        self._call_function([f"    ({count})++;"], f"script_walk({known_map.number}, {{}}, &{{}});")
        return Value(self.temporary("u64", count), U64)

    @contextlib.contextmanager
    def _function(self, loop_variable: dict[str, Variable]) -> Iterator[list[str]]:
        """Collect the lines of a loop's body, which is a C function, with the loop's variable in scope."""
        outer = self.lines, dict(self.variables), self._in_function, self._c_loops, self.indent
        self.lines, self._in_function, self._c_loops = [], True, 0
        self.variables |= loop_variable
        try:
            yield self.lines
        finally:
            self.lines, self.variables, self._in_function, self._c_loops, self.indent = outer

    def _call_function(self, lines: list[str], call: str, kind: str = "script_walk") -> None:
        """Add a C function with these lines, and its call."""
        self.functions.append((kind, *lines))
        self._temporaries += 1
        walk = f"w{self._temporaries}"
        self.line(f"struct script_walk {walk} = {{.ctx = ctx, .memory = m, .target = target}};")
        self.line(call.format(WALK_NUMBER.format(len(self.functions) - 1), walk))
        self.line(f"if ({walk}.returns)")
        self.line(f"    {self.return_code()}")

    def return_code(self) -> str:
        """See Actions."""
        return "{ walk->returns = 1; return 1; }" if self._in_function else "return;"

    def _jump(self, word: str) -> None:
        if word == "return":
            self.line(self.return_code())
        elif self._in_function and not self._c_loops:
            self.line("return 1;" if word == "break" else "return 0;")
        else:
            self.line(f"{word};")

    # Macros and blocks with a value

    def expand(self, node: Node, macro: script.Macro, arguments: tuple[Node, ...]) -> Value:
        """See ScriptExpressions."""
        if len(self.expansions) > _MACRO_DEPTH_MAX:
            raise self.fail(node, f"macro {macro.name} uses itself")
        outer = self.variables, self.substitutes
        self.expansions.append(node)
        substitutes = {
            name: Substitute(argument, *outer)
            for name, argument in zip(macro.parameters, arguments, strict=True)
        }
        self.variables, self.substitutes = {}, substitutes
        try:
            if isinstance(macro.body, script.BlockExpression):
                return self._as_value(macro.body, self.block_value(macro.body))
            assert isinstance(macro.body, script.Block)
            for statement in macro.body.statements:
                self._inner_statement(statement)
            return Value("0", S64)
        finally:
            self.variables, self.substitutes = outer
            self.expansions.pop()

    def _as_value(self, node: Node, operand: Operand) -> Value:
        if isinstance(operand, Value):
            return operand
        return self.operand_value(node, operand)

    def block_value(self, node: script.BlockExpression) -> Operand:
        """See ScriptExpressions."""
        found = self.in_block(node, self._last_value)
        assert found is not None
        return found

    def _last_value(self, node: Node) -> Operand:
        if isinstance(node, script.Call) and node.name in ACTIONS:
            ACTIONS[node.name](self, node)
            return Value("0", S64)
        return self._resolve(node)

    def in_block(
        self, node: script.BlockExpression, translate: Callable[[Node], Operand | None]
    ) -> Operand | None:
        """See Assignments."""
        outer = dict(self.variables)
        for statement in node.statements:
            self._inner_statement(statement)
        found = translate(node.last)
        self.variables = outer
        return found

    def _inner_statement(self, node: Node) -> None:
        """Compile a statement within an expression, whose memory is still in use."""
        fixed, self._fixed = self._fixed, self._used
        try:
            self._statement(node)
        finally:
            self._fixed = max(fixed, self._fixed)
            self._used = max(self._used, self._fixed)


def _ends_block(statement: Node) -> bool:
    """Return whether no statement behind this one runs."""
    if isinstance(statement, script.ExpressionStatement):
        return isinstance(statement.of, script.Call) and statement.of.name == "exit"
    return isinstance(statement, script.Jump)
