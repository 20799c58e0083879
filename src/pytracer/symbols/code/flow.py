"""The control flow of one function: all that its entry reaches, and by which instructions that is left."""

from __future__ import annotations

import bisect
import itertools
import re

from pytracer.errors import UnreadableCodeError
from pytracer.record import record
from pytracer.symbols.code import instructions, stack, switches
from pytracer.symbols.code.code_file import ProgramImage
from pytracer.symbols.code.instructions import BRANCH, CALL, FAR, JUMP, PADDING, RETURN, STOP, Instruction
from pytracer.symbols.code.stack import UNKNOWN, StackDepth

CODE_LIMIT = 1 << 20  # bytes of one function
_PARTS_LIMIT = 256
_SWEEPS_LIMIT = 16
_RIP = re.compile(r"\[rip(?: ([+-]) (0x[0-9a-f]+|\d+))?\]")
_ENDS = (b"", b"\xcc", b"\xf4")  # int3, hlt
_SLOT = re.compile(r"\w+ ptr \[(?:rip(?: ([+-]) (0x[0-9a-f]+|\d+))?|(0x[0-9a-f]+))\]")


@record
class ControlFlow:
    """The ways in which control leaves a function that begins at ``start``. All locations are addresses.

    At each exit the stack pointer has the value that it had at the start: ``returns`` are return
    instructions, ``tails`` jumps to other code (with its address, and whether the jump is conditional),
    ``slots`` jumps through a word (with its address), ``indirect`` other jumps. ``loops`` is true if the
    function jumps back to its start. ``parts`` are its address ranges, ``reached`` the instructions that
    can run.
    """

    start: int
    parts: tuple[tuple[int, int], ...]
    returns: tuple[int, ...]
    tails: tuple[tuple[int, int, bool], ...]
    slots: tuple[tuple[int, int], ...]
    indirect: tuple[int, ...]
    loops: bool
    reached: dict[int, Instruction]

    @property
    def size(self) -> int:
        """Bytes of code that were analyzed."""
        return sum(end - start for start, end in self.parts)


def follow(image: ProgramImage, start: int, entry: int = 0) -> ControlFlow:
    """Follow the code from ``start``. A jump back to ``entry`` (0: the start) is a loop.

    Raises UnreadableCodeError.
    """
    # What no path reaches is not needed, most of the time: where it is odd, do without it.
    walk = _Walk(image, start, entry or start, may_sweep=image.word == 8)
    try:
        return walk.run()
    except UnreadableCodeError:
        if walk.sweeping or not walk.sweeps:
            raise
    return _Walk(image, start, entry or start, may_sweep=False).run()


class _Walk:
    def __init__(self, image: ProgramImage, start: int, entry: int, *, may_sweep: bool) -> None:
        self.may_sweep = may_sweep  # data in code is recognized by what reads it, which i386 does otherwise
        self.image = image
        self.start = start
        self.entry = entry
        self.names = image.symbols.names(start)
        self.code = dict[int, Instruction]()
        self.parts = list[tuple[int, int]]()
        self.reached = dict[int, StackDepth]()
        self.work = list[tuple[int, StackDepth]]()
        self.leaving = dict[int, tuple[int, bool]]()
        self.jumps = set[int]()
        self.tails = dict[int, tuple[int, bool]]()
        self.slots = dict[int, int]()
        self.indirect = set[int]()
        self.data = list[tuple[int, int]]()  # jump tables that are between the code
        self.sweeping = False  # a jump may lead anywhere
        self.sweeps = 0
        self.loops = False

    def run(self) -> ControlFlow:
        first, _ = self.image.extent(self.start)
        if not first:
            raise self.unreadable(self.start, "no symbol and no call frame information says where it ends")
        self.add_part(self.start)
        self.work.append((self.start, StackDepth(0)))
        while True:
            while self.work:
                self.walk(*self.work.pop())
            self.image.tables.account.check()
            if not (self.settle_leaving() or self.settle_jumps() or self.sweep()):
                break
        self.check_overlaps()
        returns = sorted(at for at in self.reached if instructions.kind(self.code[at][1]) == RETURN)
        for at in returns:
            self.check_return(at)
        return ControlFlow(
            self.start,
            tuple(self.parts),
            tuple(returns),
            tuple((at, target, is_branch) for at, (target, is_branch) in sorted(self.tails.items())),
            tuple(sorted(self.slots.items())),
            tuple(sorted(self.indirect)),
            self.loops,
            {at: self.code[at] for at in sorted(self.reached)},
        )

    def unreadable(self, at: int, reason: str) -> UnreadableCodeError:
        name = self.image.symbols.name(self.start) or f"the function at {self._offset(self.start)}"
        location = "" if at == self.start else f", at {self._offset(at)}"
        description = f"{name} of {self.image.file.name}"
        return UnreadableCodeError(f"where {description} returns is not clear: {reason}{location}")

    def _offset(self, at: int) -> str:
        return f"+{self.image.offset_of(at):#x}" if self.image.end_of_code(at) else f"address {at:#x}"

    def text(self, at: int) -> str:
        return instructions.text(self.image, self.image.read(at, 16))

    # ---- the ranges that belong to the function

    def is_inside(self, at: int) -> bool:
        return any(start <= at < end for start, end in self.parts)

    def add_part(self, at: int) -> bool:
        """Add the range around an address to the function. Returns False if there is none."""
        if self.is_inside(at):
            return True
        start, end = self.image.extent(at)
        if not start:
            return False
        size = sum(end - start for start, end in self.parts) + end - start
        if size > CODE_LIMIT or len(self.parts) >= _PARTS_LIMIT:
            raise self.unreadable(at, f"it has more than {CODE_LIMIT >> 10} KiB of code")
        if self.image.is_relocated(start, end):
            raise self.unreadable(at, "the dynamic linker changes its code")
        self.parts.append((start, end))
        is_whole_function = at in (start, self.start) and start in (at, self.start)
        self.decode(start if is_whole_function else at, end)
        if is_whole_function:
            self.enter_landing_pads(start, end)
        return True

    def decode(self, start: int, end: int) -> None:
        for at, instruction in instructions.decode(
            self.image, self.image.read(start, end - start), start
        ).items():
            self.code.setdefault(at, instruction)

    def enter_landing_pads(self, start: int, end: int) -> None:
        at = start
        while at < end:
            frame = self.image.frames.find(at)
            if frame is None:
                return
            for pad in self.image.frames.landing_pads(frame):
                if self.add_part(pad):
                    self.work.append((pad, UNKNOWN))
            at = frame.end

    # ---- following

    def walk(self, at: int, depth: StackDepth) -> None:
        """Follow one path until it ends or was walked before."""
        code, reached, word = self.code, self.reached, self.image.word
        after_call = False
        while True:
            previous = reached.get(at)
            if previous is not None:
                if previous in (depth, UNKNOWN):
                    return
                depth = UNKNOWN
            instruction = code.get(at) or self.fetch(at, after_call)
            if instruction is None:
                return
            reached[at] = depth
            size, mnemonic, operands = instruction
            kind = instructions.kind(mnemonic)
            following = at + size
            if not kind:
                after_call = after_call and mnemonic in PADDING
                depth = stack.after(depth, instruction, word)
            elif kind in (RETURN, STOP):
                return
            elif kind == CALL:
                after_call = True
                if instructions.target(operands) == following:  # it asks where it is
                    depth = stack.after(depth, (size, "push", ""), word)
            elif kind == FAR:
                raise self.unreadable(at, f"{self.text(at)} leads to another segment")
            else:
                target = instructions.target(operands)
                if target is None:
                    self.jumps.add(at)
                elif target == self.entry and self.depth(at) in (0, None):
                    self.loops = True
                elif self.is_inside(target):
                    self.work.append((target, depth))
                else:
                    self.leaving[at] = target, kind == BRANCH
                if kind == JUMP:
                    return
                after_call = False
            if not self.is_inside(following):
                if not after_call and not self.is_padding(following):
                    self.leaving.setdefault(at, (following, True))
                return
            at = following

    def is_padding(self, at: int) -> bool:
        """Return whether code ends before an address: behind a system call that does not return stands no
        code."""
        return self.image.read(at, 1) in _ENDS

    def fetch(self, pc: int, after_call: bool) -> Instruction | None:
        """Decode the instruction at an address that was not decoded on the way; None if a call before it
        does not return."""
        end = next(end for start, end in self.parts if start <= pc < end)
        decoded = instructions.decode(self.image, self.image.read(pc, min(end - pc, 256)), pc)
        for address, instruction in decoded.items():
            if address in self.code:
                break
            self.code[address] = instruction
        if pc not in self.code:
            if after_call:
                return None
            raise self.unreadable(pc, f"it runs into {self.text(pc)}, which is no instruction")
        return self.code[pc]

    def depth(self, at: int) -> int | None:
        """Return the stack depth before an instruction, from call frame information or as followed."""
        frame = self.image.frames.find(at)
        depth = frame.depth(at) if frame is not None else None
        if depth is None:
            depth = self.reached.get(at, UNKNOWN).stack
        return depth

    # ---- what leads elsewhere

    def settle_leaving(self) -> bool:
        """Distinguish tail calls from jumps to other parts of the function. Returns whether there is more to
        follow."""
        jumps_out, self.leaving = self.leaving, {}
        for at, (target, is_branch) in jumps_out.items():
            if not self.is_inside(target) and self.is_tail(at, target):
                self.tails[at] = target, is_branch
            elif self.add_part(target):
                self.work.append((target, self.reached[at]))
            else:
                raise self.unreadable(at, f"{self.text(at)} leads to where no function is known")
        return bool(self.work)

    def is_tail(self, at: int, target: int) -> bool:
        names = self.image.symbols.names(target)
        if any(name.startswith(f"{own_name}.cold") for own_name in self.names for name in names):
            return False
        depth = self.depth(at)
        if depth is None:
            frame = self.image.frames.find(target)
            if frame is not None and frame.start == target:
                return frame.depth(target) == 0
            return bool(names)
        return depth == 0

    def settle_jumps(self) -> bool:
        """Find where indirect jumps lead; whether there is more to follow."""
        jumps, self.jumps = self.jumps, set()
        order = sorted(self.code) if jumps else []
        places = {at: position for position, at in enumerate(order)} if jumps else {}
        swept = False
        for at in jumps:
            slot = self.slot(at)
            depth = self.depth(at)
            if slot is not None and depth == 0:
                self.slots[at] = slot
                continue
            switch = switches.find(self.image, self.code, order, places[at], self.is_inside)
            # Addresses alone may be those of functions, if none but one leads into this one.
            if switch is not None and (switch.is_bounded or depth != 0 or switch.size != self.image.word):
                if switch.is_bounded:
                    self.work += [(target, self.reached[at]) for target in switch.targets]
                if self.is_inside(switch.table):
                    self.data.append((switch.table, switch.table + switch.size))
                swept = swept or not switch.is_bounded
            elif depth == 0:
                self.indirect.add(at)
            else:
                swept = True
        needs_sweep = swept and not self.sweeping
        self.sweeping = self.sweeping or swept
        return bool(self.work) or needs_sweep

    def slot(self, at: int) -> int | None:
        """Return the address of the pointer that an indirect jump reads."""
        size, _, operands = self.code[at]
        match = _SLOT.fullmatch(operands)
        if match is None:
            return None
        if match[3]:
            return int(match[3], 0)
        return at + size + int(match[2] or "0", 0) * (-1 if match[1] == "-" else 1)

    # ---- what the jumps do not tell

    def sweep(self) -> bool:
        """Treat code that no path reaches as code that may run. Returns whether there is any.

        Such code exists where a jump may lead anywhere in the function, where the runtime enters it (Go
        returns so from a recovered panic), or where it is dead. Raises UnreadableCodeError if the code is
        needed but may be data.
        """
        self.sweeps += 1
        for start, end in self.parts:
            is_whole = self.start == start or not start <= self.start < end
            if start in self.image.symbols.guessed and self.image.frames.find(start) is None:
                if self.sweeping:
                    raise self.unreadable(
                        start, "a jump may lead anywhere in it, and nothing says where it ends"
                    )
            elif self.sweeping or (self.may_sweep and is_whole):
                self.take_gaps(start, end)
        if self.work and self.sweeps > _SWEEPS_LIMIT:
            raise self.unreadable(self.work[0][0], "code and data cannot be distinguished")
        return bool(self.work)

    def take_gaps(self, start: int, end: int) -> None:
        """Follow the bytes between the reached instructions where they can only be code."""
        edges = [at for at in sorted(self.reached) if start <= at < end]
        data = sorted(self.read_from()) if not self.sweeping else []
        at = start
        for edge in [*edges, end]:
            if at < edge:
                entries = self.entries(at, edge)
                if entries is None and self.sweeping:
                    raise self.unreadable(at, "a jump may lead anywhere in it, and not all is code")
                at_data = bisect.bisect_left(data, at)
                if entries and not (at_data < len(data) and data[at_data] < edge):
                    self.work += [(gap_entry, UNKNOWN) for gap_entry in entries]
            if edge < end:
                at = max(at, edge + self.code[edge][0])

    def entries(self, at: int, end: int) -> list[int] | None:
        """Return the first instruction of each piece of code in a gap, and behind each that does not go on;
        None if not all is code."""
        entries, is_first = list[int](), True
        if not self.image.read(at, end - at).strip(b"\0\x90\xcc"):
            return entries
        while at < end:
            skipped = next((stop for begin, stop in self.data if begin <= at < stop), 0) if self.data else 0
            if skipped:
                at, is_first = skipped, True
                continue
            instruction = self.code.get(at)
            if instruction is None:
                return None
            kind = instructions.kind(instruction[1])
            if instruction[1] not in PADDING and is_first:
                entries.append(at)
                is_first = False
            is_first = is_first or kind in (RETURN, JUMP, STOP, FAR)
            at += instruction[0]
        return entries if at == end or self.data else None

    def read_from(self) -> set[int]:
        """Return the addresses that instructions take: the bytes there may be data."""
        addresses = set[int]()
        for at in self.reached:
            size, mnemonic, operands = self.code[at]
            if "[rip" in operands and instructions.kind(mnemonic) == "":
                match = _RIP.search(operands)
                if match is not None:
                    addresses.add(at + size + int(match[2] or "0", 0) * (-1 if match[1] == "-" else 1))
        return addresses

    # ---- whether that can be

    def check_overlaps(self) -> None:
        """Raise UnreadableCodeError where instructions lie in one another, but by a skipped prefix."""
        order = sorted(self.reached)
        for at, following in itertools.pairwise(order):
            end = at + self.code[at][0]
            if end > following and end != following + self.code[following][0]:
                raise self.unreadable(following, f"{self.text(at)} and {self.text(following)} overlap")

    def check_return(self, at: int) -> None:
        """Raise UnreadableCodeError if a ``ret`` does not pop the return address."""
        frame = self.image.frames.find(at)
        recorded_depth = frame.depth(at) if frame is not None else None
        for depth in (recorded_depth, self.reached[at].stack):
            if depth not in (0, None):
                raise self.unreadable(at, f"the stack is {depth} bytes deep at a return")
