"""The state that a script's blocks share while they are compiled: maps, actions, settings, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pytracer.errors import ProbeSpecError
from pytracer.lang.scope import TypeProvider, Value
from pytracer.lang.script.positions import excerpt_of, position_of, warning_at
from pytracer.lang.script.program import Action, ScriptMap
from pytracer.lang.script.settings import DEFAULTS, string_room
from pytracer.lang.script.structs import ScriptTypes
from pytracer.lang.script.syntax import Macro, Script
from pytracer.lang.script.types import PENDING, AggregateType, is_pending, stored, type_name, unify
from pytracer.lang.syntax import Node
from pytracer.lang.types import Type


class ScriptState:
    """The maps and actions of a script, with the types that were inferred so far.

    The blocks are compiled again until no type changes: a map may be read before it is assigned.
    """

    def __init__(
        self,
        script: Script,
        *,
        parameters: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        unsafe: bool = False,
        cpus: int = 1,
        named_parameters: Mapping[str, str] | None = None,
        has_loop_helper: bool = False,
        has_percpu_lookup: bool = False,
        has_override: bool = False,
        has_iterator_paths: bool = False,
        checks: bool = False,
        kernel_address: Callable[[str], int] = lambda _: 0,
        cgroup_id: Callable[[str], int] = lambda _: 0,
        syscall_number: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        """Create the state of a script without maps and actions.

        ``parameters`` are the values of ``$1`` and so on, ``named_parameters`` those of getopt().
        ``settings`` override the script's. ``has_loop_helper``: programs may call bpf_loop();
        ``has_percpu_lookup``: they may read the values of other CPUs (bpf_map_lookup_percpu_elem).
        ``has_override``: they may override what functions return; ``has_iterator_paths``: those of iterators
        get paths. ``checks``: failed reads are reported. ``kernel_address`` returns the address of a symbol
        of the kernel, 0 if there is none; ``cgroup_id`` the number of a control group by its folder,
        ``syscall_number`` that of a system call by its name.
        """
        self.text = script.text
        self._files = script.files
        self.macros: Mapping[tuple[str, int], Macro] = script.macros
        self.constants = dict(script.constants)
        self._structs = script.structs
        self._enums = script.enums
        self._types = dict[int, tuple[TypeProvider, ScriptTypes]]()
        self.declared = {declaration.name: declaration for declaration in script.maps}
        self.has_loop_helper = has_loop_helper
        self.has_percpu_lookup = has_percpu_lookup
        self.has_override = has_override
        self.has_iterator_paths = has_iterator_paths
        self.checks = checks
        self.kernel_address = kernel_address
        self.cgroup_id = cgroup_id
        self.syscall_number = syscall_number
        self.named_parameters = dict(named_parameters or {})
        self.options = dict[str, str]()  # the named parameters that the script asks for, and what they are
        self.variable_types = dict[tuple[int, str], Type]()
        self.parameters = tuple(parameters)
        self.unsafe = unsafe
        self.cpus = cpus
        self.config = {**DEFAULTS, **script.config, **(settings or {})}
        self._keys = dict[str, tuple[Type, ...]]()
        self._values = dict[str, Type]()
        self._shared = set[str]()
        self._read_over_cpus = set[str]()
        self._actions = dict[Action, int]()
        self.warnings = dict[str, None]()
        self.takes_user_stacks = self.needs_tables = False  # see CompiledScript
        self.changed = False
        self.has_pending = False  # something was read that has no type yet
        self.is_final = False  # every map must have a type now

    @property
    def string_room(self) -> int:
        """See :func:`~pytracer.lang.script.settings.string_room`."""
        return string_room(self.config)

    @property
    def map_capacity(self) -> int:
        """The number of entries that a map can hold."""
        return max(int(self.config["max_map_keys"]), 1)

    @property
    def map_names(self) -> list[str]:
        """The names of the maps, in the order of their numbers."""
        return list(self._values)

    def maps(self) -> tuple[ScriptMap, ...]:
        """Return all maps, once their types are known."""
        return tuple(self.map(name) for name in self._values)

    def map(self, name: str) -> ScriptMap:
        """Return a map whose type is known. Raises ValueError if it is not."""
        number = list(self._values).index(name)
        declared = self.declared.get(name)
        return ScriptMap(
            name,
            number,
            self._keys[name],
            self._values[name],
            name in self._shared,
            declared.capacity if declared else self.map_capacity,
            declared is not None and "lru" in declared.kind,
            self.cpus if name in self._read_over_cpus else 0,
        )

    def has_type(self, name: str) -> bool:
        """Return whether the type of a map is known."""
        return name in self._values

    def share(self, name: str) -> None:
        """Make all CPUs count in one value of a map, because a program reads it."""
        if name not in self._shared:
            self._shared.add(name)
            self.changed = True

    def read_all_cpus(self, name: str) -> None:
        """Make the values that all CPUs have of a map readable by programs."""
        self._read_over_cpus.add(name)

    def record_types(self, node: Node, name: str, keys: Sequence[Type], value: Type) -> None:
        """Record the types of an assignment. Raises ProbeSpecError if they contradict earlier ones."""
        keys = tuple(map(stored, keys))
        value = value if isinstance(value, AggregateType) else stored(value)
        if any(map(is_pending, (*keys, value))) and not self.is_final:
            return
        if name not in self._values:
            self._keys[name], self._values[name] = keys, value
            self.changed = True
            return
        self.record_key_types(node, name, keys)
        known_type = self._values[name]
        common = unify(known_type, value)
        if common is None:
            message = f"{name} holds {known_type.text}, and this is {value.text}"
            raise ProbeSpecError(message, self.text, node.start, node.end)
        if common != known_type:
            self._values[name] = common
            self.changed = True

    def record_key_types(self, node: Node, name: str, keys: Sequence[Type]) -> None:
        """Record the types of a key. Raises ProbeSpecError if they contradict earlier ones."""
        known_keys = self._keys.get(name)
        keys = tuple(map(stored, keys))
        if known_keys is None or (any(map(is_pending, keys)) and not self.is_final):
            return
        common = [unify(a, b) for a, b in zip(known_keys, keys, strict=False)]
        if len(known_keys) != len(keys) or None in common:
            given, expected = (f"({','.join(map(type_name, key_types))})" for key_types in (keys, known_keys))
            message = (
                f"Argument mismatch for {name}: trying to access with arguments: '{given}' "
                f"when map expects arguments: '{expected}'"
            )
            raise ProbeSpecError(message, self.text, node.start, node.end)
        merged = tuple(kind for kind in common if kind is not None)
        if merged != known_keys:
            self._keys[name] = merged
            self.changed = True

    def with_structs(self, base: TypeProvider) -> TypeProvider:
        """Return the types of a target, extended by the structs and enums that the script defines."""
        if not self._structs and not self._enums:
            return base
        cached = self._types.get(id(base))
        if cached is None:
            cached = self._types[id(base)] = base, ScriptTypes(base, self._structs, self._enums, self.text)
        return cached[1]

    def pending(self) -> Value:
        """Return a placeholder for a value that a later block assigns. A later pass knows its type."""
        self.has_pending = True
        return Value("0", PENDING, 0)

    def widen_variable(self, block: int, name: str, kind: Type) -> None:
        """Record that a variable of a block has to hold values of a type."""
        if self.variable_types.get((block, name)) != kind:
            self.variable_types[block, name] = kind
            self.changed = True

    def place_of(self, node: Node) -> str:
        """Return where a node is, as messages of scripts say it: ``stdin:1:9-62``."""
        return position_of(self.text, self._files, node.start, node.end)

    def excerpt_of(self, node: Node) -> str:
        """Return the line of a node, and below it the marks that point at it."""
        return excerpt_of(self.text, node.start, node.end)

    def warn(self, node: Node, message: str) -> None:
        """Add a warning about a part of the script, once."""
        self.warnings[warning_at(self.text, self._files, node.start, node.end, message)] = None

    def action(self, action: Action) -> int:
        """Return the number of an action, after adding it if it is new."""
        return self._actions.setdefault(action, len(self._actions))

    def actions(self) -> tuple[Action, ...]:
        """Return all actions, by number."""
        return tuple(self._actions)

    def begin_pass(self) -> None:
        """Discard the actions of the last pass, whose types may have changed."""
        self._actions.clear()
        self.warnings.clear()
        self.changed = self.has_pending = False
