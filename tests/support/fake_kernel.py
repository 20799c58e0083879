"""A kernel described as data, for plans made without one."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytracer.kernel.facts import Answer


@dataclass
class FakeKernel:
    """Grants what it is said to have. ``None`` for a set: everything of that kind."""

    architecture: str = "x86_64"
    runs_compat: bool = True
    raw_tracepoints: set[str] | None = None
    raw_arguments: dict[str, int] = field(default_factory=dict)
    tracepoints: set[str] | None = None
    functions: set[str] = field(default_factory=set)
    patterns: set[str] | None = field(default_factory=set)
    helpers: set[int] | None = None
    map_types: set[int] | None = None
    has_loops: bool = True
    refuses: set[str] = field(default_factory=set)

    def has_helper(self, number: int) -> bool:
        return self.helpers is None or number in self.helpers

    def has_map_type(self, number: int) -> bool:
        return self.map_types is None or number in self.map_types

    def raw_tracepoint(self, event: str, arguments: int = 0) -> Answer:
        if arguments > self.raw_arguments.get(event, 12):
            return Answer(False, reason=f"the raw tracepoint {event} has fewer arguments")
        return self._answer("raw_tracepoint", event, self.raw_tracepoints)

    def tracepoint(self, category: str, event: str) -> Answer:
        return self._answer("tracepoint", f"{category}:{event}", self.tracepoints)

    def kprobe(self, symbols: tuple[str, ...]) -> Answer:
        if "kprobe" in self.refuses:
            return Answer(False, reason="refused by policy", refused=True)
        for symbol in symbols:
            if symbol in self.functions:
                return Answer(True, name=symbol)
        return Answer(False, reason=f"no function {' or '.join(symbols)}")

    def kprobe_multi(self, patterns: tuple[str, ...], *, at_return: bool) -> Answer:
        return self._answer("kretprobe_multi" if at_return else "kprobe_multi", patterns[0], self.patterns)

    def kprobe_events(self, patterns: tuple[str, ...]) -> Answer:
        return self._answer("kprobe_events", patterns[0], self.patterns)

    def socket_filter(self) -> Answer:
        return self._answer("socket_filter", "socket_filter", None)

    def perf_sample(self, event: str) -> Answer:
        return self._answer("perf_sample", event, None)

    def _answer(self, kind: str, name: str, known: set[str] | None) -> Answer:
        if kind in self.refuses:
            return Answer(False, reason="refused by policy", refused=True)
        if known is None or name in known:
            return Answer(True, name=name)
        return Answer(False, reason=f"no {kind} {name}")
