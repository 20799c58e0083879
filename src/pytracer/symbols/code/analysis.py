"""Find where the calls of a function end: in its own code, and in the functions that it jumps to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from pytracer.errors import UnreadableCodeError
from pytracer.record import record, replace
from pytracer.spec import ExitKind, FunctionCode, FunctionExit, ProbeSite
from pytracer.spec.code import THREAD_G
from pytracer.symbols.code import code_file as images
from pytracer.symbols.code import flow, golang, instructions, uprobe_limits
from pytracer.symbols.code.code_file import ProgramImage
from pytracer.symbols.code.flow import ControlFlow
from pytracer.symbols.code.resolve import Resolver
from pytracer.symbols.elf_tables import ElfError

_CALLEES_LIMIT = 256  # functions that one jumps to, directly or by others
_TOTAL_LIMIT = 4 << 20  # bytes of code of one function and those
_EXITS_LIMIT = 1 << 14
_ENTRY_FAR = 256  # bytes from the first instruction to the one that is probed
_STUB = 2  # instructions: endbr64 and a jump
_PART = re.compile(r"\.cold(\.\d+)?$")
_RIP = re.compile(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]$")
_CHOOSING_DEPTH = 3  # functions that the one of an IFUNC jumps to


@record
class _Tail:
    """A jump to a function: the ``jump``'s place, that of the function. ``may_pass``: it is conditional,
    so control may go on behind it."""

    image: ProgramImage
    jump: int
    to: ProgramImage
    target: int
    may_pass: bool


class Analysis:
    """The analysis of one function, ``start`` in ``image``."""

    def __init__(self, image: ProgramImage, start: int, resolve: Resolver) -> None:
        self.image = image
        self.start = function_start(image, start)
        self.resolve = resolve
        self.is_go = golang.is_go(image, self.start)
        self.entry = golang.entry(image, self.start) if self.is_go else self.start
        self.exits = dict[tuple[object, int], FunctionExit]()
        self.seen = set[tuple[object, int]]()
        self.callees = dict[str, None]()
        self.reenters = False
        self.budget = _TOTAL_LIMIT

    def run(self) -> FunctionCode:
        """Analyze. Raises UnreadableCodeError, ElfError, OSError."""
        begin, _ = self.image.extent(self.start)
        if begin and begin != self.start:
            raise UnreadableCodeError(
                f"no function of {self.image.file.name} begins at +{self.image.offset_of(self.start):#x}",
                hint="what returns is a whole function",
            )
        frame = self.image.frames.find(self.start)
        is_deep = frame is not None and frame.start == begin and frame.depth(begin) not in (0, None)
        if is_deep or any(_PART.search(name) for name in self.image.symbols.names(begin)):
            raise UnreadableCodeError(
                f"{self.name(self.image, self.start)} is only a part of a function, which jumps there",
            )
        control_flow = flow.follow(self.image, self.start, self.entry)
        self.reenters = control_flow.loops
        self.budget -= control_flow.size
        g_offset = golang.g_offset(self.image) if self.is_go else THREAD_G
        entry = probe_address(self.image, self.entry, self.start, control_flow)
        for return_address in control_flow.returns:
            self.add(ExitKind.RETURN, self.image, return_address)
        pending = list(self.find_tails(self.image, control_flow))
        for tail in pending:
            pending += self.follow(tail)
        exits = sorted(
            self.exits.values(),
            key=lambda exit_site: (exit_site.kind.name, exit_site.site.file, exit_site.site.offset),
        )
        return FunctionCode(
            self.image.offset_of(entry),
            tuple(exits),
            self.is_go,
            g_offset,
            self.reenters,
            tuple(self.callees),
        )

    def add(self, kind: ExitKind, image: ProgramImage, address: int) -> None:
        """Add an instruction as an exit. Raises UnreadableCodeError if the kernel refuses a probe there."""
        key = image.file.identity, address
        if key in self.exits:
            return
        reason = uprobe_limits.unprobeable(image, address)
        if reason:
            raise UnreadableCodeError(f"{self.name(image, address)} cannot be probed: {reason}")
        if len(self.exits) >= _EXITS_LIMIT:
            name = self.name(self.image, self.start)
            raise UnreadableCodeError(f"{name} returns at more than {_EXITS_LIMIT} places")
        file = image.file
        site = ProbeSite(self.name(image, address), image.offset_of(address))
        site = replace(site, file=file.name, holder=file.holder, identity=file.identity)
        self.exits[key] = FunctionExit(kind, site)

    def name(self, image: ProgramImage, address: int) -> str:
        """Return a readable name for an address: ``function+0x1f``, or its offset in the file."""
        start, _ = image.extent(address)
        name = image.symbols.name(start)
        distance = f"+{address - start:#x}" if address != start else ""
        return name + distance if name else f"+{image.offset_of(address):#x}"

    def find_tails(
        self, image: ProgramImage, control_flow: ControlFlow, tail: _Tail | None = None
    ) -> Iterator[_Tail]:
        """Yield the functions that one jumps to. An unknown target is recorded as an exit without a result.

        ``tail`` is the jump that led here. If this function is only a stub that many callers jump through,
        such as a PLT entry, that jump is recorded as the exit.
        """
        is_stub = 0 < len(control_flow.reached) <= _STUB and tail is not None and not tail.may_pass
        for address, target, may_pass in control_flow.tails:
            yield _Tail(image, address, image, target, may_pass)
        for address, slot in control_flow.slots:
            callees = list(self.resolve_import(image, address, slot))
            if not callees and is_stub and tail is not None:
                self.add(ExitKind.INDIRECT, tail.image, tail.jump)
            elif not callees:
                self.add(ExitKind.INDIRECT, image, address)
            yield from callees
        for address in control_flow.indirect:
            self.add(ExitKind.INDIRECT, image, address)

    def resolve_import(self, image: ProgramImage, jump_address: int, address: int) -> Iterator[_Tail]:
        """Yield the functions that a jump through a word reaches; nothing if they are unknown."""
        slot = image.slot(address)
        if slot is None:
            return
        if not slot.symbol:
            targets = resolver_choices(image, slot.address) if slot.is_ifunc else [slot.address]
            for target in targets:
                yield _Tail(image, jump_address, image, target, False)
            return
        self.callees[slot.symbol] = None
        for definition in self.resolve(image.file, slot.symbol):
            target_image = images.open_image(definition.file)
            target = target_image.address_of(definition.offset)
            for choice in resolver_choices(target_image, target) if definition.is_ifunc else [target]:
                yield _Tail(image, jump_address, target_image, choice, False)

    def follow(self, tail: _Tail) -> list[_Tail]:
        """Add the exits of a function that a jump reaches. Returns the functions that it jumps to in turn."""
        if tail.to is self.image and tail.target == self.start:
            self.reenters = True
            return []
        key = tail.to.file.identity, tail.target
        if key in self.seen:
            return []
        name = tail.to.symbols.name(tail.target)
        if name:
            self.callees[name] = None
        try:
            if len(self.seen) >= _CALLEES_LIMIT or self.budget < 0:
                raise UnreadableCodeError("it jumps to too many functions")
            function_flow = callee(tail.to, tail.target)
        except (UnreadableCodeError, ElfError):
            # The call ends where it leaves what can be read: at the jump or, if that may pass, behind it.
            image, return_address = (tail.to, tail.target) if tail.may_pass else (tail.image, tail.jump)
            self.add(ExitKind.INDIRECT, image, return_address)
            return []
        self.seen.add(key)
        self.budget -= function_flow.size
        for return_address in function_flow.returns:
            self.add(ExitKind.TAIL_RETURN, tail.to, return_address)
        return list(self.find_tails(tail.to, function_flow, tail))


def function_start(image: ProgramImage, address: int) -> int:
    """Return the first instruction of the function that is probed at an address, which may be further on."""
    begin, _ = image.extent(address)
    if 0 < address - begin <= _ENTRY_FAR:
        with contextlib.suppress(UnreadableCodeError, ElfError):
            if entry(image, begin) == address:
                return begin
    return address


def entry(image: ProgramImage, start: int) -> int:
    """Return the address at which calls of a function are counted. Raises UnreadableCodeError if there is
    none."""
    return probe_address(image, golang.entry(image, start) if golang.is_go(image, start) else start, start)


def probe_address(
    image: ProgramImage, address: int, start: int, control_flow: ControlFlow | None = None
) -> int:
    """Return the address to probe for the entry: the entry itself, or else the next instruction.

    Raises UnreadableCodeError if the kernel can probe neither.
    """
    reason = uprobe_limits.unprobeable(image, address)
    if not reason:
        second = uprobe_limits.behind_landing(image, address)
        is_loop = control_flow is not None and uprobe_limits.is_jump_target(control_flow.reached, second)
        return address if is_loop else second
    second = 0
    with contextlib.suppress(UnreadableCodeError):
        control_flow = control_flow or flow.follow(image, start, address)
        second = 0 if control_flow.loops else uprobe_limits.behind(image, address, control_flow.reached)
    if not second:
        name = image.symbols.name(start) or f"+{image.offset_of(start):#x}"
        raise UnreadableCodeError(f"{name} begins with an instruction that cannot be probed: {reason}")
    return second


def callee(image: ProgramImage, start: int) -> ControlFlow:
    """Analyze a function that others jump to; the result is cached with its file. Raises
    UnreadableCodeError."""
    function_flow = image.flows.get(start)
    if function_flow is None:
        try:
            function_flow = flow.follow(image, start)
            if len(function_flow.reached) > _STUB:
                function_flow = replace(function_flow, reached={})
        except UnreadableCodeError as error:
            function_flow = error
        image.flows[start] = function_flow
    if isinstance(function_flow, UnreadableCodeError):
        raise function_flow
    return function_flow


def resolver_choices(image: ProgramImage, resolver: int, depth: int = _CHOOSING_DEPTH) -> Sequence[int]:
    """Return the functions that an IFUNC's resolver may choose: all whose addresses its code refers to."""
    try:
        code = flow.follow(image, resolver)
    except UnreadableCodeError:
        return ()
    addresses = set[int]()
    for instruction_address, (size, mnemonic, operands) in code.reached.items():
        match = _RIP.search(operands)
        if match is not None:
            address = instruction_address + size + int(match[2] or "0", 0) * (-1 if match[1] == "-" else 1)
            if mnemonic != "lea":
                slot = image.slot(address) if mnemonic.startswith(("mov", "cmov")) else None
                address = slot.address if slot is not None and not slot.is_ifunc else 0
            addresses.add(address)
        elif mnemonic == "mov":
            addresses.add(instructions.target(operands.partition(", ")[2]) or 0)
    functions = {candidate for candidate in addresses if is_function(image, candidate)}
    if depth:
        for _, target, _ in code.tails:
            functions.update(resolver_choices(image, target, depth - 1))
    return sorted(functions)


def is_function(image: ProgramImage, address: int) -> bool:
    """Return whether a function begins at an address."""
    if not address or not image.end_of_code(address):
        return False
    frame = image.frames.find(address)
    return image.symbols.is_start(address) or (frame is not None and frame.start == address)
