"""The functions of scripts that look something up on this machine: addresses, paths, control groups."""

from __future__ import annotations

import re
from collections.abc import Callable

from pytracer.lang import syntax
from pytracer.lang.arithmetic import number
from pytracer.lang.scope import Lvalue, Value
from pytracer.lang.script import syntax as script
from pytracer.lang.script.standard_functions import STANDARD, StandardFunctions
from pytracer.lang.script.types import StringType
from pytracer.lang.syntax import Node
from pytracer.lang.types import S64, U64, IntType, PointerType, StructType

_CONTEXT_WORD = re.compile(r"\(*(?:\(u64\))?\(*pt_spec_context_word\(ctx, (\d+)\)\)*")
_PATH_PROBES = ("fentry", "fexit", "iter")


class MachineFunctions(StandardFunctions):
    """Translates calls of functions that look something up."""

    def _kaddr(self, node: script.Call, _to: str, _room: int) -> Value:
        return number(self._kernel_symbol(node), U64)

    def _kernel_symbol(self, node: script.Call) -> int:
        name = self._name_argument(node)
        address = self.state.kernel_address(name)
        if not address:
            hint = "variables are listed by kernels with KALLSYMS_ALL" if node.name == "percpu_kaddr" else ""
            raise self.fail(node, f"Failed to resolve kernel symbol: {name}", hint=hint)
        return address

    def _name_argument(self, node: script.Call) -> str:
        argument = node.arguments[0]
        if isinstance(argument, script.Call) and argument.name == "str" and len(argument.arguments) == 1:
            argument = argument.arguments[0]
        name = self.constant_text(argument)
        if name is None:
            raise self.fail(argument, f"{node.name}() takes a name in quotes")
        return name

    def _percpu_kaddr(self, node: script.Call, _to: str, _room: int) -> Value:
        """Add the offset of a CPU's memory to a per-CPU symbol, as the kernel's per_cpu_ptr() does."""
        symbol = self._kernel_symbol(node)
        offsets = self.state.kernel_address("__per_cpu_offset")
        if not offsets:
            raise self.fail(node, "this kernel has no __per_cpu_offset: it has one CPU, or hides its symbols")
        cpu = self.number(node.arguments[1]).code if len(node.arguments) > 1 else "bpf_get_smp_processor_id()"
        code = f"script_percpu({offsets:#x}ULL, {symbol:#x}ULL, (u64)({cpu}), {self.state.cpus})"
        return Value(self.temporary("u64", code), PointerType(U64))

    def _uaddr(self, node: script.Call, _to: str, _room: int) -> Value:
        """Find a variable by its distance from the probed instruction, wherever the file is loaded."""
        name = self._name_argument(node)
        if self.scope.variable is None:
            raise self.fail(
                node, f"{self.scope.what} is at no place of a program", hint="in uprobe: and usdt:"
            )
        found = self.scope.variable(name)
        if found is None:
            raise self.fail(node.arguments[0], f"the program has no variable {name!r}")
        distance, size = found
        kind = IntType(size if size in (1, 2, 4, 8) else 8, False)
        return Value(
            f"((u64)PT_REGS_IP((struct pt_regs *)ctx) + ({distance}LL))", PointerType(kind, user=True)
        )

    def _cgroupid(self, node: script.Call, _to: str, _room: int) -> Value:
        path = self._name_argument(node)
        try:
            return number(self.state.cgroup_id(path), U64)
        except OSError as error:
            raise self.fail(node.arguments[0], f"{path}: {error.strerror}") from None

    def _socket_cookie(self, node: script.Call, dst: str, capacity: int) -> Value:
        """Read the cookie that a socket has; only the kernel itself makes one."""
        argument: Node = node.arguments[0]
        for member in ("__sk_common", "skc_cookie", "counter"):
            argument = _member(argument, member)
        value = self.value(argument, dst, capacity)
        return Value(f"((u64)({value.code}))", U64)

    def _path(self, node: script.Call, _to: str, _room: int) -> Value:
        """Call bpf_d_path(), which accepts only pointers that the verifier knows to be the kernel's."""
        if self.probe_type not in _PATH_PROBES:
            raise self.fail(
                node,
                f"the kernel makes no path in {self.probe_type} probes",
                hint="in fentry:, fexit: and iter:",
            )
        if self.probe_type == "iter" and not self.state.has_iterator_paths:
            raise self.fail(node, "this kernel makes no paths for iterators (Linux 5.12)")
        argument = node.arguments[0]
        found = self._resolve(argument)
        kind = found.type.to if isinstance(found, Value) and isinstance(found.type, PointerType) else None
        if isinstance(found, Lvalue):
            kind = found.type if isinstance(found.type, StructType) else None
        origin = _CONTEXT_WORD.fullmatch(getattr(found, "code", ""))
        if not isinstance(kind, StructType) or kind.name != "struct path" or origin is None:
            raise self.fail(
                argument, "path() takes a struct path within an argument", hint="args.file.f_path"
            )
        capacity = self.constant(node.arguments[1]) if len(node.arguments) > 1 else self.state.string_room
        string_type = StringType(max(min(capacity, self.state.string_room), 1))
        dst = self.memory(string_type.size)
        offset = found.offset if isinstance(found, Lvalue) else 0
        self.line(
            f"script_path(ctx, {origin[1]}, {offset}, {dst}, {string_type.capacity}, {string_type.size});"
        )
        return Value(dst, string_type)

    def _skboutput(self, node: script.Call, _to: str, _room: int) -> Value:
        """Send what the kernel keeps of a packet in one piece: programs of BCC get no trusted pointer to it,
        which bpf_skb_output() takes, and probes of most kinds never do."""
        path, packet, length, offset = node.arguments
        name = self.constant_text(path)
        if name is None:
            raise self.fail(path, "skboutput() takes the path of a file in quotes")
        kind = self.type_of_argument(packet)
        if not isinstance(kind, PointerType) or getattr(kind.to, "name", "") != "struct sk_buff":
            raise self.fail(
                packet, f"skboutput() takes a packet, and this is {kind.text}", hint="(struct sk_buff *)arg0"
            )
        data, size, paged = (
            self.temporary("u64", f"(u64)({self.number(_member(packet, name)).code})")
            for name in ("data", "len", "data_len")
        )
        numbers = f"(u64)({self.number(length).code}), (u64)({self.number(offset).code})"
        return Value(self.send_packet(name, f"{data}, {size}, {paged}, {numbers}"), S64)

    def send_packet(self, path: str, code: str) -> str:
        """Add code that sends a packet for a file; return C for 0, or a negative number of an error."""
        raise NotImplementedError


def _member(node: Node, name: str) -> syntax.Member:
    return syntax.Member(node.start, node.end, node, name, False, node.start)


_Translate = Callable[["MachineFunctions", script.Call, str, int], Value]
MACHINE: dict[str, tuple[_Translate, int, int]] = {
    **STANDARD,
    "cgroupid": (MachineFunctions._cgroupid, 1, 1),
    "kaddr": (MachineFunctions._kaddr, 1, 1),
    "path": (MachineFunctions._path, 1, 2),
    "percpu_kaddr": (MachineFunctions._percpu_kaddr, 1, 2),
    "skboutput": (MachineFunctions._skboutput, 4, 4),
    "socket_cookie": (MachineFunctions._socket_cookie, 1, 1),
    "uaddr": (MachineFunctions._uaddr, 1, 1),
}
"""By name: how each is translated, and how many arguments it takes at least and at most."""
