"""Describe a compiled script as data: the plan attaches it, and a collector decodes its results by it."""

from __future__ import annotations

from collections.abc import Mapping

from pytracer.lang.formats import Conversion
from pytracer.lang.script.types import WORD, AggregateType, stored_size, words_for
from pytracer.lang.types import Type
from pytracer.record import default_factory, record


@record
class ScriptMap:
    """A map: ``name`` as in the script, ``number`` in the C (``script_map_N``).

    ``keys`` are the types of the parts of a key, none for a map with one value; ``is_shared``: all CPUs count
    in one value. ``capacity`` is the number of entries; ``evicts``: a new one takes the place of the one that
    was least used. ``read_cpus``: the number of CPUs whose values programs read, 0 where they read none.
    """

    name: str
    number: int
    keys: tuple[Type, ...]
    value: Type
    is_shared: bool = False
    capacity: int = 0
    evicts: bool = False
    read_cpus: int = 0

    @property
    def c_name(self) -> str:
        """The name of the BPF map."""
        return f"script_map_{self.number}"

    @property
    def has_buckets(self) -> bool:
        """True if the last word of a key is the number of a bucket."""
        return isinstance(self.value, AggregateType) and self.value.has_buckets

    @property
    def key_words(self) -> int:
        """The number of words of a key, at least 1."""
        return max(sum(map(stored_size, self.keys)) // WORD, not self.has_buckets) + self.has_buckets

    @property
    def value_words(self) -> int:
        """The number of words of a value."""
        return words_for(stored_size(self.value))

    @property
    def is_per_cpu(self) -> bool:
        """True if every CPU has a value of its own."""
        return isinstance(self.value, AggregateType) and not self.is_shared


@record
class Action:
    """An action of user space for an event: ``kind`` is the function, ``fields`` are the types of the
    values in the event. ``pieces`` are those of a format, ``map`` the name of a map, ``numbers`` and ``text``
    further constants."""

    kind: str
    fields: tuple[Type, ...] = ()
    pieces: tuple[str | Conversion, ...] = ()
    map: str = ""
    numbers: tuple[int, ...] = ()
    text: str = ""


WALK_NUMBER = "SCRIPT_WALK_{}"
"""The placeholder for the number of a function in the lines of a block."""


@record
class CompiledBlock:
    """The C of a probe's block at a target: the lines of its body, and the words of memory that it works in.

    ``event_words`` is the length of the longest event's values. ``functions`` are the bodies of loops, which
    are functions of their own, named by WALK_NUMBER: the kind, then the lines. ``filters``: it runs for
    traced tasks only. ``target`` is the number of the only target; None if the program has to ask for it.
    ``stops``: it does not run once the script has called exit().
    """

    lines: tuple[str, ...]
    memory_words: int
    event_words: int
    functions: tuple[tuple[str, ...], ...] = ()
    filters: bool = True
    target: int | None = None
    stops: bool = False


@record
class CompiledScript:
    """A script whose blocks are compiled to C.

    ``targets`` are the names of its targets by number: the whole probe, and the function or event.
    ``attached`` is the number of its probes; ``ends_at_once``: they are begin and end only;
    ``end_programs`` are those that run after exit(), too: of end probes and iterators. ``enums``
    has the names of values by the names of enums. ``takes_user_stacks``: of programs; ``needs_tables``: they
    must be walked by unwind tables.
    """

    maps: tuple[ScriptMap, ...]
    actions: tuple[Action, ...]
    config: dict[str, str]
    targets: tuple[tuple[str, str], ...] = ()
    ends_at_once: bool = False
    end_programs: frozenset[int] = frozenset()
    attached: int = 0
    enums: Mapping[str, Mapping[int, str]] = default_factory(factory=dict)
    takes_user_stacks: bool = False
    needs_tables: bool = False
