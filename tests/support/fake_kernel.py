"""Describe a kernel as data, to make plans without one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pytracer.errors import UnknownNameError
from pytracer.features.table.uses import ProgramUses
from pytracer.kernel.btf import Btf
from pytracer.kernel.facts import FoundTargets, FunctionTypes, ProcessStart, Support
from pytracer.record import replace
from pytracer.spec import (
    ExitKind,
    FunctionCode,
    FunctionExit,
    Kprobe,
    Kprobes,
    Probe,
    ProbeSite,
    RawTracepoint,
    Source,
    Tracepoint,
)


@dataclass
class FakeKernel:
    """A kernel that supports what its fields list. ``None`` for a set: everything of that kind."""

    architecture: str = "x86_64"
    runs_compat: bool = True
    raw_tracepoints: set[str] | None = None
    raw_arguments: dict[str, int] = field(default_factory=dict)
    tracepoints: set[str] | None = None
    functions: set[str] = field(default_factory=set)
    patterns: set[str] | None = field(default_factory=set)
    helpers: set[int] | None = None
    map_types: set[int] | None = None
    no_calls: set[tuple[str, int]] = field(default_factory=set)
    has_loops: bool = True
    has_atomic_fetch: bool = True
    preempts: bool = False
    injectable: dict[str, str] | None = field(default_factory=lambda: {"should_failslab": "ERRNO"})
    refuses: set[str] = field(default_factory=set)
    named: dict[str, FoundTargets] = field(default_factory=dict)
    types: Btf | None = None
    formats: dict[str, str] = field(default_factory=dict)
    programs: dict[str, FunctionTypes] = field(default_factory=dict)
    codes: dict[str, FunctionCode] = field(default_factory=dict)
    go: set[str] = field(default_factory=set)
    variables: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    starts: dict[int, ProcessStart] = field(default_factory=dict)

    def close(self) -> None:
        """Do nothing: no descriptor is open."""

    def close_meanwhile(self) -> None:
        pass

    def function_types(self, site: ProbeSite) -> FunctionTypes | None:
        return self.programs.get(site.name)

    def code(self, site: ProbeSite) -> FunctionCode:
        end = FunctionExit(ExitKind.RETURN, replace(site, name=f"{site.name}+0x10", offset=site.offset + 16))
        return self.codes.get(site.name, FunctionCode(site.offset, (end,)))

    def entry(self, site: ProbeSite) -> int:
        return self.codes[site.name].entry if site.name in self.codes else site.offset

    def variable(self, site: ProbeSite, name: str) -> tuple[int, int] | None:
        return self.variables.get((site.name, name))

    def is_go(self, site: ProbeSite) -> bool:
        return site.name in self.go

    def event_format(self, name: str) -> str:
        return self.formats[name]

    def find(self, source: Source) -> FoundTargets:
        if source.text not in self.named:
            raise UnknownNameError(source.spelling.of, source.name, ())
        return self.named[source.text]

    def maps_file(self, pids: Sequence[int], identity: tuple[int, ...]) -> bool:
        return True

    def start_of(self, process: int, command: tuple[str, ...] = ()) -> ProcessStart:
        return self.starts.get(process, ProcessStart(words=command))

    def has_helper(self, number: int) -> bool:
        return self.helpers is None or number in self.helpers

    def has_map_type(self, number: int) -> bool:
        return self.map_types is None or number in self.map_types

    def describe_lack(self, probe: Probe, uses: ProgramUses) -> str:
        missing_helpers = [
            number for kind, number in self.no_calls if kind == probe.kind and number in uses.helpers
        ]
        return f"{probe.kind} has no helper {missing_helpers[0]}" if missing_helpers else ""

    def probe(self, probe: Probe) -> Support:
        match probe:
            case RawTracepoint():
                number = self.raw_arguments.get(probe.event, 12)
                if probe.arguments > number:
                    return Support(False, reason=f"the raw tracepoint {probe.event} has fewer arguments")
                if probe.exact and probe.event in self.raw_arguments and probe.arguments < number:
                    return Support(False, reason=f"the raw tracepoint {probe.event} has more arguments")
                answer = self._answer(probe, self.raw_tracepoints)
                reason = (
                    "can be preempted" if answer.is_supported and probe.preempted and self.preempts else ""
                )
                return replace(answer, caveat=reason)
            case Tracepoint():
                return self._answer(probe, self.tracepoints)
            case Kprobe():
                return self._kprobe(probe)
            case Kprobes():
                return self._answer(probe, self.patterns, probe.patterns[0])
        return self._answer(probe, None)

    def _kprobe(self, probe: Kprobe) -> Support:
        if "kprobe" in self.refuses:
            return Support(False, reason="refused by policy", is_forbidden=True)
        for symbol in probe.symbols:
            if symbol in self.functions:
                return Support(True, name=symbol + (f"+{probe.offset:#x}" if probe.offset else ""))
        return Support(False, reason=f"no function {' or '.join(probe.symbols)}")

    def _answer(self, probe: Probe, names: set[str] | None, name: str = "") -> Support:
        name = name or probe.target
        if probe.kind in self.refuses:
            return Support(False, reason="refused by policy", is_forbidden=True)
        if names is None or name in names:
            return Support(True, name=name)
        return Support(False, reason=f"no {probe.kind} {name}")
