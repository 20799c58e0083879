"""Translate the functions of scripts without a value, most of which send an event to user space."""

from __future__ import annotations

import errno
from collections.abc import Callable

from pytracer.lang import syntax
from pytracer.lang.arithmetic import as_type
from pytracer.lang.formats import Conversion, parse_format
from pytracer.lang.scope import EITHER, KERNEL, USER, Scope, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.assignments import Assignments
from pytracer.lang.script.program import Action
from pytracer.lang.script.state import ScriptState
from pytracer.lang.script.types import (
    AggregateType,
    BufferType,
    StringType,
    TupleType,
    in_memory,
    stored_size,
    words_for,
)
from pytracer.lang.syntax import Node
from pytracer.lang.types import U64, PointerType
from pytracer.record import replace

_MEMORIES = {USER: "_user", KERNEL: "_kernel", EITHER: ""}
_DEBUGF_VALUES = 3
_NUMBER_CONVERSIONS = ("d", "i", "u", "x", "X", "o", "c", "p", "gr")
_PACKET_SIZE = 4096  # bytes of a packet that skboutput() writes
_JOIN_STRINGS, _JOIN_STRING_SIZE = 16, 256  # strings that join() reads, and bytes of each


class Actions(Assignments):
    """Translates calls of functions without a value. ``event_words`` is the length of the longest event's
    values."""

    event_words = 1

    def __init__(self, state: ScriptState, scope: Scope) -> None:
        super().__init__(state, scope)
        self.expansions = list[Node]()  # the calls of the macros whose bodies are being translated

    def return_code(self) -> str:
        """Return the C statement that ends the block."""
        raise NotImplementedError

    def value(self, node: Node, dst: str = "", capacity: int = 0) -> Value:
        """See ValueWriter; with checks, the failure of a read is reported."""
        value = super().value(node, dst, capacity)
        is_read = isinstance(node, (syntax.Member, syntax.Index)) or getattr(node, "sign", "") == "*"
        is_call = isinstance(node, script.Call) and node.name in ("str", "buf")
        if self.state.checks and (is_read or is_call):
            if "&bad" in value.code:
                value = replace(value, code=self.temporary(as_type(value.type), value.code))
            helper = f"probe_read{_MEMORIES[self.scope.memory]}{'_str' * is_call}"
            self.report_failure(node, "bad", helper, -errno.EFAULT)
            self.line("bad = 0;")
        return value

    def report_failure(self, node: Node, condition: str, helper: str, code: int) -> None:
        """See MapReads."""
        text = f"{self.state.place_of(node)}\n{self.state.excerpt_of(node)}"
        self.line(f"if ({condition}) {{")
        action = Action("helper_error", map=helper, numbers=(code,), text=text)
        self.emit(action, ())
        self.line("}")

    def warn_at_run(self, node: Node, condition: str, message: str) -> None:
        """See ScriptExpressions."""
        if self.guards:
            return
        text = f"{self.state.place_of(node)}: WARNING: {message}\n{self.state.excerpt_of(node)}\n"
        self.line(f"if ({condition}) {{")
        self.emit(Action("runtime_warning", text=text), ())
        self.line("}")

    def emit(self, action: Action, values: tuple[Node, ...]) -> None:
        """Add code that sends an event with these values."""
        number = self.state.action(action)
        words = sum(words_for(stored_size(kind)) for kind in action.fields)
        self.event_words = max(self.event_words, words)
        event = self.temporary("struct event *", "pt_prepare_in(program)")
        self.line(f"if ({event}) {{")
        self.indent += 1
        at, end = 0, "0"
        for node, kind in zip(values, action.fields, strict=True):
            length = self.store(node, f"(u64)({event}->data + {at})", kind)
            end = f"{at} + {length or stored_size(kind)}"  # a string at the end is sent without its room
            at += stored_size(kind)
        self.line(f"script_head({event}, {number}, program);")
        self.line(f"pt_send(ctx, {event}, offsetof(struct event, data) + {end});")
        self.indent -= 1
        self.line("}")

    def _printf(self, node: script.Call) -> None:
        template = self._literal_text(node.arguments[0]) if node.arguments else None
        if template is None:
            raise self.fail(node, f"the first argument of {node.name}() is a text in quotes")
        pieces = parse_format(self.state.text, template.start + 1, template.end - 1, script=True)
        self._emit_format(node, pieces, node.arguments[1:])

    def _emit_format(
        self,
        node: script.Call,
        pieces: tuple[str | Conversion, ...],
        values: tuple[Node, ...],
        text: str = "",
    ) -> None:
        """Add code that sends what a format takes; ``text`` is the action's."""
        conversions = [piece for piece in pieces if not isinstance(piece, str)]
        if len(conversions) != len(values):
            message = f"{len(conversions)} conversions in the format, and {len(values)} arguments"
            raise self.fail(node, message)
        kinds = tuple(self.type_of_value(value) for value in values)
        for value, kind, conversion in zip(values, kinds, conversions, strict=True):
            shows_number = conversion.sign in _NUMBER_CONVERSIONS
            if shows_number and in_memory(kind):
                raise self.fail(
                    value, f"%{conversion.sign} is for numbers, and this is a {kind.text}", hint="%s"
                )
        self.emit(Action(node.name, kinds, pieces, text=text), tuple(values))

    def _message(self, node: script.Call) -> None:
        """Translate errorf() and warnf(), whose output names the position in the script."""
        template = self._literal_text(node.arguments[0]) if node.arguments else None
        if template is None:
            raise self.fail(node, f"the first argument of {node.name}() is a text in quotes")
        pieces = parse_format(self.state.text, template.start + 1, template.end - 1, script=True)
        lines = [self.state.place_of(node)]
        for call in reversed(self.expansions):
            lines += [f"{self.state.place_of(call)}: ERROR: expanded from", self.state.excerpt_of(call)]
        self._emit_format(node, pieces, node.arguments[1:], "\n".join(lines))

    def _assert(self, node: script.Call) -> None:
        if len(node.arguments) != 2:
            raise self.fail(node, "assert() takes a condition and a text")
        condition, text = node.arguments
        self.line(f"if (!({self.number(condition).code})) {{")
        error = script.Call(node.start, node.end, "errorf", (text,))
        self._emit_format(
            error, parse_format("assert failed: %s", 0, 17, script=True), (text,), self.state.place_of(node)
        )
        self.emit(Action("exit", (U64,)), (syntax.NumberLiteral(node.start, node.end, 1),))
        self.line("    script_stop();")
        self.line(f"    {self.return_code()}")
        self.line("}")

    def _literal_text(self, node: Node) -> syntax.TextLiteral | None:
        """Return a text literal; macros and their parameters are expanded to it. None for anything else."""
        if isinstance(node, syntax.Name) and node.name in self.substitutes:
            return self.expand_parameter(node.name, self._literal_text)
        if isinstance(node, (syntax.Name, script.Call)) and not getattr(node, "arguments", ()):
            macro = self.state.macros.get((node.name, 0))
            if macro is not None and isinstance(macro.body, script.BlockExpression):
                return self._literal_text(macro.body.last)
        return node if isinstance(node, syntax.TextLiteral) else None

    def _print(self, node: script.Call) -> None:
        if not 1 <= len(node.arguments) <= 3:
            raise self.fail(node, "print() takes a map or a value, and of a map how many of its entries")
        argument, *numbers = node.arguments
        if isinstance(argument, script.MapAccess):
            argument = self.resolve_map(argument)
        if isinstance(argument, script.MapAccess) and not argument.keys:
            constants = tuple(self.constant(argument) for argument in numbers)
            self.emit(Action("print_map", map=argument.name, numbers=constants), ())
            return
        if isinstance(argument, script.MapAccess) and self.state.has_type(argument.name):
            kind = self.state.map(argument.name).value
            if isinstance(kind, AggregateType):
                self._print_entry(argument)
                return
        literal = self._literal_text(argument)
        if literal is not None:
            self.emit(Action("print_text", text=literal.value), ())
            return
        self.emit(Action("print", (self.type_of_value(argument),)), (argument,))

    def _print_entry(self, access: script.MapAccess) -> None:
        self.state.record_key_types(access, access.name, self.key_types(access))
        kinds = self.state.map(access.name).keys
        if len(access.keys) == len(kinds):
            self.emit(Action("print_entry", kinds, map=access.name), access.keys)
        else:
            self.emit(Action("print_entry", (TupleType(kinds),), map=access.name), access.keys)

    def _map_action(self, node: script.Call) -> None:
        if len(node.arguments) != 1 or not isinstance(node.arguments[0], script.MapAccess):
            raise self.fail(node, f"{node.name}() takes a map", hint=f"{node.name}(@name)")
        self.emit(Action(node.name, map=self.resolve_map(node.arguments[0]).name), ())

    def _exit(self, node: script.Call) -> None:
        self.emit(Action("exit", (U64,) * len(node.arguments)), node.arguments)
        self.line("script_stop();")
        self.line(self.return_code())

    def _time(self, node: script.Call) -> None:
        template = node.arguments[0] if node.arguments else None
        if template is not None and not isinstance(template, syntax.TextLiteral):
            raise self.fail(template, "the format of time() is a text in quotes")
        self.emit(Action("time", text=template.value if template is not None else "%H:%M:%S\n"), ())

    def _cat(self, node: script.Call) -> None:
        self._printf(node)

    def _system(self, node: script.Call) -> None:
        self.require_unsafe(node)
        self._printf(node)

    def _join(self, node: script.Call) -> None:
        """Read up to 16 strings of an array of addresses."""
        separator = " "
        if len(node.arguments) == 2 and isinstance(node.arguments[1], syntax.TextLiteral):
            separator = node.arguments[1].value
        elif len(node.arguments) != 1:
            raise self.fail(node, "join() takes an array of strings, and what to put between them")
        array = self.number(node.arguments[0])
        user = not isinstance(array.type, PointerType) or array.type.user
        capacity = min(self.state.string_room, _JOIN_STRING_SIZE)
        kinds = (StringType(capacity),) * _JOIN_STRINGS
        number = self.state.action(Action("join", kinds, text=separator))
        self.event_words = max(self.event_words, sum(words_for(kind.size) for kind in kinds))
        event = self.temporary("struct event *", "pt_prepare_in(program)")
        self.line(f"if ({event}) {{")
        self.line(f"    script_head({event}, {number}, program);")
        memory = "PT_MEMORY_USER" if user else "PT_MEMORY_KERNEL"
        self.line(f"    script_join((u64){event}->data, {kinds[0].size}, (u64)({array.code}), {memory});")
        size = sum(kind.size for kind in kinds)
        self.line(f"    pt_send(ctx, {event}, offsetof(struct event, data) + {size});")
        self.line("}")

    def send_packet(self, path: str, code: str) -> str:
        """See MachineFunctions."""
        kinds = (U64, U64, BufferType(_PACKET_SIZE))  # the time, the size of the packet
        number = self.state.action(Action("skboutput", kinds, text=path))
        self.event_words = max(self.event_words, sum(words_for(stored_size(kind)) for kind in kinds))
        result = self.temporary("s64", "-1")
        event = self.temporary("struct event *", "pt_prepare_in(program)")
        self.line(f"if ({event}) {{")
        size = self.temporary("u64", f"script_packet((u64){event}->data, {_PACKET_SIZE}, {code})")
        self.line(f"script_head({event}, {number}, program);")
        self.line(f"{result} = -pt_output(ctx, {event}, offsetof(struct event, data) + {size});")
        self.line(f"if ({result})")
        self.line("    pt_lost(PT_LOSS_RING_FULL);")
        self.line("}")
        return result

    def _signal(self, node: script.Call) -> None:
        self.require_unsafe(node)
        import signal

        [argument] = node.arguments
        if isinstance(argument, syntax.TextLiteral):
            name = argument.value if argument.value.startswith("SIG") else f"SIG{argument.value}"
            if name not in signal.Signals.__members__:
                raise self.fail(argument, f"no signal {argument.value!r}")
            code = str(signal.Signals[name].value)
        else:
            code = self.number(argument).code
        self.line(f"script_{node.name}((u32)({code}));")

    def _debugf(self, node: script.Call) -> None:
        """Write to the kernel's own trace buffer (bpf_trace_printk), which takes three values."""
        template = self._literal_text(node.arguments[0]) if node.arguments else None
        if template is None:
            raise self.fail(node, "the first argument of debugf() is a text in quotes")
        values = node.arguments[1:]
        if len(values) > _DEBUGF_VALUES:
            raise self.fail(node, f"debugf() shows up to {_DEBUGF_VALUES} values", hint="printf() shows more")
        form = self.literal(template)
        codes = [f"(u64)({self.value(value).code})" for value in values] + ["0"] * _DEBUGF_VALUES
        size = len(template.value.encode("utf-8", "surrogateescape")) + 1
        self.line(f"script_trace((void *)({form.code}), {size}, {', '.join(codes[:_DEBUGF_VALUES])});")

    def _override(self, node: script.Call) -> None:
        self.require_unsafe(node)
        if self.probe_type != "kprobe":
            raise self.fail(node, "override() is for kprobe: only", hint="of functions that the kernel lists")
        if not self.state.has_override:
            message = "this kernel overrides no results (it is built without BPF_KPROBE_OVERRIDE)"
            raise self.fail(node, message)
        [value] = node.arguments
        self.line(f"script_override(ctx, (u64)({self.number(value).code}));")


ACTIONS: dict[str, Callable[[Actions, script.Call], None]] = {
    "printf": Actions._printf,
    "errorf": Actions._message,
    "warnf": Actions._message,
    "print": Actions._print,
    "clear": Actions._map_action,
    "zero": Actions._map_action,
    "exit": Actions._exit,
    "time": Actions._time,
    "cat": Actions._cat,
    "system": Actions._system,
    "join": Actions._join,
    "signal": Actions._signal,
    "signal_thread": Actions._signal,
    "assert": Actions._assert,
    "debugf": Actions._debugf,
    "override": Actions._override,
}
"""The functions without a value, and their translating methods."""
