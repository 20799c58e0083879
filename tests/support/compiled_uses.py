"""Find what the programs of a tracer use, by compiling every alternative."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from pytracer.bpf.compile.compiler import compile_image
from pytracer.bpf.compile.headers import find_headers
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.image import Image
from pytracer.errors import BuildError, PytracerError, UsageError
from pytracer.features.table.uses import FILE
from pytracer.kernel.btf import Btf, BtfKind
from pytracer.plan import Plan, hooks_of, make_plan
from pytracer.request import Fault, NameSetValue, Request
from pytracer.spec import (
    Clsact,
    Filter,
    Flag,
    Hook,
    Injection,
    OnCgroup,
    PacketFanout,
    Probe,
    SocketFilter,
    Tcx,
    Tracer,
    Xdp,
)
from pytracer.spec.calls import CALLS_OPTION, needs_names
from support.fake_kernel import FakeKernel

_CALL, _LD_IMM64, _MOV64 = 0x85, 0x18, 0xBF  # opcodes of struct bpf_insn
_LOADS = {0x71: 1, 0x69: 2, 0x61: 4, 0x79: 8}  # BPF_LDX|MEM: bytes
_CLOBBERED = range(6)  # registers that a call may change
_PACKETS = (SocketFilter, PacketFanout, Xdp, Tcx, Clsact, OnCgroup)
"""Kinds of probe whose context is a struct of the BPF ABI, to which versions have added fields."""

Uses = dict[str, Any]


class UniversalSet(set[str]):
    """The set of all names."""

    def __contains__(self, _: object) -> bool:
        """Return True."""
        return True


class AllFunctions:
    """Kernel types that have every function."""

    def find(self, kind: BtfKind, _name: str) -> int | None:
        """Return an id for a function, and None for anything else."""
        return 1 if kind is BtfKind.FUNC else None

    def func_proto(self, _type_id: int) -> SimpleNamespace:
        """Return a function without arguments."""
        return SimpleNamespace(params=())


def oldest() -> FakeKernel:
    """Return a kernel with every hook, and nothing that a PT_HAS_ macro stands for."""
    return FakeKernel(
        functions=UniversalSet(),
        patterns=None,
        helpers=set(),
        map_types=set(),
        has_loops=False,
        types=cast(Btf, AllFunctions()),
    )


def make_request(tracer: Tracer, **fields: Any) -> Request:
    """Return a request for a tracer, with a command if it can follow one, and its required arguments."""
    fields = {"command": ("true",) if tracer.follow else ()} | fields
    if isinstance(tracer.arguments, Injection):
        fields = {"filters": {Filter.PID: (bytes(4),)}, "fault": Fault("should_failslab", "ENOMEM")} | fields
    return Request(tracer, **fields)


def calls(code: bytes) -> list[int]:
    """Return the numbers of the helpers that a program calls."""
    actual = set[int]()
    for opcode, registers, _, immediate in _instructions(code):
        if opcode == _CALL and not registers >> 4:
            actual.add(immediate)
    return sorted(actual)


def context_reads(code: bytes) -> list[tuple[int, int]]:
    """Return the fields of the context that a program reads, as (offset, size), by following the register of
    it down the instructions as they stand."""
    context_registers, actual = {1}, set[tuple[int, int]]()
    for opcode, registers, offset, _ in _instructions(code):
        target, source = registers & 0xF, registers >> 4
        if opcode in _LOADS and source in context_registers:
            actual.add((offset, _LOADS[opcode]))
        if opcode == _CALL:
            context_registers -= set(_CLOBBERED)
        elif opcode == _MOV64 and source in context_registers:
            context_registers.add(target)
        elif opcode & 7 in (0, 1, 4, 7):  # BPF_LD, BPF_LDX, BPF_ALU, BPF_ALU64 write to their target
            context_registers.discard(target)
    return sorted(actual)


def _instructions(code: bytes) -> Iterator[tuple[int, int, int, int]]:
    second = False
    for opcode, registers, offset, immediate in struct.iter_unpack("=BBhi", code):
        if not second:
            yield opcode, registers, offset, immediate
        second = not second and opcode == _LD_IMM64


class Floor:
    """Compiles every alternative of a tracer. ``uses`` is its line of the table; ``missing`` has the
    message of the compiler for each variant that does not compile here."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self.missing: dict[str, str] = {}
        self._programs: dict[str, Uses] = {}
        self._maps: dict[str, list[int]] = {}
        self._text = read_source(tracer.c_file)
        self._images: dict[tuple[object, ...], Image] = {}
        default_image = self._compile("", {})
        if default_image is None:
            return
        for hook in hooks_of(make_request(tracer)):
            self._compile_alternatives(hook, {})
        for option in tracer.options:
            if isinstance(option, Flag):
                self._compile(f"--{option.name}", {"options": {option.name: True}}, default_image)
                for hook in option.hooks:
                    self._compile_alternatives(hook, {option.name: True})

    @property
    def uses(self) -> Uses:
        """Return the tracer's line of the table."""
        return {"tracer": self.tracer.name, "programs": self._programs, "maps": self._maps}

    @property
    def _known(self) -> set[str]:
        return {variant for variants in self._programs.values() for variant in variants}

    def _compile_alternatives(self, hook: Hook, options: dict[str, Any]) -> None:
        for alternative in hook.alternatives:
            variant = f"{hook.name}={alternative.name}"
            if alternative.probes and variant not in self._known:
                named = {CALLS_OPTION: NameSetValue((bytes(8),), exclude=False)}
                forced_options = options | (named if needs_names(alternative) else {})
                self._compile(variant, {"hooks": {hook.name: alternative.name}, "options": forced_options})

    def _compile(
        self, variant: str, fields: dict[str, Any], default_image: Image | None = None
    ) -> Image | None:
        try:
            plan = make_plan(make_request(self.tracer, **fields), oldest())
        except UsageError:  # the flag goes with other options alone
            return None
        if plan.program != "c":
            return None
        kinds = {chosen_probe.probe.program: chosen_probe.probe for chosen_probe in plan.probes}
        named = self.tracer.arguments
        others = named.functions if named is not None else ()
        programs = tuple(dict.fromkeys([*kinds, *others]))
        try:
            image = self._image(plan, programs)
        except BuildError as error:
            self.missing[variant] = str(error)
            return None
        self._note_maps(variant, image)
        alternatives = {
            probe.program: f"{resolved_hook.hook.name}={resolved_hook.alternative}"
            for resolved_hook in (*plan.hooks.resolved_hooks, *plan.targets.resolved_hooks)
            for alternative in resolved_hook.hook.alternatives_named(resolved_hook.alternative)
            for probe in alternative.probes
        }
        for program in image.programs:
            alternative = alternatives.get(program.name, "")
            actual = self._found(program.code, kinds.get(program.name))
            variants = self._programs.setdefault(program.name, {})
            recorded_uses = variants.setdefault(alternative, actual)
            extra = [number for number in actual["helpers"] if number not in recorded_uses["helpers"]]
            if default_image is not None and extra:
                variants[variant] = {"helpers": extra}
        return image

    def _image(self, plan: Plan, programs: tuple[str, ...]) -> Image:
        key = plan.defines, programs
        if key not in self._images:
            headers = find_headers(self._text)
            self._images[key] = compile_image(
                "", self.tracer.c_file, self._text, tuple(plan.cflags), headers, programs
            )
        return self._images[key]

    def _note_maps(self, variant: str, image: Image) -> None:
        types = sorted({spec.type for spec in image.maps})
        extra = [number for number in types if number not in self._maps.get("", ())]
        if extra or not variant:
            self._maps[variant] = extra

    def _found(self, code: bytes, probe: Probe | None) -> Uses:
        actual: Uses = {"helpers": calls(code)}
        if isinstance(probe, _PACKETS) and (fields := context_reads(code)):
            actual["context"] = [list(field) for field in fields]
        return actual


def recorded_uses(tracer: str) -> Uses:
    """Return the line of the table for a tracer; empty if there is none."""
    lines = map(json.loads, FILE.read_text().splitlines())
    return next((line for line in lines if line["tracer"] == tracer), {})


def write(floors: list[Uses]) -> None:
    """Replace the lines of some tracers, and drop those of tracers that are gone."""
    from pytracer.spec import registry

    lines = {line["tracer"]: line for line in map(json.loads, FILE.read_text().splitlines())}
    lines |= {line["tracer"]: line for line in floors}
    names = sorted(tracer.name for tracer in registry.all_tracers())
    FILE.write_text("".join(json.dumps(lines[name]) + "\n" for name in names if name in lines))


def main(names: list[str]) -> int:
    """Compile these tracers, or all, and write the table (scripts/record --uses)."""
    from pytracer.spec import registry

    for tracer in registry.all_tracers():
        if not names or tracer.name in names:
            try:
                floor = Floor(tracer)
            except PytracerError as error:
                print(f"{tracer.name}: {error}")
                return 1
            for variant, reason in floor.missing.items():
                print(f"{tracer.name} {variant}: not compiled: {reason}")
            write([floor.uses])
    return 0
